"""Shapes of people under a detector that is wrong in the same way all the time: six people who live for ten minutes.

Each is seen by four cameras through the habits of a detector (:mod:`engines.synth.lasting`), which the solver knows as
a mean and a spread between people and scenes. What settles, when, how far off, and whether it stays.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.solver import FLAG_QUESTIONED, FLAG_SHAPE_BEYOND, FLAG_SHAPE_OPEN, BodySolver
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.lasting import SHAPES, lasting_scene
from kinecast.nodes.bench import Row
from kinecast.nodes.fusion.bodies import COMMON, PERSISTENT
from kinecast.nodes.fusion.detector_habits import habit_prior

Float = NDArray[np.float64]

DETECTOR, SECONDS, RATE_HZ, SIGMA_PX = "blazepose-heavy", 600.0, 12.5, 5.0
LIMBS = [
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
]


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """Of one person: errors of the stature (T,), m; largest beta; limbs (8,) over the true ones; seconds until settled;
    frames flagged beyond the body or questioned; mean error of the joints, m, from 10 s on."""

    stature_m: Float
    beta: float
    limbs: Float
    open_s: float
    flagged: int
    joints_m: float


def live(shape: int, seed: int, detector: str = DETECTOR, seconds: float = 0.0, rate_hz: float = 0.0) -> Life:
    """One of ``SHAPES`` through a detector, the habits of which differ by the seed; 0: ``SECONDS``, ``RATE_HZ``."""
    seconds, rate_hz = seconds or SECONDS, rate_hz or RATE_HZ
    scene = lasting_scene(detector, seconds=seconds, shapes=SHAPES[shape : shape + 1], seed=seed, rate_hz=rate_hz)
    body = load_body()
    solver = BodySolver(
        body, "halpe26", camera_arrays(scene.rig), retargeted(load_prior(), body).arrays, scene.rig.up_world,
        persistent=PERSISTENT, common=COMMON, habits=habit_prior(body, detector),
    )  # fmt: skip
    motion, true = scene.people.motions[0], body.stature_m(SHAPES[shape])
    off, flags, betas, error, last = [], [], 0.0, [], np.zeros((24, 3))
    for frame, joints in zip(scene.observations(sigma_px=SIGMA_PX), motion.joints, strict=True):
        fit = solver.fit_all(frame.t_ns, frame.ids, frame.xy, frame.w)[0]
        if fit is None:
            continue
        off.append(body.stature_m(fit.betas) - true)
        flags.append(fit.flags)
        betas = max(betas, float(np.abs(fit.betas).max()))
        last = fit.joints
        if frame.t_ns >= 10e9:
            error.append(float(np.linalg.norm(fit.joints - joints, axis=-1).mean()))
    bits = np.array(flags)
    return Life(
        np.array(off), betas, _lengths(last) / _lengths(motion.joints[-1]),
        float((bits & FLAG_SHAPE_OPEN > 0).sum()) / rate_hz,
        int((bits & (FLAG_SHAPE_BEYOND | FLAG_QUESTIONED) > 0).sum()), float(np.mean(error)) if error else np.nan,
    )  # fmt: skip


def _lengths(joints: Float) -> Float:
    index = skeleton("smpl24").index
    return np.array([np.linalg.norm(joints[index(a)] - joints[index(b)]) for a, b in LIMBS])


def run() -> list[Row]:
    """A row for each of six people, each with another temper of the detector, and one without habits."""
    rows = []
    for shape in range(len(SHAPES)):
        rows.append(_row(f"shape {shape}, {DETECTOR}", live(shape, shape + 1)))
    return [*rows, _row("shape 0, white noise", live(0, 1, "white"))]


def _row(name: str, one: Life) -> Row:
    ten = min(round(10 * RATE_HZ), len(one.stature_m) - 1)
    drift = 1e3 * float(np.ptp(one.stature_m[ten:]))
    note = (
        f"after 10 s {1e3 * one.stature_m[ten]:.0f}, then moves by {drift:.1f}; settled after {one.open_s:.1f} s; "
        f"betas within {one.beta:.1f}; limbs to {100 * np.abs(one.limbs - 1).max():.1f} %; flagged {one.flagged}; "
        f"joints {1e3 * one.joints_m:.0f} mm"
    )
    return Row(f"stature: {name}", 1e3 * abs(float(one.stature_m[-1])), "mm", 10.0, note)
