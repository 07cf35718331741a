"""A video file, decoded: pictures with the container's own times, damage survived and counted."""

import heapq
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.capture.hardware import Decoding, Hardware, hardware_of, opened, prepare
from kinecast.capture.joins import HIDDEN, MADE_OF_CUTS, Joins, is_shown
from kinecast.capture.orientation import orientation_of
from kinecast.capture.planes import Image, Pixels, planes_of, size_of
from kinecast.capture.urls import filled_in, is_url, redacted

MAX_PACKET_BYTES = 1 << 30  # packets held in memory to play backwards
MOST_HZ = 999  # a container that says more says the ticks of its clock
REMOTE = {"multiple_requests": "1", "reconnect": "1"}  # of a web server; a connection for each seek lost packets of AVI
MOST_BROKEN_END = 3  # pictures' worth of bytes after the last of a transport stream that are no damage
MAX_BROKEN_READS = 100  # so many failed reads in a row and the rest of the file is taken as lost


def ticks_to_ns(ticks: int, time_base: Fraction) -> int:
    """Container ticks → nanoseconds, rounded to the nearest, without floating point."""
    den = 2 * time_base.denominator
    return (2 * ticks * time_base.numerator * 1_000_000_000 + time_base.denominator) // den


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture that is not yet converted.

    index: its number in the file, from 0; packets that could not be decoded are counted too.
    t_ns: time since the first picture of the file.
    decoded: the decoder's own frame.
    """

    index: int
    t_ns: int
    decoded: Any


class Converter:
    """Turns decoded frames into pictures as they are meant to be seen: planes where they have such."""

    def __init__(self) -> None:
        self._reformatter: Any = av.video.reformatter.VideoReformatter()

    def __call__(self, decoded: Any) -> Pixels:
        """The picture, turned and mirrored as the file says that it is to be seen; planes are not copied."""
        return orientation_of(decoded).turn(planes_of(decoded) or self._bgr(decoded))

    def bgr(self, decoded: Any) -> Image:
        """The same as a new (H, W, 3) uint8 BGR picture, by libswscale."""
        return orientation_of(decoded).apply(self._bgr(decoded))

    def _bgr(self, decoded: Any) -> Image:
        # one thread: what several save in time they cost twice in the cores that the detector needs
        made: Image = self._reformatter.reformat(decoded, format="bgr24", threads=1).to_ndarray()
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Packets from one key frame to the next, and the ticks [first, end) of the pictures that they hold.

    ``packets`` goes on past the next key frame where pictures before it still lean on it (open groups of pictures).
    """

    packets: list[Any]
    first: int
    end: int


def _segment(packets: list[Any], keys: list[int], n: int) -> Segment:
    """The segment from the ``n``-th of the key packets ``keys``."""
    begin = keys[n]
    after = keys[n + 1] if n + 1 < len(keys) else len(packets)
    limit = keys[n + 2] if n + 2 < len(keys) else len(packets)
    stop = after
    if after < len(packets) and is_shown(packets[after]):
        end, leaning = packets[after].pts, after
        while leaning + 1 < limit and HIDDEN < packets[leaning + 1].pts < end:
            leaning += 1
        stop = leaning + 1 if leaning > after else after
    else:
        end = max((p.pts for p in packets[begin:after] if is_shown(p)), default=HIDDEN) + 1
    whole = n > 0 and is_shown(packets[begin])
    first = packets[begin].pts if whole else min((p.pts for p in packets[begin:after] if is_shown(p)), default=end)
    return Segment(packets[begin:stop], first, end)


