"""Numbers in a pickle are read or refused, and numpy never sees a state that it did not write."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.safe_pickle import read_numbers

WHERE = Path("a.pkl")
ARRAYS = [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array(["a", "bc"]),
          np.arange(3, dtype=">f4"), np.array(2.5, np.float32), np.array([True, False]),
          np.array([1 + 2j])]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_numbers_come_back(protocol: int) -> None:
    held = {"arrays": ARRAYS, "scalar": np.float32(1.5), "plain": [1, "a", None]}
    got = read_numbers(pickle.dumps(held, protocol), WHERE)
    for array, back in zip(ARRAYS, got["arrays"], strict=True):
        np.testing.assert_array_equal(array, back)
        assert array.dtype.newbyteorder("=") == back.dtype.newbyteorder("=") and array.shape == back.shape
    assert got["scalar"] == 1.5 and got["plain"] == held["plain"]


class State:
    """Writes an array with a state of one's own."""

    def __init__(self, *state: Any) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return np.empty(0, "b").__reduce__()[0], (np.ndarray, (0,), b"b"), self.state


HOSTILE = {
    "objects from bytes": State(1, (4,), np.dtype("O"), False, b"\x41" * 32),
    "a record": np.zeros(2, [("a", "f4"), ("b", "O")]),
    "too long": State(1, (1 << 40,), np.dtype("f8"), False, b"\x00" * 8),
    "negative": State(1, (-1,), np.dtype("f8"), False, b"\x00" * 8),
    "a list": State(1, (2,), np.dtype("f8"), False, [1, 2]),
    "no dtype": State(1, (2,), "f8", False, b"\x00" * 16),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_state_that_numpy_would_follow_into_memory_is_refused(case: str) -> None:
    with pytest.raises(KinecastError, match=r"a\.pkl"):
        read_numbers(pickle.dumps(HOSTILE[case]), WHERE)


def test_flipped_bytes_are_read_or_refused() -> None:
    whole = pickle.dumps({"a": ARRAYS[0], "b": ARRAYS[2], "c": np.float64(3.0)}, 2)
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[at] = rng.integers(0, 256)
        try:
            read_numbers(bytes(damaged), WHERE)
        except KinecastError:
            refused += 1
    assert 1000 < refused < 3000
