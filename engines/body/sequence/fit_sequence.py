"""Bodies with the future known: one shape, and all poses of the sequence in one cost.

The live solver goes through once, which tells the shape and where to begin. Then the poses of the whole sequence are
fitted, smooth in time on both sides (:mod:`engines.body.sequence.solver`), and once more with the feet held where they
rest (:mod:`engines.body.sequence.foot_contacts`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.foot_contact import POINTS
from kinecast.engines.body.fit.kernels import NEAR_M
from kinecast.engines.body.fit.solver import (
    FLAG_CHILD,
    FLAG_GIANT,
    FLAG_RESIDUAL,
    FLAG_SHAPE_BEYOND,
    FLAG_SHAPE_OPEN,
    FLAG_SIDES,
    FLAG_UNITS,
    FORGET_NS,
    GATE_SIGMA,
    LEAST_EXPLAINED,
    POSE_SD_RAD,
    ROBUST_SIGMA,
    TURN_HZ,
    TURN_RAD,
    BodySolver,
    Fit,
    beyond,
)
from kinecast.engines.body.sequence.foot_contacts import detect_foot_contacts
from kinecast.engines.body.sequence.solver import SequenceSettings, SequenceSolution, SequenceSolver, Stretch
from kinecast.engines.observations import CameraArrays

Float = NDArray[np.float64]

FRAMES, MARGIN = 600, 30  # fitted at once, and those on either side that are fitted and not kept: memory stays small
STEPS, CONTACT_STEPS = 12, 8


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One person at one time. xy: (C, K, 2), w: (C, K), start: (K, 3), as for :meth:`BodySolver.fit`."""

    t_ns: int
    xy: Float
    w: Float
    start: Float


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """The frames of a person that have a first fit, as arrays; P: (C, 3, 4), focal_px: (C,)."""

    t_s: Float
    xy: Float
    w: Float
    P: Float
    focal_px: Float

    def stretch(self, rows: NDArray[np.int64]) -> Stretch:
        K = self.xy.shape[2]
        nothing = np.zeros((len(rows), K, 3)), np.zeros((len(rows), K, 3, 3))
        return Stretch(self.t_s[rows], self.P, self.xy[rows], self.w[rows], *nothing, FORGET_NS / 1e9)


def fit_sequence(
    solver: Callable[[Float | None], BodySolver],
    cameras: CameraArrays,
    frames: list[Frame],
    device: str = "auto",
    shape: Float | None = None,
    contact: bool = True,
    sure: bool = True,
) -> list[Fit | None]:
    """The bodies of one person in all frames, in order of time; None where nothing was ever seen.

    solver: makes a fresh live solver that holds a shape, or not (None). cameras: those of the frames. device: auto, cpu
    or cuda. shape: betas (B,), or constants of a :class:`Fit`, that are known and stay. contact: hold feet where they
    rest. sure: say how sure each joint is; without, the live solver's word stands and time is saved. Raises
    KinecastError where torch or the GPU asked for is not there.
    """
    live = solver(shape)
    found = [live.fit(f.t_ns, 0, f.xy, f.w, start=f.start) for f in frames]
    rows = [i for i, fit in enumerate(found) if fit is not None]
    if not rows:
        return found
    first = [fit for fit in found if fit is not None]
    w = np.stack([np.where(live.known & np.isfinite(frames[i].xy).all(axis=-1), frames[i].w, 0.0) for i in rows])
    xy = np.where(w[..., None] > 0, np.stack([frames[i].xy for i in rows]), 0.0)
    t_s = (np.array([frames[i].t_ns for i in rows], np.int64) - frames[rows[0]].t_ns) / 1e9
    track = _Track(t_s, xy, w, cameras.P, cameras.focal_px)
    constants = first[-1].constants  # the filter's, as live; fitting it again made it no better
    betas = constants[: live.body.betas]
    bones = live.bones._replace(offset=live.shapes.offset(constants))
    sequence = SequenceSolver(bones, live.prior, device)
    index = np.array(
        [live.names.index(n) if n in live.names and live.known[live.names.index(n)] else -1 for n in POINTS]
    )
    out: list[Fit | None] = list(found)
    for begin in range(0, len(rows), FRAMES):
        end = min(begin + FRAMES, len(rows))
        part = np.arange(max(begin - MARGIN, 0), min(end + MARGIN, len(rows)))
        solution, resting = _poses(sequence, track, first, betas, part, index if contact else None, sure)
        each = _fits(track, part, solution, resting, [replace(first[i], constants=constants) for i in part], sure)
        for i in range(begin, end):
            out[rows[i]] = each[i - part[0]]
    return out


