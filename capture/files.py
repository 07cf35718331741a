"""A video file as a source: as fast as it is read, or paced as if a camera were filming it now."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.decode import Converter, Picture, VideoDecoder
from kinecast.capture.errors import KinecastError
from kinecast.capture.hardware import Decoding, Hardware
from kinecast.capture.planes import Pixels, Planes
from kinecast.capture.playback import PlayedSource, Step, forward, from_memory, pingpong
from kinecast.capture.source import SourceInfo

Loop = Literal["off", "repeat", "pingpong"]
MAX_PRELOAD_BYTES = 8 << 30


def open_video(
    path: str,
    camera: str,
    *,
    epoch_ns: int,
    live: bool,
    loop: Loop = "off",
    fps_hz: float | None = None,
    frames: int | None = None,
    preload: bool = False,
    start_s: float = 0.0,
    options: dict[str, str] | None = None,
    hardware: Hardware = "off",
    decode: Decoding = "exact",
    clock: Clock | None = None,
) -> PlayedSource:
    """Open a video file, or one on a web server by its address; the first frame is captured at ``epoch_ns``, the
    others at their own times after it.

    start_s: what the file shows so long after its first picture is captured at ``epoch_ns``, and what comes before is
    left out; below 0 the file begins later than the others.
    live: paced in real time on ``clock``. loop, fps_hz, frames, preload, options, hardware, decode: as
    ``nodes.graph.records.SourceSettings`` says. Raises KinecastError where the file is missing, empty or unreadable.
    """
    decoder = VideoDecoder(path, camera, hardware, options, decode)
    start_ns = round(start_s * 1e9)
    convert = Converter()

    def later(picture: Picture) -> Callable[[], Pixels]:
        return partial(convert, picture.decoded)

    steps: Iterator[Step]
    if preload:
        once = forward(decoder, later, fps_hz, loop=False, start_ns=start_ns)
        loaded = _preload(once, decoder, frames if loop == "off" else None)
        if not loaded:
            raise KinecastError(f"camera {camera}: no picture of {decoder.path} can be decoded; make the file anew")
        decoder.close()
        steps = from_memory(loaded, loop, decoder.end_ns - start_ns)
    elif loop == "pingpong":
        steps = pingpong(decoder, later, fps_hz, start_ns)
    else:
        steps = forward(decoder, later, fps_hz, loop == "repeat", start_ns)
    rate_hz = min(fps_hz or decoder.fps_hz, decoder.fps_hz)
    known = decoder.frames if loop == "off" and rate_hz == decoder.fps_hz and start_ns <= 0 else None
    if frames is not None:
        known = frames if loop != "off" else min(frames, known) if known is not None else None
    info = SourceInfo("video", decoder.path, decoder.size_px, rate_hz, live, known, tuple(decoder.notes))
    return PlayedSource(camera, info, steps, clock or MonotonicClock(), epoch_ns, frames, decoder)


def _preload(steps: Iterator[Step], decoder: VideoDecoder, frames: int | None) -> list[Step]:
    loaded: list[Step] = []
    total = 0
    for step in steps:
        if frames is not None and step.seq >= frames:
            break
        image = step.load()
        if not isinstance(image, Planes):
            image.flags.writeable = False
        total += image.nbytes
        if total > MAX_PRELOAD_BYTES:
            raise KinecastError(
                f"camera {decoder.camera}: {decoder.path} does not fit into {MAX_PRELOAD_BYTES >> 30} GiB decoded: "
                "leave out preload, or set frames"
            )
        loaded.append(Step(step.seq, step.t_ns, partial(_same, image)))
    return loaded


def _same(image: Pixels) -> Pixels:
    return image
