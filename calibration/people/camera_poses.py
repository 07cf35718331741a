"""Where cameras stand, as arrays, and how far two such answers are apart once what nobody can tell is taken out.

Without a board the world's origin, turn and size are nobody's knowledge: seven directions in which all cameras may move
together and no picture changes. ``aligned`` takes them out by laying one answer on another.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.calibration.people.kernels import CAMERA
from kinecast.calibration.rigid import angle_rad, nearest_rotation, rotation, rotation_vector, transform

Float = NDArray[np.float64]

TURN_M = 1.0  # a turn of a radian weighs as much as so many metres when two rigs are laid on each other


@dataclass(frozen=True, slots=True, eq=False)
class CameraPoses:
    """C cameras: R (C, 3, 3) and t (C, 3) metres, cam_from_world; delta_s (C,) clocks, stamps minus time."""

    R: Float
    t: Float
    delta_s: Float

    def __len__(self) -> int:
        return len(self.t)

    @property
    def centres(self) -> Float:
        """(C, 3) where the cameras stand."""
        return np.asarray(-np.einsum("cji,cj->ci", self.R, self.t))

    def moved(self, step: Float) -> "CameraPoses":
        """After a step (7C,): ω, τ, δ of each camera."""
        parts = step.reshape(-1, CAMERA)
        turns = rotation(parts[:, :3])
        return CameraPoses(
            turns @ self.R, np.einsum("cij,cj->ci", turns, self.t) + parts[:, 3:6], self.delta_s + parts[:, 6]
        )

    def step_to(self, other: "CameraPoses") -> Float:
        """(7C,) the step that leads from here to ``other``."""
        out = np.zeros((len(self), CAMERA))
        between = other.R @ np.swapaxes(self.R, -1, -2)
        out[:, :3] = rotation_vector(between)
        out[:, 3:6] = other.t - np.einsum("cij,cj->ci", between, self.t)
        out[:, 6] = other.delta_s - self.delta_s
        return out.ravel()

    def in_world(self, scale: float, Q: Float, d: Float) -> "CameraPoses":
        """The same cameras where the world X became ``scale`` · Q X + d."""
        R = self.R @ Q.T
        return replace(self, R=R, t=scale * self.t - np.einsum("cij,j->ci", R, d))

    def on(self, rig: Rig) -> Rig:
        """The rig with its cameras at these places."""
        cameras = []
        for c, camera in enumerate(rig):
            if np.array_equal(self.R[c], camera.R) and np.array_equal(self.t[c], camera.t):
                cameras.append(camera)  # to the last bit: it did not move
                continue
            cameras.append(replace(camera, cam_from_world=transform(nearest_rotation(self.R[c]), self.t[c])))
        return replace(rig, cameras=tuple(cameras))


def camera_poses_of(rig: Rig) -> CameraPoses:
    """The places of a rig's cameras, clocks right."""
    return CameraPoses(np.stack([c.R for c in rig]), np.stack([c.t for c in rig]), np.zeros(len(rig)))


def free_directions(places: CameraPoses, scale: bool = True) -> Float:
    """(7C, 7) how all cameras step when the world turns, moves and grows: no picture shows it; (7C, 6): no growth."""
    out = np.zeros((len(places), CAMERA, 7))
    for c in range(len(places)):
        R, (x, y, z) = places.R[c], places.t[c]
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        out[c, :3, :3], out[c, 3:6, :3] = -R, -cross @ R
        out[c, 3:6, 3:6] = -R
        out[c, 3:6, 6] = places.t[c]
    return out.reshape(CAMERA * len(places), 7)[:, : 7 if scale else 6]


def _weights(cameras: int) -> Float:
    return np.tile([TURN_M, TURN_M, TURN_M, 1.0, 1.0, 1.0, 0.0], cameras)


def without_free(places: CameraPoses, scale: bool = True) -> Float:
    """(7C, 7C) projection of a step onto what remains when the free directions are taken out, least squares."""
    G, w = free_directions(places, scale), _weights(len(places))
    return np.eye(len(w)) - G @ np.linalg.pinv(G * w[:, None]) * w


def aligned(places: CameraPoses, reference: CameraPoses, scale: bool = True) -> CameraPoses:
    """``places`` in the world of ``reference``: turned, moved and scaled onto it by least squares; clocks as they are.

    Both camera centres and directions count, so two cameras, or cameras in a line, are enough.
    """
    Q = nearest_rotation(np.einsum("cji,cjk->ik", reference.R, places.R))
    out = places.in_world(1.0, Q, np.zeros(3))
    a, b = out.centres, reference.centres
    square_m2 = ((a - a.mean(0)) ** 2).sum()
    s = float(((a - a.mean(0)) * (b - b.mean(0))).sum() / square_m2) if scale and square_m2 > 1e-12 else 1.0
    s = s if s > 1e-6 else 1.0
    out = out.in_world(s, np.eye(3), b.mean(0) - s * a.mean(0))
    w = _weights(len(places))
    for _ in range(5):
        d = out.step_to(reference)
        g = np.linalg.lstsq(free_directions(out, scale) * w[:, None], w * d, rcond=None)[0]
        grown = 1.0 + (g[6] if scale else 0.0)
        out = out.in_world(grown, rotation(g[:3]), np.asarray(g[3:6], np.float64))
    return out


def pose_error(one: CameraPoses, two: CameraPoses, scale: bool = True) -> tuple[Float, Float]:
    """(C,) distances of the centres in metres and (C,) angles in radians, after laying ``one`` on ``two``."""
    moved = aligned(one, two, scale)
    return np.asarray(np.linalg.norm(moved.centres - two.centres, axis=1)), angle_rad(
        moved.R @ np.swapaxes(two.R, -1, -2)
    )
