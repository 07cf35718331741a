"""The clocks of a recording's cameras from its people, and the recording fused again with the clocks put right."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Keypoints2D
from kinecast.engines.timing.solve import Clocks, solve
from kinecast.engines.timing.tracks import tracks
from kinecast.nodes.bus.messages import End
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import FusionNode, fused_cameras
from kinecast.nodes.recording.derive import derived_recording
from kinecast.nodes.recording.file import Recording, Stamp
from kinecast.nodes.reprocess.run_fusion import fuse_views, launched

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
    """What came of fusing again: frame sets, people, person-frames with a body, and frames not used by cause.

    note: a line on bodies that the recording had and the new one has otherwise, "" where that is nothing.
    """

    sets: int = 0
    people: set[int] = field(default_factory=set)
    bodies: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    note: str = ""

    def count(self, topic: str, record: Any) -> None:
        """One message of fusion's."""
        if topic == "poses":
            self.sets += 1
            self.people |= set(record.person_ids.tolist())
        elif topic == "bodies":
            self.bodies += len(record.person_ids)


def write_synced(recording: Recording, timing: Timing, out: Path, overrides: Iterable[str] = ()) -> Synced:
    """Fuse a recording's keypoints with the clocks put right, into a new recording that replays bit for bit.

    Stamps stay as they are; the corrections are in the frame sets. What fusion said it says anew: poses, bodies, and
    how the rig is where that was recorded, with the lifter and the pose prior that were in force. Raises KinecastError
    where a clock is not known, no launch file is attached, weights are not here, or ``out`` exists.
    """
    if refused := timing.refused():
        raise KinecastError(f"{recording.path}: the motion does not tell the clock of {'; '.join(refused)}")
    graph, fusion = launched(recording, overrides)
    settings = graph.nodes[fusion]
    assert isinstance(settings, FusionNode)
    nodes = {node: graph.camera_of(node) for node in fused_cameras(graph, fusion)}
    nodes = {node: camera for node, camera in nodes.items() if camera in timing.rig.names}
    names = tuple(n for n in timing.rig.names if n in nodes.values())
    column = [timing.rig.names.index(n) for n in names]
    done, numbers, newest = Synced(note=_note(recording, settings)), Counter[str](), 0
    unsaid = () if recording.holds("rig_health") else ("rig_health",)
    with atomic_path(out, overwrite=False) as file:
        writer = derived_recording(file, recording, "sync", dump(graph), str(out), pace="lossless")

        def messages() -> Iterator[Keypoints2D | End]:
            nonlocal newest
            for _, stamp, view in recording.messages(("keypoints",)):
                newest = stamp.t_log_ns
                writer.record(replace(stamp, incarnation=0), view)
                if view.camera in names:
                    yield view
            yield from (End(node, 0, 0, "end of the recording") for node in nodes)

        fused = fuse_views(
            recording, replace(settings, estimate_offsets=False), messages(), names, name=fusion, nodes=nodes,
            offsets_ns=lambda v: np.array([timing.correction_ns(c, _same_moment(timing, v, c)) for c in column]),
        )  # fmt: skip
        for core, outs in fused:
            for o in outs:
                if o.topic not in unsaid:
                    writer.record(Stamp(o.topic, numbers[o.topic], newest, newest), o.record)
                    numbers[o.topic] += 1
                    done.count(o.topic, o.record)
            done.dropped = core.dropped
        ends = {topic: end for topic, _, end in recording.messages(("end",)) if topic not in numbers}
        for topic, end in ends.items():
            writer.record(Stamp(topic, 0, newest, newest), end)
        writer.finish()
    return done


def _note(recording: Recording, settings: FusionNode) -> str:
    if not recording.holds("bodies"):
        return ""
    if settings.body == "off":
        return "bodies: left out, for they were fitted with the clocks as they were; then kinecast fit"
    if recording.about.get("made_by") == "fit":
        return "bodies: as a live fusion fits them; with the future known: kinecast fit"
    return ""


def _same_moment(timing: Timing, record: Keypoints2D, camera: int) -> int:
    """About what another camera's clock showed when the record was stamped: enough to know its drift by then."""
    here = timing.rig.names.index(record.camera)
    return record.t_capture_ns - int(timing.origin_ns[here]) + int(timing.origin_ns[camera])
