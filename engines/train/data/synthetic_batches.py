"""Batches of sequences: motion on random bodies, before random cameras, through a detector's noise.

Every batch is a function of (seed, step) alone, so a run that is taken up again sees what it would have seen.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import BodyModel, pose_joints
from kinecast.engines.body.model.keypoints import KeypointTerms, keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import matrices, straighten
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.detector_noise import NoiseModel
from kinecast.engines.train.data.motion import HAND_KEYED, Clip, leg_m
from kinecast.engines.train.data.pinhole_views import NEAREST_M, PinholeView, before_cameras, detect, mirror_share
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.virtual_camera import Normalised, fill_unseen, into_virtual, normalise

Float = NDArray[np.float64]
F32 = NDArray[np.float32]

HALPE = skeleton("halpe26")
ROOT = HALPE.index("mid_hip")
HELD_OUT = Path(__file__).parent / "held_out.toml"
SHORTEST_S = 0.5  # what is left of a clip between two glitches
FORGET_S = 1.5  # so long after somebody was last seen nothing is asked of the network
_ARMS = [skeleton("smpl24").index(f"{s}_{j}") for s in ("left", "right") for j in
         ("collar", "shoulder", "elbow", "wrist", "hand")]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Augment:
    """How motion is varied. speed: factors of time, drawn evenly. arms: share of sequences with another clip's arms.

    upright: share that keeps its upright; the rest is turned any way. bodies: of which one is drawn, with betas from a
    normal distribution of this standard deviation (1 is the population).
    """

    speed: tuple[float, float] = (0.75, 1.3)
    arms: float = 0.2
    upright: float = 0.93
    betas: float = 1.0
    flip: float = 0.5
    bodies: tuple[str, ...] = ("neutral", "male", "female")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B sequences of T frames. Points are in the axes of each frame's virtual camera, metres.

    features, context: as :func:`engines.virtual_camera.normalise` gives them. relative_m: (B, T, J, 3), root_m: (B, T,
    3). clean: (B, T, J, 2) the true keypoints, normalised alike. extent, k_m: (B, T). weight: (B, T) of the frame in
    the loss: 0 before the first detection and long after the last. cam_from_virtual: (B, T, 3, 3). focal_px: (B,).
    age: (B, T) frames since the first detection, negative before it. clip: (B,) which.
    """

    features: F32
    context: F32
    relative_m: F32
    root_m: F32
    clean: F32
    extent: F32
    k_m: F32
    weight: F32
    focal_px: F32
    cam_from_virtual: F32
    age: NDArray[np.int64]
    clip: NDArray[np.int64]


def held_out(names: Sequence[str], path: Path = HELD_OUT) -> NDArray[np.bool_]:
    """(N,) which clips are never trained on: those that a pattern of the file fits."""
    return _listed(names, path, "clips")


def left_out(names: Sequence[str], path: Path = HELD_OUT) -> NDArray[np.bool_]:
    """(N,) which clips are neither trained on nor asked about: what sessions to learn from were staged of, say."""
    return _listed(names, path, "left_out", ())


def _listed(names: Sequence[str], path: Path, key: str, otherwise: Sequence[str] | None = None) -> NDArray[np.bool_]:
    try:
        table = tomllib.loads(path.read_text())
        patterns = table[key] if otherwise is None else table.get(key, otherwise)
    except (OSError, KeyError, tomllib.TOMLDecodeError) as e:
        raise KinecastError(f"{path}: no list of held-out clips ({e})") from None
    return np.array([any(fnmatchcase(n, p) for p in patterns) for n in names], bool)


