"""Feet that stand: how far they slide with the contact term and without, seen by synthetic cameras.

The walk is made here: a free body whose ankles are put, by analytic inverse kinematics of the legs, on footprints that
stay where they are while a foot stands. On the ground all footprints lie at zero; on a beam they are 0.3 m up and in
one line; on stairs every one is 0.15 m above the one before. No floor is told to the solver.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.initialise import swing
from kinecast.engines.body.fit.solver import BodySolver, Fit
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import ring_rig
from kinecast.engines.synth.moving_body import UPRIGHT, Motion, observe, posed
from kinecast.nodes.bench import Row

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

SIGMA_PX, OUTLIERS, MISSING, FPS = 4.0, 0.05, 0.15, 30.0
FRAMES, STEP_S, STAND, STRIDE_M, LIFT_M = 240, 0.7, 0.62, 0.5, 0.12  # a foot stands for 62 % of two steps
PLACES = ("ground", "beam", "stairs")
RIG = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """standing: (T, 2) which foot rests, left and right; height_m: (T, 2) of its print, NaN in the air."""

    motion: Motion
    standing: Bool
    height_m: Float


def _prints(place: str, t_s: Float, side: int) -> tuple[Float, Bool]:
    """(T, 3) where the ankle is asked to be over the sole's height, and (T,) whether it stands, along x from −2 m."""
    cycle = t_s / (2 * STEP_S) + 0.5 * side
    n, phase = np.floor(cycle), cycle % 1.0
    standing = phase < STAND
    go = np.clip((phase - STAND) / (1 - STAND), 0, 1)
    s = go * go * (3 - 2 * go)
    x = -2.0 + STRIDE_M * (2 * (n + s) - side)
    y = np.full_like(x, {"beam": 0.02}.get(place, 0.09) * (1 - 2 * side))
    rise = {"ground": 0.0, "beam": 0.0, "stairs": 0.15}[place]
    base = {"ground": 0.0, "beam": 0.3, "stairs": 0.0}[place]
    z = base + rise * (2 * (n + s) - side) + LIFT_M * np.sin(np.pi * go)
    return np.stack([x, y, z], axis=1), standing


def walk(body: BodyModel, place: str) -> Walk:
    """Somebody who walks 5 m on the ground, on a beam, or up stairs."""
    t = np.arange(FRAMES) / FPS
    table = skeleton("smpl24")
    R = np.tile(np.eye(3), (FRAMES, 24, 1, 1))
    R[:, 0] = UPRIGHT
    for side, sign in (("left", 1.0), ("right", -1.0)):  # arms down
        R[:, table.index(f"{side}_shoulder")] = _about_z(-1.2 * sign)
    rest = body.J_template
    soles = rest[table.index("left_ankle"), 1] - body.v_template[:, 1].min()
    feet = [_prints(place, t, side) for side in (0, 1)]
    middle = (feet[0][0] + feet[1][0]) / 2
    legs = np.abs(rest[table.index("left_ankle"), 1] - rest[table.index("left_hip"), 1])
    lowest = np.minimum(feet[0][0][:, 2], feet[1][0][:, 2])
    near = np.lib.stride_tricks.sliding_window_view(np.pad(lowest, 20, mode="edge"), 21).min(axis=1)
    lowest = np.convolve(near, np.ones(21) / 21, mode="valid")  # smooth, and within reach of the lower foot
    pelvis = np.stack([middle[:, 0], 0 * t, lowest + soles + 0.90 * legs + rest[0, 1] - rest[1, 1]], axis=1)
    for name, (ankle, _) in zip(("left", "right"), feet, strict=True):
        _leg(body, R, pelvis, ankle + np.array([0.0, 0.0, soles]), name)
    motion = posed(body, keypoint_terms(body, "halpe26"), R, pelvis, np.zeros(body.betas))
    standing = np.stack([s for _, s in feet], axis=1)
    height = np.where(standing, np.stack([a[:, 2] for a, _ in feet], axis=1), np.nan)
    return Walk(motion, standing, height)


def _about_z(angle: float) -> Float:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _leg(body: BodyModel, R: Float, pelvis: Float, ankle: Float, side: str) -> None:
    """Put one ankle (T, 3) in the world by hip and knee (law of cosines, knee ahead); the foot stays level."""
    table, J = skeleton("smpl24"), body.J_template
    h, k, a = (table.index(f"{side}_{n}") for n in ("hip", "knee", "ankle"))
    thigh, shank = J[k] - J[h], J[a] - J[k]
    la, lb = np.linalg.norm(thigh), np.linalg.norm(shank)
    for i in range(len(R)):
        to = UPRIGHT.T @ (ankle[i] - pelvis[i]) - (J[h] - J[0])  # in the body's axes
        far = min(float(np.linalg.norm(to)), 0.999 * float(la + lb))
        to = to / np.linalg.norm(to) * far
        bend = np.arccos(np.clip((la**2 + far**2 - lb**2) / (2 * la * far), -1, 1))
        ahead = np.array([0.0, 0.0, 1.0]) - to[2] / far**2 * to
        ahead /= np.linalg.norm(ahead)
        knee = la * (np.cos(bend) * to / far + np.sin(bend) * ahead)
        G = swing(thigh, knee)
        R[i, h] = G
        R[i, k] = swing(shank, G.T @ (to - knee))
        R[i, a] = (G @ R[i, k]).T


def follow(body: BodyModel, motion: Motion, contact: bool) -> list[Fit]:
    """The fits of all frames from four views."""
    cameras = camera_arrays(RIG)
    px, confidence = observe(RIG, motion.points, SIGMA_PX, OUTLIERS, MISSING)
    xy = np.stack([camera.undistort(px[:, c]) for c, camera in enumerate(RIG)], axis=1)
    w = confidence * (cameras.focal_px[:, None] / SIGMA_PX) ** 2
    prior = retargeted(load_prior(), body).arrays
    solver = BodySolver(body, "halpe26", cameras, prior, RIG.up_world, motion.betas, contact)
    fits = [solver.fit(round(i * 1e9 / FPS), 1, xy[i], w[i]) for i in range(len(xy))]
    return [f for f in fits if f is not None]


def slide_mps(fits: list[Fit], standing: Bool) -> float:
    """Mean speed of heels and toes of a foot that stands, m/s; the first 10 frames left out."""
    table = skeleton("halpe26")
    points = np.stack([f.points for f in fits])
    out = []
    for side, name in enumerate(("left", "right")):
        rows = [table.index(f"{name}_{p}") for p in ("heel", "big_toe", "small_toe")]
        speed = np.linalg.norm(np.diff(points[:, rows], axis=0), axis=-1).mean(axis=1) * FPS
        still = standing[1:, side] & standing[:-1, side]
        still[:10] = False
        out.append(speed[still])
    return float(np.concatenate(out).mean())


def support_m(fits: list[Fit], true: Walk) -> tuple[float, float]:
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
        true = walk(body, place)
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
