"""One way to open every kind of source."""

from collections.abc import Mapping
from typing import Literal

from kinecast.capture.clock import Clock
from kinecast.capture.errors import KinecastError
from kinecast.capture.files import open_video
from kinecast.capture.hardware import Decoding, Hardware
from kinecast.capture.images import open_images
from kinecast.capture.orientation import Orientation, Rotate, orientation
from kinecast.capture.record import RecordedSource, VideoRecorder
from kinecast.capture.source import Source
from kinecast.capture.stream import Transport, open_stream
from kinecast.capture.turned import TurnedSource
from kinecast.capture.urls import kind_and_path
from kinecast.capture.usb import open_usb


def open_source(
    camera: str,
    kind: str,
    uri: str,
    *,
    live: bool,
    epoch_ns: int,
    loop: Literal["off", "repeat", "pingpong"] = "off",
    frames: int | None = None,
    fps_hz: float | None = None,
    size_px: tuple[int, int] | None = None,
    preload: bool = False,
    transport: Transport = "auto",
    rotate: Rotate = "0",
    mirror: bool = False,
    start_s: float = 0.0,
    options: dict[str, str] | None = None,
    hardware: Hardware = "off",
    decode: Decoding = "exact",
    locked: Mapping[str, float] | None = None,
    recorder: VideoRecorder | None = None,
    first_seq: int = 0,
    clock: Clock | None = None,
) -> Source:
    """Open a source of ``kind`` ``video``, ``images``, ``usb`` or ``stream``; settings as in the launch file.

    live: pace recorded pictures in real time (devices are live always). epoch_ns: capture time of a recorded source's
    first frame. first_seq: number of a device's first frame, so that numbers go on when it is opened again.
    recorder: keeps the video; a device's frames all go to it, a recorded source's as they are read; none is turned by
    rotate and mirror. An address is a stream and ``file://…`` a file, whatever the kind says.
    Raises KinecastError where the source cannot be opened.
    """
    source: Source
    turn = orientation(rotate, mirror)
    if turn != Orientation():
        opened = open_source(
            camera, kind, uri, live=live, epoch_ns=epoch_ns, loop=loop, frames=frames, fps_hz=fps_hz, size_px=size_px,
            preload=preload, transport=transport, start_s=start_s, options=options, hardware=hardware,
            decode=decode, locked=locked, recorder=recorder, first_seq=first_seq, clock=clock,
        )  # fmt: skip
        return TurnedSource(opened, turn)
    kind, uri = kind_and_path(kind, uri)
    if kind == "usb":
        return open_usb(
            uri, camera, fps_hz=fps_hz, size_px=size_px, clock=clock, tap=recorder, first_seq=first_seq, locked=locked
        )
    if kind == "stream":
        return open_stream(
            uri,
            camera,
            transport=transport,
            options=options,
            hardware=hardware,
            decode=decode,
            clock=clock,
            recorder=recorder,
            first_seq=first_seq,
        )
    if kind == "video":
        source = open_video(
            uri,
            camera,
            epoch_ns=epoch_ns,
            live=live,
            loop=loop,
            fps_hz=fps_hz,
            frames=frames,
            preload=preload,
            start_s=start_s,
            options=options,
            hardware=hardware,
            decode=decode,
            clock=clock,
        )
    elif kind == "images":
        source = open_images(
            uri,
            camera,
            fps_hz=fps_hz,
            epoch_ns=epoch_ns,
            live=live,
            loop=loop,
            frames=frames,
            start_s=start_s,
            clock=clock,
        )
    else:
        raise KinecastError(f"camera {camera}: unknown kind of source {kind!r}: use video, images, usb or stream")
    return source if recorder is None else RecordedSource(source, recorder)
