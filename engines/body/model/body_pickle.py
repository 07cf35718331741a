"""Old SMPL pickles read without chumpy and without running any code of theirs.

Beside the arrays of :mod:`capture.safe_pickle` it knows scipy's compressed sparse matrices and chumpy's boxes around an
array, as tables of what they hold: nothing of either library is loaded or called.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.capture.safe_pickle import DAMAGED, NumbersUnpickler

# bytes: the biggest published body file (SMPL-X with 400 shapes) has 0.5 GB as a pickle
LARGEST_BYTES = 2 << 30


class _State:
    """What stands for an object of a library that we do not load: its attributes, and nothing that can be called."""

    def __init__(self, *args: Any) -> None:
        if args:
            raise pickle.UnpicklingError("an object with constructor arguments")
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("an object whose state is not a table")
        self.state = dict(state)


class _Chumpy(_State):
    """chumpy.ch.Ch holds ``x``; chumpy.reordering.Select holds ``a``, ``idxs`` and ``preferred_shape``.

    Others are expressions, such as the rest joints as a product: they are kept shut, since nothing needs them.
    """


class _Sparse(_State):
    """scipy.sparse csc and csr matrices: data, indices, indptr and their shape."""


class _SparseRows(_Sparse):
    pass


def _new(kind: Any, base: Any, state: Any) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, _State)) or base is not object:
        raise pickle.UnpicklingError("an object of a kind that is not allowed")
    return kind()


_OBJECTS: dict[tuple[str, str], Any] = {
    ("copy_reg", "_reconstructor"): _new,
    ("copyreg", "_reconstructor"): _new,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
}


class _BodyUnpickler(NumbersUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csc_array"):
            return _Sparse
        if module.startswith("scipy.sparse") and name in ("csr_matrix", "csr_array"):
            return _SparseRows
        if (module, name) in _OBJECTS:
            return _OBJECTS[module, name]
        return super().find_class(module, name)


def read_pickle(path: Path) -> dict[str, Any]:
    """The table in a body's pickle: names to arrays; an expression becomes None, what is no array stays as it is.

    KinecastError where the file is truncated, is no pickle, or asks for anything that is not a table of numbers.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise KinecastError(f"{path}: {path.stat().st_size >> 20} MiB is too big for a body file")
    try:
        table = _BodyUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except pickle.UnpicklingError as e:
        raise KinecastError(f"{path} is not a plain body file: {e}; nothing of it was run") from None
    except DAMAGED as e:
        raise KinecastError(
            f"{path} is damaged, truncated or no pickle ({type(e).__name__}): fetch it again from where you got it"
        ) from None
    if not isinstance(table, dict):
        raise KinecastError(f"{path} holds a {type(table).__name__}, not the table of a body model")
    try:
        return {str(name): _array(value) for name, value in table.items()}
    except (KeyError, ValueError, TypeError, IndexError, RecursionError) as e:
        raise KinecastError(f"{path} is damaged ({type(e).__name__}): fetch it again from where you got it") from None


def _array(value: Any) -> Any:
    """Boxes of chumpy and sparse matrices as plain arrays."""
    if isinstance(value, _Chumpy):
        if "x" in value.state:
            return np.asarray(_array(value.state["x"]))
        if "idxs" not in value.state:
            return None
        flat = np.asarray(_array(value.state["a"])).ravel()[np.asarray(value.state["idxs"])]
        return flat.reshape(value.state["preferred_shape"])
    if isinstance(value, _Sparse):
        return _dense(value)
    return value


def _dense(box: _Sparse) -> NDArray[np.float64]:
    state = box.state
    rows, columns = (int(n) for n in state["_shape" if "_shape" in state else "shape"])
    lines = rows if isinstance(box, _SparseRows) else columns
    starts = np.asarray(state["indptr"], np.int64)
    if starts.shape != (lines + 1,) or rows * columns > 1 << 24:
        raise ValueError("sparse matrix")
    line = np.repeat(np.arange(lines), np.diff(starts))
    other = np.asarray(state["indices"], np.int64)
    out = np.zeros((rows, columns))
    at = (line, other) if isinstance(box, _SparseRows) else (other, line)
    np.add.at(out, at, np.asarray(state["data"], np.float64))
    return out
