"""The body solver alone, per person-frame on one core: time, and how far from the truth it ends.

Synthetic views: 4 px of noise, 5 % outliers, 15 % missing. What keypoints cannot see, the twist of forearm and hand, is
told with the uncertainty that the fit states of it, beside its error.
"""

import time

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.solver import FLAG_SHAPE_OPEN, BodyObservations, BodySolver, Fit
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import rotvecs
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.body.prior.twist_uncertainty import inflate_twist_sd
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.moving_body import (
    BENCH_RIG,
    FRAMES,
    BodyMotion,
    body_observations,
    moving_body,
)
from kinecast.nodes.bench import Row, body_other_solvers, foot_contact
from kinecast.nodes.evaluate.body_view_ablation import Scores, from_views

Float = NDArray[np.float64]

LIMBS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
SHAPES = 6  # bodies of the stature row, of which half are extreme: betas of 2.5 standard deviations


def fresh(body: BodyModel) -> BodySolver:
    """A solver that knows nobody."""
    prior = retargeted(load_prior(), body).arrays
    return BodySolver(body, "halpe26", camera_arrays(BENCH_RIG), prior, BENCH_RIG.up_world)


def measured(motion: BodyMotion, frames: list[BodyObservations]) -> tuple[list[Fit], Float]:
    """Fits and ms of each frame, from all views."""
    solver = fresh(load_body())
    fits, took = [], []
    for frame in frames:
        start = time.thread_time()
        fit = solver.fit_all(frame.t_ns, frame.ids, frame.xy, frame.w)[0]
        took.append(1e3 * (time.thread_time() - start))
        assert fit is not None
        fits.append(fit)
    return fits, np.array(took)


def bone_deg(joints: Float, truth: Float) -> float:
    """Median angle in degrees between the limbs of (T, 24, 3) and the truth's."""
    table = skeleton("smpl24")
    pairs = [(table.index(f"{s}_{a}"), table.index(f"{s}_{b}")) for s in ("left", "right") for a, b in LIMBS]

    def directions(p: Float) -> Float:
        d = np.stack([p[:, b] - p[:, a] for a, b in pairs], axis=1)
        return np.asarray(d / np.linalg.norm(d, axis=-1, keepdims=True))

    cosine = np.clip((directions(joints) * directions(truth)).sum(axis=-1), -1, 1)
    return float(np.median(np.rad2deg(np.arccos(cosine))))


def flexion_deg(joints: Float, truth: Float, chain: tuple[str, str, str]) -> tuple[float, float]:
    """Median and 95th percentile of the error in degrees of the bend at the middle joint of a limb, both sides."""
    table = skeleton("smpl24")

    def bend(p: Float) -> Float:
        out = []
        for s in ("left", "right"):
            a, b, c = (p[:, table.index(f"{s}_{n}")] for n in chain)
            u, v = b - a, c - b
            cosine = (u * v).sum(axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
            out.append(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
        return np.stack(out)

    off = np.abs(bend(joints) - bend(truth))
    return float(np.median(off)), float(np.percentile(off, 95))


def twist_deg(fits: list[Fit], motion: BodyMotion, joint: str) -> tuple[float, str]:
    """RMS error in degrees of a joint's turn about its bone (the arm's x axis), both sides, and what was stated."""
    table = skeleton("smpl24")
    rows = [table.index(f"{s}_{joint}") for s in ("left", "right")]
    off = rotvecs(np.swapaxes(motion.rotations[:, rows], -1, -2) @ np.stack([f.R[rows] for f in fits]))[..., 0]
    sd = inflate_twist_sd(np.stack([f.turn_sd_rad for f in fits]))[:, rows, 0]
    inside = [100 * float(np.mean(np.abs(off) < k * sd)) for k in (1, 2)]
    met, told = (float(np.rad2deg(np.sqrt(np.mean(x**2)))) for x in (off, sd))
    return met, f"RMS; stated ± {told:.0f}; inside 1, 2 σ {inside[0]:.0f} / {inside[1]:.0f} %"


def stature_mm(seed: int, extreme: bool) -> tuple[float, float]:
    """Error of the stature once it is held, and the truth in m, of one body: drawn, or with betas of ± 2.5."""
    body = load_body()
    rng = np.random.default_rng((seed, 28))
    betas = np.sign(rng.normal(size=body.betas)) * 2.5 if extreme else None
    motion = moving_body(body, keypoint_terms(body, "halpe26"), FRAMES, betas=betas, seed=seed)
    fits, _ = measured(motion, body_observations(motion, seed))
    true = body.stature_m(motion.betas)
    return 1e3 * abs(body.stature_m(fits[-1].betas) - true), true


def by_views(motion: BodyMotion, frames: list[BodyObservations]) -> list[Scores]:
    """From 4, 3, 2 and 1 views."""
    truth = [{1: joints} for joints in motion.joints]
    found = [from_views(lambda: fresh(load_body()), frames, truth, n) for n in (4, 3, 2, 1)]
    return [s for s in found if s is not None]


def run() -> list[Row]:
    """Time and accuracy on one moving body, from fewer views, of other shapes, its feet, and beside other solvers."""
    body = load_body()
    motion = moving_body(body, keypoint_terms(body, "halpe26"), FRAMES, seed=1)
    frames = body_observations(motion, 1)
    measured(motion, frames[:3])  # compiled, or loaded from the cache
    fits, took = measured(motion, frames)
    joints = np.stack([f.joints for f in fits])
    held = np.array([not f.flags & FLAG_SHAPE_OPEN for f in fits])
    rows = [
        Row("body: fit of one, shape held", float(np.median(took[held])), "ms", 0.3,
            f"shape open {np.median(took[~held]):.2f}"),
        Row("body: limb directions", bone_deg(joints, motion.joints), "°", 3.0, "median of 8 limbs"),
    ]  # fmt: skip
    for name, chain in (("elbows", ("shoulder", "elbow", "wrist")), ("knees", ("hip", "knee", "ankle"))):
        middle, most = flexion_deg(joints, motion.joints, chain)
        rows.append(Row(f"body: flexion of {name}", middle, "°", None, f"median; p95 {most:.1f}"))
    for name, joint in (("forearm", "elbow"), ("hand", "wrist")):
        off, note = twist_deg(fits, motion, joint)
        rows.append(Row(f"body: twist of the {name}, not claimed", off, "°", None, note))
    for s in by_views(motion, frames):
        inside = " / ".join(f"{100 * x:.0f}" for x in s.inside)
        note = (
            f"median {1e3 * np.median(s.error_m):.1f}; stated / met {s.stated_of_met:.2f}; inside 1, 2, 3 σ {inside} %"
        )
        aim = 16.5 if s.views == 4 else None
        rows.append(Row(f"body, {s.views} views: 24 joints", 1e3 * float(s.error_m.mean()), "mm", aim, note))
    for name, extreme in (("drawn", False), ("extreme", True)):
        each = [stature_mm(seed, extreme) for seed in range(SHAPES // 2)]
        note = "the worst; " + ", ".join(f"{mm:.0f} of {m:.2f} m" for mm, m in each)
        rows.append(Row(f"body: stature, {SHAPES // 2} {name} shapes", max(mm for mm, _ in each), "mm", 10.0, note))
    return rows + foot_contact.rows() + body_other_solvers.rows()
