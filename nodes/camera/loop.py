"""The camera node's core and its loop: an open source and a detector in, messages out.

Pace. ``lossless`` reads every frame and waits for the readers' credits. ``realtime`` takes the newest frame; what was
passed over is counted at the source. A recorded source in realtime shares its zero with the others of the session:
frame t is due at ``zero_ns(context)`` + t, and what was due before this node was ready is counted as ``before_start``.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from kinecast.calibration.camera import Camera
from kinecast.capture.blank import blank
from kinecast.capture.clock import Clock
from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.record import VideoRecorder, free_paths
from kinecast.capture.source import Source, SourceStalled
from kinecast.capture.stream import RefusedLogin
from kinecast.engines.detect import LooksSometimes, PeopleDetector
from kinecast.engines.records import Keypoints2D
from kinecast.nodes.bus.core import Out
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.bus.messages import CommonRate, End, PreviewWish, SourceReport, State
from kinecast.nodes.bus.reader import Received
from kinecast.nodes.camera.look_budget import LookBudget
from kinecast.nodes.camera.moments import Moments
from kinecast.nodes.camera.preview import Previews
from kinecast.nodes.graph.records import CameraNode, NodeContext

DEVICES = ("usb", "stream")
READ_SLICE_S = 0.2  # a wish to stop is noticed within this
REPORT_NS = 5_000_000_000
BACKOFF_MAX_S = 10.0
REOPEN_AFTER_STALLS = 3  # a device silent for so many stall_s is closed and opened again
_log = logging.getLogger("kinecast.camera")


class BusLike(Protocol):
    """What this node needs of :class:`nodes.bus.bus.Bus`."""

    meter: HealthMeter

    @property
    def stopping(self) -> bool: ...
    @property
    def state(self) -> State: ...
    @state.setter
    def state(self, value: State) -> None: ...
    @property
    def note(self) -> str: ...
    @note.setter
    def note(self, value: str) -> None: ...
    def publish(self, topic: str, record: Any, t_capture_ns: int = 0, wait: bool = True) -> None: ...
    def latest(self, timeout_s: float) -> dict[str, Received]: ...


def zero_ns(context: NodeContext) -> int:
    """Capture time of the first frame of every recorded source: the session's start and, in realtime, the lead."""
    session = context.graph.session
    return context.session_start_ns + (round(session.lead_s * 1e9) if session.pace == "realtime" else 0)


Opener = Callable[[VideoRecorder | None, int], Source]


class CameraCore:
    """The pure part: a frame in, the message of its people out."""

    def __init__(self, camera: str, detector: PeopleDetector, expected: Camera, clock: Clock) -> None:
        self._camera, self._detector, self._expected, self._clock = camera, detector, expected, clock

    def check_size(self, size_px: tuple[int, int], uri: str) -> None:
        """Raise KinecastError where pictures are not of the size that the camera was calibrated at.

        A size that :meth:`Camera.fits` takes for cut or padded by an encoder is logged.
        """
        w, h = self._expected.size_px
        if not self._expected.fits(size_px):
            raise KinecastError(
                f"camera {self._camera}: {uri} gives pictures of {size_px[0]}×{size_px[1]} and the rig was calibrated "
                f"at {w}×{h}: use the rig of this camera mode, or set the camera (or convert the video) to {w}×{h}"
            )
        if tuple(size_px) != (w, h):
            _log.warning(
                "%s: pictures of %d×%d for a rig of %d×%d: taken as cut or padded by its encoder, right and bottom",
                self._camera,
                *size_px,
                w,
                h,
            )

    def see(self, frame: Frame, skipped: int) -> Out:
        """Detect in one frame. ``skipped``: frames lost at the source since the node started."""
        people = self._detector.detect(frame)
        record = Keypoints2D(
            camera=self._camera,
            frame_seq=frame.seq,
            t_capture_ns=frame.t_capture_ns,
            size_px=frame.size_px,
            skeleton=self._detector.skeleton,
            keypoints_px=people.keypoints_px,
            confidence=people.confidence,
            boxes_px=people.boxes_px,
            scores=people.scores,
            local_ids=people.local_ids,
            look_age_s=people.look_age_s,
            skipped=skipped,
            t_grab_ns=frame.t_grab_ns,
            t_detect_ns=self._clock.now_ns(),
        )
        return Out(f"keypoints/{self._camera}", record, frame.t_capture_ns)


