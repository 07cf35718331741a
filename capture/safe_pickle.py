"""Tables of numbers in a pickle, read without running any code of theirs.

A pickle is a program; this unpickler knows only what a table of numbers needs: numpy arrays, scalars and dtypes, and
plain containers. Anything else in the file is refused by its name before it is called. What may be called are functions
of this module that check their arguments, or numpy's classes.
"""

import collections
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError

# what a damaged pickle raises, beside UnpicklingError
DAMAGED = (EOFError, IndexError, KeyError, ValueError, TypeError, AttributeError, MemoryError, OverflowError)


def _reconstruct(subtype: Any, shape: Any, typecode: Any) -> NDArray[Any]:
    if subtype is not np.ndarray or shape != (0,):  # numpy writes nothing else
        raise pickle.UnpicklingError("an array that numpy did not write")
    return np.ndarray((0,), "b")


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    return np.frombuffer(buffer, dtype=np.dtype(dtype)).reshape(shape, order=order)


def _scalar(dtype: Any, data: Any = None) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(raw, bytes):
        raise pickle.UnpicklingError("a scalar that numpy did not write")
    return np.frombuffer(raw, dtype, count=1)[0]


def _encode(text: Any, codec: Any) -> bytes:
    if codec != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"text in codec {codec!r}")
    return text.encode("latin1")


_NUMPY: dict[str, Callable[..., Any]] = {"_reconstruct": _reconstruct, "scalar": _scalar}
_SETS = {"set": set, "frozenset": frozenset}
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", name): f for core in ("core", "_core") for name, f in _NUMPY.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
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
