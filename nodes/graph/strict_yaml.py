"""YAML → dataclasses, strictly: every mistake names the line, the place, and the nearest right word."""

import difflib
import math
import re
import types
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from itertools import count
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from kinecast.capture.errors import KinecastError

T = TypeVar("T")
MAX_WORDS = 20_000  # a launch file of 32 cameras has some hundreds; aliases of aliases can make billions of a few lines


@dataclass(slots=True, eq=False)
class Scalar:
    """One word of the file, unread: YAML 1.1 would make a bool of ``off``, and text of ``1e-3``."""

    text: str
    quoted: bool
    where: str

    @property
    def is_null(self) -> bool:
        """``null``, ``~`` or nothing at all."""
        return not self.quoted and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(slots=True, eq=False)
class Sequence:
    """A list of the file."""

    items: "list[Tree]"
    where: str


@dataclass(slots=True, eq=False)
class Mapping:
    """A map of the file: key → value, and where each key stands."""

    items: "dict[str, Tree]"
    key_where: dict[str, str]
    where: str


Tree = Scalar | Sequence | Mapping


def parse(text: str, name: str, line_numbers: bool = True) -> Tree:
    """The tree of a YAML text; ``name`` is what errors call it. KinecastError where it is not YAML."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as e:
        line = f":{e.problem_mark.line + 1}" if e.problem_mark and line_numbers else ""
        raise KinecastError(f"{name}{line}: not valid YAML: {e.problem or e.context}") from None
    except yaml.YAMLError as e:
        raise KinecastError(f"{name}: not valid YAML: {' '.join(str(e).split())}") from None
    except RecursionError:
        raise KinecastError(f"{name}: nested too deeply to be meant") from None
    if node is None:
        return Scalar("", False, name)
    return _tree(node, name, line_numbers, 0, count(1))


def _tree(node: Any, name: str, line_numbers: bool, depth: int, words: "count[int]") -> Tree:
    where = f"{name}:{node.start_mark.line + 1}" if line_numbers else name
    if depth > 20:
        raise KinecastError(f"{where}: nested too deeply; an alias may contain itself")
    if next(words) > MAX_WORDS:
        raise KinecastError(f"{where}: more than {MAX_WORDS} words, with every alias written out: shorten it")
    if isinstance(node, yaml.ScalarNode):
        return Scalar(node.value, node.style is not None, where)
    if isinstance(node, yaml.SequenceNode):
        return Sequence([_tree(n, name, line_numbers, depth + 1, words) for n in node.value], where)
    out = Mapping({}, {}, where)
    for key, value in node.value:
        at = f"{name}:{key.start_mark.line + 1}" if line_numbers else name
        if not isinstance(key, yaml.ScalarNode):
            raise KinecastError(f"{at}: a key must be a word")
        if key.tag == "tag:yaml.org,2002:merge":
            raise KinecastError(f"{at}: '<<' is not read here: say the keys, or put what nodes share under defaults")
        if key.value in out.items:
            raise KinecastError(f"{at}: {key.value!r} is given twice, first at {out.key_where[key.value]}")
        out.items[key.value] = _tree(value, name, line_numbers, depth + 1, words)
        out.key_where[key.value] = at
    return out


def merged(under: Tree, over: Tree) -> Tree:
    """``over`` laid over ``under``: maps key by key, everything else replaced."""
    if not isinstance(under, Mapping) or not isinstance(over, Mapping):
        return over
    items, places = dict(under.items), {**under.key_where, **over.key_where}
    for key, value in over.items.items():
        items[key] = merged(items[key], value) if key in items else value
    return Mapping(items, places, over.where)


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where one is near, else what is known."""
    words = list(known)
    best = difflib.get_close_matches(word, words, 1, 0.6)
    return f"; did you mean {best[0]!r}?" if best else f"; known are {', '.join(words)}"


