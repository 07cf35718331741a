"""New people from the detections that nobody got: pairs of views propose, all views judge, a body must come of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import applied
from kinecast.capture.refusals import Code
from kinecast.engines.associate.kernels import distances, pair_costs, pair_points, rays_of, stature
from kinecast.engines.observations import CameraArrays, Detections
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]
Int = NDArray[np.int64]

JOINTS_TO_INITIATE_TRACK = 5  # of a detection that may found a person, and of a pair that proposes one
RAY_CAP_M = 0.30
RAY_GATE_M = 0.12  # mean distance of the rays of a pair: keypoint noise, different ideas of a joint, calibration
SUPPORT_GATE_M = 0.16
MOST_PAIRS = 256  # that are looked at closely in one set
STATURE_M = (0.7, 2.4)  # toddlers to the tallest
LEAST_SOUND_BONES = 0.6

# Segment lengths as shares of stature: Winter, Biomechanics and Motor Control of Human Movement, after Drillis and
# Contini 1966; the hips of detectors are the joint centres, and the neck is between the shoulders.
_BONES = {
    ("shoulder", "elbow"): 0.186,
    ("elbow", "wrist"): 0.146,
    ("hip", "knee"): 0.245,
    ("knee", "ankle"): 0.246,
    ("shoulder", "hip"): 0.288,
}


def bone_table(name: str) -> tuple[Int, Float]:
    """(B, 2) joints and (B,) share of stature of the bones that a body is judged by."""
    s = skeleton(name)
    rows, share = [], []
    for (a, b), length in _BONES.items():
        for side in ("left", "right"):
            rows.append((s.index(f"{side}_{a}"), s.index(f"{side}_{b}")))
            share.append(length)
    return np.array(rows, np.int64), np.array(share)


def plausible(points_world_m: Float, bones: tuple[Int, Float]) -> tuple[NDArray[np.bool_], Float]:
    """Whether (P, J, 3) could be bodies, and the stature their bones imply (NaN: too few bones, so no body either)."""
    sound = np.empty(len(points_world_m))
    height = stature(points_world_m, bones[0], bones[1], 0.6, 1.6, sound)
    with np.errstate(invalid="ignore"):
        return (height > STATURE_M[0]) & (height < STATURE_M[1]) & (sound >= LEAST_SOUND_BONES), height


@dataclass(frozen=True, slots=True, eq=False)
class TrackProposals:
    """B proposed people. assigned: (B, C) detection in each view, −1 where none. points_world_m: (B, J, 3), rough.

    against: (B,) views that should see the person and have nothing there. refused: detections left over, by cause.
    """

    assigned: Int
    points_world_m: Float
    against: Int
    refused: dict[Code, int]


def _empty(cameras: int, joints: int, refused: dict[Code, int]) -> TrackProposals:
    return TrackProposals(np.zeros((0, cameras), np.int64), np.zeros((0, joints, 3)), np.zeros(0, np.int64), refused)


def propose_tracks(
    cameras: CameraArrays, found: Detections, free: NDArray[np.bool_], live: NDArray[np.bool_], flip: Int,
    bones: tuple[Int, Float], min_views: int,
) -> TrackProposals:  # fmt: skip
    """Group the free detections (N,) across views. live: (C,) cameras that have a message in this set.

    Every pair of detections whose rays pass near each other is a hypothesis; each other view supports it by its nearest
    detection. The best supported are taken first, and none of their detections is used again.
    """
    C, joints = len(cameras), found.xy.shape[1]
    count = np.count_nonzero(found.confidence > 0, axis=1)
    idx = np.flatnonzero(free & (count >= JOINTS_TO_INITIATE_TRACK))
    small = int(np.count_nonzero(free)) - len(idx)
    refused: dict[Code, int] = {"too_few_joints": small} if small else {}
    camera = found.camera[idx]
    if len(np.unique(camera)) < max(2, min_views):
        if len(idx):
            refused["too_few_views"] = len(idx)
        return _empty(C, joints, refused)
    xy, confidence = found.xy[idx], found.confidence[idx]
    rays = np.empty((len(idx), joints, 3))
    for c in np.unique(camera):
        rows = camera == c
        part = np.empty((int(rows.sum()), joints, 3))
        rays_of(cameras.P[c], xy[rows], part)
        rays[rows] = part
    cost = np.full((len(idx), len(idx)), np.inf)
    pair_costs(cameras.centre, rays, confidence, camera, RAY_CAP_M, JOINTS_TO_INITIATE_TRACK, cost)
    a, b = np.nonzero(cost < RAY_GATE_M)
    order = np.argsort(cost[a, b], kind="stable")[:MOST_PAIRS]
    a, b = a[order], b[order]
    X = np.empty((len(a), joints, 3))
    pair_points(cameras.centre, rays, confidence, camera, a, b, RAY_CAP_M, X)
    body, _ = plausible(X, bones)
    a, b, X = a[body], b[body], X[body]
    groups = _choose(cameras, xy, confidence, camera, a, b, X, flip, min_views)
    used = np.zeros(len(idx), np.bool_)
    assigned = np.full((len(groups), C), -1, np.int64)
    for g, (_, members) in enumerate(groups):
        used[members] = True
        assigned[g, camera[members]] = idx[members]
    if not used.all():
        refused["no_agreeing_view"] = int(np.count_nonzero(~used))
    if not groups:
        return _empty(C, joints, refused)
    points = np.stack([X[h] for h, _ in groups])
    return TrackProposals(assigned, points, _against(cameras, found, points, assigned, live, flip), refused)


def _choose(
    cameras: CameraArrays, xy: Float, confidence: Float, camera: Int, a: Int, b: Int, X: Float, flip: Int,
    min_views: int,
) -> list[tuple[int, Int]]:  # fmt: skip
    """Hypotheses and their members (rows of xy), best supported first, without a detection used twice."""
    H, n = len(a), len(xy)
    if not H:
        return []
    cost, flipped = np.empty((H, n)), np.empty((H, n), np.bool_)
    distances(cameras.P, X, xy, confidence, camera, flip, RAY_CAP_M, JOINTS_TO_INITIATE_TRACK, cost, flipped)
    gain = np.clip(1 - cost / SUPPORT_GATE_M, 0.0, None)
    gain *= np.minimum(np.count_nonzero(confidence > 0, axis=1), 12) / 12  # a whole body counts for more than a part
    rows = np.arange(H)
    gain[rows, a], gain[rows, b] = np.maximum(gain[rows, a], 1e-3), np.maximum(gain[rows, b], 1e-3)
    out: list[tuple[int, Int]] = []
    free = np.ones(n, np.bool_)
    present = np.unique(camera)
    alive = np.ones(H, np.bool_)
    while alive.any():
        g = np.where(free, gain, 0.0)
        best = np.stack([g[:, camera == c].max(axis=1) for c in present], axis=1)  # (H, views)
        score = np.where(alive, best.sum(axis=1), -1.0)
        h = int(np.argmax(score))
        members = [
            int(np.flatnonzero(camera == c)[np.argmax(g[h, camera == c])])
            for k, c in enumerate(present)
            if best[h, k] > 0
        ]
        # the pair that proposed must be part of what it proposed
        if not (a[h] in members and b[h] in members) or len(members) < max(2, min_views):
            alive[h] = False
            continue
        out.append((h, np.array(members, np.int64)))
        free[members] = False
        alive &= free[a] & free[b]
    return out


def _against(
    cameras: CameraArrays, found: Detections, X: Float, assigned: Int, live: NDArray[np.bool_], flip: Int
) -> Int:
    """(B,) live views in which a proposed person stands well inside the picture and nothing at all was found."""
    cost, flipped = np.empty((len(X), len(found))), np.empty((len(X), len(found)), np.bool_)
    distances(cameras.P, X, found.xy, found.confidence, found.camera, flip, 1.0, 3, cost, flipped)
    out = np.zeros(len(X), np.int64)
    for c in np.flatnonzero(live):
        cam = applied(cameras.P[c, :, :3], X) + cameras.P[c, :, 3]
        with np.errstate(invalid="ignore", divide="ignore"):
            px = cam[..., :2] / cam[..., 2:] * cameras.focal_px[c] + cameras.K[c, :2, 2]
            inside = (cam[..., 2] > 0.1) & (px > 0).all(axis=-1) & (px < cameras.size_px[c]).all(axis=-1)
        known = np.isfinite(X[..., 0]).sum(axis=1)
        seen = inside.sum(axis=1) >= 0.7 * np.maximum(known, 1)
        a, b = found.start[c], found.start[c + 1]
        somebody = (cost[:, a:b] < 0.5).any(axis=1) if b > a else np.zeros(len(X), np.bool_)
        out += seen & (assigned[:, c] < 0) & ~somebody
    return out
