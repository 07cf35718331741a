"""The clocks of a recording's cameras from its people, and the recording fused again with the clocks put right."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Keypoints2D
from kinecast.engines.timing.solve import Clocks, solve
from kinecast.engines.timing.tracks import tracks
from kinecast.nodes.bus.messages import End
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.frame_sets import FrameSetAssembler
from kinecast.nodes.graph.launch_file import dump, parse
from kinecast.nodes.graph.records import FusionNode, fused_cameras
from kinecast.nodes.recording.derive import derived_recording
from kinecast.nodes.recording.file import LAUNCH, Recording, Stamp

Int = NDArray[np.int64]
APART_S = 10.0  # with more between the first frames of two cameras than this and the search, their clocks never met


@dataclass(frozen=True, slots=True, eq=False)
class Timing:
    """The clocks of C cameras of a recording.

    rig: of the cameras that gave keypoints. origin_ns: (C,) where the seconds of each camera's stamps are counted from:
    one instant for all, or each camera's first frame where the clocks never met (``met`` False).
    """

    rig: Rig
    clocks: Clocks
    origin_ns: Int
    met: bool

    def correction_ns(self, camera: int, stamp_ns: int) -> int:
        """What is subtracted from a camera's stamp: offset and drift at that moment, and the origins' difference."""
        own = int(self.origin_ns[camera])
        return own - int(self.origin_ns[0]) + round(1e9 * self.clocks.at(camera, (stamp_ns - own) / 1e9))

    def refused(self) -> list[str]:
        """One line for every camera whose clock the motion does not tell."""
        pairs = zip(self.rig.names, self.clocks.reason, strict=True)
        return [f"{camera}: {reason}" for camera, reason in pairs if reason]


def estimate(
    recording: Recording, max_offset_s: float = 0.5, reference: str | None = None, rates: bool | None = None
) -> Timing:
    """Estimate the clocks of all cameras of a recording; see :func:`engines.timing.solve.solve`.

    Raises KinecastError where it has no rig, fewer than two cameras gave keypoints, or ``reference`` is none of them.
    """
    if not 0.02 <= max_offset_s <= 60:
        raise KinecastError(f"--max-offset {max_offset_s}: expected 0.02 to 60 seconds")
    views: dict[str, list[Keypoints2D]] = {}
    for _, _, record in recording.messages(("keypoints",)):
        views.setdefault(record.camera, []).append(record)
    whole_rig = recording.rig
    names = tuple(n for n in whole_rig.names if n in views)
    if len(names) < 2:
        raise KinecastError(f"{recording.path}: keypoints of {len(names)} cameras of the rig; clocks need two to agree")
    if reference is not None and reference not in names:
        raise KinecastError(f"--reference: no keypoints of a camera {reference!r}, only of {', '.join(names)}")
    rig = whole_rig.subset(names)
    for name in names:
        views[name].sort(key=lambda v: v.t_capture_ns)
    first = np.array([views[n][0].t_capture_ns for n in names], np.int64)
    met = bool(first.max() - first.min() <= 1e9 * (APART_S + max_offset_s))
    origin = np.full(len(names), first.min()) if met else first
    seen = [tracks(views[c.name], c, int(o)) for c, o in zip(rig, origin, strict=True)]
    chosen = None if reference is None else names.index(reference)
    return Timing(rig, solve(rig, seen, max_offset_s, rates, chosen), origin, met)


@dataclass(slots=True)
class Synced:
    """What came of fusing again: frame sets, people, and frames not used by cause."""

    sets: int = 0
    people: set[int] = field(default_factory=set)
    dropped: dict[str, int] = field(default_factory=dict)


def write_synced(recording: Recording, timing: Timing, out: Path, overrides: Iterable[str] = ()) -> Synced:
    """Fuse a recording's keypoints with the clocks put right, into a new recording that replays bit for bit.

    Stamps stay as they are; the corrections are in the frame sets. Raises KinecastError where a clock is not known,
    no launch file is attached, or ``out`` exists.
    """
    if refused := timing.refused():
        raise KinecastError(f"{recording.path}: the motion does not tell the clock of {'; '.join(refused)}")
    if not recording.launch_text:
        raise KinecastError(f"{recording.path}: no launch file is attached, so the settings of its fusion are unknown")
    graph = parse(recording.launch_text, f"{recording.path.name}:{LAUNCH}", recording.path.parent, overrides)
    fusion = graph.of_kind("fusion")[0]
    settings = graph.nodes[fusion]
    assert isinstance(settings, FusionNode)
    fused = {graph.camera_of(node) for node in fused_cameras(graph, fusion)}
    names = tuple(n for n in timing.rig.names if n in fused)
    settings = replace(settings, cameras=names)
    core = FusionCore(recording.rig, settings)
    sync = FrameSetAssembler(names, settings, "lossless")
    column = [timing.rig.names.index(n) for n in names]
    done, numbers = Synced(), Counter[str]()
    with atomic_path(out, overwrite=False) as file:
        writer = derived_recording(file, recording, "sync", dump(graph), str(out), pace="lossless")

        def close(t_ns: int) -> None:
            while (closed := sync.take(0)) is not None:
                frameset, views = closed
                poses = core.step(frameset, views)
                for topic, record in (("framesets", frameset), ("poses", poses)):
                    writer.record(Stamp(topic, numbers[topic], t_ns, t_ns), record)
                    numbers[topic] += 1
                done.people |= set(poses.person_ids.tolist())

        newest = 0
        ends: dict[str, End] = {}
        for topic, stamp, record in recording.messages(("keypoints", "end")):
            if isinstance(record, End):
                ends[topic] = record
                continue
            newest = stamp.t_log_ns
            writer.record(replace(stamp, incarnation=0), record)
            if record.camera in names:
                sync.correct(np.array([timing.correction_ns(c, _same_moment(timing, record, c)) for c in column]))
                sync.add(0, record)
                close(newest)
        for name in names:
            sync.end(name)
        close(newest)
        for topic, end in ends.items():
            writer.record(Stamp(topic, 0, newest, newest), end)
        writer.finish()
    done.sets, done.dropped = numbers["framesets"], dict(sync.dropped)
    return done


def _same_moment(timing: Timing, record: Keypoints2D, camera: int) -> int:
    """About what another camera's clock showed when the record was stamped: enough to know its drift by then."""
    here = timing.rig.names.index(record.camera)
    return record.t_capture_ns - int(timing.origin_ns[here]) + int(timing.origin_ns[camera])
