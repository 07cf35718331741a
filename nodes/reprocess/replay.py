"""Fuse a recording again: the journal of frame sets says what was fused, in which order, and with which corrections."""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import FrameSet
from kinecast.nodes.fusion.warm_up import warm_up_shown
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.derive import copy_views, derived_recording
from kinecast.nodes.recording.diff import TopicDiff
from kinecast.nodes.recording.file import Recording, RecordingWriter
from kinecast.nodes.recording.frame_sets import FrameSetBundle
from kinecast.nodes.reprocess.run_fusion import FusedSet, fuse_sets, launched


@dataclass(slots=True)
class Replayed:
    """What came of a replay.

    sets: frame sets fused; diff: their poses against those recorded; bodies: the same of their bodies, where both have
    some. missing: messages that the journal names and the recording lacks, by topic, and ``first_missing`` of each.
    same_graph: nothing was set that changes the results.
    span_s: time that the sets span; took_s: time that reading, fusing, comparing and writing took.
    """

    sets: int = 0
    diff: TopicDiff = field(default_factory=lambda: TopicDiff("poses"))
    bodies: TopicDiff = field(default_factory=lambda: TopicDiff("bodies"))
    missing: Counter[str] = field(default_factory=Counter)
    first_missing: dict[str, int] = field(default_factory=dict)
    same_graph: bool = True
    span_s: float = 0.0
    took_s: float = 0.0

    @property
    def identical(self) -> bool:
        """Whether every set gave the poses, and the bodies, that were recorded."""
        return self.sets > 0 and not self.diff.parts and not self.bodies.parts and not self.missing


def replay(recording: Recording, out: Path | None = None, overrides: Iterable[str] = ()) -> Replayed:
    """Run every frame set of the journal through the fusion again, and write a recording of it where ``out`` is given.

    Raises KinecastError where rig, launch file or journal are not there.
    """
    rig = recording.rig
    plain, fusion = launched(recording)
    graph = launched(recording, overrides)[0]
    settings = graph.nodes[fusion]
    assert isinstance(settings, FusionNode)
    done = Replayed(same_graph=graph == plain)
    last: FrameSet | None = None
    first_ns = last_ns = 0
    # as a live fusion does before frames flow; it is no part of the time taken, nor of weights that may be gone
    warm_up_shown(len(rig), settings.body, "shipped" if settings.lift == "default" else settings.lift)
    # bodies that were fitted with the future known are not what fusion says
    causal = recording.about.get("made_by") != "fit"
    began = time.perf_counter()
    with ExitStack() as stack:
        writer: RecordingWriter | None = None
        put: FusedWriter | None = None
        if out is not None:
            file = stack.enter_context(atomic_path(out, overwrite=False))
            writer = derived_recording(file, recording, "replay", dump(graph), str(out))
            put = FusedWriter(writer, recording)
        for fused in fuse_sets(recording, settings, rig=rig):
            joined, frameset = fused.recorded, fused.frameset
            _note_missing(done, joined, last)
            done.diff.add((frameset.run_index, frameset.seq), joined.poses, fused.poses)
            if causal and fused.bodies is not None and joined.bodies is not None:
                done.bodies.add((frameset.run_index, frameset.seq), joined.bodies, fused.bodies)
            done.sets += 1
            first_ns = frameset.t_set_ns if done.sets == 1 else min(first_ns, frameset.t_set_ns)
            last_ns = max(last_ns, frameset.t_set_ns)
            if writer is not None and put is not None:
                copy_views(writer, joined, frameset)
                put.write(fused)
            last = frameset
        if not done.sets:
            raise KinecastError(f"{recording.path}: there is no journal (framesets) in it, so nothing to replay")
        if writer is not None:
            writer.finish()
    done.took_s = time.perf_counter() - began
    done.span_s = (last_ns - first_ns) / 1e9
    return done


class FusedWriter:
    """Appends what fusion made of a recording's sets, each with the stamp of what it made before.

    How the rig is, is written where the recording has it too.
    """

    def __init__(self, writer: RecordingWriter, recording: Recording) -> None:
        self._writer, self._rig_health = writer, recording.holds("rig_health")
        self._numbers: Counter[int] = Counter()  # of rig_health, by restart

    def write(self, fused: FusedSet) -> None:
        """Poses, and bodies and the health of the rig where there are any."""
        joined = fused.recorded
        stamp = joined.poses_stamp or joined.stamp
        self._writer.record(replace(stamp, topic="poses"), fused.poses)
        if fused.bodies is not None:
            self._writer.record(replace(joined.bodies_stamp or stamp, topic="bodies"), fused.bodies)
        if self._rig_health and fused.rig_health is not None:
            number = self._numbers[stamp.incarnation]
            self._writer.record(replace(stamp, topic="rig_health", sequence=number), fused.rig_health)
            self._numbers[stamp.incarnation] += 1


def _note_missing(done: Replayed, joined: FrameSetBundle, last: FrameSet | None) -> None:
    """What the journal names and the recording does not hold; results may then differ from here on."""
    frameset = joined.frameset
    expected = last.seq + 1 if last is not None and last.run_index == frameset.run_index else 0
    if (gap := frameset.seq - expected) > 0:  # counted, never listed: a number in a file can be anything
        done.missing["framesets"] += gap
        done.first_missing.setdefault("framesets", expected)
    lost = [(f"keypoints/{c}", s) for c, s in joined.expected_frames().items() if c not in joined.keypoints]
    for topic, number in lost:
        done.missing[topic] += 1
        done.first_missing.setdefault(topic, number)
