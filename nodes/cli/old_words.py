"""Words of command lines that were written for an earlier Kinecast, in the words of now.

``evaluate SESSION TRUTH`` told what was wanted by magic words in the place of the truth; some parts of ``train`` and
``bench`` had other names. Options keep their old names as aliases where they stand.
"""

from collections.abc import Callable

EVALUATE = ("truth", "holdout", "views", "body-views", "other", "lifter", "regressor")
WITHOUT_TRUTH = {"held-out": "holdout", "views": "views", "body-views": "body-views"}
WEIGHTS = {"lifter": "lifter", "spin": "regressor"}
ONE_VALUE = (
    "--lift", "--shelf", "--held-out", "--noise", "--body", "--dataset", "--fps", "--offset-frames", "--gate-m",
    "--min-confidence", "--json", "--plot",
)  # fmt: skip
MANY_VALUES = ("--weights", "--datasets")
TRAIN = {"spin": "regressor", "hidden": "occlusion"}
HELP = ("-h", "--help")


def translated(args: list[str]) -> list[str]:
    """The arguments of ``kinecast``, with what is old in its new words; what is new stays."""
    by_command: dict[str, Callable[[list[str]], list[str]]] = {"evaluate": _evaluate, "train": _train, "bench": _bench}
    return by_command[args[0]](args) if args and args[0] in by_command else args


def _evaluate(args: list[str]) -> list[str]:
    rest = args[1:]
    if not rest or rest[0] in (*EVALUATE, *HELP):
        return args
    at = _positionals(rest)
    words = [rest[i] for i in at[:2]]
    if words and words[0] in WEIGHTS:
        return ["evaluate", WEIGHTS[words[0]], *_without(rest, at[0])]
    if len(words) < 2:
        return args
    if words[1] in WITHOUT_TRUTH:
        return ["evaluate", WITHOUT_TRUTH[words[1]], *_without(rest, at[1])]
    return ["evaluate", "other" if words[1].lower().endswith(".trc") else "truth", *rest]


def _positionals(words: list[str]) -> list[int]:
    """Where in the old command line of ``evaluate`` the words are that belong to no option."""
    out, values = [], 0
    for i, word in enumerate(words):
        if word.startswith("-") and len(word) > 1:
            values = 1 if word in ONE_VALUE else len(words) if word in MANY_VALUES else 0
        elif values:
            values -= 1
        else:
            out.append(i)
    return out


def _without(words: list[str], index: int) -> list[str]:
    return words[:index] + words[index + 1 :]


def _train(args: list[str]) -> list[str]:
    if args[1:2] == ["curve"]:
        return ["bench", "learning-curve", *args[2:]]
    return [args[0], TRAIN.get(args[1], args[1]), *args[2:]] if len(args) > 1 else args


def _bench(args: list[str]) -> list[str]:
    """``bench`` with options first, or with several parts."""
    words = args[1:]
    several = len(words) > 1 and not words[0].startswith("-") and not words[1].startswith("-")
    if words and (words[0] in ("parts", "learning-curve", "picture") or words[0] in HELP):
        return args
    return ["bench", "parts", *words] if (words and words[0].startswith("-")) or several else args
