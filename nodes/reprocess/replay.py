"""Fuse a recording again: the journal of frame sets says what was fused, in which order, and with which corrections."""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from kinecast.calibration.camera import Rig
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.prior.pose_prior import load_prior, named_prior, read_prior
from kinecast.engines.lift.lifter import named_lifter
from kinecast.engines.records import FrameSet
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.lifting import open_lifter
from kinecast.nodes.fusion.warm_up import warm_up
from kinecast.nodes.graph.launch_file import dump, parse
from kinecast.nodes.graph.records import FusionNode, Graph
from kinecast.nodes.recording.derive import derived_recording
from kinecast.nodes.recording.diff import TopicDiff
from kinecast.nodes.recording.file import LAUNCH, Recording, RecordingWriter
from kinecast.nodes.recording.frame_sets import FrameSetBundle, iter_frame_sets


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


def launched(recording: Recording, overrides: Iterable[str] = ()) -> tuple[Graph, str]:
    """The launch file attached, with overrides, and the name of its fusion node."""
    if not recording.launch_text:
        raise KinecastError(
            f"{recording.path}: no launch file is attached, so the settings of its fusion are not known"
        )
    overrides = tuple(overrides)
    graph = parse(recording.launch_text, f"{recording.path.name}:{LAUNCH}", recording.path.parent, overrides)
    name = graph.of_kind("fusion")[0]
    fusion = graph.nodes[name]
    if isinstance(fusion, FusionNode) and not any("lift_carried" in t for t in (recording.launch_text, *overrides)):
        # a launch file attached says every key there was: this one was not there yet
        graph = replace(graph, nodes=graph.nodes | {name: replace(fusion, lift_carried=False)})
    return graph, name


def replay(recording: Recording, out: Path | None = None, overrides: Iterable[str] = ()) -> Replayed:
    """Run every frame set of the journal through the fusion again, and write a recording of it where ``out`` is given.

    Raises KinecastError where rig, launch file or journal are not there.
    """
    rig = recording.rig
    plain, fusion = launched(recording)
    graph = launched(recording, overrides)[0]
    settings = graph.nodes[fusion]
    recorded = plain.nodes[fusion]
    assert isinstance(settings, FusionNode) and isinstance(recorded, FusionNode)
    done = Replayed(same_graph=graph == plain)
    core: FusionCore | None = None
    last: FrameSet | None = None
    # bodies that were fitted with the future known are not what fusion says
    causal = recording.about.get("made_by") != "fit"
    times: list[int] = []
    # as a live fusion does before frames flow; it is no part of the time taken, nor of weights that may be gone
    warm_up(len(rig), settings.body, "shipped" if settings.lift == "default" else settings.lift)
    began = time.perf_counter()
    with ExitStack() as stack:
        writer: RecordingWriter | None = None
        if out is not None:
            file = stack.enter_context(atomic_path(out, overwrite=False))
            writer = derived_recording(file, recording, "replay", dump(graph), str(out))
        for joined in iter_frame_sets(recording):
            frameset = joined.frameset
            if last is None or frameset.epoch != last.epoch:
                # a restarted fusion knew nothing of the people before
                core = _core(rig, frameset, settings, recorded)
            _note_missing(done, joined, last)
            assert core is not None
            if frameset.lifter != core.lifter and settings.lift == recorded.lift:
                _take_up(core, frameset.lifter, settings)
            if frameset.lifter != core.lifter:
                if done.same_graph:
                    raise KinecastError(
                        f"{recording.path}: set {frameset.seq} was fused with the lifter {frameset.lifter or 'none'} "
                        f"and here is {core.lifter or 'none'}: give its weights with --set nodes.{fusion}.lift=PATH"
                    )
                frameset = replace(frameset, lifter=core.lifter)
            frameset = _with_prior(core, frameset, settings, recorded, fusion, recording)
            poses = core.step(frameset, joined.keypoints)
            done.diff.add((frameset.epoch, frameset.seq), joined.poses, poses)
            bodies = core.bodies.step(frameset, joined.keypoints, poses) if core.bodies is not None else None
            if causal and bodies is not None and joined.bodies is not None:
                done.bodies.add((frameset.epoch, frameset.seq), joined.bodies, bodies)
            done.sets += 1
            times.append(frameset.t_set_ns)
            if writer is not None:
                for camera, stamp in joined.keypoint_stamps.items():
                    writer.record(stamp, joined.keypoints[camera])
                writer.record(joined.stamp, frameset)
                writer.record(replace(joined.poses_stamp or joined.stamp, topic="poses"), poses)
                if bodies is not None:
                    stamp = joined.bodies_stamp or joined.poses_stamp or joined.stamp
                    writer.record(replace(stamp, topic="bodies"), bodies)
            last = frameset
        if not done.sets:
            raise KinecastError(f"{recording.path}: there is no journal (framesets) in it, so nothing to replay")
        if writer is not None:
            writer.finish()
    done.took_s = time.perf_counter() - began
    done.span_s = (max(times) - min(times)) / 1e9 if times else 0.0
    return done


