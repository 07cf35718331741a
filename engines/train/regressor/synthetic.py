"""People before several cameras each, for the SPIN loop: what the views say, and the truth that only measures.

A scene is one body in one motion before C cameras of its own, T frames apart by the regressor's step. The keypoints of
every view go through a detector's noise; who learns from them sees no truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.regressor import STEP_S, WINDOW
from kinecast.engines.body.model.body import pose_joints
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.detector_noise import NoiseModel
from kinecast.engines.train.data.motion import Clip, leg_m
from kinecast.engines.train.data.pinhole_views import PinholeView, detect
from kinecast.engines.train.data.random_cameras import CameraRanges, random_cameras
from kinecast.engines.train.data.synthetic_batches import HALPE, ROOT, MotionClips
from kinecast.engines.virtual_camera import normalise

Float = NDArray[np.float64]
F32 = NDArray[np.float32]

RATE_HZ = 1 / STEP_S
# Of a keypoint's error, in extents of the person: detectors' noise as fitted has 0.03 to 0.06 an axis.
SIGMA = 0.05
# motion that is never trained on besides the held-out clips, so that whole classes are new in the benchmark
APART = ("dancing", "soccer")
JOINTS = skeleton("shelf15").joints
PLAIN = np.eye(26)[[HALPE.index(n) for n in JOINTS]]


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """S people of T frames before C cameras each.

    P: (S, C, 3, 4) normalised cameras, cam_from_world. xy: (S, T, C, 26, 2) undistorted normalised, confidence:
    (S, T, C, 26), 0 where missing; w: the same as inverse variance. features: (S, T, C, 26, 3), context: (S, T, C, 5),
    extent: (S, T, C) and cam_from_virtual: (S, T, C, 3, 3), as the network sees each view. points: (S, T, 15, 3)
    metres, the truth of ``JOINTS``, NaN where unknown. R: (S, T, 24, 3, 3) of synthetic people, NaN for others.
    action: (S,). from_halpe: (15, 26) what makes the truth's joints from HALPE-26's. The world has y up.
    """

    P: Float
    xy: Float
    confidence: Float
    w: Float
    features: F32
    context: F32
    extent: F32
    cam_from_virtual: Float
    points: Float
    R: Float
    action: tuple[str, ...]
    from_halpe: Float

    @property
    def windows(self) -> F32:
        """(S, T, C, 5, 26, 3) what the network sees of every frame; the first frame stands for those before it."""
        before = np.maximum(np.arange(self.xy.shape[1])[:, None] + np.arange(1 - WINDOW, 1), 0)
        return np.ascontiguousarray(np.moveaxis(self.features[:, before], 2, 3))

    def rows(self, which: slice) -> "Scenes":
        """Some of the scenes."""
        own = {f.name: getattr(self, f.name)[which] for f in fields(self) if f.name != "from_halpe"}
        return Scenes(**own, from_halpe=self.from_halpe)


def seen(P: Float, xy: Float, confidence: Float, **truth: object) -> Scenes:
    """Scenes from what was detected; see :class:`Scenes`."""
    confidence = np.where(np.isfinite(xy).all(-1), confidence, 0.0)
    xy = np.where(confidence[..., None] > 0, xy, 0.0)
    n = normalise(xy, confidence)
    confidence = confidence * n.seen[..., None]
    w = (confidence / (SIGMA * n.extent[..., None])) ** 2
    f4 = np.float32
    return Scenes(
        P,
        xy,
        confidence,
        w,
        n.features.astype(f4),
        n.context.astype(f4),
        n.extent.astype(f4),
        n.cam_from_virtual,
        **truth,  # type: ignore[arg-type]
    )


def scenes(motion: MotionClips, noise: NoiseModel, count: int, frames: int, views: int, seed: int) -> Scenes:
    """``count`` random people in random motion before ``views`` random cameras; a function of its arguments alone."""
    rng = np.random.default_rng((seed, 17))
    ranges = CameraRanges()
    pieces = rng.choice(len(motion.share), count, p=motion.share)
    points, R = [], []
    for piece in pieces:
        seconds = (motion.end[piece] - motion.begin[piece]) / motion.rate_hz[piece]
        begin = rng.uniform(0, max(seconds - frames / RATE_HZ, 0.1))
        local, root = motion.rotations(int(piece), begin, frames, RATE_HZ, rng.uniform(*motion.augment.speed))
        body, terms = motion.bodies[rng.integers(len(motion.bodies))]
        betas = np.clip(rng.normal(0, 1, body.betas), -2.5, 2.5) * motion.augment.betas
        turned, joints, _ = pose_joints(body, local, betas, root * leg_m(body.J_template + body.J_shape @ betas))
        points.append(terms.place(turned, joints, betas))
        R.append(local)
    X = np.stack(points)
    P, xy, confidence = [], [], []
    clip = motion.clip[pieces]
    for _ in range(views):
        cameras = random_cameras(rng, X[np.arange(count), rng.integers(frames, size=count), ROOT], ranges)
        cam = np.einsum("sij,stkj->stki", cameras.R, X) + cameras.t[:, None, None]
        at, confidences, _ = detect(PinholeView(cam.astype(np.float32), cameras, clip), noise, rng, RATE_HZ)
        P.append(np.concatenate([cameras.R, cameras.t[..., None]], axis=-1))
        xy.append(at)
        confidence.append(confidences)
    actions = tuple(motion.actions[c] for c in clip)
    return seen(
        np.stack(P, 1), np.stack(xy, 2).astype(np.float64), np.stack(confidence, 2).astype(np.float64),
        points=np.einsum("jk,stkd->stjd", PLAIN, X), R=np.stack(R), action=actions, from_halpe=PLAIN,
    )  # fmt: skip


def split(clips: Sequence[Clip], held: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """(to learn from, for the benchmark), whose classes of motion are those of which no clip is learnt from."""
    learnt = [c for c in clips if c.action not in APART]
    known = {c.action for c in learnt}
    return learnt, [c for c in held if c.action not in known]