def _poses(
    sequence: SequenceSolver, track: _Track, first: list[Fit], betas: Float, part: NDArray[np.int64],
    index: NDArray[np.int64] | None, sure: bool,
) -> tuple[SequenceSolution, NDArray[np.bool_]]:  # fmt: skip
    """The poses of consecutive frames ``part``, and (N, 6) which points of the feet, ``index``, rest."""
    stretch = track.stretch(part)
    dt = np.minimum(np.gradient(stretch.t_s), FORGET_NS / 1e9) if len(part) > 1 else np.full(1, FORGET_NS / 1e9)
    turn2 = (TURN_RAD * TURN_HZ * dt) ** 2  # as in the live solver, the prior counts by what is new in a frame
    rules = SequenceSettings(ROBUST_SIGMA**2, turn2 / (turn2 + POSE_SD_RAD**2), STEPS)
    R, t = np.stack([first[i].R for i in part]), np.stack([first[i].t for i in part])
    free = sequence.fit(stretch, R, t, betas, rules, sure and index is None)
    if index is None:
        return free, np.zeros((len(part), len(POINTS)), np.bool_)
    held = detect_foot_contacts(stretch.t_s, free.points, free.views_m, free.views_info, index)
    steps = CONTACT_STEPS if held.resting.any() else 0  # with no foot at rest it is only said how sure it is
    stretch = replace(stretch, X=held.X, info=held.info)
    out = sequence.fit(stretch, free.R, free.t, betas, rules._replace(steps=steps), sure)
    return replace(out, steps=free.steps + out.steps), held.resting


def _fits(
    track: _Track,
    part: NDArray[np.int64],
    s: SequenceSolution,
    resting: NDArray[np.bool_],
    first: list[Fit],
    sure: bool,
) -> list[Fit]:
    """What came of it, frame by frame, with how well the keypoints are explained."""
    q = np.einsum("cij,nkj->ncki", track.P[..., :3], s.points) + track.P[:, None, :, 3]
    off = q[..., :2] / np.maximum(q[..., 2:], NEAR_M) - track.xy[part]
    square, w = (off**2).sum(axis=-1), track.w[part]
    given = (w > 0).sum(axis=(1, 2))
    good = (w > 0) & (q[..., 2] >= NEAR_M) & (square * w <= GATE_SIGMA**2)
    px2 = np.where(good, square * track.focal_px[:, None] ** 2, 0.0).sum(axis=(1, 2))
    n = good.sum(axis=(1, 2))
    feet = np.asarray(resting.reshape(-1, 2, 3).any(axis=2))
    out = []
    for i, fit in enumerate(first):
        explained = float(n[i] / given[i]) if given[i] else float("nan")
        flags = fit.flags & ~(FLAG_RESIDUAL | FLAG_SHAPE_BEYOND | FLAG_CHILD | FLAG_GIANT | FLAG_SHAPE_OPEN)
        flags |= beyond(s.betas) | (FLAG_SHAPE_BEYOND if flags & FLAG_UNITS else 0)
        if flags & FLAG_SIDES or (given[i] and explained < LEAST_EXPLAINED):
            flags |= FLAG_RESIDUAL
        residual = float(np.sqrt(px2[i] / n[i])) if n[i] else float("nan")
        out.append(
            replace(
                fit, R=s.R[i], t=s.t[i], betas=s.betas, joints=s.joints[i], points=s.points[i],
                joint_sd_m=s.joint_sd_m[i] if sure else fit.joint_sd_m,
                turn_sd_rad=s.turn_sd_rad[i] if sure else fit.turn_sd_rad, residual_px=residual, explained=explained,
                flags=flags, contacts=feet[i], cost=s.cost / len(first), steps=s.steps,
            )
        )  # fmt: skip
    return out
