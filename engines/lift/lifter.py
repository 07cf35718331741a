"""The lifter at run time: keypoints of all people in all views in, poses in metres with uncertainties out."""

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import times
from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.depth import root_in_virtual
from kinecast.engines.lift.own_rate import OwnRate
from kinecast.engines.lift.records import Lifted
from kinecast.engines.lift.rows import Outputs, Rows
from kinecast.engines.lift.sigma import Depth, Sigma, read_sigma
from kinecast.engines.lift.weights import FOLDER, LifterFile, read_lifter
from kinecast.engines.models.promoted import LIFTERS
from kinecast.engines.runtime.session import Session
from kinecast.engines.virtual_camera import Normalised, fill_unseen_from, out_of_virtual
from kinecast.engines.virtual_camera_kernels import normalise_rows

F64 = NDArray[np.float64]
Key = tuple[int, str]

SNAP = 0.06  # of a period: a frame that comes this near to its time counts as on time; 29.97 for 30 Hz, and jitter
FORGET_NS = 3_000_000_000  # a row unseen for longer is forgotten
LOST_NS = 1_000_000_000  # a row unseen for longer has no place in the room any more
PAUSE_NS = 1_000_000_000  # after a longer pause of the whole input the past is of no use
SLOWEST_HZ = 24.0  # below, too much of the past is made by interpolation; 25 Hz with jitter is fine
_log = logging.getLogger("kinecast.lift")


