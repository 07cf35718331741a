"""``--size 1024x768`` for ``--size 1024 768``."""

import re

SIZE = re.compile(r"(\d+)[x×](\d+)")


def split_sizes(args: list[str]) -> list[str]:
    """The arguments, with a size in one word after ``--size`` as two."""
    out: list[str] = []
    for word in args:
        option, equals, value = word.partition("=")
        if option == "--size" and equals:
            out.append(option)
        else:
            value = word
        size = SIZE.fullmatch(value) if out and out[-1] == "--size" else None
        out += size.groups() if size else [value]
    return out
