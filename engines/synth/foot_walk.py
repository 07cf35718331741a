"""Feet that walk: a body whose ankles are put on footprints, and which foot stands on what height when.

The ankles go, by analytic inverse kinematics of the legs, on footprints that stay where they are while a foot stands.
On the ground all footprints lie at zero; on a beam they are 0.3 m up and in one line; on stairs every one is 0.15 m
above the one before.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.initialise import swing
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.moving_body import UPRIGHT, BodyMotion, body_motion

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

FPS_HZ = 30.0
FRAMES, STEP_S, STAND, STRIDE_M, LIFT_M = 240, 0.7, 0.62, 0.5, 0.12  # a foot stands for 62 % of two steps
PLACES = ("ground", "beam", "stairs")


@dataclass(frozen=True, slots=True, eq=False)
class FootWalk:
    """A body that walks. standing: (T, 2) which foot rests, left and right; height_m: (T, 2) of its print, NaN in the
    air."""

    motion: BodyMotion
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


def foot_walk(body: BodyModel, place: str) -> FootWalk:
    """Somebody who walks 5 m on the ground, on a beam, or up stairs."""
    t = np.arange(FRAMES) / FPS_HZ
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
    motion = body_motion(body, keypoint_terms(body, "halpe26"), R, pelvis, np.zeros(body.betas))
    standing = np.stack([s for _, s in feet], axis=1)
    height = np.where(standing, np.stack([a[:, 2] for a, _ in feet], axis=1), np.nan)
    return FootWalk(motion, standing, height)


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
