"""Tables of numbers in a pickle, read without running any code of theirs.

A pickle is a program; this unpickler knows only what a table of numbers needs: numpy arrays, scalars and dtypes, and
plain containers. Anything else in the file is refused by its name before it is called. What may be called are functions
and classes of this module that check their arguments: numpy's own follow a damaged file into memory that is not theirs.
"""

import collections
import io
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError

# what a damaged pickle raises, beside UnpicklingError
DAMAGED = (EOFError, IndexError, KeyError, ValueError, TypeError, AttributeError, MemoryError, OverflowError)


_CODES = re.compile(r"[<>|=]?[?biufcSUO]\d{0,9}")  # numbers, truth, text, and boxes of these; no records
_NDARRAY = object()  # stands for the class: there is nothing that a file could call on it


class _Dtype:
    """A dtype as a pickle tells it, checked word by word: numpy takes what it is given, and crashes."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or not _CODES.fullmatch(code):
            raise pickle.UnpicklingError(f"numbers of type {str(code)[:20]!r}")
        self.made = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "=") or any(state[2:5]):
            raise pickle.UnpicklingError("a dtype that numpy did not write")
        self.made = self.made.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """An array whose content comes after it, and is checked before numpy sees it."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Dtype):
            raise pickle.UnpicklingError("an array that numpy did not write")
        _, shape, dtype, fortran, raw = state
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        whole = isinstance(shape, tuple) and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)
        # boxes come as a list of what is in them: as bytes they would be addresses
        kind, each = (list, 1) if dtype.made.hasobject else (bytes, dtype.made.itemsize)
        if not whole or not isinstance(raw, kind) or len(raw) != math.prod(shape) * each:
            raise pickle.UnpicklingError("an array that does not have its shape")
        super().__setstate__((1, shape, dtype.made, bool(fortran), raw))  # type: ignore[arg-type]


def _reconstruct(subtype: Any, shape: Any, typecode: Any) -> NDArray[Any]:
    if subtype is not _NDARRAY or shape != (0,):  # numpy writes nothing else
        raise pickle.UnpicklingError("an array that numpy did not write")
    return np.ndarray.__new__(_Array, (0,), "b")


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    kind = dtype.made if isinstance(dtype, _Dtype) else _Dtype(dtype).made
    if kind.hasobject:
        raise pickle.UnpicklingError("an array of addresses")
    return np.frombuffer(buffer, dtype=kind).reshape(shape, order=order)


def _scalar(dtype: Any, data: Any = None) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(dtype, _Dtype) or dtype.made.hasobject or not isinstance(raw, bytes):
        raise pickle.UnpicklingError("a scalar that numpy did not write")
    if len(raw) != dtype.made.itemsize:
        raise pickle.UnpicklingError("a scalar that numpy did not write")
    return np.frombuffer(raw, dtype.made, count=1)[0]


def _encode(text: Any, codec: Any) -> bytes:
    if codec != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"text in codec {codec!r}")
    return text.encode("latin1")


_NUMPY: dict[str, Callable[..., Any]] = {"_reconstruct": _reconstruct, "scalar": _scalar}
_SETS = {"set": set, "frozenset": frozenset}
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", name): f for core in ("core", "_core") for name, f in _NUMPY.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{(builtins, name): kind for builtins in ("__builtin__", "builtins") for name, kind in _SETS.items()},
}


class NumbersUnpickler(pickle.Unpickler):
    """Knows arrays and plain containers; whatever else a file asks for raises UnpicklingError with its name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_numbers(data: bytes, path: Path) -> Any:
    """Tables, lists and arrays of a pickle, such as numpy puts into an npz. path: for messages.

    KinecastError where it is truncated, is no pickle, or asks for anything but numbers.
    """
    try:
        return NumbersUnpickler(io.BytesIO(data), encoding="latin1").load()
    except pickle.UnpicklingError as e:
        raise KinecastError(f"{path} holds more than numbers: {e}; nothing of it was run") from None
    except DAMAGED as e:
        raise KinecastError(f"{path} is damaged or truncated ({type(e).__name__}): fetch it again") from None
