"""Results beside a truth: read them, bring them to the same frames and joints, and score.

Nothing here draws or prints; ``nodes.evaluate.result.report`` does.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.records import FrameSet, Poses, unpack_covariance
from kinecast.engines.skeleton import SKELETONS, skeleton
from kinecast.nodes.evaluate.ground_truth import Truth, recognise, synthetic, truth_of
from kinecast.nodes.recording.file import Recording

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ResultFrame:
    """The people of one frame set. P people, J joints.

    number: of the camera frames that it was made from, None where the file does not tell. ids: (P,). points_m:
    (P, J, 3), NaN where missing. confidence: (P, J). covariance_m2: (P, J, 3, 3), NaN where not told. views: (P,)
    detections that a person was made from, −1 where not told.
    """

    number: int | None
    t_ns: int
    ids: NDArray[np.int32]
    points_m: Float
    confidence: Float
    covariance_m2: Float
    views: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A recording or an export, frame by frame in time. joints: names of the J joints."""

    path: Path
    joints: tuple[str, ...]
    frames: tuple[ResultFrame, ...]
    damage: tuple[str, ...] = field(default=())


def read_result(path: Path) -> Result:
    """Read a recording (MCAP) or an export (npz); KinecastError where it is neither."""
    if not path.exists():
        raise KinecastError(f"{path}: no such file")
    if path.suffix == ".npz":
        return _read_npz(path)
    return _read_recording(path)


def number_of(frameset: FrameSet) -> int | None:
    """The frame number that most of its views have; of several the highest."""
    seen = Counter(int(n) for n in frameset.frame_seqs if n >= 0)
    return max(seen, key=lambda n: (seen[n], n)) if seen else None


def result_frame(p: Poses, number: int | None) -> ResultFrame:
    """What a poses message says."""
    return ResultFrame(
        number,
        p.t_set_ns,
        p.person_ids,
        p.points_world_m.astype(np.float64),
        p.confidence.astype(np.float64),
        unpack_covariance(p.covariance_m2),
        (p.detections >= 0).sum(axis=1),
    )


def _read_recording(path: Path) -> Result:
    recording = Recording.open(path)
    numbers: dict[tuple[int, int], int] = {}
    frames: list[tuple[tuple[int, int], Poses]] = []
    for _, _, record in recording.messages(("framesets", "poses")):
        if isinstance(record, FrameSet):
            number = number_of(record)
            if number is not None:
                numbers[record.run_index, record.seq] = number
        else:
            frames.append(((record.run_index, record.frameset_seq), record))
    if not frames:
        raise KinecastError(f"{path}: there are no poses in it; `kinecast info` shows what there is")
    names = {p.skeleton for _, p in frames}
    if len(names) > 1:
        raise KinecastError(f"{path}: poses of several skeletons in one file: {', '.join(sorted(names))}")
    out = [result_frame(p, numbers.get(key)) for key, p in frames]
    return Result(path, skeleton(names.pop()).joints, tuple(out), tuple(recording.damage()))


def _read_npz(path: Path) -> Result:
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {k: file[k] for k in file.files}
    except (OSError, ValueError) as e:
        raise KinecastError(f"{path}: not an npz file that can be read: {e}") from None
    missing = [k for k in ("t_capture_ns", "person_id", "points_world_m", "confidence") if k not in data]
    if missing:
        raise KinecastError(f"{path}: lacks {', '.join(missing)}: expected what `kinecast export --to npz` writes")
    t, ids = data["t_capture_ns"].astype(np.int64), data["person_id"].astype(np.int32)
    points, confidence = data["points_world_m"].astype(np.float64), data["confidence"].astype(np.float64)
    n = len(t)
    if points.ndim != 3 or points.shape[::2] != (n, 3) or ids.shape != (n,) or confidence.shape != points.shape[:2]:
        raise KinecastError(
            f"{path}: arrays of {n} times, {ids.shape}, {points.shape}, {confidence.shape} do not agree"
        )
    joints = tuple(map(str, data["joints"])) if "joints" in data else SKELETONS["halpe26"].joints
    if len(joints) != points.shape[1]:
        raise KinecastError(f"{path}: {points.shape[1]} joints, but {len(joints)} names")
    times = np.unique(np.concatenate([t, data.get("sets_ns", t).astype(np.int64)]))
    nothing = np.full((*points.shape[:2], 3, 3), np.nan)
    rows = [np.flatnonzero(t == now) for now in times]
    frames = [
        ResultFrame(None, int(now), ids[r], points[r], confidence[r], nothing[r], np.full(len(r), -1))
        for now, r in zip(times, rows, strict=True)
    ]
    return Result(path, joints, tuple(frames))


