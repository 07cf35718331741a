"""Known people first: each view's detections are given to the people that are expected there.

Distances are in metres at the person, so one gate serves every focal length and every distance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kinecast.capture.compiled import kernel
from kinecast.engines.associate.kernels import distances
from kinecast.engines.observations import CameraArrays, Detections

Float = NDArray[np.float64]
Int = NDArray[np.int64]

JOINTS_TO_MATCH = 3  # a match needs so many joints that both have
NEAR_M, FAR_M = (
    0.12,
    0.25,
)  # a single joint is taken from elsewhere where its own is further off than FAR and the other within NEAR
DUPLICATE_M = 0.15  # a detection nobody got, this near to a person, is that person seen twice


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """assigned: (P, C) detection of each person in each view, −1 where none. owner: (N,) person of each detection, −1.

    duplicate: (N,) bool, detections of a person who has another one in that view.
    """

    assigned: Int
    owner: Int
    duplicate: NDArray[np.bool_]


def match(
    cameras: CameraArrays, found: Detections, expected_world_m: Float, gate_m: Float, flip: Int, cap_m: float = 0.45
) -> Matches:
    """Give each view's detections to the people expected at (P, J, 3): Hungarian method, within ``gate_m`` (P,)."""
    people, n = len(expected_world_m), len(found)
    assigned = np.full((people, len(cameras)), -1, np.int64)
    owner = np.full(n, -1, np.int64)
    if not people or not n:
        return Matches(assigned, owner, np.zeros(n, np.bool_))
    cost, flipped = np.empty((people, n)), np.empty((people, n), np.bool_)
    distances(
        cameras.P,
        expected_world_m,
        found.xy,
        found.confidence,
        found.camera,
        flip,
        cap_m,
        JOINTS_TO_MATCH,
        cost,
        flipped,
    )
    if _uncontested(cost, gate_m, found.start, assigned, owner):
        return Matches(assigned, owner, _duplicate(cost, owner))
    gain = np.minimum(cost - gate_m[:, None], 0.0)  # 0: out of reach, and then as good as no match
    hit = gain < 0
    for c in range(len(cameras)):
        a, b = found.start[c], found.start[c + 1]
        view = hit[:, a:b]
        if not view.any():
            continue
        p, k = linear_sum_assignment(gain[:, a:b])
        fine = view[p, k]
        p, k = p[fine], k[fine]
        assigned[p, c] = a + k
        owner[a + k] = p
    return Matches(assigned, owner, _duplicate(cost, owner))


def _duplicate(cost: Float, owner: Int) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = (owner < 0) & (cost.min(axis=0) < DUPLICATE_M)
    return out


@kernel
def _uncontested(cost, gate, start, assigned, owner):  # type: ignore[no-untyped-def]
    """Give every detection to the one person in reach. False, and nothing given, where somebody has a choice."""
    people = cost.shape[0]
    for n in range(cost.shape[1]):
        for p in range(people):
            if cost[p, n] < gate[p]:
                if owner[n] >= 0:
                    assigned[:] = -1
                    owner[:] = -1
                    return False
                owner[n] = p
    for c in range(len(start) - 1):
        for n in range(start[c], start[c + 1]):
            if owner[n] >= 0:
                if assigned[owner[n], c] >= 0:
                    assigned[:] = -1
                    owner[:] = -1
                    return False
                assigned[owner[n], c] = n
    return True


@kernel
def _compose(P, X, assigned, owner, start, xy, confidence, near, far, out_xy, out_confidence):  # type: ignore[no-untyped-def]
    people, C = assigned.shape
    J = xy.shape[1]
    borrowed = 0
    for p in range(people):
        for c in range(C):
            own = assigned[p, c]
            M = P[c]
            for j in range(J):
                out_xy[p, c, j] = np.nan
                out_confidence[p, c, j] = 0.0
                if own >= 0 and confidence[own, j] > 0:
                    out_xy[p, c, j] = xy[own, j]
                    out_confidence[p, c, j] = confidence[own, j]
                if start[c + 1] - start[c] < (2 if own >= 0 else 1) or not np.isfinite(X[p, j, 0]):
                    continue
                x = X[p, j]
                z = M[2, 0] * x[0] + M[2, 1] * x[1] + M[2, 2] * x[2] + M[2, 3]
                if not z > 0.05:
                    continue
                u = M[0, 0] * x[0] + M[0, 1] * x[1] + M[0, 2] * x[2] + M[0, 3]
                v = M[1, 0] * x[0] + M[1, 1] * x[1] + M[1, 2] * x[2] + M[1, 3]
                if out_confidence[p, c, j] > 0:
                    d = np.hypot(u - z * xy[own, j, 0], v - z * xy[own, j, 1])
                    if d < far:
                        continue
                best = near
                for n in range(start[c], start[c + 1]):
                    if n == own or not confidence[n, j] > 0:
                        continue
                    d = np.hypot(u - z * xy[n, j, 0], v - z * xy[n, j, 1])
                    if d >= best:
                        continue
                    o = owner[n]
                    if o >= 0 and o != p:  # somebody else's: only what lies far from where they have it
                        y = X[o, j]
                        t = M[2, 0] * y[0] + M[2, 1] * y[1] + M[2, 2] * y[2] + M[2, 3]
                        if not t > 0.05:
                            continue
                        e0 = M[0, 0] * y[0] + M[0, 1] * y[1] + M[0, 2] * y[2] + M[0, 3] - t * xy[n, j, 0]
                        e1 = M[1, 0] * y[0] + M[1, 1] * y[1] + M[1, 2] * y[2] + M[1, 3] - t * xy[n, j, 1]
                        if not np.hypot(e0, e1) > far:
                            continue
                    best = d
                    out_xy[p, c, j] = xy[n, j]
                    out_confidence[p, c, j] = confidence[n, j]
                    borrowed += 1
    return borrowed


def compose(
    cameras: CameraArrays, found: Detections, expected_world_m: Float, assigned: Int, owner: Int
) -> tuple[Float, Float]:
    """What every view says of every person: xy (P, C, J, 2) and confidence (P, C, J).

    Mostly the rows of the assigned detections. A joint that a person's own detection lacks, or has more than FAR_M
    from where it is expected, is taken from another detection of the view that has it within NEAR_M: half a person, a
    person found twice, or two people in one box. Another person's joint is taken only where it is far from that person.
    """
    people, C = assigned.shape
    joints = found.xy.shape[1]
    xy, confidence = np.empty((people, C, joints, 2)), np.empty((people, C, joints))
    _compose(
        cameras.P,
        expected_world_m,
        assigned,
        owner,
        found.start,
        found.xy,
        found.confidence,
        NEAR_M,
        FAR_M,
        xy,
        confidence,
    )
    return xy, confidence