class Lifter:
    """Lifts rows, one for each (track id, camera), all on one clock; see :func:`load_lifter`.

    The network knows one frame rate. Keypoints are interpolated in time to its frames; a call between two of them is
    answered with taps interpolated likewise, so that every call has an answer for its own time, with no lag. The same
    calls give the same numbers. One thread at a time.
    """

    def __init__(
        self, file: LifterFile, *, depth: Depth | None = None, correct: bool = True, session: Session | None = None
    ) -> None:
        config = file.config
        if not config.causal:
            raise KinecastError(f"lifter {file.name} is symmetric: it would have to know the future; take a causal one")
        try:
            self._sigma: Sigma = read_sigma(file.meta.get("sigma", {}), config.joints)
        except (ValueError, TypeError, KeyError) as e:
            raise KinecastError(f"lifter {file.name}: {e}: train or calibrate it anew") from None
        self._depth: Depth = depth or self._sigma.depth
        has = {"k": True, "gamma": config.gamma_hidden > 0, "trajectory": config.trajectory_channels > 0}
        if self._depth not in has:
            raise KinecastError(f"unknown depth {self._depth!r} of the lifter: known are {', '.join(has)}")
        if not has[self._depth]:
            able = ", ".join(name for name, there in has.items() if there)
            raise KinecastError(f"lifter {file.name} has no depth by {self._depth}: take one of {able}")
        self.skeleton, self.rate_hz, self.receptive_field = config.skeleton, config.rate_hz, config.receptive_field
        self.name, self.joints, self.depth, self.correct = file.name, config.joints, self._depth, correct
        self._root, self._period_ns = config.root, round(1e9 / config.rate_hz)
        self.rows = Rows(file, session)
        self._gaps: deque[int] = deque(maxlen=30)
        self._warned = False
        self._clear()

    def _clear(self) -> None:
        for row in range(self.rows.count - 1, -1, -1):
            self.rows.leave(row)
        self._keys: list[Key] = []
        self._t_ns: int | None = None  # of the last call
        self._frame_ns = 0  # of the last frame of the network's clock
        j = self.joints
        self._xy, self._confidence = np.zeros((0, j, 2)), np.zeros((0, j))
        self._seen_ns, self._age = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._held = normalise_rows(self._xy, self._confidence)

    @property
    def input_hz(self) -> float:
        """Rate of the last calls, median; NaN before the second."""
        return 1e9 / median(self._gaps) if self._gaps else float("nan")

    @property
    def complaint(self) -> str:
        """What is wrong with the input, one line; empty while nothing is."""
        if len(self._gaps) < 5 or self.input_hz >= SLOWEST_HZ:
            return ""
        return (
            f"the lifter gets {self.input_hz:.0f} frames a second and was trained at {self.rate_hz:.0f}: "
            f"its past is mostly interpolated; give it {SLOWEST_HZ + 1:.0f} or more, or switch it off"
        )

    def forget(self, keys: Sequence[Key]) -> None:
        """Drop rows; unknown keys are fine."""
        for key in keys:
            if key in self._keys:
                self._drop(self._keys.index(key))

    def step(
        self, t_ns: int, keys: Sequence[Key], xy: NDArray[np.floating], confidence: NDArray[np.floating],
        focal: NDArray[np.floating],
    ) -> Lifted:  # fmt: skip
        """One frame set: all people and views at once.

        t_ns: its time. Time that goes back, or a pause of more than a second, starts all rows anew. keys: (track id,
        camera) of N rows, each once. xy: (N, J, 2) undistorted normalised camera coordinates. confidence: (N, J), 0
        where missing. focal: (N, 2) pixels. A row that is passed with nothing seen, or not passed, moves on without
        being seen; after a second its root is NaN, after three it is forgotten. Raises ValueError for wrong shapes.
        """
        xy, confidence = np.asarray(xy, np.float64), np.asarray(confidence, np.float64)
        focal_px = np.asarray(focal, np.float64)
        n = len(keys)
        if xy.shape != (n, self.joints, 2) or confidence.shape != (n, self.joints) or focal_px.shape != (n, 2):
            raise ValueError(
                f"lifter of {self.skeleton}: xy {xy.shape}, confidence {confidence.shape}, focal {focal_px.shape} for "
                f"{n} rows of {self.joints} joints"
            )
        if len(set(keys)) != n:
            raise ValueError("a key is passed twice")
        self._start(t_ns)
        index = {key: row for row, key in enumerate(self._keys)}
        present_xy, present_say = np.zeros_like(self._xy), np.zeros_like(self._confidence)
        known = np.array([i for i, key in enumerate(keys) if key in index], np.int64)
        rows = [index[keys[i]] for i in known]
        say = np.where(np.isfinite(xy).all(-1), confidence, 0)
        present_xy[rows], present_say[rows] = np.where(say[..., None] > 0, xy, 0)[known], say[known]
        due = self._catch_up(t_ns, present_xy, present_say)
        new = np.array([i for i, key in enumerate(keys) if key not in index], np.int64)
        born = new
        if len(new):
            frames = normalise_rows(xy[new].astype(np.float64), say[new])
            born = new[frames.seen]
            self._birth([keys[i] for i in born], _rows_of(frames, np.flatnonzero(frames.seen)))
        self._xy = np.concatenate([present_xy, np.where(say[..., None] > 0, xy, 0)[born]])
        self._confidence = np.concatenate([present_say, say[born]])
        now = self._observe(self._xy, self._confidence)
        self._seen_ns[now.seen] = t_ns
        lifted = self._answer(t_ns, keys, now, due, focal_px)
        self._t_ns = t_ns
        for row in np.flatnonzero(t_ns - self._seen_ns > FORGET_NS)[::-1]:
            self._drop(int(row))
        return lifted

    def own_rate(self) -> OwnRate:
        """This lifter at its own rate, for the rows that stand; instead of :meth:`step`, not beside it."""
        return OwnRate(self)

    @property
    def frame_ns(self) -> int:
        """Time of the network's last frame."""
        return self._frame_ns

    def clock_starts_anew(self, t_ns: int) -> bool:
        """Look at the time of a call; whether it went back or paused, or is the first."""
        anew = self._t_ns is None
        if self._t_ns is not None:
            gap = t_ns - self._t_ns
            if gap < 0 or gap > PAUSE_NS:
                anew = True
                self._gaps.clear()
            elif gap > 0:
                self._gaps.append(gap)
        if anew:
            self._t_ns, self._frame_ns = None, t_ns - self._period_ns
        if self.complaint and not self._warned:
            self._warned = True
            _log.warning(self.complaint)
        return anew

    def due_frames(self, t_ns: int) -> list[float]:
        """Frames of the network that come due between the last call and this one, as parts of the way; 1: this one."""
        late, parts = round(SNAP * self._period_ns), []
        while (due := self._frame_ns + self._period_ns) < t_ns - late:
            if self._t_ns is not None:
                parts.append(min(max((due - self._t_ns) / (t_ns - self._t_ns), 0.0), 1.0))
            self._frame_ns = due
        if due <= t_ns + late:
            parts.append(1.0)
            self._frame_ns = t_ns  # the clock follows frames that come nearly on time
        self._t_ns = t_ns
        return parts

    def _start(self, t_ns: int) -> None:
        """Look at the time of a call; start anew where it went back or paused."""
        if self.clock_starts_anew(t_ns):
            self._clear()
            self._frame_ns = t_ns - self._period_ns

    def _catch_up(self, t_ns: int, xy: F64, say: F64) -> bool:
        """Take the network's frames that lie between the last call and this; whether this call is itself one."""
        late = round(SNAP * self._period_ns)
        while (due := self._frame_ns + self._period_ns) < t_ns - late:
            if self._t_ns is not None and self._keys:
                part = min(max((due - self._t_ns) / (t_ns - self._t_ns), 0.0), 1.0)
                frames = self._observe(*between(part, self._xy, self._confidence, xy, say))
                self.rows.advance(frames.features.astype(np.float32), frames.context.astype(np.float32))
                self._age += 1
            self._frame_ns = due
        return due <= t_ns + late

    def _observe(self, xy: F64, say: F64) -> Normalised:
        """Normalise a frame of all rows; what it cannot tell is held over, and what it tells is kept."""
        self._held = fill_unseen_from(self._held, normalise_rows(xy, say))
        return self._held

    def _birth(self, keys: list[Key], frames: Normalised) -> None:
        if not keys:
            return
        self.rows.enter(frames.features.astype(np.float32), frames.context.astype(np.float32))
        self._keys += keys
        self._held = _joined(self._held, frames)
        self._age = np.concatenate([self._age, np.full(len(keys), -1)])
        self._seen_ns = np.concatenate([self._seen_ns, np.zeros(len(keys), np.int64)])

    def _drop(self, row: int) -> None:
        self.rows.leave(row)
        last = len(self._keys) - 1
        order = [*range(row), last, *range(row + 1, last)] if row != last else list(range(last))
        self._keys = [self._keys[i] for i in order]
        self._xy, self._confidence = self._xy[order], self._confidence[order]
        self._seen_ns, self._age, self._held = self._seen_ns[order], self._age[order], _rows_of(self._held, order)

    def _answer(self, t_ns: int, keys: Sequence[Key], now: Normalised, due: bool, focal: F64) -> Lifted:
        features, context = now.features.astype(np.float32), now.context.astype(np.float32)
        out: Outputs | None = None
        if self._keys and due:
            out = self.rows.step(features, context)
            self._age += 1
        elif self._keys:
            out = self.rows.peek(features, context, (t_ns - self._frame_ns) / self._period_ns)
            self._age[self._age < 0] = 0
        if due:
            self._frame_ns = t_ns  # the clock follows frames that come nearly on time
        index = {key: row for row, key in enumerate(self._keys)}
        there = [i for i, key in enumerate(keys) if key in index]
        rows = [index[keys[i]] for i in there]
        n, j = len(keys), self.joints
        relative, sd = np.full((n, j, 3), np.nan), np.full((n, j, 3), np.nan)
        root, covariance = np.full((n, 3), np.nan), np.full((n, 3, 3), np.nan)
        age = np.full(n, -1, np.int64)
        if out is not None and rows:
            lost_s = (t_ns - self._seen_ns[rows]) / 1e9
            chosen = Outputs(*(None if v is None else v[rows] for v in out))  # type: ignore[arg-type]
            placed = self.placed(chosen, _rows_of(now, rows), focal[there], lost_s)
            relative[there], sd[there], root[there], covariance[there] = placed
            age[there] = self._age[rows]
        return Lifted(relative, sd, root, covariance, age)

    def placed(self, out: Outputs, frames: Normalised, focal: F64, lost_s: F64) -> tuple[F64, F64, F64, F64]:
        """Out of the virtual cameras: joints, σ, roots and their covariances in the axes of the cameras."""
        pose = (out.corrected_m if self.correct else out.relative_m).astype(np.float64)
        pose = pose - pose[:, self._root : self._root + 1]
        sigma = self._sigma
        if out.log_variance is None:
            sd = np.broadcast_to(sigma.joints_m, pose.shape)
        else:
            sd = sigma.joints * np.exp(out.log_variance.astype(np.float64) / 2)
        with np.errstate(over="ignore", invalid="ignore"):  # a depth that is none becomes NaN
            root, covariance = root_in_virtual(self._depth, out, pose, sd, frames, focal, lost_s, sigma)
        turn = frames.cam_from_virtual
        root = out_of_virtual(turn, root[:, None])[:, 0]
        covariance = times(times(turn, covariance), turn.transpose(0, 2, 1))
        gone = (lost_s * 1e9 > LOST_NS) | ~np.isfinite(root).all(-1)
        root[gone], covariance[gone] = np.nan, np.nan
        sd_cam = np.sqrt(times(sd**2, (turn**2).transpose(0, 2, 1)))
        return out_of_virtual(turn, pose), sd_cam, root, covariance


