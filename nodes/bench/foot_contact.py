"""Feet that stand: how far they slide with the contact term and without, seen by synthetic cameras.

The walk is that of ``engines.synth.foot_walk``; no floor is told to the solver.
"""

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.solver import BodySolver, Fit
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.foot_walk import FPS_HZ, PLACES, FootWalk, foot_walk
from kinecast.engines.synth.moving_body import BENCH_DETECTOR, BENCH_RIG, SIGMA_PX, BodyMotion, observe_body
from kinecast.nodes.bench import Row

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def follow(body: BodyModel, motion: BodyMotion, contact: bool) -> list[Fit]:
    """The fits of all frames from four views."""
    cameras = camera_arrays(BENCH_RIG)
    px, confidence = observe_body(BENCH_RIG, motion.points, BENCH_DETECTOR)
    xy = np.stack([camera.undistort(px[:, c]) for c, camera in enumerate(BENCH_RIG)], axis=1)
    w = confidence * (cameras.focal_px[:, None] / SIGMA_PX) ** 2
    prior = retargeted(load_prior(), body).arrays
    solver = BodySolver(body, "halpe26", cameras, prior, BENCH_RIG.up_world, motion.betas, contact)
    fits = [solver.fit(round(i * 1e9 / FPS_HZ), 1, xy[i], w[i]) for i in range(len(xy))]
    return [f for f in fits if f is not None]


def slide_mps(fits: list[Fit], standing: Bool) -> float:
    """Mean speed of heels and toes of a foot that stands, m/s; the first 10 frames left out."""
    table = skeleton("halpe26")
    points = np.stack([f.points for f in fits])
    out = []
    for side, name in enumerate(("left", "right")):
        rows = [table.index(f"{name}_{p}") for p in ("heel", "big_toe", "small_toe")]
        speed = np.linalg.norm(np.diff(points[:, rows], axis=0), axis=-1).mean(axis=1) * FPS_HZ
        still = standing[1:, side] & standing[:-1, side]
        still[:10] = False
        out.append(speed[still])
    return float(np.concatenate(out).mean())


def support_m(fits: list[Fit], true: FootWalk) -> tuple[float, float]:
    """Mean height of what the feet rest on, as estimated from the points at rest, and as it is, in m."""
    table = skeleton("halpe26")
    rows = [table.index(f"{s}_{p}") for s in ("left", "right") for p in ("heel", "big_toe", "small_toe")]
    told, real = [], []
    for fit, points, standing in zip(fits, true.motion.points, true.standing, strict=True):
        at = np.isfinite(fit.rests[:, 2]) & np.repeat(standing, 3)
        told.append(fit.rests[at, 2])
        real.append(points[rows, 2][at])
    return float(np.concatenate(told).mean()), float(np.concatenate(real).mean())


def rows() -> list[Row]:
    """Foot slide with the contact term, before it in the note, and how high the support is thought to be."""
    body = load_body()
    out = []
    for place in PLACES:
        true = foot_walk(body, place)
        free, held = follow(body, true.motion, False), follow(body, true.motion, True)
        told, real = support_m(held, true)
        both = np.stack([f.contacts for f in held])
        found = float((both & true.standing)[10:].sum() / true.standing[10:].sum())
        note = (
            f"without the contact term {1e3 * slide_mps(free, true.standing):.0f}; standing seen {100 * found:.0f} %, "
        )
        note += f"moving held {100 * (both & ~true.standing)[10:].sum() / (~true.standing)[10:].sum():.0f} %, "
        note += f"rests at {told:.3f}, in truth {real:.3f} m"
        out.append(
            Row(f"body: slide of standing feet, {place}", 1e3 * slide_mps(held, true.standing), "mm/s", None, note)
        )
    return out
