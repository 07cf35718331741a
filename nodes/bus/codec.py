"""Records ↔ bytes: msgpack maps, arrays as (dtype, shape, bytes) from a short list of dtypes; nothing is unpickled."""

import math
import types
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache, lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgpack
import numpy as np
from numpy.typing import NDArray

from kinecast.capture.refusals import currently

T = TypeVar("T")

ARRAY = 1  # msgpack extension type of an array
DTYPES = ("f4", "f8", "i4", "i8", "u1", "u2", "u4", "b1")
MAX_MESSAGE_BYTES = 64 << 20  # a mesh of 16 people is 1.4 MB; anything near this is not ours
MAX_ENTRIES = 4096  # of a map or a list: causes, topics and models of sixteen cameras are a tenth of it
MAX_TEXT = 1 << 16  # characters of a name or a note
MAX_INT = (1 << 63) - 1  # what an array of stamps and the file can hold; msgpack goes one bit further


class CodecError(ValueError):
    """Bytes that are not a valid record: says which record and field."""


def _pack_array(value: Any) -> msgpack.ExtType:
    if isinstance(value, np.ndarray):
        dtype = value.dtype.str[1:]
        if dtype not in DTYPES:
            raise CodecError(f"arrays of {value.dtype} do not travel; allowed are {', '.join(DTYPES)}")
        little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        return msgpack.ExtType(ARRAY, msgpack.packb((dtype, value.shape)) + little.tobytes())
    if isinstance(value, np.generic):
        return value.item()
    raise CodecError(f"a {type(value).__name__} does not travel")


@lru_cache(maxsize=4096)
def _read_small(head: bytes) -> tuple[str, tuple[int, ...], int]:
    """A stream has few heads, and each comes again and again."""
    return head[2:4].decode("latin-1"), tuple(head[5:]), len(head)


def _small_head(data: bytes) -> tuple[str, tuple[int, ...], int] | None:
    """dtype, shape and length of the head of an array whose axes are all below 128, else None.

    Such a head is msgpack's fixarray(2), fixstr(2), fixarray(n) and n bytes; reading it here saves a third of decoding.
    """
    if len(data) < 5 or data[:2] != b"\x92\xa2" or data[4] & 0xF0 != 0x90:
        return None
    start = 5 + (data[4] & 0x0F)
    if len(data) < start or max(data[5:start], default=0) > 127:
        return None
    return _read_small(data[:start])


def _any_head(data: bytes) -> tuple[Any, Any, int]:
    """The same, of any array."""
    head = msgpack.Unpacker(max_buffer_size=0)
    head.feed(data[:256])
    dtype, shape = head.unpack()
    return dtype, shape, head.tell()


def _allowed(dtype: Any, shape: Any) -> tuple[np.dtype[Any], int]:
    """The dtype and the count of an array, or CodecError."""
    if dtype not in DTYPES or len(shape) > 6 or not all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
        raise CodecError(f"an array of {dtype!r} {shape!r} is not allowed")
    return np.dtype("<" + dtype), math.prod(shape)  # exact, however large


_allowed_small = lru_cache(maxsize=4096)(_allowed)


def _unpack_array(code: int, data: bytes) -> NDArray[Any]:
    if code != ARRAY:
        raise CodecError(f"unknown extension type {code}")
    if small := _small_head(data):
        dtype, shape, start = small
        kind, count = _allowed_small(dtype, shape)
    else:
        dtype, shape, start = _any_head(data)
        kind, count = _allowed(dtype, shape)
    if len(data) - start != count * kind.itemsize:
        raise CodecError(f"an array of {dtype} {tuple(shape)} does not have {len(data) - start} bytes")
    return np.frombuffer(data, kind, count, start).reshape(shape)


def _key(f: Field[Any]) -> str:
    """The name of a field in messages and files."""
    return str(f.metadata.get("key", f.name))


def to_plain(record: Any) -> dict[str, Any]:
    """The fields of a record, by their keys."""
    return {_key(f): getattr(record, f.name) for f in fields(record)}


def encode(record: Any) -> bytes:
    """Pack a record. Arrays keep their dtype; tuples become lists."""
    out: bytes = msgpack.packb(to_plain(record), default=_pack_array, use_bin_type=True)
    return out


# asked of every field of every message, of a handful of types
_origin: Any = cache(get_origin)
_args: Any = cache(get_args)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


