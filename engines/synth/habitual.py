"""A detector that is wrong as real ones are: :class:`~engines.habits.table.Habits` acted out before cameras."""

from dataclasses import dataclass, replace
from statistics import NormalDist
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.capture.errors import KinecastError
from kinecast.engines.habits.limb_frames import HALPE, KIND, allowed_offsets, limb_frames, scale, view_harmonics
from kinecast.engines.habits.table import Habits, habit_names, load_habits
from kinecast.engines.records import People2D
from kinecast.engines.skeleton import direct_index
from kinecast.engines.synth.detector import CROWD, SKELETON, Bool, Detections, Detector, Float, TrueView
from kinecast.engines.synth.lasting_noise import lasting_noise
from kinecast.engines.synth.occlusion import own_body_hides

J = len(HALPE)
FLIP = np.array(HALPE.flip)
JUMP_S = 0.4  # how long a hidden joint stays with the other side
CONFIDENCE_S = 0.5
_SLOW, _FAST, _PERSON = range(3)  # streams of random numbers of their own


@dataclass(frozen=True, slots=True, eq=False)
class HabitualDetector:
    """Reports HALPE-26 with the habits of a table. What lasts is a function of seed, camera, person and time alone.

    habits: the table. seed: of what lasts; another seed, another temper of the same detector. share: of all errors, 1
    as fitted; 0.5 is a detector twice as good. occlusion: joints behind somebody else's body are guessed, as those
    behind the own are. habitual: False leaves the offsets out: noise of the same size that is
    correlated over seconds and no more.
    """

    habits: Habits
    seed: int = 0
    share: float = 1.0
    occlusion: bool = True
    habitual: bool = True
    tracked: bool = False

    def detect(self, view: TrueView, rng: np.random.Generator) -> Detections:
        """Camera by camera. KinecastError where nothing is known of the people but their pixels."""
        if view.points_world is None or not view.cameras:
            raise KinecastError("a detector's habits go with limbs in the world: this view has pixels alone")
        points = np.asarray(view.points_world, np.float64)
        T, P = points.shape[:2]
        frames, size = limb_frames(points), scale(points)
        offsets = self.offsets_m(P)
        behind = view.hidden.reshape(len(view.cameras), P, T, J) if self.occlusion and P > 1 else None
        px: Float = np.empty((len(view.cameras), P, T, J, 2))
        confidence: Float = np.empty((len(view.cameras), P, T, J))
        for c, camera in enumerate(view.cameras):
            hidden = own_body_hides(points, camera.centre_world)
            if behind is not None:
                hidden = hidden | behind[c].swapaxes(0, 1)
            seen = self._placed(points, frames, size, offsets, camera)
            a, b = self._errs(seen, size, hidden, camera, view.t_ns, rng)
            px[c], confidence[c] = a.swapaxes(0, 1), b.swapaxes(0, 1)
        flat, sure = px.reshape(-1, T, J, 2), confidence.reshape(-1, T, J)
        with np.errstate(invalid="ignore"):
            outside = (flat < -0.5).any(axis=-1) | (flat > view.size_px - 0.5).any(axis=-1)
        gone = ~np.isfinite(flat).all(axis=-1) | outside
        flat[gone], sure[gone] = np.nan, 0.0
        order = rng.permutation(len(flat)) if T == 1 and not self.tracked else None
        return Detections(flat, sure, order, self.tracked)

    def offsets_m(self, people: int) -> Float:
        """(P, 26, 3, 5) habits of these people's joints, by harmonic, in the limbs' axes: the truth of a test."""
        h = self.habits
        if not self.habitual:
            return np.zeros((people, J, 3, 5))
        out = np.repeat(np.array(h.offset_m)[None], people, axis=0)
        for p in range(people):
            own = np.random.default_rng((self.seed, _PERSON, p)).standard_normal((len(h.kinds), 3))
            out[p, ..., 0] += own * np.array(h.offset_sd_m)
        return np.asarray(self.share * out[:, KIND] * allowed_offsets()[KIND])

    @staticmethod
    def _placed(points: Float, frames: Float, size: Float, offsets: Float, camera: Camera) -> Float:
        """(T, P, 26, 3) where in the world the camera's detector takes the joints to be, before it errs."""
        to = camera.centre_world - points
        to /= np.linalg.norm(to, axis=-1, keepdims=True)
        direction = np.einsum("tpjab,tpja->tpjb", frames, to)
        local = np.einsum("pjah,tpjh->tpja", offsets, view_harmonics(direction))
        return np.asarray(points + size[..., None, None] * np.einsum("tpjab,tpjb->tpja", frames, local))

    def _errs(
        self, seen: Float, size: Float, hidden: Bool, camera: Camera, t_ns: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Float, Float]:
        """Pixels (T, P, 26, 2) and confidence (T, P, 26) of one camera."""
        T, P = seen.shape[:2]
        px, depth = camera.project(seen)
        px_per_m = size[..., None] * (camera.K[0, 0] + camera.K[1, 1]) / 2 / depth
        error = np.empty((T, P, J, 2))
        jumps, doubts, swaps = np.empty((T, P, J)), np.empty((T, P, J)), np.empty((T, P))
        white = rng.standard_normal((T, P, J, 2))
        for p in range(P):
            error[:, p], jumps[:, p], doubts[:, p], swaps[:, p] = self._lasting(
                camera.name, p, t_ns, hidden[:, p], white[:, p]
            )
        px = px + error * px_per_m[..., None]
        h = self.habits
        other = hidden & (jumps < _below(np.array(h.hidden_other)[KIND]))
        px = np.where(other[..., None], px[:, :, FLIP], px)
        error = np.where(other[..., None], error + 0.15, error)
        exchanged = swaps < _below(min(h.swap_hz * h.swap_s, 0.5))
        px[exchanged] = px[exchanged][:, FLIP]
        confidence = self._confidence(np.sqrt((error**2).mean(axis=-1)), doubts)
        missing = np.where(hidden, np.array(h.hidden_missing)[KIND], np.array(h.missing)[KIND])
        gone = (rng.random((T, P, J)) < missing) | ~(depth > 0.1)
        px[gone], confidence[gone] = np.nan, 0.0
        return px, confidence

    def _lasting(
        self, camera: str, person: int, t_ns: NDArray[np.int64], hidden: Bool, white: Float
    ) -> tuple[Float, Float, Float, Float]:
        """Of a person: errors (T, 26, 2) m, and normal numbers that tell of jumps, of doubt (T, 26) and swaps (T,)."""
        h = self.habits
        key = (self.seed, crc32(camera.encode()), person)
        slow_s = tuple(np.repeat(np.array(h.slow_s)[KIND], 2).tolist())
        view_s = (h.view_s,) * (2 * J)
        lasting = lasting_noise((*key, _SLOW), t_ns, (*slow_s, h.common_s, h.common_s, *view_s))
        spells = lasting_noise(
            (*key, _FAST), t_ns, (*(h.tails_s,) * J, *(JUMP_S,) * J, *(CONFIDENCE_S,) * J, max(h.swap_s, 0.02))
        )
        wild = np.exp(h.tails * spells[:, :J] - h.tails**2)  # of mean square 1
        slow = lasting[:, : 2 * J].reshape(-1, J, 2) * np.array(h.slow_m)[KIND][:, None]
        slow *= np.where(hidden, np.array(h.hidden_slow)[KIND], 1.0)[..., None]
        error = (slow + white * np.array(h.fast_m)[KIND][:, None]) * wild[..., None]
        error += lasting[:, None, 2 * J : 2 * J + 2] * h.common_m
        error += lasting[:, 2 * J + 2 :].reshape(-1, J, 2) * np.array(h.view_m)[KIND][:, None]
        return self.share * error, spells[:, J : 2 * J], spells[:, 2 * J : 3 * J], spells[:, -1]

    def _confidence(self, size_m: Float, doubt: Float) -> Float:
        """A quantile of the bin of the error, the same for a while."""
        h = self.habits
        table = np.array(h.confidence)
        share = 1 / (1 + np.exp(-1.702 * doubt))  # the normal distribution, near enough
        column = (share * table.shape[1]).astype(np.int64).clip(0, table.shape[1] - 1)
        row = np.searchsorted(np.array(h.confidence_at_m), size_m).clip(0, len(table) - 1)
        return np.asarray(np.clip(table[row, column], 0.02, 1.0))