class CameraLoop:
    """Keeps a source open, feeds the core and publishes, until the source ends or the node is asked to stop."""

    def __init__(
        self,
        context: NodeContext,
        bus: BusLike,
        core: CameraCore,
        detector: PeopleDetector,
        open_it: Opener,
        clock: Clock,
        budget: LookBudget | None = None,
    ) -> None:
        node = context.graph.nodes[context.name]
        assert isinstance(node, CameraNode)
        self._context, self._bus, self._core, self._detector = context, bus, core, detector
        self._open_it, self._clock, self._budget = open_it, clock, budget
        self._settings, self._profile = node.source, node.detector.profile
        self._camera = context.graph.camera_of(context.name)
        self._device = node.source.kind in DEVICES
        self._published = 0
        self._skipped_before = 0  # by sources that were closed since
        self._skipped = 0
        self._unheeded = 0  # frames of a device while the readers were awaited: no loss of the node's
        self._losses_before: Counter[str] = Counter()
        self._unfit: Counter[str] = Counter()  # pictures of a device that show nothing, or have another size
        self._said: set[str] = set()
        self._next_seq = 0
        self._moments = Moments()
        self._previews = Previews(self._camera)

    def run(self) -> None:
        """Run to the end. Raises KinecastError where going on makes no sense (no such file, another picture size)."""
        backoff_s, opened = self._settings.retry_s, 0
        reason = "stopped"
        while not self._bus.stopping:
            recorder = self._recorder()
            began_ns = self._clock.now_ns()
            try:
                source = self._open_it(recorder, self._first_seq(opened))
            except KinecastError as e:
                if not self._device:
                    raise
                self._stalled(str(e))
                backoff_s = self._wait_to_retry(began_ns, backoff_s, isinstance(e, RefusedLogin))
                continue
            if opened:
                self._detector.reset()
            opened += 1
            before = self._published
            try:
                ended = self._play(source, recorder)
            finally:
                source.close()
            if ended:
                reason = ended
                break
            if self._published > before:
                backoff_s = self._settings.retry_s
            self._skipped_before = self._skipped
            self._moments.reopened()
            self._losses_before = self._losses(source, recorder)
            backoff_s = self._wait_to_retry(began_ns, backoff_s)
        self._bus.state = "ended"
        end = End(self._context.name, self._published, self._skipped, reason)
        self._bus.publish(f"end/{self._context.name}", end)

    def _wait_to_retry(self, began_ns: int, backoff_s: float, refused: bool = False) -> float:
        """Wait before a source is opened again, and return how long to wait the next time.

        A stream is tried every retry_s, counted from try to try, so that it is there soon after its server is; a
        device, and a camera that refuses user and password, after waits that double.
        """
        if self._settings.kind == "stream" and not refused:
            self._pause(self._settings.retry_s - (self._clock.now_ns() - began_ns) * 1e-9)
            return self._settings.retry_s
        self._pause(backoff_s)
        return min(2 * backoff_s, BACKOFF_MAX_S)

    def _play(self, source: Source, recorder: VideoRecorder | None) -> str:
        """Feed the core from one open source. Returns why the stream ended, "" where it is to be opened again."""
        info, bus, stall_ns = source.info, self._bus, round(self._settings.stall_s * 1e9)
        if (refusal := self._refusal(info.size_px, info.uri)) is not None:
            self._stalled(refusal)
            return ""
        self._say(*info.notes)
        report = self._report(source, recorder)
        bus.publish(f"source/{self._camera}", report)  # the first time, this waits for the readers
        unheeded = source.skipped
        self._unheeded += unheeded
        heard_ns = self._clock.now_ns()
        next_report_ns = heard_ns + REPORT_NS
        if not self._device and info.live:
            heard_ns = max(heard_ns, zero_ns(self._context))
        while not bus.stopping:
            now_ns = self._clock.now_ns()
            if now_ns >= next_report_ns:
                report = replace(report, timing=_timing(source))
                bus.publish(f"source/{self._camera}", report)
                next_report_ns = now_ns + REPORT_NS
            try:
                frame = source.read(READ_SLICE_S)
            except SourceStalled:
                silent_ns = self._clock.now_ns() - heard_ns
                if silent_ns > stall_ns:
                    self._stalled(f"{info.uri} has given nothing for {silent_ns / 1e9:.0f} s")
                if self._device and silent_ns > REOPEN_AFTER_STALLS * stall_ns:
                    return ""
                continue
            except KinecastError as e:
                if not self._device:
                    raise
                self._stalled(str(e))
                return ""
            if frame is None:
                self._say(*source.info.notes)  # that a file was joined is known at its end
                return "end of the source"
            for message in bus.latest(0.0).values():
                if isinstance(message.record, CommonRate):
                    self._moments.ask(message.record)
                elif isinstance(message.record, PreviewWish):
                    self._previews.ask(message.record)
            wanted = self._moments.takes(frame.t_capture_ns, source.skipped)
            self._count(source, unheeded, recorder)
            if not wanted:
                heard_ns = self._clock.now_ns()
                continue
            if unfit := self._look(frame, info.size_px, info.uri):
                silent_ns = self._clock.now_ns() - heard_ns
                if silent_ns > stall_ns:
                    self._stalled(unfit)
                if silent_ns > REOPEN_AFTER_STALLS * stall_ns:
                    return ""
                continue
            heard_ns = self._clock.now_ns()
            out = self._core.see(frame, self._skipped)
            self._spend(out.record, heard_ns)
            self._note_times(frame, out.record)
            bus.publish(out.topic, out.record, out.t_capture_ns)
            if (small := self._previews.of(frame, out.record, self._clock.now_ns())) is not None:
                bus.publish(f"preview/{self._camera}", small, wait=False)
            self._published += 1
            bus.meter.find("people", len(out.record.scores))
            self._next_seq = frame.seq + 1
            self._fine(recorder, _timing(source))
            if self._device and self._settings.frames is not None and frame.seq + 1 >= self._settings.frames:
                return "frame limit"
        return "stopped"

    def _spend(self, seen: Keypoints2D, began_ns: int) -> None:
        """Tell the budget what a picture took, and let the model look as often as it allows."""
        if self._budget is not None and isinstance(self._detector, LooksSometimes):
            looked = not (seen.look_age_s > 0).any()
            lost = self._skipped + self._moments.left_out  # what all cameras leave out together, they cannot hold
            self._budget.take(seen.t_detect_ns, seen.t_detect_ns - began_ns, looked, lost)
            self._detector.model_every = self._budget.every

    def _refusal(self, size_px: tuple[int, int], uri: str) -> str | None:
        """Why pictures of this size do not fit; of a recorded source that is its end (KinecastError): it stays so."""
        try:
            self._core.check_size(size_px, uri)
        except KinecastError as e:
            if not self._device:
                raise
            return str(e)
        return None

    def _look(self, frame: Frame, size_px: tuple[int, int], uri: str) -> str:
        """Why a device's frame is not looked at further, "" where it is. One bad picture is no reason to give up."""
        if frame.size_px != size_px and (refusal := self._refusal(frame.size_px, uri)) is not None:
            self._unfit["other_size"] += 1
            return refusal
        colour = blank(frame.picture) if self._device else ""
        if not colour:
            return ""
        self._unfit[f"{colour}_picture"] += 1
        return f"{uri} gives {colour} pictures: is the lens covered, or its stream damaged?"

    def _count(self, source: Source, unheeded: int, recorder: VideoRecorder | None) -> None:
        self._skipped = self._skipped_before + source.skipped - unheeded - self._moments.passed_over
        meter = self._bus.meter
        meter.set_drops("skipped_at_source", self._skipped)
        lost = self._losses(source, recorder) + Counter({"before_start": self._unheeded}) + self._unfit
        lost += Counter({"left_out": self._moments.left_out})
        for cause, total in lost.items():
            meter.set_drops(cause, total)

    def _losses(self, source: Source, recorder: VideoRecorder | None) -> Counter[str]:
        """Everything lost so far but for a slow reader, by cause, over all openings."""
        lost = recorder.lost if recorder is not None else 0
        return self._losses_before + Counter(source.losses) + Counter({"not_recorded": lost})

    def _note_times(self, frame: Frame, record: Keypoints2D) -> None:
        meter, t_ns = self._bus.meter, record.t_detect_ns
        if self._context.graph.session.pace == "realtime":
            meter.latency("capture to memory", frame.t_grab_ns - frame.t_capture_ns, t_ns)
        meter.latency("detect", record.t_detect_ns - frame.t_grab_ns, t_ns)

    def _stalled(self, why: str) -> None:
        if self._bus.state != "stalled":
            _log.warning("%s: %s", self._camera, why)
        self._bus.state = "stalled"
        self._bus.note = why

    def _say(self, *lines: str) -> None:
        """Log what was not logged before."""
        for line in lines:
            if line not in self._said:
                self._said.add(line)
                _log.warning("%s: %s", self._camera, line)

    def _fine(self, recorder: VideoRecorder | None, timing: str) -> None:
        """The source gives frames; a video recording that failed is said once in the log and stays in the note, where
        a stream's stamps come from is said too.
        """
        failure = recorder.failure if recorder is not None else ""
        if failure:
            self._say(failure)
        slow = self._budget.note if self._budget is not None else ""
        told = (failure, slow, self._moments.note, f"stamped by {timing}" if timing else "")
        self._bus.note = "; ".join(s for s in told if s)
        self._bus.state = "running"

    def _pause(self, wait_s: float) -> None:
        """Wait, but not once asked to stop."""
        until_ns = self._clock.now_ns() + round(wait_s * 1e9)
        while not self._bus.stopping and (now_ns := self._clock.now_ns()) < until_ns:
            self._clock.wait_until_ns(min(until_ns, now_ns + round(READ_SLICE_S * 1e9)))

    def _first_seq(self, opened: int) -> int:
        """Number of the first frame of a device that is opened (again): numbers never come twice in a session.

        After a restart of the process nobody knows the last number; ten percent more frames than there can have been.
        """
        if opened or not self._context.incarnation:
            return self._next_seq
        rate_hz = self._settings.fps_hz or 60.0
        return max(0, round(1.1e-9 * (self._clock.now_ns() - self._context.session_start_ns) * rate_hz))

    def _recorder(self) -> VideoRecorder | None:
        """A recorder for this opening; a video file is its own recording unless it is to be encoded."""
        mode, kind = self._settings.record, self._settings.kind
        if mode == "off" or (mode == "copy" and kind == "video"):
            return None
        video, sidecar = free_paths(Path(self._context.graph.session.out) / "video", self._camera)
        return VideoRecorder(video, sidecar, self._camera, encode=mode == "encode", block=not self._device)

    def _report(self, source: Source, recorder: VideoRecorder | None) -> SourceReport:
        info = source.info
        video, timestamps = ("", "") if self._settings.kind != "video" else (info.uri, "")
        if recorder is not None:
            video, timestamps = str(recorder.video), str(recorder.sidecar)
        return SourceReport(
            camera=self._camera,
            kind=info.kind,
            uri=info.uri,
            size_px=info.size_px,
            fps_hz=info.fps_hz,
            live=info.live,
            epoch_ns=zero_ns(self._context),
            profile=self._profile,
            video=video,
            timestamps=timestamps,
            models=dict(self._detector.models),
            runtime=dict(self._detector.runtime),
            timing=_timing(source),
            notes=info.notes,
        )


def _timing(source: Source) -> str:
    """What a source says of its stamps; recorded and USB sources say nothing."""
    return str(getattr(source, "timing", ""))
