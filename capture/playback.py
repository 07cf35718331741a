"""Recorded pictures, played: in which order, at which times, and who waits for whom.

A *step* is one frame to be shown. Its number and time do not depend on the pace, so a paced file and one read as fast
as possible give the same numbers and the same stamps, less the frames that the paced reader was too slow for.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kinecast.capture.clock import Clock
from kinecast.capture.decode import Picture, VideoDecoder, ticks_to_ns
from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.joins import is_shown
from kinecast.capture.planes import Pixels
from kinecast.capture.source import SourceInfo, SourceStalled

# a frame this little before its turn is taken when frames are dropped evenly: Matroska rounds its times to 1 ms
EVEN_SLACK_NS = 1_000_000
CATCH_UP_NS = 500_000_000
MAX_HELD_BYTES = 4 << 30  # two groups of decoded 4:2:0 pictures: 690 frames of 1080p in each


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """seq: number of the frame. t_ns: its time since the epoch. load: gives its picture."""

    seq: int
    t_ns: int
    load: Callable[[], Pixels]


class EvenRate:
    """Drops frames evenly down to ``fps_hz``; None, or a rate that the file does not reach, keeps all."""

    def __init__(self, fps_hz: float | None, file_fps_hz: float) -> None:
        self._period_ns = 1e9 / fps_hz if fps_hz and fps_hz < 0.999 * file_fps_hz else None
        self._slot = -1

    def keeps(self, t_ns: int) -> bool:
        """Whether the frame at ``t_ns`` is the first of its slot. Times must be asked in order."""
        if self._period_ns is None:
            return True
        slot = int((t_ns + EVEN_SLACK_NS) // self._period_ns)
        if slot <= self._slot:
            return False
        self._slot = slot
        return True

    @property
    def drops(self) -> bool:
        """Whether it drops anything at all."""
        return self._period_ns is not None


Load = Callable[[Picture], Callable[[], Pixels]]


def forward(decoder: VideoDecoder, load: Load, fps_hz: float | None, loop: bool, start_ns: int = 0) -> Iterator[Step]:
    """The file from ``start_ns`` to its end; ``loop``: again and again, the next round one frame interval after the
    last frame. Times and numbers are counted from ``start_ns`` on, which may lie before the file's first picture.
    """
    seq0, t0_ns = 0, 0
    while True:
        rate, kept, end_seq, before = EvenRate(fps_hz, decoder.fps_hz), 0, 0, 0
        for picture in decoder.pictures():
            t_ns = picture.t_ns - start_ns
            if t_ns < 0:
                before = picture.index + 1
            if t_ns < 0 or not rate.keeps(t_ns):
                continue
            number = kept if rate.drops else picture.index - before
            kept, end_seq = kept + 1, number + 1
            yield Step(seq0 + number, t0_ns + t_ns, load(picture))
        if end_seq == 0 and seq0 == 0:
            raise KinecastError(
                f"camera {decoder.camera}: {decoder.path} has no picture after start_s {start_ns / 1e9:g}: it lasts "
                f"{decoder.end_ns / 1e9:.2f} s"
            )
        if not loop or end_seq == 0:
            return
        seq0, t0_ns = seq0 + end_seq, t0_ns + decoder.end_ns - start_ns


def pingpong(decoder: VideoDecoder, load: Load, fps_hz: float | None, start_ns: int = 0) -> Iterator[Step]:
    """Forward and back without end, from ``start_ns`` on, the two end frames shown once each at a turn.

    Backwards the file is decoded one group of pictures at a time; while one is shown, the one before it is decoded a
    picture per picture shown, so the work stays even and at most two groups are in memory. (At a turn one group is
    still in memory and costs nothing: a file of many short groups costs most evenly.)
    """
    segments = decoder.segments()
    width, height = decoder.size_px
    longest = max((len(s.packets) for s in segments), default=0)
    if 2 * longest * width * height * 3 // 2 > MAX_HELD_BYTES:
        raise KinecastError(
            f"camera {decoder.camera}: {decoder.path} has {longest} frames between two key frames, too many to "
            "hold for playing backwards: encode it with a key frame every second, or use loop: repeat"
        )
    rate = EvenRate(fps_hz, decoder.fps_hz)
    ticks = sorted({p.pts for s in segments for p in s.packets if is_shown(p)})
    start = ticks[0] if ticks else 0
    times = {t: ticks_to_ns(t - start, decoder.time_base) - start_ns for t in ticks}
    ticks = [t for t in ticks if times[t] >= 0]
    order = {t: n for n, t in enumerate(t for t in ticks if rate.keeps(times[t]))}
    last = max(order.values(), default=0)
    span_ns = max((times[t] for t in order), default=0)

    def decode(k: int) -> Iterator[Picture]:
        for pts, decoded in decoder.decode_segment(segments[k]):
            if pts in order:
                yield Picture(order[pts], times[pts], decoded)

    seq0, t0_ns, seen = 0, 0, True
    while seen:
        seen = False
        held: list[Picture] = []
        for k in range(len(segments)):
            for picture in decode(k):
                seen = True
                if k == len(segments) - 1:
                    held.append(picture)
                if picture.index > 0 or seq0 == 0:
                    yield Step(seq0 + picture.index, t0_ns + picture.t_ns, load(picture))
        if last == 0:  # a single picture has no way back
            seq0, t0_ns = seq0 + 1, t0_ns + decoder.interval_ns
            again = forward(decoder, load, fps_hz, True, start_ns)
            yield from (replace(s, seq=s.seq + seq0, t_ns=s.t_ns + t0_ns) for s in again)
            return
        for k in reversed(range(len(segments))):
            ahead = decode(k - 1) if k else iter(())
            before: list[Picture] = []
            while held:
                picture = held.pop()
                if picture.index < last:
                    yield Step(seq0 + 2 * last - picture.index, t0_ns + 2 * span_ns - picture.t_ns, load(picture))
                before.extend(p for p in [next(ahead, None)] if p)
            before.extend(ahead)
            held = before
        seq0, t0_ns = seq0 + 2 * last, t0_ns + 2 * span_ns


def from_memory(steps: list[Step], loop: str, end_ns: int) -> Iterator[Step]:
    """Play steps that are already in memory, with the same numbers and times as ``forward`` and ``pingpong`` give.

    end_ns: when a round of ``repeat`` is over, one frame interval after the last frame of the file.
    """
    top = steps[-1]
    there_and_back = loop == "pingpong" and len(steps) > 1
    back = steps[-2:0:-1] if there_and_back else []
    one_round = steps + [Step(2 * top.seq - s.seq, 2 * top.t_ns - s.t_ns, s.load) for s in back]
    round_seq, round_ns = (2 * top.seq, 2 * top.t_ns) if there_and_back else (top.seq + 1, end_ns)
    seq0, t0_ns = 0, 0
    while True:
        yield from (Step(seq0 + s.seq, t0_ns + s.t_ns, s.load) for s in one_round)
        if loop == "off":
            return
        seq0, t0_ns = seq0 + round_seq, t0_ns + round_ns


class PlayedSource:
    """Steps as a Source: as fast as the reader (``info.live`` False), or each at its time (True).

    Paced, a frame is due at epoch + its time and is never given before; decoding starts when it is due, as a camera's
    would. A reader that comes late gets the newest due frame, and those in between are counted: as ``skipped``, or as
    ``before_start`` where they were due before the first read.
    """

    def __init__(
        self,
        camera: str,
        info: SourceInfo,
        steps: Iterator[Step],
        clock: Clock,
        epoch_ns: int,
        frames: int | None = None,
        decoder: VideoDecoder | None = None,
    ) -> None:
        self._camera, self._info, self._steps, self._clock = camera, info, steps, clock
        self._epoch_ns, self._limit, self._decoder = epoch_ns, frames, decoder
        self._interval_ns = round(1e9 / info.fps_hz)
        self._held: Step | None = None
        self._due_ns = 0  # when the next step is expected, since the epoch
        self._ended = False
        self._given = False
        self._skipped = 0
        self._before_start = 0

    @property
    def info(self) -> SourceInfo:
        """What was opened, with what reading it has shown so far."""
        return self._info if self._decoder is None else replace(self._info, notes=tuple(self._decoder.notes))

    @property
    def skipped(self) -> int:
        """Frames lost so far because the reader was slow."""
        return self._skipped

    @property
    def losses(self) -> dict[str, int]:
        """Frames lost otherwise, by cause: ``damaged`` packets, and frames due ``before_start``."""
        damaged = self._decoder.damaged if self._decoder else 0
        return {k: n for k, n in (("damaged", damaged), ("before_start", self._before_start)) if n}

    def read(self, timeout_s: float) -> Frame | None:
        """See :class:`capture.source.Source`."""
        if not self._info.live:
            step = self._next()
            return None if step is None else self._frame(step)
        deadline_ns = self._clock.now_ns() + round(timeout_s * 1e9)
        while not self._ended or self._held is not None:
            due_ns = self._epoch_ns + (self._held.t_ns if self._held else self._due_ns)
            if due_ns > deadline_ns:
                self._clock.wait_until_ns(deadline_ns)
                raise SourceStalled(f"camera {self._camera}: the next frame is not due yet")
            self._clock.wait_until_ns(due_ns)
            newest = self._newest_due()
            if newest is not None:
                self._given = True
                return self._frame(newest)
        return None

    def _newest_due(self) -> Step | None:
        """Go on to the newest step that is due and count those passed over.

        Decoding takes time in which more become due; they are caught up with for CATCH_UP_NS and no longer, so that
        this ends even where decoding is slower than the video.
        """
        newest: Step | None = None
        began_ns = now_ns = self._clock.now_ns() - self._epoch_ns
        while True:
            step, self._held = self._held or self._next(), None
            if step is None:
                return newest
            if step.t_ns > now_ns:
                self._held = step
                return newest
            if newest is not None:
                if self._given:
                    self._skipped += 1
                else:
                    self._before_start += 1
            newest = step
            self._due_ns = step.t_ns + self._interval_ns
            if self._due_ns > now_ns:
                now_ns = self._clock.now_ns() - self._epoch_ns
                if self._due_ns > now_ns or now_ns - began_ns > CATCH_UP_NS:
                    return newest

    def _next(self) -> Step | None:
        step = None if self._ended else next(self._steps, None)
        if step is None or (self._limit is not None and step.seq >= self._limit):
            self._ended = True
            return None
        return step

    def _frame(self, step: Step) -> Frame:
        image = step.load()
        return Frame(self._camera, step.seq, self._epoch_ns + step.t_ns, self._clock.now_ns(), image)

    def close(self) -> None:
        """Release the file; safe to call twice."""
        self._ended, self._held = True, None
        if self._decoder is not None:
            self._decoder.close()
