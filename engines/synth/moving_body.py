"""A moving body with known pose: the truth of measurements and tests, made of smooth waves about natural poses.

Bodies of the free kind look along +z with y up; here the world has z up, as the synthetic rigs have.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.calibration.fixed import applied, times
from kinecast.engines.body.fit.solver import BodyObservations
from kinecast.engines.body.model.body import BodyModel, pose_joints
from kinecast.engines.body.model.keypoints import KeypointTerms
from kinecast.engines.body.model.rotations import matrices
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.detector import Detector, WhiteNoise
from kinecast.engines.synth.rigs import ring_rig
from kinecast.engines.synth.scene import SampledPeople, Scene

Float = NDArray[np.float64]

BENCH_RIG = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)
SIGMA_PX = 4.0
BENCH_DETECTOR = WhiteNoise(SIGMA_PX, outliers=0.05, missing=0.15)
FRAMES = 450  # the shape settles after about 290 at 30 Hz

UPRIGHT = np.array(
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
)  # body (left, up, ahead) → world (x ahead, z up)


@dataclass(frozen=True, slots=True, eq=False)
class BodyMotion:
    """A body in T frames. rotations: (T, 24, 3, 3) local; trans: (T, 3); betas: (B,); joints: (T, 24, 3) and points:
    (T, K, 3), its keypoints, m."""

    rotations: Float
    trans: Float
    betas: Float
    joints: Float
    points: Float


def _wave(rng: np.random.Generator, t_s: Float, amplitude: float, hz: float = 0.5) -> Float:
    a, b = rng.uniform(0.6, 1.4, 2)
    u, v = rng.uniform(0, 2 * np.pi, 2)
    wave = 0.7 * np.sin(2 * np.pi * hz * a * t_s + u) + 0.3 * np.sin(2 * np.pi * 2.1 * hz * b * t_s + v)
    return np.asarray(amplitude * wave)


def rotation_waves(frames: int, fps_hz: float = 30.0, seed: int = 0) -> Float:
    """(T, 24, 3) rotation vectors of somebody who steps, turns and waves; the root's in the body's own frame, y up."""
    rng = np.random.default_rng((seed, 24))
    t = np.arange(frames) / fps_hz
    out = np.zeros((frames, 24, 3))
    joints = skeleton("smpl24")

    def put(name: str, x: Float, y: Float, z: Float) -> None:
        out[:, joints.index(name)] = np.stack([x, y, z], axis=1)

    def wave(amplitude: float, hz: float = 0.5) -> Float:
        return _wave(rng, t, amplitude, hz)

    put("pelvis", wave(0.15), 0.3 * np.cumsum(wave(0.05, 0.2)) * 30 / fps_hz, wave(0.1))
    for side, g in (("left", 1.0), ("right", -1.0)):
        put(f"{side}_hip", wave(0.5, 0.7) - 0.35, wave(0.2), wave(0.12) + g * 0.08)
        put(f"{side}_knee", wave(0.55, 0.7) + 0.6, wave(0.03), wave(0.03))
        put(f"{side}_ankle", wave(0.3, 0.7), wave(0.1), wave(0.1))
        put(f"{side}_foot", wave(0.15), 0 * t, 0 * t)
        put(f"{side}_collar", wave(0.05), wave(0.1), wave(0.1))
        put(f"{side}_shoulder", wave(0.5), wave(0.6) - g * 0.3, wave(0.6) - g * 0.7)
        put(f"{side}_elbow", wave(0.3), -g * (1.0 + wave(0.7)), wave(0.05))
        put(f"{side}_wrist", wave(0.2), wave(0.3), wave(0.3))
    for name in ("spine1", "spine2", "spine3"):
        put(name, wave(0.12), wave(0.15), wave(0.1))
    for name in ("neck", "head"):
        put(name, wave(0.15), wave(0.25), wave(0.1))
    return out


def moving_body(
    body: BodyModel,
    terms: KeypointTerms,
    frames: int,
    *,
    betas: Float | None = None,
    fps_hz: float = 30.0,
    seed: int = 0,
) -> BodyMotion:
    """Somebody who moves about the origin of a world with z up."""
    rng = np.random.default_rng((seed, 25))
    t = np.arange(frames) / fps_hz
    b = rng.normal(size=body.betas) if betas is None else np.asarray(betas, np.float64)
    R = matrices(rotation_waves(frames, fps_hz, seed))
    R[:, 0] = times(UPRIGHT, R[:, 0])
    at = np.stack([_wave(rng, t, 0.8, 0.1), _wave(rng, t, 0.8, 0.1), 0.95 + _wave(rng, t, 0.05, 0.7)], axis=1)
    return body_motion(body, terms, R, at, b)


def body_motion(body: BodyModel, terms: KeypointTerms, R: Float, pelvis_m: Float, betas: Float) -> BodyMotion:
    """The motion of local rotations R (T, 24, 3, 3) with the pelvis at ``pelvis_m`` (T, 3)."""
    trans = pelvis_m - (body.J_template[0] + applied(body.J_shape[0], betas))
    turned, joints, _ = pose_joints(body, R, betas, trans)
    return BodyMotion(R, trans, betas, joints, terms.place(turned, joints, betas))


def observe_body(rig: Rig, points: Float, detector: Detector, seed: int = 0) -> tuple[Float, Float]:
    """Pixels (T, C, K, 2) and confidence (T, C, K) of somebody's points (T, K, 3), one frame after another."""
    people = SampledPeople(points[:, None])
    px, confidence = Scene(rig, people, detector).sequence(people.t_ns, np.random.default_rng((seed, 26)))
    return px[:, :, 0], confidence[:, :, 0]


def body_observations(motion: BodyMotion, seed: int, frames: int = FRAMES) -> list[BodyObservations]:
    """What the rig sees of one moving body."""
    px, confidence = observe_body(BENCH_RIG, motion.points[:frames], BENCH_DETECTOR, seed)
    w = confidence * (camera_arrays(BENCH_RIG).focal_px[:, None] / SIGMA_PX) ** 2
    xy = np.stack([c.undistort(px[:, i]) for i, c in enumerate(BENCH_RIG)], axis=1)
    return [BodyObservations(round(i * 1e9 / 30), [1], xy[i : i + 1], w[i : i + 1]) for i in range(frames)]
