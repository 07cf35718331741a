"""People before pinholes, by the batch: sequences in cameras' axes, and what a fitted detector makes of them.

The same world as ``engines.synth.scene``, for a network that learns: no lens, float32, many cameras at once, each with
a person of its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.detector import MIN_KEYPOINTS, Detections, TrueView
from kinecast.engines.train.data.detector_noise import NoiseModel, noisy
from kinecast.engines.train.data.random_cameras import CameraRanges, VirtualCameras, random_cameras

Float = NDArray[np.float64]
F32 = NDArray[np.float32]

HALPE = skeleton("halpe26")
ROOT = HALPE.index("mid_hip")
NEAREST_M = 0.3  # a joint nearer to the camera plane is not seen


@dataclass(frozen=True, slots=True, eq=False)
class PinholeView:
    """Sequences before cameras, without noise: joints (B, T, 26, 3) in the camera's axes, metres."""

    points_cam: F32
    cameras: VirtualCameras
    clip: NDArray[np.int64]

    def true_view(self) -> TrueView:
        """The true keypoints on the plane z = 1."""
        cam = self.points_cam
        true: F32 = (cam[..., :2] / np.maximum(cam[..., 2:], NEAREST_M)).astype(np.float32)
        half = (self.cameras.size_px / 2 / self.cameras.focal_px[:, None]).astype(np.float32)
        return TrueView(true, (cam[..., 2] > NEAREST_M) & (np.abs(true) < half[:, None, None]).all(-1))


@dataclass(frozen=True, slots=True)
class FittedDetector:
    """A detector whose errors last and wander as the model was fitted to; keeps :class:`engines.synth.Detector`.

    skeleton: the one that it gives; "": one is drawn for each sequence.
    """

    noise: NoiseModel
    rate_hz: float
    skeleton: str = ""

    def detect(self, view: TrueView, rng: np.random.Generator) -> Detections:
        """Of keypoints on the plane z = 1, float32."""
        true = view.keypoints.astype(np.float32)
        extent: F32 = np.sqrt(((true - true.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1)).astype(np.float32)
        extent = np.minimum(extent, np.float32(1.0))  # somebody half behind the camera
        xy, confidence = noisy(self.noise, rng, true, extent, view.visible, self.rate_hz, self.skeleton)
        confidence[(confidence > 0).sum(-1) < MIN_KEYPOINTS] = 0.0
        return Detections(xy, confidence)


def detect(
    view: PinholeView, noise: NoiseModel, rng: np.random.Generator, rate_hz: float, detector: str = ""
) -> tuple[F32, F32, F32]:
    """What a fitted detector says: (B, T, 26, 2) on the plane z = 1 and confidence (B, T, 26); and the true keypoints.

    detector: name of the skeleton that it gives; "": drawn for each sequence.
    """
    true = view.true_view()
    found = FittedDetector(noise, rate_hz, detector).detect(true, rng)
    xy, confidence, clean = (np.asarray(a, np.float32) for a in (found.keypoints, found.confidence, true.keypoints))
    return xy, confidence, clean


def before_pinholes(points: Float, cameras: VirtualCameras, clip: NDArray[np.int64]) -> PinholeView:
    """Joints (B, T, 26, 3) of a world before one camera each."""
    cam = np.einsum("bij,btnj->btni", cameras.R, points) + cameras.t[:, None, None]
    return PinholeView(cam.astype(np.float32), cameras, clip)


def before_cameras(
    points: Float, rng: np.random.Generator, ranges: CameraRanges, clip: NDArray[np.int64]
) -> PinholeView:
    """Joints (B, T, 26, 3) of a world with y up before random cameras."""
    look_at = points[np.arange(len(points)), rng.integers(points.shape[1], size=len(points)), ROOT]
    cameras = random_cameras(rng, look_at, ranges)
    return before_pinholes(points, cameras, clip)


def mirror_share(view: PinholeView, share: float, rng: np.random.Generator) -> PinholeView:
    """The horizontal flip of some sequences: the picture mirrored, left and right exchanged."""
    cam = view.points_cam
    which = rng.random(len(cam)) < share
    mirrored = cam[which][:, :, list(HALPE.flip)] * np.array([-1, 1, 1], np.float32)
    cam[which] = mirrored
    return PinholeView(cam, view.cameras, view.clip)
