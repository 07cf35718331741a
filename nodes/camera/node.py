"""The camera node: one camera's frames in, the people in its view out. Here is chosen what is opened."""

from dataclasses import replace

import cv2

from kinecast.calibration.camera import Camera
from kinecast.calibration.formats import load_rig
from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.errors import KinecastError
from kinecast.capture.open import open_source
from kinecast.capture.record import RecordedSource, VideoRecorder
from kinecast.capture.source import Source
from kinecast.capture.usb import LOCKS
from kinecast.engines.detect import MODEL_EVERY, LooksSometimes, PeopleDetector
from kinecast.engines.synth.habitual import detector_named
from kinecast.engines.synth.source import PIXEL_NOISE, SyntheticDetector, open_synthetic
from kinecast.nodes.bus import start_barrier
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.camera.look_budget import LookBudget
from kinecast.nodes.camera.loop import DEVICES, CameraCore, CameraLoop, Opener, zero_ns
from kinecast.nodes.graph.records import CameraNode, NodeContext


def opener(context: NodeContext, camera: Camera, clock: Clock) -> Opener:
    """How this camera's source is opened, each time anew."""
    settings, live = _settings(context).source, context.graph.session.pace == "realtime"

    def open_it(recorder: VideoRecorder | None, first_seq: int) -> Source:
        if settings.kind == "synthetic":
            made = open_synthetic(
                camera,
                seed=settings.seed,
                people=settings.people,
                fps_hz=settings.fps_hz or 30.0,
                frames=settings.frames,
                live=live,
                epoch_ns=zero_ns(context),
                clock=clock,
            )
            return made if recorder is None else RecordedSource(made, recorder)
        return open_source(
            camera.name,
            settings.kind,
            settings.uri,
            live=live,
            epoch_ns=zero_ns(context),
            loop=settings.loop,
            frames=settings.frames,
            fps_hz=settings.fps_hz,
            size_px=settings.size_px,
            preload=settings.preload,
            transport=settings.transport,
            rotate=settings.rotate,
            mirror=settings.mirror,
            start_s=settings.start_s,
            options=settings.options,
            hardware=settings.hardware,
            decode=settings.decode,
            locked={k: v for k in LOCKS if (v := getattr(settings, k)) is not None},
            recorder=recorder,
            first_seq=first_seq,
            clock=clock,
        )

    return open_it


def open_detector(context: NodeContext, camera: Camera) -> PeopleDetector:
    """The detector that the launch file asks for, warm. KinecastError where a model is missing or damaged."""
    node = _settings(context)
    ask = node.detector
    detector: PeopleDetector
    if _is_synthetic(ask.profile):
        source, habits = node.source, ask.profile.partition(":")[2]
        detector = SyntheticDetector(
            camera, seed=source.seed, people=source.people, epoch_ns=zero_ns(context),
            noise=detector_named(habits, source.seed) if habits else PIXEL_NOISE,
        )  # fmt: skip
    else:
        from kinecast.engines.detect.tracking_detector import (
            load_detector,  # the runtimes are slow to import and not needed otherwise
        )

        detector = load_detector(
            profile=ask.profile,
            runtime=ask.runtime,
            precision=ask.precision,
            threads=ask.threads,
            max_people=ask.max_people,
            find_every=ask.find_every,
            find_every_s=ask.find_every_s,
            model_every=1 if ask.model_every == "auto" else int(ask.model_every),
            phase=context.graph.of_kind("camera").index(context.name),
            find_min_score=ask.find_min_score,
            size_px=camera.size_px,
        )
    detector.warm_up()
    return detector


def look_budget(context: NodeContext, detector: PeopleDetector) -> LookBudget | None:
    """What decides how often the model looks, where the launch file leaves that to the machine; None where not."""
    asked = _settings(context).detector.model_every == "auto" and context.graph.session.pace == "realtime"
    return LookBudget(MODEL_EVERY) if asked and isinstance(detector, LooksSometimes) else None


def started(context: NodeContext, bus: Bus) -> NodeContext:
    """Wait for the common start of a realtime session where the source is not a device: the context with its epoch."""
    if context.graph.session.pace == "lossless" or _settings(context).source.kind in DEVICES:
        return context
    bus.state = "ready"
    epoch_ns = start_barrier.wait(lambda: bus.stopping)
    return context if epoch_ns is None else replace(context, session_start_ns=epoch_ns)


def _is_synthetic(profile: str) -> bool:
    """Whether a profile is the synthetic world's: ``synthetic``, or ``synthetic:`` and whose habits it has."""
    return profile.partition(":")[0] == "synthetic"


def main(context: NodeContext) -> None:
    """Run the camera node of ``context`` until its source ends or the process is asked to stop."""
    cv2.setNumThreads(1)
    name, clock = context.graph.camera_of(context.name), MonotonicClock()
    with Bus(context) as bus:
        try:
            camera = _camera_of(context, name)
            loaded = None if _is_synthetic(_settings(context).detector.profile) else open_detector(context, camera)
            context = started(context, bus)
            detector = loaded or open_detector(context, camera)  # the synthetic one counts its time from the start
            core = CameraCore(name, detector, camera, clock)
            budget = look_budget(context, detector)
            CameraLoop(context, bus, core, detector, opener(context, camera, clock), clock, budget).run()
        except KinecastError as e:
            bus.state, bus.note = "failed", str(e)
            raise


def _settings(context: NodeContext) -> CameraNode:
    node = context.graph.nodes[context.name]
    assert isinstance(node, CameraNode)
    return node


def _camera_of(context: NodeContext, name: str) -> Camera:
    path = context.graph.session.rig
    rig = load_rig(path)
    if name not in rig.names:
        raise KinecastError(
            f"camera {name!r} (nodes.{context.name}) is not in the rig {path}, which has {', '.join(rig.names)}: "
            f"name one of these in nodes.{context.name}.camera"
        )
    return rig[name]