def _core(rig: Rig, frameset: FrameSet, settings: FusionNode, recorded: FusionNode) -> FusionCore:
    """A fusion that knows nobody, with the weights of this set where they are here: those in force now may be gone."""
    lifter, settings = None, replace(settings, cameras=frameset.cameras)
    if settings.lift == recorded.lift and (file := named_lifter(frameset.lifter, settings.lift)) is not None:
        lifter = open_lifter(settings, str(file))
    if (settings.body_prior, settings.body) == (recorded.body_prior, recorded.body):
        prior = named_prior(frameset.body_prior, settings.body_prior)
        settings = settings if prior is None else replace(settings, body_prior=str(prior))
    return FusionCore(rig, settings, frameset.epoch, lifter=lifter)


def _take_up(core: FusionCore, name: str, settings: FusionNode) -> None:
    """From this set on another lifter was in force; take it up, where its weights are here."""
    file = named_lifter(name, settings.lift)
    if core.lifting is not None and file is not None:
        core.lifting.offer(open_lifter(settings, str(file)))
        core.lifting.renewed()


def _with_prior(
    core: FusionCore, frameset: FrameSet, settings: FusionNode, recorded: FusionNode, node: str, recording: Recording
) -> FrameSet:
    """Take up the pose prior that was in force at this set, unless another, or another body, is asked for; the set
    with the name of what is in force.
    """
    bodies = core.bodies
    if bodies is None:
        return replace(frameset, body_prior="")
    if (settings.body_prior, settings.body) != (recorded.body_prior, recorded.body):
        return replace(frameset, body_prior=bodies.prior)
    if bodies.prior == (frameset.body_prior or load_prior().name):  # so that no file is hashed with every set
        return frameset
    file = named_prior(frameset.body_prior, settings.body_prior)
    if file is None:
        raise KinecastError(
            f"{recording.path}: set {frameset.seq} was fused with the pose prior {frameset.body_prior}, which is not "
            f"here: give its file with --set nodes.{node}.body_prior=PATH"
        )
    bodies.offer(read_prior(file))
    bodies.renewed()
    return frameset


def _note_missing(done: Replayed, joined: FrameSetBundle, last: FrameSet | None) -> None:
    """What the journal names and the recording does not hold; results may then differ from here on."""
    frameset = joined.frameset
    expected = last.seq + 1 if last is not None and last.epoch == frameset.epoch else 0
    lost = [("framesets", s) for s in range(expected, frameset.seq)]
    lost += [(f"keypoints/{c}", s) for c, s in joined.wants().items() if c not in joined.keypoints]
    for topic, number in lost:
        done.missing[topic] += 1
        done.first_missing.setdefault(topic, number)
