"""The synthetic world: cameras, people on trajectories, and a detector that errs. All else is derived when asked for.

    Scene(ring_rig(4), World(people=3), CROWD).messages(frames=300)

| people                                       | truth                                         | made by             |
|----------------------------------------------|-----------------------------------------------|---------------------|
| walkers, alone or in a crowd                 | 26 joints, who is there; rigid limbs, no body | World               |
| somebody who waves and steps                 | rotations, shape, 24 joints, keypoints        | moving_body         |
| feet that walk on ground, a beam, stairs     | the same, and which foot stands how high      | foot_walk           |
| captured motion on random bodies, in a room  | 26 joints, class of motion                    | staged_sessions ¹   |
| the same, one person before a random pinhole | 26 joints in the camera's axes                | synthetic_batches ¹ |
| days of walking, sitting, bending, reaching  | rotations, shape, 24 joints, keypoints        | daily_motion        |
| a board that is carried about                | poses of the board, corners                   | boards              |

| detector         | errors                                                                       | made by         |
|------------------|------------------------------------------------------------------------------|-----------------|
| Noise            | new in every frame; outliers, gaps, swaps, occlusion, people missed, ghosts  | detector        |
| WhiteNoise       | new in every frame, normal; outliers, gaps                                   | detector        |
| HabitualDetector | the same all the time, in the limbs' axes; slow and fast; jumps where hidden | habitual        |
| FittedDetector   | lasting, slow and fast, bursts of gaps and swaps, as fitted to recordings    | pinhole_views ¹ |

¹ of ``engines.train.data``, which has the clips. Walkers' detections are drawn camera by camera and frame by frame, so
that camera processes need not know each other; the others' all at once, in the order that published figures stand on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera, Rig
from kinecast.engines.records import Keypoints2D, People2D
from kinecast.engines.synth.detector import CROWD, SKELETON, Detector, TrueView, report
from kinecast.engines.synth.world import CameraClock

Float = NDArray[np.float64]


class Trajectories(Protocol):
    """People whose joints are known at every time."""

    def points_world(self, t_ns: int) -> Float:
        """(P, J, 3) m, z up, at a time of the world; NaN for somebody who is away."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SampledPeople:
    """People who are known at the times k / rate_hz: points (T, P, J, 3) m; between two the nearer one counts."""

    points: Float
    rate_hz: float = 30.0

    def points_world(self, t_ns: int) -> Float:
        """(P, J, 3); before the first and after the last they stand still."""
        frame = round(t_ns / 1e9 * self.rate_hz)
        points: Float = self.points[min(max(frame, 0), len(self.points) - 1)]
        return points

    @property
    def t_ns(self) -> NDArray[np.int64]:
        """(T,) times of the samples."""
        return np.round(np.arange(len(self.points)) / self.rate_hz * 1e9).astype(np.int64)


def frame_rng(seed: int, camera: str, stamp_ns: int) -> np.random.Generator:
    """Random numbers that belong to one camera and one frame, whatever was asked for before."""
    return np.random.default_rng((seed, crc32(camera.encode()), stamp_ns & (2**64 - 1)))


def observe(
    points_world: Float, camera: Camera, detector: Detector, rng: np.random.Generator, t_ns: int = 0
) -> tuple[People2D, NDArray[np.int64]]:
    """What a detector behind one camera reports of people (P, J, 3) at one time, in an order of its own; and whose each
    detection is: (N,) row of the person, −1: a ghost."""
    return report(detector.detect(TrueView.of(points_world[None], (camera,), np.array([t_ns])), rng))


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Cameras that look at people, in the time of the world. clocks: of cameras, by name; what they stamp is theirs."""

    rig: Rig
    people: Trajectories
    detector: Detector = CROWD
    seed: int = 0
    clocks: Mapping[str, CameraClock] = field(default_factory=dict)

    def points_world(self, t_ns: int) -> Float:
        """(P, J, 3) m."""
        return self.people.points_world(t_ns)

    def view(self, t_ns: int, *cameras: Camera) -> TrueView:
        """The truth before some cameras at a time; of all where none is named."""
        return TrueView.of(self.points_world(t_ns)[None], cameras or self.rig.cameras, np.array([t_ns]))

    def observe(self, camera: Camera, t_ns: int, stamp_ns: int | None = None) -> People2D:
        """What the detector behind a camera reports at a time; stamp_ns: of the frame, which its errors belong to."""
        rng = frame_rng(self.seed, camera.name, t_ns if stamp_ns is None else stamp_ns)
        return observe(self.points_world(t_ns), camera, self.detector, rng, t_ns)[0]

    def sequence(self, t_ns: NDArray[np.int64], rng: np.random.Generator) -> tuple[Float, Float]:
        """Pixels (T, C, P, J, 2) and confidence (T, C, P, J) at many times, by person, not by detection."""
        points = np.stack([self.points_world(int(t)) for t in t_ns])
        found = self.detector.detect(TrueView.of(points, self.rig.cameras, t_ns), rng)
        shape = (len(self.rig), points.shape[1], *found.confidence.shape[1:])
        px = np.asarray(found.keypoints, np.float64).reshape(*shape, 2)
        confidence = np.asarray(found.confidence, np.float64).reshape(shape)
        return px.transpose(2, 0, 1, 3, 4), confidence.transpose(2, 0, 1, 3)

    def messages(self, frames: int, fps_hz: float | Mapping[str, float] = 30.0) -> Iterator[Keypoints2D]:
        """What the camera nodes would publish, in the order of the world's time, ``frames`` of the fastest camera's.

        fps_hz: of all cameras, or by name.
        """
        names = self.rig.names
        rates = {n: float(fps_hz[n] if isinstance(fps_hz, Mapping) else fps_hz) for n in names}
        end_s = frames / max(rates.values())
        ticks = sorted((k / rates[n], c, k) for c, n in enumerate(names) for k in range(int(np.ceil(end_s * rates[n]))))
        for t_s, c, k in ticks:
            camera, t_ns = self.rig.cameras[c], round(t_s * 1e9)
            stamp_ns = self.clocks.get(camera.name, CameraClock()).stamp_ns(t_ns)
            yield message(camera, k, stamp_ns, self.observe(camera, t_ns, stamp_ns))


def messages(
    people: Trajectories,
    rig: Rig,
    *,
    frames: int,
    fps_hz: float | Mapping[str, float] = 30.0,
    noise: Detector = CROWD,
    clocks: Mapping[str, CameraClock] | None = None,
    seed: int = 0,
) -> Iterator[Keypoints2D]:
    """:meth:`Scene.messages` of a scene that is wanted for nothing else."""
    return Scene(rig, people, noise, seed, clocks or {}).messages(frames, fps_hz)


def message(camera: Camera, frame: int, stamp_ns: int, seen: People2D, skeleton: str = SKELETON) -> Keypoints2D:
    """What the camera's node would publish of a frame; skeleton: of the keypoints."""
    return Keypoints2D(
        camera=camera.name,
        frame_seq=frame,
        t_capture_ns=stamp_ns,
        size_px=camera.size_px,
        skeleton=skeleton,
        keypoints_px=seen.keypoints_px,
        confidence=seen.confidence,
        boxes_px=seen.boxes_px,
        scores=seen.scores,
        local_ids=seen.local_ids,
    )
