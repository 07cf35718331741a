"""All cameras of a rig from people alone: pairs, a graph of them, then one bundle over everything."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.people.bundle import Bundle, adjust, data_of, triangulated
from kinecast.calibration.people.camera_poses import CameraPoses
from kinecast.calibration.people.kernels import total_cost
from kinecast.calibration.people.relative_pose import Pair, bone_scale, pair_of
from kinecast.calibration.people.walk import Walk

Float = NDArray[np.float64]

STATURE_M = 1.7  # of the time before the scale is known: links of one rig must only agree with each other
WIDE, NARROW = 15.0, 4.0  # scales of the robust loss, in σ
CLEAR, LEAST_CLOCK_S = 3.0, 0.001


@dataclass(frozen=True, slots=True, eq=False)
class InitialRig:
    """Cameras from scratch. bundle: scaled to limbs of a person of ``STATURE_M``, the world that of the first camera.

    pairs: all of them; groups: cameras that hang together, the largest first; bundle is of those of the first group, in
    ``index`` (into the walk's cameras), None where no two hang together. clocks: whether clocks are part of it.
    """

    pairs: tuple[Pair, ...]
    groups: tuple[tuple[int, ...], ...]
    index: tuple[int, ...]
    bundle: Bundle | None
    clocks: bool


def initialise(walk: Walk, seed: int = 0) -> InitialRig:
    """Where the cameras of a walk stand, from the walk alone; see ``InitialRig``."""
    C = len(walk.cameras)
    pairs = tuple(pair_of(walk, a, b, STATURE_M, seed) for a, b in combinations(range(C), 2))
    groups = _groups(C, pairs)
    index = groups[0]
    if len(index) < 2:
        return InitialRig(pairs, groups, index, None, False)
    mine = walk.of_cameras(np.array(index))
    start = min(
        (_chained(index, pairs, root, power) for root in index for power in (1.0, 0.5)), key=lambda p: _cost(mine, p)
    )
    few = mine.rows(np.isin(np.arange(len(mine)), np.linspace(0, len(mine) - 1, min(150, len(mine))).astype(int)))
    rough = adjust(few, start, scale=WIDE, sigma_factor=2.0).places
    bundle = adjust(mine, rough, scale=NARROW)
    timed = adjust(mine, bundle.places, clocks=True, scale=NARROW)
    sigma = np.sqrt(np.diag(timed.cov)[6::7])
    clocks = bool((np.abs(timed.places.delta_s) > np.maximum(CLEAR * sigma, LEAST_CLOCK_S)).any())
    return InitialRig(pairs, groups, index, _scaled(timed if clocks else bundle, mine), clocks)


def refit(walk: Walk, found: InitialRig) -> CameraPoses:
    """The same rig from another walk (a half of it), from where it was found."""
    assert found.bundle is not None
    return adjust(walk.of_cameras(np.array(found.index)), found.bundle.places, clocks=found.clocks).places


def _scaled(bundle: Bundle, walk: Walk) -> Bundle:
    """The bundle in metres of a person of ``STATURE_M``, the first camera's frame as the world."""
    size = bone_scale(bundle.points, walk.roles, STATURE_M)
    size = size if np.isfinite(size) else 1.0
    R, t = bundle.places.R[0], bundle.places.t[0]
    places = bundle.places.in_world(size, R, size * t)
    grow = np.tile([1, 1, 1, size, size, size, 1.0], len(places))
    return Bundle(
        places, size * (bundle.points @ R.T + t), bundle.cov * np.outer(grow, grow), bundle.normal, bundle.residual_px,
        bundle.cost, bundle.sigma_factor,
    )  # fmt: skip


def _groups(C: int, pairs: tuple[Pair, ...]) -> tuple[tuple[int, ...], ...]:
    of = list(range(C))
    for p in pairs:
        if not p.why and of[p.a] != of[p.b]:
            old, new = of[p.b], of[p.a]
            of = [new if g == old else g for g in of]
    groups = [tuple(i for i in range(C) if of[i] == g) for g in sorted(set(of))]
    return tuple(sorted(groups, key=lambda g: (-len(g), g)))


def _chained(index: tuple[int, ...], pairs: tuple[Pair, ...], root: int, power: float) -> CameraPoses:
    """Places along the links of most worth, grown from ``root`` (Prim's algorithm); power: what a long way costs."""
    R, t, far = {root: np.eye(3)}, {root: np.zeros(3)}, {root: 0}
    while len(R) < len(index):
        open_ = [p for p in pairs if not p.why and (p.a in R) != (p.b in R) and p.a in index]
        p = max(open_, key=lambda p: p.worth * power ** far[p.a if p.a in R else p.b])
        assert p.R is not None and p.t is not None
        if p.a in R:
            R[p.b], t[p.b], far[p.b] = p.R @ R[p.a], p.R @ t[p.a] + p.t, far[p.a] + 1
        else:
            R[p.a], t[p.a], far[p.a] = p.R.T @ R[p.b], p.R.T @ (t[p.b] - p.t), far[p.b] + 1
    return CameraPoses(np.stack([R[i] for i in index]), np.stack([t[i] for i in index]), np.zeros(len(index)))


def _cost(walk: Walk, places: CameraPoses) -> float:
    few = walk.rows(np.isin(np.arange(len(walk)), np.linspace(0, len(walk) - 1, min(60, len(walk))).astype(int)))
    data = data_of(few)
    X = triangulated(few, places, WIDE).points[data.row, data.joint]
    args = (places.R, places.t, places.delta_s, X, data.xy, data.velocity, 2.0 * data.sigma, WIDE**2)
    return float(total_cost(*args))
