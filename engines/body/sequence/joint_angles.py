"""Joint angles of the body as biomechanics tells them, under the coordinate names of OpenSim's full-body models.

Axes of a segment: x forward, y up along it (from its far joint to its near one), z to the right; angles are those of
Wu et al., *ISB recommendation on definitions of joint coordinate system … part I: ankle, hip, and spine* (J. Biomech.
2002) and *part II: shoulder, elbow, wrist and hand* (2005), in the order Z, X, Y of Rajagopal et al., *Full-Body
Musculoskeletal Model for Muscle-Driven Simulation of Human Gait* (IEEE TBME 2016), whose names and signs these are.
Zero is upright with hanging arms, the palms to the thighs. Flexions are positive (hip, knee, elbow, shoulder forward,
ankle up); adductions and inward rotations of both sides too.
"""

from dataclasses import dataclass

import numpy as np

from kinecast.calibration.rigid import rotation
from kinecast.engines.body.model.body import PARENTS, BodyModel, Float
from kinecast.engines.skeleton import skeleton

_JOINTS = skeleton("smpl24").joints
_PELVIS_AXES = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])  # forward, up, right in the body's rest
_FORWARD, _RIGHT = _PELVIS_AXES[:, 0], _PELVIS_AXES[:, 2]


@dataclass(frozen=True, slots=True)
class _Joint:
    """near, far: the segments that meet, by the joints that turn them; near "" is the ground. names: coordinates of the
    turns about z, x, y; a name may have a minus."""

    near: str
    far: str
    names: tuple[str, str, str]


def _both_sides() -> list[_Joint]:
    out = []
    for side in ("right", "left"):
        s, m = side[0], "" if side == "right" else "-"

        def j(near: str, far: str, *names: str, side: str = side) -> _Joint:
            near = f"{side}_{near}" if near not in ("pelvis", "spine3") else near
            return _Joint(near, f"{side}_{far}", (names[0], names[1], names[2]))

        out += [
            j("pelvis", "hip", f"hip_flexion_{s}", f"{m}hip_adduction_{s}", f"{m}hip_rotation_{s}"),
            j("hip", "knee", f"-knee_angle_{s}", f"{m}knee_adduction_{s}", f"{m}knee_rotation_{s}"),
            j("knee", "ankle", f"ankle_angle_{s}", f"{m}subtalar_angle_{s}", f"{m}ankle_rotation_{s}"),
            j("ankle", "foot", f"mtp_angle_{s}", "", ""),
            j("spine3", "shoulder", f"arm_flex_{s}", f"{m}arm_add_{s}", f"{m}arm_rot_{s}"),
            j("shoulder", "elbow", f"elbow_flex_{s}", "", f"{m}pro_sup_{s}"),
            j("elbow", "wrist", f"wrist_dev_{s}", f"{m}wrist_flex_{s}", ""),
        ]
    return out


_ANATOMY = (
    _Joint("", "pelvis", ("pelvis_tilt", "pelvis_list", "pelvis_rotation")),
    _Joint("pelvis", "spine3", ("lumbar_extension", "lumbar_bending", "lumbar_rotation")),
    *_both_sides(),
)
COORDINATES = tuple(n.lstrip("-") for joint in _ANATOMY for n in joint.names if n)


@dataclass(frozen=True, slots=True, eq=False)
class JointAngles:
    """names: K coordinates. degrees: (T, K), continuous over time. sd_deg: (T, K), one standard deviation."""

    names: tuple[str, ...]
    degrees: Float
    sd_deg: Float


def joint_angles(body: BodyModel, betas: Float, pose: Float, rotation_sd_rad: Float) -> JointAngles:
    """Angles of T poses in a world whose y points up.

    betas: (≤ B,). pose: (T, 24, 3) rotation vectors. rotation_sd_rad: (T, 24, 3), about each joint's own axes; taken as
    independent of each other.
    """
    axes = _segment_axes(body.J_template + body.J_shape[:, :, : len(betas)] @ betas)
    local = rotation(pose)
    angles = _angles(local, axes)
    variance = np.zeros_like(angles)
    small = 1e-4
    for joint in range(24):
        for axis in range(3):
            vector = np.zeros(3)
            vector[axis] = small
            nudged = local.copy()
            nudged[:, joint] = nudged[:, joint] @ rotation(vector)
            slope = _wrapped(_angles(nudged, axes) - angles) / small
            variance += (slope * rotation_sd_rad[:, joint, axis, None]) ** 2
    return JointAngles(COORDINATES, np.degrees(np.unwrap(angles, axis=0)), np.degrees(np.sqrt(variance)))


def _segment_axes(rest: Float) -> dict[str, Float]:
    """(3, 3) of every segment in the rest pose, columns forward, up, right, by the joint that turns it."""
    at = dict(zip(_JOINTS, rest, strict=True))
    axes = dict.fromkeys(_JOINTS, _PELVIS_AXES)  # pelvis, trunk and feet are upright as the body stands
    for side in ("right", "left"):
        for near, far in (("hip", "knee"), ("knee", "ankle")):
            axes[f"{side}_{near}"] = _along(at[f"{side}_{near}"] - at[f"{side}_{far}"], None)
        for near, far in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand")):
            axes[f"{side}_{near}"] = _along(at[f"{side}_{near}"] - at[f"{side}_{far}"], _FORWARD)
    return axes


def _along(up: Float, forward: Float | None) -> Float:
    """Axes whose y is along ``up``; x as near as can be to ``forward``, or z to the right where that is None."""
    y = up / np.linalg.norm(up)
    if forward is None:
        x = np.cross(y, _RIGHT)
        x /= np.linalg.norm(x)
        return np.stack([x, y, np.cross(x, y)], axis=1)
    z = np.cross(forward, y)
    z /= np.linalg.norm(z)
    return np.stack([np.cross(y, z), y, z], axis=1)


def _angles(local: Float, axes: dict[str, Float]) -> Float:
    """(T, K) radians of the rotations (T, 24, 3, 3)."""
    world = np.empty_like(local)
    for j, parent in enumerate(PARENTS):
        world[:, j] = local[:, j] if parent < 0 else world[:, parent] @ local[:, j]
    turned = {name: world[:, j] @ axes[name] for j, name in enumerate(_JOINTS)}
    columns = []
    for joint in _ANATOMY:
        far = turned[joint.far]
        R = far if not joint.near else np.swapaxes(turned[joint.near], -1, -2) @ far
        # R = Rz(a) Rx(b) Ry(c)
        b = np.arcsin(np.clip(R[:, 2, 1], -1.0, 1.0))
        a = np.arctan2(-R[:, 0, 1], R[:, 1, 1])
        c = np.arctan2(-R[:, 2, 0], R[:, 2, 2])
        for name, angle in zip(joint.names, (a, b, c), strict=True):
            if name:
                columns.append(-angle if name[0] == "-" else angle)
    return np.stack(columns, axis=1)


def _wrapped(angle: Float) -> Float:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)
