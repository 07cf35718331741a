"""Minutes and hours of people before cameras and a detector with habits, with the whole truth beside it.

    life = lasting_scene("blazepose-heavy", seconds=600, people=2)
    for message in life.messages(): ...          # as camera nodes publish them, in the order of time
    life.people.motions[0].betas, .joints, .points, .rotations    # the truth of the first person
    px, confidence = life.sequence(seconds=(0, 60))               # (T, C, P, 26, 2) and (T, C, P, 26), by person

Ten minutes of one person before four cameras at 25 Hz take about a second for each minute.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera, Rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.solver import BodyObservations
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.observations import camera_arrays
from kinecast.engines.records import Keypoints2D
from kinecast.engines.synth.daily_motion import DailyPeople, daily_people
from kinecast.engines.synth.detector import SKELETON, Detections, Detector, TrueView, report
from kinecast.engines.synth.habitual import detector_named, in_skeleton, skeleton_of
from kinecast.engines.synth.rigs import ring_rig
from kinecast.engines.synth.scene import Scene, frame_rng, message
from kinecast.engines.synth.world import CameraClock

Float = NDArray[np.float64]

BLOCK = 500  # frames of a camera that are made together
SHAPES = np.array(
    [  # adults of 1.50 to 1.93 m: the betas of a person are those of a population, none is beyond 2 of its deviations
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [1.5, -0.6, 0.4, 0.0, -0.5, 0.3, 0.0, 0.2, 0.0, 0.0],
        [-1.6, 0.8, -0.3, 0.5, 0.0, -0.4, 0.3, 0.0, 0.2, 0.0],
        [0.6, 1.6, 0.0, -0.8, 0.4, 0.0, -0.5, 0.3, 0.0, 0.4],
        [-0.7, -1.3, 1.0, 0.3, 0.0, 0.6, 0.0, -0.4, -0.3, 0.0],
        [1.1, 0.4, -1.2, 0.0, 0.9, 0.0, 0.4, 0.0, 0.6, -0.5],
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class LastingScene:
    """people: with their truth. scene: the same before cameras. rate_hz: of every camera."""

    people: DailyPeople
    scene: Scene
    body: BodyModel
    rate_hz: float

    @property
    def rig(self) -> Rig:
        """The cameras."""
        return self.scene.rig

    @property
    def skeleton(self) -> str:
        """That messages are in: the detector's own where it has habits."""
        return skeleton_of(self.scene.detector)

    @property
    def frames(self) -> int:
        """Frames of each camera."""
        return len(self.people.t_ns)

    def messages(self, frames: int | None = None) -> Iterator[Keypoints2D]:
        """What the camera nodes would publish, in the order of the world's time, the first ``frames`` of each camera.

        People are made by the block; what lasts is the same as frame by frame, what is new in a frame is drawn apart.
        """
        ways = [self._of_camera(c, camera, frames or self.frames) for c, camera in enumerate(self.rig)]
        for _, _, out in merge(*ways, key=lambda row: row[:2]):
            yield out

    def _of_camera(self, c: int, camera: Camera, frames: int) -> Iterator[tuple[int, int, Keypoints2D]]:
        clock = self.scene.clocks.get(camera.name, CameraClock())
        for start in range(0, frames, BLOCK):
            ticks = np.arange(start, min(start + BLOCK, frames))
            t_ns = np.round(ticks / self.rate_hz * 1e9).astype(np.int64)
            rng = frame_rng(self.scene.seed, camera.name, int(t_ns[0]))
            found = self.scene.detector.detect(TrueView.of(self.people.points_at(t_ns), (camera,), t_ns), rng)
            for i, (k, t) in enumerate(zip(ticks.tolist(), t_ns.tolist(), strict=True)):
                seen = in_skeleton(report(found, i)[0], self.skeleton)
                yield t, c, message(camera, k, clock.stamp_ns(t), seen, self.skeleton)

    def sequence(self, seconds: tuple[float, float] | None = None) -> tuple[Float, Float]:
        """Pixels (T, C, P, 26, 2) and confidence (T, C, P, 26) of the people between two times, by person."""
        t_ns = self.people.t_ns
        if seconds is not None:
            t_ns = t_ns[(t_ns >= seconds[0] * 1e9) & (t_ns < seconds[1] * 1e9)]
        shape = (len(t_ns), len(self.rig), len(self.people.motions), len(self.people.motions[0].points[0]))
        px, confidence = np.empty((*shape, 2)), np.empty(shape)
        for c, camera in enumerate(self.rig):
            for start in range(0, len(t_ns), BLOCK):
                t = t_ns[start : start + BLOCK]
                found = self._detect(camera, t)
                px[start : start + BLOCK, c] = found.keypoints.swapaxes(0, 1)
                confidence[start : start + BLOCK, c] = found.confidence.swapaxes(0, 1)
        return px, confidence

    def _detect(self, camera: Camera, t_ns: NDArray[np.int64]) -> Detections:
        rng = frame_rng(self.scene.seed, camera.name, int(t_ns[0]))
        return self.scene.detector.detect(TrueView.of(self.people.points_at(t_ns), (camera,), t_ns), rng)

    def observations(
        self, person: int = 0, sigma_px: float = 4.0, seconds: tuple[float, float] | None = None
    ) -> list[BodyObservations]:
        """What all cameras see of one person, for a body solver that is told of ``sigma_px`` at confidence 1."""
        t_ns = self.people.t_ns
        if seconds is not None:
            t_ns = t_ns[(t_ns >= seconds[0] * 1e9) & (t_ns < seconds[1] * 1e9)]
        px, confidence = self.sequence(seconds)
        w = confidence[:, :, person] ** 2 * (camera_arrays(self.rig).focal_px[:, None] / sigma_px) ** 2
        xy = np.stack([c.undistort(px[:, i, person]) for i, c in enumerate(self.rig)], axis=1)
        w = np.where(np.isfinite(xy).all(axis=-1), w, 0.0)
        return [
            BodyObservations(int(t), [person + 1], xy[i : i + 1], w[i : i + 1]) for i, t in enumerate(t_ns.tolist())
        ]


def lasting_scene(
    detector: str | Detector = "blazepose-heavy",
    *,
    seconds: float = 600.0,
    people: int = 1,
    shapes: Sequence[Sequence[float]] | Float | None = None,
    rig: Rig | None = None,
    rate_hz: float = 25.0,
    clocks: Mapping[str, CameraClock] | None = None,
    seed: int = 0,
    body: BodyModel | None = None,
    area_m: float = 1.3,
) -> LastingScene:
    """People who live before cameras for so long. The same arguments give the same world.

    detector: ``white``, a detector whose habits are shipped (``kinecast.engines.habits.table.habit_names()``), the path
    of a table (.toml), or one that was made. shapes: (P, B) betas, by default the first of ``SHAPES``. rig: by default
    four cameras of 1920 × 1080 in a ring of 4.5 m.
    """
    model = body or load_body("neutral")
    chosen = np.asarray(SHAPES if shapes is None else shapes, np.float64)
    if people > len(chosen):
        raise KinecastError(f"{people} people need {people} shapes, there are {len(chosen)}")
    lives = daily_people(
        model, keypoint_terms(model, SKELETON), seconds=seconds, shapes=chosen[:people], seed=seed, rate_hz=rate_hz,
        area_m=area_m,
    )  # fmt: skip
    made = detector_named(detector, seed) if isinstance(detector, str) else detector
    cameras = rig or ring_rig(4, (1920, 1080), radius_m=4.5, focal_of_width=0.625)
    return LastingScene(lives, Scene(cameras, lives, made, seed, clocks or {}), model, rate_hz)