def load_lifter(
    what: str = "default",
    *,
    depth: Depth | None = None,
    correct: bool = True,
    skeleton: str = "halpe26",
    runtime: str = "numpy",
) -> Lifter:
    """Open a lifter; nothing is fetched.

    what: ``default``, ``shipped``, the name of one that is shipped, or the path of a file. depth: ``k``, ``gamma`` or
    ``trajectory``; by default what was best when the file was calibrated. correct: whether the self-correction runs.
    runtime: ``numpy``, or one of engines.runtime that computes the exported step (written once, into the cache); with
    several people it is faster, and equal to float32 rounding. Raises KinecastError.
    """
    file = read_lifter(find_lifter(what), skeleton)
    if runtime == "numpy":
        return Lifter(file, depth=depth, correct=correct)
    from kinecast.engines.lift.export import export_onnx, shapes_for  # needs the onnx library
    from kinecast.engines.runtime import open_session

    path = cache_dir() / "models" / f"{file.name}.onnx"
    session = open_session(path if path.is_file() else export_onnx(file, path), runtime, shapes=shapes_for(file))
    return Lifter(file, depth=depth, correct=correct, session=session)


def shipped_lifters() -> dict[str, Path]:
    """Lifters that come with Kinecast, by name; the default is ``causal-243``."""
    return {path.stem.removeprefix("lifter-"): path for path in sorted(FOLDER.glob("lifter-*.safetensors"))}