def mapping(tree: Tree, path: str) -> Mapping:
    """``tree`` as a map, or KinecastError; nothing counts as an empty one."""
    if isinstance(tree, Scalar) and tree.is_null:
        return Mapping({}, {}, tree.where)
    if not isinstance(tree, Mapping):
        raise KinecastError(f"{tree.where}: {path} must be a map of keys and values")
    return tree


def check_keys(tree: Mapping, known: Iterable[str], path: str) -> None:
    """KinecastError for the first key that is not known."""
    words = list(known)
    for key in tree.items:
        if key not in words:
            inside = f" in {path}" if path else ""
            raise KinecastError(f"{tree.key_where[key]}: unknown key {key!r}{inside}{nearest(key, words)}")


def build(cls: type[T], tree: Tree, path: str, ranges: dict[str, tuple[float, float]]) -> T:
    """A ``cls`` from the map ``tree``. ranges: least and greatest value by field name, both allowed."""
    kind: Any = cls
    given = mapping(tree, path)
    names = [f.name for f in fields(kind)]
    check_keys(given, names, path)
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for f in fields(kind):
        at = f"{path}.{f.name}" if path else f.name
        if f.name in given.items:
            values[f.name] = _value(hints[f.name], given.items[f.name], at, ranges)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise KinecastError(f"{given.where}: {at} is missing")
    return cls(**values)


def _value(hint: Any, tree: Tree, path: str, ranges: dict[str, tuple[float, float]]) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if isinstance(tree, Scalar) and tree.is_null:
            return None
        return _value(next(a for a in args if a is not type(None)), tree, path, ranges)
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, tree, path, ranges)
    if origin is dict:
        given = mapping(tree, path)
        return {k: _value(args[1], v, f"{path}.{k}", ranges) for k, v in given.items.items()}
    if origin is tuple:
        return _tuple(args, tree, path, ranges)
    if not isinstance(tree, Scalar):
        raise KinecastError(f"{tree.where}: {path} must be {_called(hint)}, not a {type(tree).__name__.lower()}")
    if origin is Literal:
        if tree.text not in args:
            raise KinecastError(f"{tree.where}: {path} cannot be {tree.text!r}{nearest(tree.text, args)}")
        return tree.text
    if hint is str:
        if tree.is_null:
            raise KinecastError(f"{tree.where}: {path} must be text, and there is none")
        return tree.text
    return _number(hint, tree, path, ranges.get(path.rpartition(".")[2]))


def _tuple(args: tuple[Any, ...], tree: Tree, path: str, ranges: dict[str, tuple[float, float]]) -> tuple[Any, ...]:
    if not isinstance(tree, Sequence):
        raise KinecastError(f"{tree.where}: {path} must be a list, like [a, b]")
    if args[-1] is Ellipsis:
        hints = [args[0]] * len(tree.items)
    elif len(args) == len(tree.items):
        hints = list(args)
    else:
        raise KinecastError(f"{tree.where}: {path} must be a list of {len(args)}, not of {len(tree.items)}")
    return tuple(_value(h, item, path, ranges) for h, item in zip(hints, tree.items, strict=True))


def _called(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(hint, "one word")


def _number(hint: Any, tree: Scalar, path: str, limits: tuple[float, float] | None) -> Any:
    value: Any = None
    if not tree.quoted:
        if hint is bool and tree.text.lower() in ("true", "false"):
            return tree.text.lower() == "true"
        if hint is int and re.fullmatch(r"[-+]?\d{1,30}", tree.text):
            value = int(tree.text)
        elif hint is float and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", tree.text):
            value = float(tree.text)
    if value is None or not math.isfinite(value):
        raise KinecastError(f"{tree.where}: {path} must be {_called(hint)}, not {tree.text[:60]!r}")
    if limits is not None and not limits[0] <= value <= limits[1]:
        raise KinecastError(f"{tree.where}: {path} is {value:g}, but must be from {limits[0]:g} to {limits[1]:g}")
    return value