class MotionClips:
    """Clips end to end, split where they have glitches, and the bodies that they are put on."""

    def __init__(self, clips: Sequence[Clip], augment: Augment, rare: float = 2.0) -> None:
        """rare: how much more often a hand-keyed clip is drawn than its length would have it."""
        self.augment = augment
        pieces: list[tuple[int, int, int, float]] = []  # clip, begin, end, rate
        total = 0
        for i, clip in enumerate(clips):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], clip.good.astype(np.int8), [0]])))
            for begin, end in edges.reshape(-1, 2):
                if end - begin >= SHORTEST_S * clip.rate_hz:
                    pieces.append((i, total + int(begin), total + int(end), clip.rate_hz))
            total += len(clip.good)
        if not pieces:
            raise KinecastError(f"no clip of {SHORTEST_S} s or more among the {len(clips)} to train on")
        self.names = tuple(c.name for c in clips)
        self.actions = tuple(c.action for c in clips)
        self.local = np.concatenate([c.local for c in clips])
        self.root = np.concatenate([c.root for c in clips])
        self.clip, self.begin, self.end = (np.array([p[k] for p in pieces]) for k in range(3))
        self.rate_hz = np.array([p[3] for p in pieces])
        seconds = (self.end - self.begin) / self.rate_hz
        odd = np.array([clips[p[0]].action == HAND_KEYED for p in pieces])
        share = seconds * np.where(odd, rare, 1.0)
        self.share = share / share.sum()
        self.seconds = float(seconds.sum())
        self.bodies: list[tuple[BodyModel, KeypointTerms]] = []
        for name in augment.bodies:
            body = load_body(name)
            self.bodies.append((body, keypoint_terms(body, HALPE.name)))

    def rotations(self, piece: int, start_s: float, frames: int, rate_hz: float, speed: float) -> tuple[Float, Float]:
        """(T, 24, 3, 3) local rotations and (T, 3) roots, in legs, from a time on; the piece turns back at its ends."""
        n = int(self.end[piece] - self.begin[piece])
        at = start_s * self.rate_hz[piece] + np.arange(frames) * (self.rate_hz[piece] * speed / rate_hz)
        at = np.abs((at + n - 1) % (2 * n - 2) - (n - 1)) if n > 1 else np.zeros(frames)
        low = np.minimum(at.astype(np.int64), max(n - 2, 0))
        part = (at - low)[:, None]
        low += self.begin[piece]
        high = np.minimum(low + 1, self.end[piece] - 1)
        local = self.local[low] * (1 - part[..., None, None]) + self.local[high] * part[..., None, None]
        local = np.ascontiguousarray(local, np.float64).reshape(-1, 3, 3)
        straighten(local)  # neighbours are near enough that the mean, put straight, is the rotation between them
        return local.reshape(frames, 24, 3, 3), self.root[low] * (1 - part) + self.root[high] * part

    def sequence(self, rng: np.random.Generator, piece: int, start_s: float, frames: int, rate_hz: float) -> Float:
        """(T, 26, 3) joints of a random body in the motion's world, metres, y up."""
        a = self.augment
        local, root = self.rotations(piece, start_s, frames, rate_hz, rng.uniform(*a.speed))
        if rng.random() < a.arms:
            other = int(rng.choice(len(self.share), p=self.share))
            theirs, _ = self.rotations(other, rng.uniform(0, 60), frames, rate_hz, rng.uniform(*a.speed))
            local[:, _ARMS] = theirs[:, _ARMS]
        body, terms = self.bodies[rng.integers(len(self.bodies))]
        betas = np.clip(rng.normal(0, 1, body.betas), -2.5, 2.5) * a.betas
        rest = body.J_template + body.J_shape @ betas
        turned, joints, _ = pose_joints(body, local, betas, root * leg_m(rest))
        points = _placed(terms, turned, joints, betas)
        if rng.random() >= a.upright:
            axis = rng.normal(size=3)
            turn = matrices(axis / np.linalg.norm(axis) * rng.uniform(0, np.pi))
            middle = points[0, ROOT]
            points = (points - middle) @ turn.T + middle
        return points