def _up_to_shown(packets: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Where the first packets lie in the file and when they are shown, up to the first that no edit list hides."""
    places = []
    for packet in packets:
        places.append((packet.pos, packet.pts))
        if not packet.is_discard:
            break
    return places


class VideoDecoder:
    """One open video file. Raises KinecastError where there is nothing to decode.

    Where a file was joined from several, each with times of its own, the later ones follow the earlier; what an edit
    list cuts out is not there. ``notes``: lines for the user on what was taken for granted.
    """

    def __init__(
        self,
        path: str,
        camera: str,
        hardware: Hardware = "off",
        options: dict[str, str] | None = None,
        decode: Decoding = "exact",
    ) -> None:
        """Open ``path`` and decode its first picture, to know the real size. ``camera`` is for the messages.

        path: of a file, or the address of one on a web server; ``self.path`` has no user or password in it.
        """
        self.path, self.camera = redacted(path) if is_url(path) else path, camera
        self._address = filled_in(path, f"camera {camera}") if is_url(path) else path
        self._hardware, self._options = hardware, {**(REMOTE if is_url(path) else {}), **(options or {})}
        self._how = decode
        self.notes: list[str] = []
        self.damaged = 0
        self.end_ns = 0  # one interval after the last picture; known once the file was played to its end
        self._container: Any = None
        self._stored_px = (0, 0)  # of its first picture, before it is turned upright
        self._begin: list[tuple[Any, Any]] = []  # which packets the file begins with
        if not is_url(path) and not Path(path).is_file():
            raise KinecastError(f"camera {camera}: there is no video file {path}: check source.uri in the launch file")
        self._open()
        container: Any = self._container
        with suppress(av.error.FFmpegError, OSError):  # what can be read of it is read below
            self._begin = _up_to_shown(container.demux(self._stream))
        first = next(self.pictures(), None)
        if first is None:
            raise self._unreadable("no picture in it can be decoded")
        self.size_px = size_of(Converter()(first.decoded))
        self.hardware = hardware_of(self._stream, hardware, self._unbound)
        self._note(self.hardware)
        self._note(orientation_of(first.decoded).note)
        self._stored_px = (first.decoded.width, first.decoded.height)
        shape = self._stream.sample_aspect_ratio
        if shape and shape != 1:
            w, h = self._stored_px
            self._note(f"its pixels are not square ({shape}): pictures and rig are of the pixels as stored, {w}×{h}")
        self.damaged = 0

    def _note(self, line: str) -> None:
        if line and line not in self.notes:
            self.notes.append(line)

    def _look_at_size(self, decoded: Any) -> None:
        size_px = (decoded.width, decoded.height)
        if size_px != self._stored_px != (0, 0):
            was, now = ("×".join(map(str, s)) for s in (self._stored_px, size_px))
            self._note(f"its pictures change their size midway, from {was} to {now}: a rig fits one of them alone")

    def _unreadable(self, why: str) -> KinecastError:
        return KinecastError(
            f"camera {self.camera}: cannot read the video {self.path}: {why}; check that it plays, or make it anew"
        )

    def _open(self) -> None:
        self.close()
        try:
            self._container, self._unbound = opened(self._address, self._hardware, options=self._options)
        except (av.error.FFmpegError, OSError, ValueError) as e:
            raise self._unreadable(redacted(getattr(e, "strerror", None) or str(e))) from e
        if not self._container.streams.video:
            self.close()
            raise self._unreadable("it has no video stream")
        stream = self._container.streams.video[0]
        if (count := len(self._container.streams.video)) > 1:
            self._note(f"it has {count} video streams: the first is taken, {stream.width}×{stream.height}")
        self._note(prepare(stream, self._how))
        self._stream = stream
        self.time_base = Fraction(stream.time_base)
        said = (r for r in (stream.average_rate, stream.guessed_rate) if r and r <= MOST_HZ)
        rate = next(said, Fraction(30))
        self.fps_hz = float(rate)
        self.interval_ns = round(1_000_000_000 / rate)
        self._interval = max(1, round(1 / rate / self.time_base))  # in ticks
        # an edit list leaves out pictures that the container counts all the same
        shown = float((stream.duration or 0) * self.time_base * rate)
        self.frames: int | None = stream.frames if stream.frames and abs(shown - stream.frames) < 2 else None

    def _rewind(self) -> None:
        """Go back to the start: by seeking where that is exact, as opening a file takes tens of milliseconds."""
        if self._container is not None and {"mp4", "matroska"} & set(self._container.format.name.split(",")):
            try:
                self._seek_start()
                # where times go back, the first time may stand for a later part
                exact = _up_to_shown(self._container.demux(self._stream)) == self._begin
                self._seek_start()
            except (av.error.FFmpegError, OSError, StopIteration):
                exact = False
            if exact:
                self._stream.codec_context.flush_buffers()
                return
        self._open()

    def _seek_start(self) -> None:
        self._container.seek(self._stream.start_time or 0, stream=self._stream, backward=True)

    def _packets(self) -> Iterator[Any]:
        """Packets of the stream, their times in one row; a read that fails is counted and passed over."""
        broken, packets = 0, self._container.demux(self._stream)
        joins = Joins(self._interval, self.time_base, self._container.format.name)
        sizes: list[tuple[int, int]] = []
        while broken < MAX_BROKEN_READS:
            try:
                packet = next(packets)
            except StopIteration:
                yield from joins.rest()
                for line in joins.notes:
                    self._note(line)
                self._count_lost_end(sizes)
                return
            except (av.error.FFmpegError, OSError):
                self.damaged += 1
                broken += 1
                packets = self._container.demux(self._stream)
                continue
            broken = 0
            if packet.size:
                sizes.append((packet.pos or 0, packet.size))
                yield from joins.place(packet)
        yield from joins.rest()

    def _count_lost_end(self, places: list[tuple[int, int]]) -> None:
        """Count the pictures that a damaged end of a transport stream held; its reader passes over it without a word.

        places: position and size of every packet. Counted is what follows the last, over what a picture took before.
        """
        if not MADE_OF_CUTS & set(self._container.format.name.split(",")) or len(places) < MOST_BROKEN_END:
            return
        first, (last, size) = places[0][0], places[-1]
        a_picture = (last - first) / (len(places) - 1)  # with what the container and other streams need beside it
        left = self._container.size - last - max(size, a_picture)
        if a_picture > 0 and left > MOST_BROKEN_END * a_picture:
            lost = round(left / a_picture)
            self.damaged += lost
            share = left / self._container.size
            self._note(f"the last {share:.0%} of the file cannot be read: about {lost} pictures are lost there")

    def _decode(self, packets: Iterable[Any]) -> Generator[Any, None, None]:
        """(decoded frame, its ticks), then those that the decoder still holds; None stands for a packet that gave none.

        Ticks are None where the container has no times. Some containers (AVI) say only when a packet is to be decoded,
        which is told by times that never go back though pictures are reordered. Pictures leave the decoder in the order
        of time, so then the earliest time of those that went in is the picture's.
        """
        context = self._stream.codec_context
        waiting: list[int] = []
        orders_only, newest = True, -(1 << 62)

        def ticks(decoded: Any) -> int | None:
            earliest = heapq.heappop(waiting) if waiting else decoded.pts
            return earliest if orders_only and context.has_b_frames else decoded.pts

        for packet in packets:
            order = packet.dts if packet.pts is None else packet.pts
            if order is not None:
                orders_only, newest = orders_only and order > newest, order
                heapq.heappush(waiting, order)
            try:
                for decoded in context.decode(packet):
                    yield decoded, ticks(decoded)
            except (av.error.FFmpegError, OSError):
                self.damaged += 1
                if order in waiting:
                    waiting.remove(order)
                    heapq.heapify(waiting)
                yield None
        try:
            for decoded in context.decode(None):
                yield decoded, ticks(decoded)
        except (av.error.FFmpegError, OSError):
            self.damaged += 1
        context.flush_buffers()

    def pictures(self) -> Iterator[Picture]:
        """All pictures in order of time, from the start, reading the file as it goes."""
        self._rewind()
        first: int | None = None
        last_ns, index = -self.interval_ns, -1
        for found in self._decode(self._packets()):
            if found is not None and found[1] is not None and found[1] <= HIDDEN:
                continue
            index += 1
            if found is None:
                continue
            decoded, ticks = found
            if decoded.is_corrupt:
                self.damaged += 1
            self._look_at_size(decoded)
            if first is None:
                first = ticks if ticks is not None else 0
            # containers without times (raw streams) run at their nominal rate
            t_ns = ticks_to_ns(ticks - first, self.time_base) if ticks is not None else last_ns + self.interval_ns
            if t_ns <= last_ns:  # a picture whose time does not follow cannot be placed
                self.damaged += 1
                continue
            last_ns = t_ns
            yield Picture(index, t_ns, decoded)
        self.end_ns = last_ns + self.interval_ns

    def segments(self) -> list[Segment]:
        """The whole file as segments that can be decoded one by one, in memory (packets, not pictures)."""
        size = self._container.size
        if size > MAX_PACKET_BYTES:
            raise KinecastError(
                f"camera {self.camera}: {self.path} has {size >> 20} MiB, too much to play backwards: "
                "cut it, or use loop: repeat"
            )
        self._rewind()
        packets = list(self._packets())
        if any(p.pts is None for p in packets):
            raise KinecastError(
                f"camera {self.camera}: {self.path} has no timestamps, so it cannot be played backwards: "
                "convert it to mp4, or use loop: repeat"
            )
        keys = [i for i, p in enumerate(packets) if p.is_keyframe] or [0]
        keys[0] = 0
        return [_segment(packets, keys, n) for n in range(len(keys))]

    def decode_segment(self, segment: Segment) -> Iterator[tuple[int, Any]]:
        """(ticks, decoded) of the pictures of a segment, in order of time.

        One segment must be read to its end, or the iterator closed, before the next is begun.
        """
        last = segment.first - 1
        frames = self._decode(segment.packets)
        try:
            for found in frames:
                if found is None or found[1] is None or not max(segment.first, last + 1) <= found[1] < segment.end:
                    continue
                decoded, last = found
                if decoded.is_corrupt:
                    self.damaged += 1
                yield last, decoded
        finally:
            frames.close()
            self._stream.codec_context.flush_buffers()

    def stamps_ns(self) -> NDArray[np.int64]:
        """(n,) times of the pictures since the first, in order, from the packets alone; reads the file once."""
        self._rewind()
        packets = [p for p in self._packets() if is_shown(p)]
        ticks = [p.dts if p.pts is None else p.pts for p in packets]
        known = [t for t in ticks if t is not None]
        if len(known) < len(ticks) or len(set(known)) < len(known):
            return np.asarray(np.round(np.arange(len(ticks)) * 1e9 / self.fps_hz), dtype=np.int64)
        known.sort()
        return np.array([ticks_to_ns(t - known[0], self.time_base) for t in known], dtype=np.int64)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._container is not None:
            self._container.close()
            self._container = None
