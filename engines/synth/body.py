"""A walking body of rigid limbs: HALPE-26 joints from a gait phase, in metres, z up.

Limb lengths are shares of the height after Drillis and Contini (1966), as printed in Winter, *Biomechanics and Motor
Control of Human Movement*, figure 4.1. The gait is a few harmonics drawn through textbook curves (Winter, chapter 7):
plausible to a camera, not a study of walking. Every bone keeps its length exactly, so its std/mean is 0 in the truth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

SHANK, THIGH, UPPER_ARM, FOREARM = 0.246, 0.245, 0.186, 0.146
HALF_HIPS, HALF_SHOULDERS, TRUNK, ANKLE = 0.055, 0.118, 0.288, 0.039
STRIDE = 0.82  # two steps, in heights, at a comfortable speed

_HALPE = skeleton("halpe26")
_J = {name: i for i, name in enumerate(_HALPE.joints)}
# offsets from the neck, in heights: forward, left, up
_HEAD = {
    "nose": (0.062, 0.0, 0.098),
    "left_eye": (0.050, 0.019, 0.116),
    "right_eye": (0.050, -0.019, 0.116),
    "left_ear": (0.002, 0.043, 0.105),
    "right_ear": (0.002, -0.043, 0.105),
    "head_top": (0.006, 0.0, 0.182),
}
# offsets from the ankle, in heights; left foot, the right one is mirrored
_FOOT = {"big_toe": (0.100, -0.012, -0.033), "small_toe": (0.088, 0.030, -0.033), "heel": (-0.035, 0.0, -0.031)}


@dataclass(frozen=True, slots=True)
class WalkState:
    """Where a body is and what it does. P people; all arrays (P,).

    x_m, y_m: of the mid-hip on the floor. heading_rad: walking direction, 0 along x, counter-clockwise. phase_rad: of
    the stride, 2π a stride. amplitude: 0 standing to 1 walking. height_m: of the person.
    """

    x_m: Float
    y_m: Float
    heading_rad: Float
    phase_rad: Float
    amplitude: Float
    height_m: Float


def _swing(length: Float, pitch: Float) -> Float:
    """A limb that hangs down, turned forwards by ``pitch``: (P, 3) forward, left, up."""
    return np.stack([length * np.sin(pitch), np.zeros_like(pitch), -length * np.cos(pitch)], axis=-1)


def _turn_z(v: Float, angle: Float) -> Float:
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1], v[..., 2]], axis=-1)


def joints_world(motion: WalkState) -> Float:
    """(P, 26, 3) HALPE-26 joints in metres. The lowest point of the feet stands on z = 0."""
    h, a = motion.height_m, motion.amplitude
    points = np.zeros((len(h), len(_HALPE), 3))  # forward, left, up from the mid-hip

    def put(name: str, value: Float) -> Float:
        points[:, _J[name]] = value
        return value

    def side(offset: tuple[float, float, float], sign: float = 1.0) -> Float:
        return np.multiply.outer(h, [offset[0], sign * offset[1], offset[2]])

    sway = 0.06 * a * np.sin(motion.phase_rad)  # pelvis and shoulders turn against each other
    neck = put("neck", np.stack([0.02 * h * a, np.zeros_like(h), TRUNK * h], axis=-1))
    neck *= (TRUNK * h / np.linalg.norm(neck, axis=-1))[:, None]
    points[:, _J["neck"]] = neck
    for name, offset in _HEAD.items():
        put(name, neck + side(offset))
    lowest = np.full_like(h, np.inf)
    for name, sign, phase in (
        ("left", 1.0, motion.phase_rad),
        ("right", -1.0, motion.phase_rad + np.pi),
    ):
        hip = put(f"{name}_hip", _turn_z(side((0.0, HALF_HIPS, 0.0), sign), sway))
        thigh = a * (0.42 * np.sin(phase) + 0.08)
        flexion = 0.06 + a * (0.34 + 0.42 * np.cos(phase - 0.35) + 0.20 * np.cos(2 * phase + 0.5))
        knee = put(f"{name}_knee", hip + _swing(THIGH * h, thigh))
        ankle = put(f"{name}_ankle", knee + _swing(SHANK * h, thigh - flexion))
        pitch = a * 0.45 * np.sin(phase - 0.5) - 0.02  # toes up before the heel strikes, down at push-off
        for part, offset in _FOOT.items():
            o = side(offset, sign)
            c, s = np.cos(pitch), np.sin(pitch)
            turned = np.stack([c * o[:, 0] - s * o[:, 2], o[:, 1], s * o[:, 0] + c * o[:, 2]], axis=-1)
            toe = put(f"{name}_{part}", ankle + turned)
            lowest = np.minimum(lowest, toe[:, 2])
        shoulder = put(f"{name}_shoulder", neck + _turn_z(side((0.0, HALF_SHOULDERS, -0.02), sign), -sway))
        arm = -a * 0.38 * np.sin(phase)
        elbow = put(f"{name}_elbow", shoulder + _swing(UPPER_ARM * h, arm))
        put(f"{name}_wrist", elbow + _swing(FOREARM * h, arm + 0.22 + a * 0.15 * (1 + np.sin(phase + np.pi))))
    points[:, :, 2] -= lowest[:, None]
    world = _turn_z(points, motion.heading_rad[:, None])
    world[..., 0] += motion.x_m[:, None]
    world[..., 1] += motion.y_m[:, None]
    return np.asarray(world, dtype=np.float64)