def find_lifter(what: str) -> Path:
    """The file of a lifter by name or path; raises KinecastError where there is none.

    ``default`` is the user's own that was promoted last (engines.models.promoted), else the shipped one, which is
    ``shipped`` in any case.
    """
    shipped = shipped_lifters()
    if what == "default" and (own := LIFTERS.current()) is not None:
        return own
    name = DEFAULT if what in ("default", "shipped") else what
    if name in shipped:
        return shipped[name]
    if Path(what).is_file():
        return Path(what)
    known = ", ".join(shipped) or "none"
    raise KinecastError(f"no lifter {what!r}: shipped are {known}; give one of these, or the path of a file")


def named_lifter(name: str, what: str = "default") -> Path | None:
    """The file of a lifter by the name that a recording has, ``stem@hash``: promoted, shipped, or ``what``; or None."""
    shipped = shipped_lifters()
    more = [Path(what)] if Path(what).is_file() else []
    return LIFTERS.by_name(name, [*shipped.values(), *more])


DEFAULT = "causal-243"


def between(part: float, xy0: F64, say0: F64, xy1: F64, say1: F64) -> tuple[F64, F64]:
    """Keypoints at a time between two calls: a joint that only one of them saw counts where that one is nearer."""
    both = (say0 > 0) & (say1 > 0)
    nearer = part > 0.5
    xy = np.where(both[..., None], (1 - part) * xy0 + part * xy1, xy1 if nearer else xy0)
    return xy, np.where(both, (1 - part) * say0 + part * say1, say1 if nearer else say0)


def _rows_of(frames: Normalised, rows: Sequence[int] | NDArray[np.int64]) -> Normalised:
    index = np.asarray(rows, np.int64)
    return Normalised(*(getattr(frames, name)[index] for name in Normalised.__slots__))


def _joined(first: Normalised, second: Normalised) -> Normalised:
    names = Normalised.__slots__
    return Normalised(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names))
