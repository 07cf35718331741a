"""Detectors of the synthetic world: what is made of the true keypoints that cameras would show.

A detector gets a :class:`TrueView` and random numbers and gives :class:`Detections`. Whatever is to be wrong in a new
way (the same offset of a joint all the time, errors that are alike in neighbouring cameras) is one more class that
keeps :class:`Detector`: the view tells it who is seen by which camera, where in the world and when.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.engines.records import People2D
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.occlusion import hidden

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

SKELETON = "halpe26"
_HALPE = skeleton(SKELETON)
MIN_KEYPOINTS = 5  # a detector that sees fewer of somebody reports nobody


@dataclass(frozen=True, eq=False)
class TrueView:
    """What cameras show of people, without error: B sequences of T frames, each of one person before one camera.

    keypoints: (B, T, J, 2) px, lens and all; of pinholes of which nothing else is known, on the plane z = 1. NaN where
    nobody is, or behind the camera. visible: (B, T, J), before the camera and inside the picture. Of a scene also:
    cameras, C of them, points_world (T, P, J, 3) m and t_ns (T,) of the world; B = C·P, the people of the first camera
    first.
    """

    keypoints: NDArray[np.floating]
    visible: Bool
    cameras: tuple[Camera, ...] = ()
    points_world: Float | None = None
    t_ns: Int = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, points_world: Float, cameras: tuple[Camera, ...], t_ns: Int) -> "TrueView":
        """Points (T, P, J, 3) of the world before cameras."""
        T, P, J = points_world.shape[:3]
        px = np.stack([camera.project(points_world)[0] for camera in cameras])  # C, T, P, J, 2
        size = np.array([camera.size_px for camera in cameras])[:, None, None, None]
        with np.errstate(invalid="ignore"):
            inside = (px >= -0.5) & (px <= size - 0.5)
        visible = np.asarray(inside.all(axis=-1))
        one = (len(cameras) * P, T, J)
        px, visible = px.swapaxes(1, 2).reshape(*one, 2), visible.swapaxes(1, 2).reshape(one)
        return cls(px, visible, cameras, points_world, t_ns)

    @property
    def size_px(self) -> Float:
        """(B, 1, 1, 2) width and height of the picture that each sequence is of."""
        each = len(self.keypoints) // max(len(self.cameras), 1)
        return np.repeat(np.array([c.size_px for c in self.cameras], np.float64), each, axis=0)[:, None, None]

    @cached_property
    def hidden(self) -> Bool:
        """(B, T, J) whether a joint stands behind somebody else's body."""
        if self.points_world is None:
            return np.zeros_like(self.visible)
        rows = [[hidden(points, camera) for points in self.points_world] for camera in self.cameras]
        return np.stack([np.stack(frames, axis=1) for frames in rows]).reshape(self.visible.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector makes of a view, sequence by sequence; :func:`report` makes a frame's records of it.

    keypoints: (B, T, J, 2), confidence: (B, T, J), 0 where missing, and then the keypoint means nothing. order: (B,) of
    the people in a frame's list. tracked: local ids last. ghosts: (N, J, 3), px and confidence of people who are not.
    """

    keypoints: NDArray[np.floating]
    confidence: NDArray[np.floating]
    order: Int | None = None
    tracked: bool = False
    ghosts: Float | None = None


class Detector(Protocol):
    """Whatever looks at people through cameras and errs."""

    def detect(self, view: TrueView, rng: np.random.Generator) -> Detections:
        """What it reports of a view. A function of both arguments: who asks again gets the same."""
        ...


@dataclass(frozen=True, slots=True)
class Noise:
    """A detector that errs anew in every frame. Shares are probabilities in [0, 1].

    sigma_px: standard deviation per axis of a good keypoint; sigma_of_height: the same as a share of the person's
    height in the picture, added in quadrature. outliers: share of joints that are ``outlier_px`` off (uniform, in any
    direction). missing: share of joints not given. missed_people: share of people not found. swaps: share of people
    whose left and right are exchanged. occlusion: joints behind somebody else are not given. ghosts: mean number of
    false people a view.
    tracked: give local ids that last, else −1.
    """

    sigma_px: float = 3.0
    sigma_of_height: float = 0.0
    outliers: float = 0.0
    outlier_px: tuple[float, float] = (40.0, 200.0)
    missing: float = 0.0
    missed_people: float = 0.0
    swaps: float = 0.0
    occlusion: bool = False
    ghosts: float = 0.0
    tracked: bool = False

    def detect(self, view: TrueView, rng: np.random.Generator) -> Detections:
        """In HALPE-26. A joint outside the picture is not given."""
        B, T, J = view.visible.shape
        # every draw is made for everybody, so that one setting does not change the random numbers of another
        normal, lie, angle = rng.normal(size=(B, T, J, 2)), rng.random((B, T, J)), rng.uniform(0, 2 * np.pi, (B, T, J))
        length, confidence = rng.uniform(*self.outlier_px, (B, T, J)), rng.uniform(0.5, 1.0, (B, T, J))
        doubt, gap = rng.uniform(0.3, 1.0, (B, T, J)), rng.random((B, T, J))
        missed, swapped, order = rng.random((B, T)), rng.random((B, T)), rng.permutation(B)
        px = view.keypoints + self._sigma_px(view.keypoints)[..., None, None] * normal
        outlier = lie < self.outliers
        px += (outlier * length)[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        confidence = np.where(outlier, confidence * doubt, confidence)
        swap, flip = swapped < self.swaps, np.array(_HALPE.flip)
        px[swap], confidence[swap] = px[swap][:, flip], confidence[swap][:, flip]
        gone = (gap < self.missing) | ~np.isfinite(px).all(axis=-1) | (missed < self.missed_people)[..., None]
        with np.errstate(invalid="ignore"):
            gone |= ((px < -0.5) | (px > view.size_px - 0.5)).any(axis=-1)
        if self.occlusion and B > 1:
            behind = view.hidden.copy()
            behind[swap] = behind[swap][:, flip]
            gone |= behind
        px[gone], confidence[gone] = np.nan, 0.0
        return Detections(px, confidence, order, self.tracked, self._ghosts(view, rng) if self.ghosts else None)

    def _sigma_px(self, px: NDArray[np.floating]) -> Float:
        """(B, T) of each person in each frame."""
        with np.errstate(invalid="ignore"):
            top = np.fmin.reduce(px[..., 1], axis=-1, initial=np.inf)
            tall = np.fmax.reduce(px[..., 1], axis=-1, initial=-np.inf) - top
        sigma: Float = np.hypot(self.sigma_px, self.sigma_of_height * np.where(np.isfinite(tall), tall, 0.0))
        return sigma

    def _ghosts(self, view: TrueView, rng: np.random.Generator) -> Float:
        """(N, 26, 3) person-like shapes where nobody is, of the first camera."""
        (w, h), out = view.cameras[0].size_px, []
        for _ in range(rng.poisson(self.ghosts)):
            tall = rng.uniform(0.2, 0.5) * h
            at = rng.uniform([0.1 * w, tall / 2], [0.9 * w, h - tall / 2])
            px = np.clip(at + rng.normal(size=(len(_HALPE), 2)) * [tall / 8, tall / 4], 0, [w - 1, h - 1])
            out.append(np.concatenate([px, rng.uniform(0.2, 0.7, (1, len(_HALPE))).T], axis=1))
        return np.array(out).reshape(-1, len(_HALPE), 3)


NONE = Noise(sigma_px=0.0)
CROWD = Noise(sigma_px=3.0, outliers=0.10, missing=0.15)  # the synthetic crowd that fusion is measured on


@dataclass(frozen=True, slots=True)
class WhiteNoise:
    """A detector whose errors are normal, of any skeleton; it gives joints outside the picture too.

    sigma_px: per axis. outliers: share of joints with a further normal error of ``outlier_px``. missing: share of
    joints not given; the others have confidence 1.
    """

    sigma_px: float
    outliers: float = 0.0
    missing: float = 0.0
    outlier_px: float = 80.0

    def detect(self, view: TrueView, rng: np.random.Generator) -> Detections:
        """Drawn frame by frame, of all sequences at once."""
        px = view.keypoints.swapaxes(0, 1)
        px = px + rng.normal(0, self.sigma_px, px.shape)
        wild = rng.random(px.shape[:3]) < self.outliers
        px[wild] += rng.normal(0, self.outlier_px, (int(wild.sum()), 2))
        gone = (rng.random(px.shape[:3]) < self.missing) | ~np.isfinite(px).all(axis=-1)
        return Detections(px.swapaxes(0, 1), np.where(gone, 0.0, 1.0).swapaxes(0, 1))


def report(found: Detections, frame: int = 0) -> tuple[People2D, Int]:
    """One camera's detections in a frame as records, and whose each is: (N,) row of the person, −1: a ghost.

    Somebody with fewer than ``MIN_KEYPOINTS`` joints is not in it.
    """
    px, confidence = found.keypoints[:, frame], found.confidence[:, frame]
    enough = (confidence > 0).sum(axis=1) >= MIN_KEYPOINTS
    order = np.arange(len(px)) if found.order is None else found.order
    who = order[enough[order]].astype(np.int64)
    px, confidence = np.where((confidence > 0)[..., None], px, np.nan)[who], confidence[who]
    if found.ghosts is not None:
        px = np.concatenate([px, found.ghosts[..., :2]])
        confidence = np.concatenate([confidence, found.ghosts[..., 2]])
        who = np.append(who, np.full(len(found.ghosts), -1))
    boxes, scores = np.zeros((len(px), 4)), np.zeros(len(px))
    for i in range(len(px)):
        given = px[i][np.isfinite(px[i]).all(axis=-1)]
        boxes[i] = [*given.min(axis=0), *given.max(axis=0)]
        scores[i] = confidence[i][confidence[i] > 0].mean()
    ids = who if found.tracked else np.full(len(who), -1)
    people = People2D(
        px.astype(np.float32), np.clip(confidence, 0, 1).astype(np.float32), boxes.astype(np.float32),
        scores.astype(np.float32), ids.astype(np.int32),
    )  # fmt: skip
    return people, who
