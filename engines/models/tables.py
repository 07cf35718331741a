"""Reading a TOML file into dataclasses, strictly: an unknown key is refused with the nearest right one."""

import difflib
import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from kinecast.capture.errors import KinecastError

T = TypeVar("T")


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)``, or nothing where no known word is near."""
    close = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of the file; KinecastError where it is missing, unreadable or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KinecastError(f"{what} {path} does not exist: check the path") from None
    except (OSError, UnicodeDecodeError) as e:
        raise KinecastError(f"{what} {path} cannot be read: {e}") from None
    except tomllib.TOMLDecodeError as e:
        raise KinecastError(f"{what} {path} is not TOML: {e}") from None


def read_table(cls: type[T], table: Mapping[str, Any], where: str, given: Mapping[str, Any] | None = None,
               prefix: str = "") -> T:  # fmt: skip
    """Build ``cls`` from the table; ``given``: fields that the file may not set. KinecastError names file and key."""
    given = given or {}
    assert is_dataclass(cls)
    known = [f.name for f in fields(cls) if f.name not in given]
    for key in table:
        if key not in known:
            raise KinecastError(
                f"{where}: unknown key {prefix + key!r}{nearest(key, known)}: known are {', '.join(known)}"
            )
    hints = get_type_hints(cls)
    values: dict[str, Any] = dict(given)
    for f in fields(cls):
        if f.name in table:
            values[f.name] = _value(hints[f.name], table[f.name], where, prefix + f.name)
        elif f.name not in given and f.default is MISSING and f.default_factory is MISSING:
            raise KinecastError(f"{where}: {prefix + f.name} is missing")
    return cls(**values)


def _value(kind: Any, value: Any, where: str, key: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise KinecastError(f"{where}: {key} is {value!r}: expected a table [{key}]")
        return read_table(kind, value, where, prefix=f"{key}.")
    if origin is Literal:
        if value in args:
            return value
        near = nearest(str(value), [str(a) for a in args])
        raise KinecastError(f"{where}: {key} is {value!r}{near}: expected one of {', '.join(map(str, args))}")
    if origin in (Union, types.UnionType):
        return _value(next(a for a in args if a is not type(None)), value, where, key)
    if origin is tuple:
        if isinstance(value, list) and len(value) == len(args):
            return tuple(_value(a, v, where, key) for a, v in zip(args, value, strict=True))
        raise KinecastError(f"{where}: {key} is {value!r}: expected a list of {len(args)}")
    if origin is dict:
        if isinstance(value, dict):
            return {k: _value(args[1], v, where, f"{key}.{k}") for k, v in value.items()}
        raise KinecastError(f"{where}: {key} is {value!r}: expected a table [{key}]")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
        raise KinecastError(f"{where}: {key} is {value!r}: expected {words.get(kind, kind)}")
    return value
