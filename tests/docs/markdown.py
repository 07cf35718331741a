"""What the pages of reference are made with: tables, what a docstring says of each field, types in words."""

import inspect
import re
import types
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

UNITS = {"ns": "ns", "ms": "ms", "s": "s", "px": "px", "m": "m", "m2": "m²", "mm": "mm", "rad": "rad", "hz": "Hz"}


def plain(text: str) -> str:
    """A docstring's markup as a page's."""
    text = re.sub(r":(?:class|mod|func|meth):`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; without rows nothing."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    if not lines:
        return ""
    return "\n".join("| " + " | ".join(r) + " |" for r in (list(heads), ["---"] * len(heads), *lines)) + "\n"


def paragraphs(cls: type) -> list[str]:
    """The paragraphs of a docstring, each in one line."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return [plain(" ".join(part.split())) for part in text.split("\n\n")]


def _marker(names: Iterable[str]) -> re.Pattern[str]:
    name = "(?:" + "|".join(map(re.escape, names)) + ")"
    return re.compile(rf"(?:^|(?<=\s))({name}(?:(?:, | and ){name})*): ")


def described(cls: type, *others: type) -> dict[str, str]:
    """Field → what the docstring says of it, as ``name: text`` or ``name, other: text``; of ``others`` where not
    there."""
    names = [f.name for f in fields(cls)]
    out: dict[str, str] = {}
    for source in (cls, *others):
        for paragraph in paragraphs(source):
            hits = list(_marker(names).finditer(paragraph))
            for hit, after in zip(hits, [*hits[1:], None], strict=False):
                text = paragraph[hit.end() : after.start() if after else len(paragraph)].strip().rstrip(".,;")
                for name in re.split(", | and ", hit.group(1)):
                    out.setdefault(name, text)
    silent = [name for name in names if name not in out and not is_dataclass(hints(cls)[name])]
    assert not silent, f"the docstring of {cls.__name__} says nothing of {', '.join(silent)}"
    return out


def summary(cls: type) -> str:
    """What the docstring says before it comes to the fields."""
    names = [f.name for f in fields(cls)]
    kept = []
    for paragraph in paragraphs(cls):
        hit = _marker(names).search(paragraph)
        kept.append(paragraph[: hit.start()].strip() if hit else paragraph)
        if hit:
            break
    return "\n\n".join(filter(None, kept))


def unit(name: str) -> str:
    """The unit that a name ends in, "" where it has none."""
    return UNITS.get(name.rpartition("_")[2], "") if "_" in name else ""


def default(f: Field[Any]) -> Any:
    """The default of a field; MISSING where it must be given."""
    if f.default is not MISSING:
        return f.default
    return f.default_factory() if f.default_factory is not MISSING else MISSING


def word(value: Any) -> str:
    """A default, as a file has it."""
    if value is MISSING:
        return "required"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(word, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return f"`{value}`" if isinstance(value, str) and value else '""' if value == "" else str(value)


def kind(hint: Any) -> str:
    """A type, in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in args)
    if origin in (Union, types.UnionType):
        return kind(next(a for a in args if a is not type(None))) + ", or null"
    if origin is tuple:
        if args[-1] is Ellipsis:
            return f"list of {kind(args[0])}"
        return f"list of {len(args)}: {kind(args[0])}"
    if origin is dict:
        return f"map of {kind(args[1])} by {kind(args[0])}"
    if origin is np.ndarray:
        return str(np.dtype(get_args(args[1])[0]))
    return {str: "text", int: "integer", float: "number", bool: "true or false"}.get(hint, str(hint))


def hints(cls: type) -> dict[str, Any]:
    """The types of the fields of a record."""
    return get_type_hints(cls)