def _placed(terms: KeypointTerms, turned: Float, joints: Float, betas: Float) -> Float:
    """``terms.place`` of one body in many poses: (T, 26, 3) as one product of matrices."""
    offset = terms.offset + terms.offset_shape @ betas
    table = np.zeros((len(terms.count), 24, 4))
    for k, count in enumerate(terms.count):
        for m in range(count):
            table[k, terms.joint[k, m], :3] += offset[k, m]
            table[k, terms.joint[k, m], 3] += terms.weight[k, m]
    axes = np.concatenate([turned, joints[..., None]], -1).transpose(0, 2, 1, 3).reshape(-1, 96)
    return np.ascontiguousarray((axes @ table.reshape(-1, 96).T).reshape(-1, 3, len(table)).transpose(0, 2, 1))


def random_views(
    motion: MotionClips, rng: np.random.Generator, count: int, frames: int, rate_hz: float, ranges: CameraRanges
) -> PinholeView:
    """``count`` sequences of random pieces, each before a camera of its own that looks at one of its frames."""
    pieces = rng.choice(len(motion.share), count, p=motion.share)
    points = np.empty((count, frames, len(HALPE), 3))
    for b, piece in enumerate(pieces):
        seconds = (motion.end[piece] - motion.begin[piece]) / motion.rate_hz[piece]
        points[b] = motion.sequence(rng, int(piece), rng.uniform(0, max(seconds - 1, 0.1)), frames, rate_hz)
    return before_cameras(points, rng, ranges, motion.clip[pieces])


def batch_of(view: PinholeView, xy: F32, confidence: F32, true: F32, rate_hz: float, root_joint: int = ROOT) -> Batch:
    """Features and targets. A track is born with its first detection, which stands for all frames before it."""
    born = confidence.max(-1) > 0
    first = np.where(born.any(1), born.argmax(1), born.shape[1] - 1)
    time = np.arange(born.shape[1])
    index = np.maximum(time, first[:, None])  # (B, T)
    xy, confidence = (np.take_along_axis(a, _like(index, a), 1) for a in (xy, confidence))
    n: Normalised = fill_unseen(normalise(xy, confidence))
    since = time - np.maximum.accumulate(np.where(n.seen, time, -(10**6)), axis=1)
    weight = (time >= first[:, None]) & born.any(1)[:, None] & (since <= FORGET_S * rate_hz)
    points = into_virtual(n.cam_from_virtual, view.points_cam)
    root = points[:, :, root_joint]
    rays = into_virtual(n.cam_from_virtual, np.concatenate([true, np.ones_like(true[..., :1])], -1))
    clean = rays[..., :2] / np.maximum(rays[..., 2:], 0.1) / n.extent[..., None, None]
    weight &= root[..., 2] > NEAREST_M
    relative = points - root[:, :, None]
    f4 = np.float32
    return Batch(
        n.features.astype(f4), n.context.astype(f4), relative.astype(f4), root.astype(f4), clean.astype(f4),
        n.extent.astype(f4), n.k_m.astype(f4), weight.astype(f4), view.cameras.focal_px.astype(f4),
        n.cam_from_virtual.astype(f4), time - first[:, None], view.clip,
    )  # fmt: skip


def _like(index: NDArray[np.int64], array: F32) -> NDArray[np.int64]:
    return index.reshape(index.shape + (1,) * (array.ndim - 2))


class BatchSource(Protocol):
    """Whatever gives batches by number."""

    def batch(self, step: int, rank: int = 0) -> Batch:
        """The batch of a step on one of the machines."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Sampler:
    """Batches by number. size: sequences a batch, of ``frames`` frames at ``rate_hz``."""

    motion: MotionClips
    noise: NoiseModel
    cameras: CameraRanges
    size: int
    frames: int
    rate_hz: float
    seed: int

    def batch(self, step: int, rank: int = 0) -> Batch:
        """The batch of a step on one of the machines."""
        rng = np.random.default_rng((self.seed, step, rank))
        view = random_views(self.motion, rng, self.size, self.frames, self.rate_hz, self.cameras)
        view = mirror_share(view, self.motion.augment.flip, rng)
        return batch_of(view, *detect(view, self.noise, rng, self.rate_hz), self.rate_hz)