def read_truth(path: Path, result: Path, name: str | None = None, min_confidence: float = 0.1) -> Truth:
    """A data set, or a recording or an export of ours, which then stands for the truth (everybody is annotated).

    The word ``synthetic`` stands for the world that the cameras of the recording ``result`` were drawn from.
    """
    if str(path) == "synthetic":
        return synthetic.read(result)
    is_result = path.suffix == ".npz" or (path.is_file() and recognise(path) is None and path.suffix not in (".json",))
    if name is None and is_result:
        own = read_result(path)
        frames: dict[int, Mapping[int, Float]] = {}
        times: dict[int, int] = {}
        for k, f in enumerate(own.frames):
            frames[k] = {int(i): p for i, p in zip(f.ids, f.points_m, strict=True)}
            times[k] = f.t_ns
        return Truth("recording", own.joints, frames, True, (), times)
    return truth_of(path, name, min_confidence)


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """One frame of the truth with the result that belongs to it, both in the joints that they share.

    predicted: (P, J, 3). truth: person → (J, 3). result: None where the recording has no frame set for it.
    """

    number: int
    predicted: Float
    truth: Mapping[int, Float]
    result: ResultFrame | None


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """frames of the truth in order, with or without a result. by: ``number`` or ``time``. period_s: of the truth.

    ours: index of each shared joint in the result.
    """

    joints: tuple[str, ...]
    ours: tuple[int, ...]
    frames: tuple[Matched, ...]
    by: str
    period_s: float

    @property
    def both(self) -> tuple[Matched, ...]:
        """Those with a result."""
        return tuple(f for f in self.frames if f.result is not None)


def pair(
    result: Result,
    truth: Truth,
    fps_hz: float | None = None,
    offset_frames: int = 0,
    as_recorded: bool = False,
) -> Pairing:
    """Find for every frame of the truth the frame set that belongs to it.

    By time where the truth has times, or the result has no frame numbers: the nearest frame set within half a
    period; a truth without times then gets number / fps_hz. Else by frame number. offset_frames: what is added to the
    result's frame numbers to give the truth's. as_recorded: take joints by their names alone, also those that the data
    set defines otherwise. Raises KinecastError where nothing meets.
    """
    names = tuple(j for j in truth.joints if j in result.joints)
    if len(names) < 3:
        raise KinecastError(f"{result.path} and the truth share {len(names)} joints; nothing can be compared")
    ours = [result.joints.index(j) for j in names]
    theirs = [truth.joints.index(j) for j in names]
    by_time = bool(truth.times_ns) or all(f.number is None for f in result.frames)
    if by_time:
        found, period_s = _by_time(result, truth, fps_hz, offset_frames)
    else:
        found, period_s = _by_number(result, truth, fps_hz, offset_frames)
    frames = []
    for number in sorted(truth.frames):
        r = found.get(number)
        predicted = r.points_m[:, ours] if r is not None else np.zeros((0, len(names), 3))
        if r is not None and not as_recorded:
            _imply(predicted, r, result.joints, names, truth)
        people = {p: np.asarray(x[theirs], np.float64) for p, x in truth.frames[number].items()}
        frames.append(Matched(number, predicted, people, r))
    if not any(f.result is not None for f in frames):
        raise KinecastError(
            f"{result.path}: no frame set meets a frame of the truth by {'time' if by_time else 'number'}; "
            "see --fps and --offset-frames"
        )
    return Pairing(names, tuple(ours), tuple(frames), "time" if by_time else "number", period_s)


def _imply(predicted: Float, frame: ResultFrame, have: tuple[str, ...], names: tuple[str, ...], truth: Truth) -> None:
    """Write the joints that the data set defines otherwise into ``predicted``."""
    for name, ways in truth.implied.items():
        for terms in reversed(ways):  # a better way is written over a worse one
            if name not in names or not all(j in have for j, _ in terms):
                continue
            value = sum((w * frame.points_m[:, have.index(j)] for j, w in terms), np.zeros((len(frame.ids), 3)))
            whole = np.isfinite(value).all(axis=1)
            predicted[whole, names.index(name)] = value[whole]


def _by_number(result: Result, truth: Truth, fps_hz: float | None, offset: int) -> tuple[dict[int, ResultFrame], float]:
    told = [(f.number + offset, f) for f in result.frames if f.number is not None]
    found = dict(told)
    steps = [(b.t_ns - a.t_ns) / (m - n) for (n, a), (m, b) in pairwise(told) if m > n]
    period_s = 1.0 / fps_hz if fps_hz else float(np.median(steps)) / 1e9 if steps else float("nan")
    return {n: found[n] for n in truth.frames if n in found}, period_s


def _by_time(result: Result, truth: Truth, fps_hz: float | None, offset: int) -> tuple[dict[int, ResultFrame], float]:
    numbers = sorted(truth.frames)
    if truth.times_ns:
        times = np.array([truth.times_ns[n] for n in numbers], np.int64)
    elif fps_hz:
        times = np.array([round((n - offset) / fps_hz * 1e9) for n in numbers], np.int64)
    else:
        raise KinecastError(f"{result.path}: has times and no frame numbers; say the truth's rate with --fps")
    period_ns = float(np.median(np.diff(times))) if len(times) > 1 else 1e9 / (fps_hz or 30.0)
    ours = np.array([f.t_ns for f in result.frames], np.int64)
    found = {}
    for number, t in zip(numbers, times, strict=True):
        k = int(np.argmin(np.abs(ours - t)))
        if abs(int(ours[k]) - int(t)) <= period_ns / 2:
            found[number] = result.frames[k]
    return found, period_ns / 1e9
