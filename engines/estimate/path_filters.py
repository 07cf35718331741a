"""Filters of a joint's path that biomechanics knows by name, for paths at an even rate, the future known or not."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

BUTTERWORTH_ORDER = 2  # forwards and back: of fourth order, without a lag
SPEED_CUTOFF_HZ = 1.0  # of the One Euro filter's speed, as in the paper
BETA_S_M = 2.0  # how much faster it follows, in Hz per m/s


def butterworth(points: Float, rate_hz: float, cutoff_hz: float) -> Float:
    """(T, …) points low-passed without a lag: a Butterworth filter forwards and back (Winter, *Biomechanics and Motor
    Control of Human Movement*, 4th ed., 2009, section 3.4.4).

    The cutoff is that of both passes together. NaN splits the path; a piece that is too short to be filtered stays.
    ValueError for a cutoff at or above half the rate.
    """
    from scipy.signal import butter, filtfilt

    single = cutoff_hz / (2.0**0.5 - 1.0) ** (1.0 / (2 * BUTTERWORTH_ORDER))  # each pass cuts a little later
    if not 0 < single < rate_hz / 2:
        raise ValueError(
            f"a cutoff of {cutoff_hz:g} Hz needs more than {2 * single:g} frames a second, not {rate_hz:g}"
        )
    b, a = butter(BUTTERWORTH_ORDER, single / (rate_hz / 2))
    pad = 3 * max(len(a), len(b))
    return _piecewise(points, lambda piece: filtfilt(b, a, piece, axis=0) if len(piece) > pad else piece)


def one_euro(points: Float, rate_hz: float, cutoff_hz: float) -> Float:
    """(T, …, 3) points filtered without the future: slow ones more, fast ones less (Casiez, Roussel and Vogel, *1 €
    Filter*, CHI 2012). cutoff_hz: of a joint at rest. NaN splits the path."""

    def filtered(piece: Float) -> Float:
        out, speed = piece.copy(), np.zeros_like(piece[0])
        share = _share(SPEED_CUTOFF_HZ, rate_hz)
        for t in range(1, len(piece)):
            speed = speed + share * ((piece[t] - out[t - 1]) * rate_hz - speed)
            fast = np.linalg.norm(speed, axis=-1, keepdims=True)
            out[t] = out[t - 1] + _share(cutoff_hz + BETA_S_M * fast, rate_hz) * (piece[t] - out[t - 1])
        return out

    return _piecewise(points, filtered)


def _share(cutoff_hz: "float | Float", rate_hz: float) -> "float | Float":
    return 1.0 / (1.0 + rate_hz / (2 * np.pi * cutoff_hz))


def _piecewise(points: Float, one: "object") -> Float:
    """``one`` applied to every stretch of every joint (T, J, 3) without NaN."""
    out = points.copy()
    for j in range(points.shape[1]):
        whole = np.isfinite(points[:, j]).all(axis=-1)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], whole, [False]]).astype(np.int8)))
        for start, end in edges.reshape(-1, 2).tolist():
            out[start:end, j] = one(points[start:end, j])  # type: ignore[operator]
    return out
