"""A whole rig from people, without a board: places in metres above the floor, and whether to believe them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.people.camera_poses import CameraPoses, pose_error
from kinecast.calibration.people.initialise import STATURE_M, InitialRig, initialise, refit
from kinecast.calibration.people.metric_world import Ground, Metres, ground, into_world
from kinecast.calibration.people.walk import Walk

Float = NDArray[np.float64]

LEAST_ROWS, LEAST_S = 20, 1.0
STANDS = 0.05  # of a person's height in the picture: whose middle wanders less in every view stands still
LINE = 0.12  # of the length of the way: who strays less walks along a line
FLAT_M = 0.06  # standard deviation of all joints across their plane
GOOD = 0.005  # of the widest distance of two cameras: halves that differ by more are no calibration

ToMetres = Callable[[CameraPoses, Float], Metres]


@dataclass(frozen=True, slots=True, eq=False)
class RigFromPeople:
    """A rig from people. places: in metres, z up; points: (N, J, 3) there. index: cameras of the walk that are in it.

    halves_m: (C,) between rigs of the two halves of the time, at one scale; sigma_m: (C,) of the place; depth_m: median
    distance of the people. verdict: ``good`` or ``refused``; advice: a sentence; warnings: more of them.
    """

    found: InitialRig
    places: CameraPoses
    points: Float
    index: tuple[int, ...]
    median_px: float
    halves_m: Float
    sigma_m: Float
    clock_sigma_s: Float
    metres: Metres
    ground: Ground
    verdict: str
    advice: str
    warnings: tuple[str, ...]

    @property
    def widest_m(self) -> float:
        """Widest distance of two cameras."""
        c = self.places.centres
        return float(np.linalg.norm(c[:, None] - c, axis=-1).max())


def faults(walk: Walk) -> list[str]:
    """Why a walk cannot tell where cameras stand, each with its remedy; nothing where it may."""
    if len(walk) < LEAST_ROWS or walk.span_s < LEAST_S:
        return [
            f"only {len(walk)} instants within {walk.span_s:.1f} s in which two cameras see the person: record "
            "somebody who walks about for half a minute"
        ]
    joints = list(walk.roles.used)
    xy = np.where(walk.seen()[..., None], walk.xy, np.nan)[:, :, joints]
    wander = []
    for c in range(len(walk.cameras)):
        own = xy[:, c][np.isfinite(xy[:, c]).all(axis=-1).sum(axis=1) >= 4]
        if len(own) >= LEAST_ROWS:
            tall = float(np.median(np.nanmax(own[..., 1], axis=1) - np.nanmin(own[..., 1], axis=1)))
            wander.append(float(np.nanmedian(own, axis=1).std(axis=0).max()) / max(tall, 1e-9))
    if wander and max(wander) < STANDS:
        return [
            "the person stands still, so every moment tells the same: walk through all of the space, to and fro and "
            "across"
        ]
    return []


def links(walk: Walk, found: InitialRig) -> list[str]:
    """One line for every group of cameras that does not hang together with the largest, with what to film."""
    out = []
    main = found.groups[0]
    names = walk.cameras
    for group in found.groups[1:]:
        between = [p for p in found.pairs if (p.a in group and p.b in main) or (p.b in group and p.a in main)]
        nearest = max(between, key=lambda p: p.shared)
        who = ", ".join(names[i] for i in group)
        out.append(
            f"no link between {who} and the other cameras; nearest are {names[nearest.a]} and {names[nearest.b]}: "
            f"{nearest.why}; film the person walking where {names[nearest.a]} and {names[nearest.b]} see them at once"
        )
    return out


def build(walk: Walk, metres: ToMetres, stature_m: float | None, seed: int = 0) -> RigFromPeople | list[str]:
    """The rig of a walk that has no ``faults``, or why no two cameras hang together.

    metres: from the places of the cameras found and the points, both in the units of ``scratch.initialise``. stature_m:
    where it is known, for the height of ankles above the floor.
    """
    found = initialise(walk, seed)
    if found.bundle is None:
        return links(walk, found)
    mine = walk.of_cameras(np.array(found.index))
    size = metres(found.bundle.places, found.bundle.points)
    if not np.isfinite(size.factor):
        return [f"no scale: {size.source}"]
    points = size.factor * found.bundle.points
    below = ground(mine, points, stature_m or size.factor * STATURE_M)
    places, placed = into_world(found.bundle.places, found.bundle.points, size.factor, below)
    one, two = (refit(half, found) for half in walk.halves())
    between, angle = pose_error(one, two)
    depth = np.nanmedian(np.linalg.norm(placed[:, list(walk.roles.used), None] - places.centres, axis=-1))
    halves = size.factor * between if len(places) > 2 else angle * depth
    cov = np.diag(found.bundle.cov).reshape(-1, 7)
    sigma = size.factor * np.sqrt(cov[:, 3:6].sum(axis=1))
    if len(places) == 2:
        sigma = np.sqrt(cov[:, :3].sum(axis=1)) * depth
    answer = RigFromPeople(
        found, places, placed, found.index, found.bundle.median_px, np.asarray(halves), np.asarray(sigma),
        np.sqrt(cov[:, 6]), size, below, "", "", (),
    )  # fmt: skip
    return _judged(walk, answer)


def _judged(walk: Walk, answer: RigFromPeople) -> RigFromPeople:
    def rms(v: Float) -> float:
        return float(np.sqrt(np.mean(v**2)))

    warnings = links(walk, answer.found)
    used = answer.points[:, list(walk.roles.used)].reshape(-1, 3)
    used = used[np.isfinite(used).all(axis=1)]
    flat = float(np.linalg.svd(used - used.mean(axis=0), compute_uv=False)[2] / np.sqrt(len(used)))
    way = np.nanmedian(answer.points[:, list(walk.roles.used), :2], axis=1)
    way = way[np.isfinite(way).all(axis=1)]
    s = np.linalg.svd(way - way.mean(axis=0), compute_uv=False) / np.sqrt(len(way))
    if not answer.ground.floor:
        warnings.append(f"{answer.ground.source}: walk along and across so that the feet span the floor")
    limit = GOOD * answer.widest_m
    worst = max(rms(answer.halves_m), rms(answer.sigma_m))
    reason = "the recording is too short or the person too seldom seen"
    if flat < FLAT_M:
        reason = "all joints lie in one plane"
    elif s[0] < 0.3:
        reason = f"the person stays within {4 * s[0]:.1f} m"
    elif s[1] < LINE * s[0]:
        reason = "the person walks along one line"
    figures = (
        f"rigs from either half differ by {1e3 * rms(answer.halves_m):.0f} mm and places are known to "
        f"{1e3 * rms(answer.sigma_m):.0f} mm (1 σ), at cameras up to {answer.widest_m:.1f} m apart"
    )
    if worst > limit or flat < FLAT_M:
        return replace(
            answer, verdict="refused", warnings=tuple(warnings),
            advice=f"not to be used: {figures}; {reason}: walk through all of the space, to and fro and across, for "
            "half a minute",
        )  # fmt: skip
    return replace(
        answer, verdict="good", warnings=tuple(warnings), advice=f"usable: {figures}; {answer.metres.source}"
    )
