"""Motion clips staged before a fixed rig: what a detector would report of people whose joints are known.

Classes of motion of which nothing is ever trained on are what such sessions are made of, so that retraining on some of
them and asking about others measures what recordings of something new are worth.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Keypoints2D
from kinecast.engines.synth import Detections, message
from kinecast.engines.synth.detector import report
from kinecast.engines.train.data.detector_noise import NoiseModel
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.data.pinhole_views import HALPE, ROOT, PinholeView, before_pinholes, detect
from kinecast.engines.train.data.random_cameras import VirtualCameras
from kinecast.engines.train.data.synthetic_batches import Augment, MotionClips

Float = NDArray[np.float64]

APART_M = 2.2  # between the places of two people
# people of a session: other shapes of the body, a third with the arms of another clip, upright
AUGMENT = Augment(speed=(0.85, 1.15), arms=0.33, upright=1.0, flip=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedSession:
    """P people for T frames at ``rate_hz`` before the C cameras of a rig.

    points: (T, P, 26, 3) HALPE-26, metres in the world of the rig, the truth. actions: (P,) classes of their motion.
    view: P·C sequences in cameras' axes, the cameras of person 0 first, with what the detector made of them: xy (P·C,
    T, 26, 2) on the plane z = 1 and confidence (P·C, T, 26), 0 where missing; true: xy without error.
    """

    rig: Rig
    rate_hz: float
    points: Float
    actions: tuple[str, ...]
    view: PinholeView
    xy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    true: NDArray[np.float32]


def unseen_classes(clips: Sequence[Clip], held: Sequence[Clip]) -> list[Clip]:
    """The held-out clips whose class of motion is in no clip that is trained on."""
    known = {c.action for c in clips}
    return [c for c in held if c.action not in known]


def split_clips(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """(to stage sessions to learn from, to stage the benchmark of): of every class half the clips each, by name.

    The only clip of a class is cut in the middle. Raises KinecastError where there is nothing to divide.
    """
    if not clips:
        raise KinecastError("no class of motion is held out whole: name all clips of a class in the list of --held-out")
    classes = defaultdict(list)
    for clip in sorted(clips, key=lambda c: c.name):
        classes[clip.action].append(clip)
    first: list[Clip] = []
    second: list[Clip] = []
    for mine in classes.values():
        if len(mine) > 1:
            first, second = first + mine[::2], second + mine[1::2]
            continue
        half = len(mine[0].good) // 2
        first.append(_part(mine[0], slice(0, half), "first half"))
        second.append(_part(mine[0], slice(half, None), "second half"))
    return first, second


def _part(clip: Clip, rows: slice, name: str) -> Clip:
    return replace(
        clip, name=f"{clip.name}, {name}", local=clip.local[rows], root=clip.root[rows], good=clip.good[rows]
    )


def simulate_session(
    motion: MotionClips, rig: Rig, noise: NoiseModel, people: int, seconds: float, rate_hz: float, seed: int
) -> SimulatedSession:
    """``people`` random bodies in random motion side by side; a function of its arguments alone.

    One detector of the character of ``noise`` looks through every camera and knows all 26 joints.
    """
    rng = np.random.default_rng((seed, 23))
    frames = round(seconds * rate_hz)
    pieces = rng.choice(len(motion.share), people, p=motion.share)
    spread = APART_M * (np.arange(people) - (people - 1) / 2)
    aside = rng.uniform(0, 2 * np.pi)
    points = np.empty((frames, people, len(HALPE), 3))
    for p, piece in enumerate(pieces):
        length = float((motion.end[piece] - motion.begin[piece]) / motion.rate_hz[piece])
        own = motion.sequence(rng, int(piece), rng.uniform(0, length), frames, rate_hz)[..., [0, 2, 1]]
        own[..., 1] *= -1  # from y up to z up
        turn, middle = rng.uniform(0, 2 * np.pi), own[:, ROOT, :2].mean(axis=0)
        about = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        own[..., :2] = (own[..., :2] - middle) @ about.T + spread[p] * np.array([np.cos(aside), np.sin(aside)])
        points[:, p] = own
    T = np.stack([c.cam_from_world for c in rig.cameras])
    C = len(rig)
    focal = np.array([np.sqrt(c.K[0, 0] * c.K[1, 1]) for c in rig.cameras])
    size = np.array([c.size_px for c in rig.cameras], np.float64)
    cameras = VirtualCameras(
        np.tile(T[:, :3, :3], (people, 1, 1)), np.tile(T[:, :3, 3], (people, 1)), np.tile(focal, people),
        np.tile(size, (people, 1)),
    )  # fmt: skip
    view = before_pinholes(np.repeat(points.swapaxes(0, 1), C, axis=0), cameras, np.repeat(motion.clip[pieces], C))
    xy, confidence, true = detect(view, noise, rng, rate_hz, detector=HALPE.name)
    actions = tuple(motion.actions[motion.clip[piece]] for piece in pieces)
    return SimulatedSession(rig, rate_hz, points, actions, view, xy, confidence, true)


def messages(session: SimulatedSession, seed: int) -> list[list[Keypoints2D]]:
    """By camera what its node would publish, frame k at k / rate; people in a random order, without local ids."""
    rng = np.random.default_rng((seed, 29))
    people, C = len(session.actions), len(session.rig.cameras)
    out = []
    for c, camera in enumerate(session.rig.cameras):
        xy, confidence = session.xy[c::C].astype(np.float64), session.confidence[c::C].copy()
        px = camera.distort(xy)
        confidence[(px < -0.5).any(axis=-1) | (px > np.array(camera.size_px) - 0.5).any(axis=-1)] = 0.0
        rows = []
        for k in range(len(session.points)):
            seen, _ = report(Detections(px, confidence, rng.permutation(people)), k)
            rows.append(message(camera, k, round(k * 1e9 / session.rate_hz), seen))
        out.append(rows)
    return out