def _below(share: Float | float) -> Float:
    """The value that a normal number lies below with that probability."""
    quantile = np.vectorize(lambda s: NormalDist().inv_cdf(min(max(s, 1e-12), 1 - 1e-12)))
    return np.asarray(quantile(np.asarray(share, np.float64)))


def detector_named(name: str, seed: int = 0) -> Detector:
    """``white`` (new errors in every frame, :data:`~engines.synth.detector.CROWD`), or the habits of a detector."""
    if name == "white":
        return CROWD
    return HabitualDetector(load_habits(name), seed)


def skeleton_of(detector: Detector) -> str:
    """That a detector's keypoints come in: its own where it has habits."""
    return detector.habits.skeleton if isinstance(detector, HabitualDetector) else SKELETON


def in_skeleton(seen: People2D, skeleton: str) -> People2D:
    """HALPE-26 people in another skeleton; joints that only that one has are missing."""
    index = direct_index(SKELETON, skeleton)
    there = index >= 0
    keypoints = np.where(there[:, None], seen.keypoints_px[:, index], np.float32(np.nan))
    confidence = np.where(there, seen.confidence[:, index], np.float32(0.0))
    return replace(seen, keypoints_px=keypoints, confidence=confidence)


def detector_names() -> list[str]:
    """What :func:`detector_named` knows."""
    return ["white", *habit_names()]
