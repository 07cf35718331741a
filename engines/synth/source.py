"""The synthetic world as a camera: pictures of stick figures, and a detector that knows the answer and adds noise.

Every camera process builds the same world from the seed; nothing is shared. The detector looks at the frame's stamp,
not at its pixels, so a real detector may be put behind the pictures and this one behind any source of that epoch.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.frame import Frame
from kinecast.capture.playback import PlayedSource, Step
from kinecast.capture.source import SourceInfo
from kinecast.engines.records import People2D
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.detector import SKELETON, Detector, Noise
from kinecast.engines.synth.habitual import in_skeleton, skeleton_of
from kinecast.engines.synth.scene import frame_rng, observe
from kinecast.engines.synth.world import CameraClock, World

PIXEL_NOISE = Noise(sigma_px=0.0, sigma_of_height=0.004, missing=0.03)  # 3 px for a person 750 px tall, at any size
_COLOURS = ((80, 180, 250), (250, 160, 90), (120, 230, 120), (220, 120, 230), (90, 230, 230), (230, 230, 110))


def draw(world: World, camera: Camera, t_ns: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 picture: stick figures, the nearest drawn last, over a grey that differs from row to row."""
    w, h = camera.size_px
    image = np.empty((h, w, 3), np.uint8)
    image[:] = np.linspace(40, 90, h).astype(np.uint8)[:, None, None]
    points = world.points_world(t_ns)
    px, depth = camera.project(points)
    nearness = np.nanmean(np.where(np.isfinite(depth), depth, np.nan), axis=1) if len(points) else np.zeros(0)
    thick = max(1, h // 120)
    for p in np.argsort(-nearness):
        colour = _COLOURS[int(p) % len(_COLOURS)]
        for a, b in skeleton(SKELETON).bones:
            ends = px[p, [a, b]]
            if np.isfinite(ends).all() and np.abs(ends).max() < 16 * (w + h):
                (x0, y0), (x1, y1) = np.rint(ends).astype(int).tolist()
                cv2.line(image, (x0, y0), (x1, y1), colour, thick, cv2.LINE_AA)
    return image


def open_synthetic(
    camera: Camera,
    *,
    seed: int = 0,
    people: int = 2,
    scenario: str = "crowd",
    fps_hz: float = 30.0,
    frames: int | None = None,
    live: bool = False,
    epoch_ns: int = 0,
    camera_clock: CameraClock | None = None,
    clock: Clock | None = None,
) -> PlayedSource:
    """A capture Source of the synthetic world, in pictures of the camera's size.

    Frame k is taken at k / fps_hz of the world and stamped epoch_ns + what ``camera_clock`` shows then. live: paced on
    ``clock``, frames are skipped and counted where the reader is slow; else the next frame waits for the reader.
    """
    world, stamps = World(people, seed, scenario), camera_clock or CameraClock()

    def steps() -> Iterator[Step]:
        k = 0
        while frames is None or k < frames:
            t_ns = round(k * 1e9 / fps_hz)
            yield Step(k, stamps.stamp_ns(t_ns), lambda t_ns=t_ns: draw(world, camera, t_ns))  # type: ignore[misc]
            k += 1

    info = SourceInfo("synthetic", f"synthetic:{scenario}:{seed}:{people}", camera.size_px, fps_hz, live, frames)
    return PlayedSource(camera.name, info, steps(), clock or MonotonicClock(), epoch_ns, frames)


class SyntheticDetector:
    """Keeps :class:`engines.detect.PeopleDetector`: reports the noisy projections of the world at the time of a frame.

    The arguments that it shares with ``open_synthetic`` must be the same there.
    """

    def __init__(
        self,
        camera: Camera,
        *,
        seed: int = 0,
        people: int = 2,
        scenario: str = "crowd",
        epoch_ns: int = 0,
        camera_clock: CameraClock | None = None,
        noise: Detector = PIXEL_NOISE,
    ) -> None:
        self._camera, self._seed, self._noise, self._epoch_ns = camera, seed, noise, epoch_ns
        self._world, self._clock = World(people, seed, scenario), camera_clock or CameraClock()
        self.skeleton: str = skeleton_of(noise)
        self.models: dict[str, str] = {}
        self.runtime: dict[str, str] = {"synthetic": "projections of the known world, with noise"}

    def detect(self, frame: Frame) -> People2D:
        """What a detector would see in that frame."""
        stamp_ns = frame.t_capture_ns - self._epoch_ns
        rng = frame_rng(self._seed, self._camera.name, stamp_ns)
        t_ns = self._clock.world_ns(stamp_ns)
        seen = observe(self._world.points_world(t_ns), self._camera, self._noise, rng, t_ns)[0]
        return in_skeleton(seen, self.skeleton)

    def warm_up(self) -> None:
        """Build what is built lazily."""
        self._world.points_world(0)

    def reset(self) -> None:
        """Forget what was tracked: nothing is."""