@cache
def _layout(cls: Any) -> tuple[tuple[str, str, str, Any, bool, bool], ...]:
    """(name, key, what errors call it, type, required, counts by cause) of every field; of an array np.ndarray."""
    hints = get_type_hints(cls)
    plain = {name: np.ndarray if _origin(hint) is np.ndarray else hint for name, hint in hints.items()}
    return tuple(
        (
            f.name,
            _key(f),
            f"{cls.__name__}.{_key(f)}",
            plain[f.name],
            f.default is MISSING and f.default_factory is MISSING,
            "causes" in f.metadata,
        )
        for f in fields(cls)
    )


def _brief(value: Any) -> str:
    """A value of somebody else's for a message: never its whole length."""
    return repr(value)[:80]


def _allow_count(value: Any, where: str) -> None:
    if len(value) > MAX_ENTRIES:
        raise CodecError(f"{where}: {len(value)} entries are more than {MAX_ENTRIES}")


def _fit(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the type that a field declares, or CodecError."""
    if type(value) is hint:  # arrays, int, str, float and bool, which most fields are
        if (hint is int and value > MAX_INT) or (hint is str and len(value) > MAX_TEXT):
            raise CodecError(f"{where}: more than {MAX_INT if hint is int else f'{MAX_TEXT} characters'}")
        return value
    if hint is Any:
        return value
    origin = _origin(hint)
    if hint is np.ndarray or origin is np.ndarray:
        if not isinstance(value, np.ndarray):
            raise CodecError(f"{where}: expected an array, got {type(value).__name__}")
        return value
    if origin is Literal:
        if not isinstance(value, str | int) or value not in _args(hint):
            raise CodecError(f"{where}: {_brief(value)} is none of {_args(hint)}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in _args(hint):
            return None
        return _fit(value, next(a for a in _args(hint) if a is not type(None)), where)
    if origin is dict:
        if not isinstance(value, dict):
            raise CodecError(f"{where}: expected a map, got {type(value).__name__}")
        _allow_count(value, where)
        k, v = _args(hint)
        return {_fit(a, k, where): _fit(b, v, f"{where}[{_brief(a)}]") for a, b in value.items()}
    if origin is tuple:
        args = _args(hint)
        if not isinstance(value, list | tuple) or (args[-1] is not Ellipsis and len(args) != len(value)):
            raise CodecError(f"{where}: {_brief(value)} does not fit {hint}")
        _allow_count(value, where)
        each = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        return tuple(_fit(a, h, where) for a, h in zip(value, each, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise CodecError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {type(value).__name__}")
    return value


def decode(cls: type[T], data: bytes | memoryview) -> T:
    """Unpack bytes into a record of ``cls``: refused whole with CodecError where anything does not fit.

    A field that the bytes lack takes its default; one that ``cls`` does not have (a newer writer's) is left out. Causes
    that earlier versions named otherwise get today's codes.
    """
    name = cls.__name__
    if len(data) > MAX_MESSAGE_BYTES:
        raise CodecError(f"{name}: {len(data)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    try:
        plain = msgpack.unpackb(data, ext_hook=_unpack_array, raw=False, strict_map_key=False)
    except CodecError as e:
        raise CodecError(f"{name}: {e}") from None
    except Exception as e:
        raise CodecError(f"{name}: not a msgpack message ({e or type(e).__name__})") from None
    if not isinstance(plain, dict) or not is_dataclass(cls):
        raise CodecError(f"{name}: not a map of fields")
    values: dict[str, Any] = {}
    kind: Any = cls
    try:
        for field, key, where, hint, required, causes in _layout(kind):
            if key in plain:
                value = _fit(plain[key], hint, where)
                values[field] = currently(value) if causes else value
            elif required:
                raise CodecError(f"{where} is missing")
        record = cls(**values)
        check = getattr(record, "check", None)
        if check is not None:
            check()
    except CodecError:
        raise
    except Exception as e:
        # whatever a check stumbles over: bytes of somebody else's never end the reader
        raise CodecError(f"{name}: {e or type(e).__name__}") from None
    return record


def _schema_of(hint: Any) -> dict[str, Any]:
    origin = _origin(hint)
    if origin is np.ndarray:
        return {"type": "object", "description": "array: msgpack ext 1 = msgpack([dtype, shape]) + little-endian bytes"}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(_args(hint)[1])}
    if origin is tuple:
        return {"type": "array"}
    if origin is Literal:
        return {"enum": list(_args(hint))}
    return {"type": {int: "integer", float: "number", str: "string", bool: "boolean"}.get(hint, "object")}


def json_schema(cls: Any) -> dict[str, Any]:
    """A JSON schema of a record, for the file that it is recorded in."""
    hints = _hints(cls)
    return {
        "title": cls.__name__,
        "description": (cls.__doc__ or "").strip(),
        "type": "object",
        "properties": {_key(f): _schema_of(hints[f.name]) for f in fields(cls)},
        "required": [_key(f) for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING],
    }
