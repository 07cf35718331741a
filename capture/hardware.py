"""Decoding by the graphics unit, where that is asked for and binds; else by the processor, and it is said."""

from typing import Any, Literal

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

Hardware = Literal["off", "auto", "nvdec", "vaapi", "qsv"]
Decoding = Literal["exact", "fast"]
DEVICES = {"nvdec": "cuda", "vaapi": "vaapi", "qsv": "qsv"}  # FFmpeg's names
REFUSALS = (av.error.FFmpegError, OSError, ValueError, RuntimeError)


def opened(path: str, hardware: Hardware, **how: Any) -> tuple[Any, str]:
    """(container, why the hardware that was asked for is not used: "" where it may be).

    Raises as ``av.open`` does. What decodes in the end is known after the first picture: :func:`hardware_of`.
    """
    if hardware == "off":
        return av.open(path, **how), ""
    why = []
    available = hwdevices_available()
    for name in DEVICES if hardware == "auto" else (hardware,):
        if DEVICES[name] not in available:
            why.append(f"{name} is not in this FFmpeg")
            continue
        try:
            device = HWAccel(device_type=DEVICES[name], allow_software_fallback=False)
        except REFUSALS as e:
            why.append(f"{name}: {_reason(e)}")
            continue
        try:
            return _decoding(av.open(path, hwaccel=device, **how)), ""
        except REFUSALS as e:
            why.append(f"{name}: {_reason(e)}")
    return av.open(path, **how), "; ".join(why)


def prepare(stream: Any, how: Decoding) -> str:
    """Set up the decoder of a stream that was opened; says what it leaves out, in words."""
    context = stream.codec_context
    context.thread_count = 1
    if how == "exact" or context.is_open:  # a decoder on the graphics unit is open, and has the filter for nothing
        return ""
    context.options = {"skip_loop_filter": "all"}
    return "decoded without the loop filter"


def _decoding(container: Any) -> Any:
    """The container, its decoder opened: only then does the device bind or refuse."""
    try:
        if container.streams.video:
            container.streams.video[0].codec_context.open(strict=False)
    except REFUSALS:
        container.close()
        raise
    return container


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def hardware_of(stream: Any, hardware: Hardware, unbound: str) -> str:
    """What decodes this stream, in words, "" where nothing else than the processor was asked for."""
    if hardware == "off":
        return ""
    if bool(getattr(stream.codec_context, "is_hwaccel", False)):
        return f"decoded by hardware ({hardware})"
    return f"decoded by the processor: {unbound or 'this codec is not decoded by the hardware'}"
