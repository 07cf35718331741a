"""Whether the stamps of the cameras can be right: which shift lets pairs of cameras agree on where they stand."""

from dataclasses import dataclass

import numpy as np

from kinecast.calibration.camera import Float
from kinecast.calibration.solve.pose_graph import relative

MIN_PAIRS = 8
MOST_POSES = 60


@dataclass(frozen=True, slots=True)
class Shift:
    """Camera ``b`` must be read ``frames`` frame sets later to agree with ``a``.

    share: of its frame sets that then agree on one relative pose; share_now: of those that do as they stand.
    """

    a: int
    b: int
    frames: int
    share: float
    share_now: float


def _share(a: Float, b: Float, shift: int) -> tuple[float, int]:
    """Share of pairs (a[n], b[n + shift]) of (S, 4, 4) board poses that agree on one relative pose, and of how many."""
    n = len(a)
    low, high = max(0, -shift), min(n, n - shift)
    if high - low < MIN_PAIRS:
        return 0.0, 0
    one, two = a[low:high], b[low + shift : high + shift]
    both = np.flatnonzero(np.isfinite(one[:, 0, 0]) & np.isfinite(two[:, 0, 0]))
    if len(both) < MIN_PAIRS:
        return 0.0, 0
    some = both[np.unique(np.linspace(0, len(both) - 1, MOST_POSES).round().astype(int))]
    _, agree = relative(one[some], two[some], np.ones(len(some)))
    return agree / len(some), len(some)


def find_shift(a: Float, b: Float, numbers: tuple[int, int], most: int) -> Shift | None:
    """The shift by which two cameras agree far better than as they stand, or None where they agree already.

    a, b: (S, 4, 4) cam_from_board by frame set, NaN where there is none. A board that lies still agrees at any shift
    and so proves nothing: the best shift must beat no shift clearly, and its neighbourhood be better than the rest.
    """
    now, shared = _share(a, b, 0)
    if shared < MIN_PAIRS or now > 0.5:  # what was never seen together proves nothing: at some shift anything agrees
        return None
    shares = {k: _share(a, b, k)[0] for k in range(-most, most + 1)}
    best = max(shares, key=lambda k: (shares[k], -abs(k)))
    others = [v for k, v in shares.items() if abs(k - best) > 3 and v > 0]
    if best == 0 or shares[best] < 0.5 or shares[best] < now + 0.2:
        return None
    if others and shares[best] < max(others) + 0.1:
        return None
    return Shift(*numbers, best, shares[best], now)
