"""Which cameras are plugged into this computer: address, name, modes and what can be locked."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from kinecast.capture.errors import KinecastError

# what OpenCV opens devices with, by ``sys.platform``
BACKENDS = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
# V4L2's names of what ``source`` locks, by its key
CONTROLS = {
    "exposure": "exposure_time_absolute", "gain": "gain", "focus": "focus_absolute",
    "white_balance": "white_balance_temperature",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mode:
    """A picture size that a device gives: size_px (w, h), the rates in Hz, highest first, and the pixel format."""

    size_px: tuple[int, int]
    rates_hz: tuple[float, ...]
    pixels: str


@dataclass(frozen=True, slots=True)
class PluggedIn:
    """A camera that is plugged in.

    uri: what ``source.uri`` takes; where the system has one, a name that stays when it is plugged in anew. name: the
    device's own. modes: by size, largest first; none where the system does not tell. controls: lowest, highest and
    present value by the key of ``source``. problem: why it does not tell more.
    """

    uri: str
    name: str
    modes: tuple[Mode, ...] = ()
    controls: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    problem: str = ""


def backend(platform: str = sys.platform) -> int:
    """OpenCV's backend for cameras on this platform; any where none is known to be the best."""
    return BACKENDS.get(platform, cv2.CAP_ANY)


def plugged_in(platform: str = sys.platform) -> tuple[PluggedIn, ...]:
    """Every camera that is plugged in. Raises KinecastError where the package that lists them is not installed."""
    if platform == "linux":
        return _linux()
    try:
        from cv2_enumerate_cameras import enumerate_cameras
    except ImportError:
        raise KinecastError("listing cameras needs a package: pip install 'kinecast[cameras]'") from None
    return tuple(PluggedIn(str(c.index), c.name) for c in enumerate_cameras(backend(platform)))


def _linux() -> tuple[PluggedIn, ...]:
    """By linuxpy, which knows the modes too; without it, what the kernel says of names."""
    try:
        from linuxpy.video.device import iter_video_capture_files
    except ImportError:
        return named_by_the_kernel()
    return tuple(_asked(Path(f)) for f in sorted(iter_video_capture_files()))


def named_by_the_kernel(listed: Path = Path("/sys/class/video4linux")) -> tuple[PluggedIn, ...]:
    """Addresses and names alone; a camera's second node, of its metadata, has an index above 0 and is left out."""
    found = []
    for folder in sorted(listed.glob("video*")):
        if _text(folder / "index") in ("", "0"):
            why = "pip install 'kinecast[cameras]' tells its modes"
            found.append(PluggedIn(stable_name(Path("/dev") / folder.name), _text(folder / "name"), problem=why))
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _asked(path: Path) -> PluggedIn:
    """What a device says of itself; one that may not be opened is named with the reason."""
    from linuxpy.video.device import Device

    try:
        with Device(path) as device:
            return PluggedIn(
                stable_name(path), str(device.info.card), modes_of(device.info.frame_types), _controls(device.controls)
            )
    except (OSError, ValueError, RuntimeError) as e:
        return PluggedIn(stable_name(path), _text(Path("/sys/class/video4linux") / path.name / "name"), problem=str(e))


def stable_name(path: Path, by_id: Path = Path("/dev/v4l/by-id")) -> str:
    """The link under by_id that leads to a device, as numbers change when cables do; else the path itself."""
    links = sorted(by_id.glob("*")) if by_id.is_dir() else []
    return str(next((link for link in links if link.resolve() == path.resolve()), path))


def modes_of(frame_types: Iterable[Any]) -> tuple[Mode, ...]:
    """linuxpy's frame types by size and pixel format, largest first."""
    rates: dict[tuple[tuple[int, int], str], set[float]] = {}
    for t in frame_types:
        key = (int(t.width), int(t.height)), str(getattr(t.pixel_format, "name", t.pixel_format))
        rates.setdefault(key, set()).update(round(float(r), 2) for r in (t.min_fps, t.max_fps) if r)
    modes = [Mode(size, tuple(sorted(hz, reverse=True)), pixels) for (size, pixels), hz in rates.items()]
    return tuple(sorted(modes, key=lambda m: (-m.size_px[0] * m.size_px[1], m.pixels)))


def _controls(controls: Any) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    found = []
    for key, name in CONTROLS.items():
        control = next((c for c in controls.values() if getattr(c, "config_name", "") == name), None)
        if control is not None and hasattr(control, "minimum"):
            found.append((key, (int(control.minimum), int(control.maximum), int(control.value))))
    return tuple(found)


def best_mode(modes: Sequence[Mode], least_hz: float = 25.0) -> Mode | None:
    """The largest picture up to 1080 lines at least_hz or more, MJPG before others; None where there is none."""
    fit = [m for m in modes if m.size_px[1] <= 1080 and m.rates_hz and m.rates_hz[0] >= least_hz]
    return max(fit, key=lambda m: (m.size_px[0] * m.size_px[1], m.pixels == "MJPEG"), default=None)
