"""The people of a recording as one table: a row a person-frame. What every export is written from."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Poses, pack_covariance, unpack_covariance
from kinecast.engines.skeleton import Skeleton, skeleton
from kinecast.nodes.recording.file import Recording

Axes = Literal["rig", "y-up", "z-up"]


@dataclass(frozen=True, slots=True, eq=False)
class ExportedPeople:
    """N person-frames of J joints, in the order fused; within one frame set by the order of the message.

    t_capture_ns: (N,) int64, the time that the frame set stands for. set_index: (N,) int64, which of the recording's
    frame sets, from 0. person_id: (N,) int32. points_world_m: (N, J, 3) float32, NaN where missing; confidence and
    residual_px: (N, J) float32. derived, lifted and filled: (N, J) bool. covariance_m2: (N, J, 6) float32, upper
    triangle, in the same axes as the points. views: (N, J) uint32, bit c for camera c of ``cameras``. sets_ns: (S,)
    int64, the time of every frame set, also of those without people. filtered: "", ``causal`` or ``smoothed``, as the
    messages say.
    """

    skeleton: Skeleton
    t_capture_ns: NDArray[np.int64]
    set_index: NDArray[np.int64]
    person_id: NDArray[np.int32]
    points_world_m: NDArray[np.float32]
    confidence: NDArray[np.float32]
    residual_px: NDArray[np.float32]
    derived: NDArray[np.bool_]
    sets_ns: NDArray[np.int64]
    up: str
    filtered: str = ""
    covariance_m2: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 6), np.float32))
    views: NDArray[np.uint32] = field(default_factory=lambda: np.zeros((0, 0), np.uint32))
    lifted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    filled: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    cameras: tuple[str, ...] = ()

    def only(self, persons: tuple[int, ...], where: str) -> "ExportedPeople":
        """The rows of these people; KinecastError, which names ``where``, for one who is not there."""
        missing = [p for p in persons if p not in self.ids]
        if missing:
            known = ", ".join(map(str, self.ids))
            raise KinecastError(f"{where}: nobody has the identity {missing[0]}; there are {known or 'none'}")
        rows = np.isin(self.person_id, persons)
        each = {f.name: getattr(self, f.name) for f in fields(self)}
        mine: dict[str, Any] = {n: v[rows] for n, v in each.items() if isinstance(v, np.ndarray) and n != "sets_ns"}
        return replace(self, **mine)

    @property
    def ids(self) -> list[int]:
        """Everybody who was seen, in order."""
        return [int(i) for i in np.unique(self.person_id)]

    @property
    def rate_hz(self) -> float:
        """Frame sets per second: the inverse of the median interval; 0 where there are fewer than two."""
        steps = np.diff(self.sets_ns)
        steps = steps[steps > 0]
        return float(1e9 / np.median(steps)) if len(steps) else 0.0


def read_people(recording: Recording, axes: Axes = "rig") -> ExportedPeople:
    """Read every pose of a recording. axes ``y-up`` and ``z-up`` turn the world so that y or z points up.

    Raises KinecastError where it holds no poses, or the axes cannot be turned because no rig is attached.
    """
    sets: list[Poses] = [record for _, _, record in recording.messages(("poses",))]
    if not sets:
        raise KinecastError(f"{recording.path}: there are no poses in it; `kinecast info` shows what there is")
    names = {s.skeleton for s in sets}
    if len(names) > 1:
        raise KinecastError(f"{recording.path}: poses of several skeletons ({', '.join(sorted(names))}) in one file")
    counts = [len(s.person_ids) for s in sets]
    times = np.array([s.t_set_ns for s in sets], np.int64)
    points = np.concatenate([s.points_world_m for s in sets])
    covariance = np.concatenate([s.covariance_m2 for s in sets])
    up = str(recording.rig.up) if recording.attachment("rig.toml") else "unknown"
    if axes != "rig":
        turn = turn_to(recording.rig, axes)
        points = (points @ turn.T.astype(np.float32)).astype(np.float32)
        covariance = pack_covariance(turn @ unpack_covariance(covariance) @ turn.T)
        up = axes[0]
    return ExportedPeople(
        skeleton(names.pop()),
        np.repeat(times, counts),
        np.repeat(np.arange(len(sets)), counts),
        np.concatenate([s.person_ids for s in sets]),
        points,
        np.concatenate([s.confidence for s in sets]),
        np.concatenate([s.residual_px for s in sets]),
        np.concatenate([s.derived for s in sets]),
        times,
        up,
        sets[0].filtered,
        covariance,
        np.concatenate([s.views for s in sets]),
        np.concatenate([_flags(s, s.lifted) for s in sets]),
        np.concatenate([_flags(s, s.filled) for s in sets]),
        sets[0].cameras,
    )


def _flags(poses: Poses, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return flags if flags.size else np.zeros(poses.derived.shape, np.bool_)


def person_path(path: Path, person: int) -> Path:
    """``walk.trc`` → ``walk_person3.trc``."""
    return path.with_name(f"{path.stem}_person{person}{path.suffix}")


def turn_to(rig: Rig, axes: Axes) -> NDArray[np.float64]:
    """(3, 3) rotation from the rig's world to one whose y or z points up; for ``rig`` the identity."""
    if axes == "rig":
        return np.eye(3)
    upright = turn_y_up(rig)
    # x y z ← y z x the other way round, so that a world whose z is up already stays as it is
    return upright if axes == "y-up" else np.roll(np.eye(3), 1, axis=0) @ upright


def turn_y_up(rig: Rig) -> NDArray[np.float64]:
    """(3, 3) rotation from the rig's world to one whose y points up.

    z up is turned as Pose2Sim turns it: x y z ← y z x, so that its files and ours lie on each other.
    """
    axis = "xyz".index(rig.up[-1])
    # row i of the result takes axis (axis - 1 + i): a cyclic change of names, which is a rotation
    out = np.zeros((3, 3))
    for i in range(3):
        out[i, (axis - 1 + i) % 3] = 1.0
    if rig.up[0] == "-":
        out[1:] *= -1.0  # half a turn about the first axis
    return out
