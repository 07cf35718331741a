"""``kinecast cameras``: which cameras are plugged in, and how the launch file takes them."""

import argparse

from kinecast.capture.plugged_in import PluggedIn, best_mode, plugged_in


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whether every mode is printed, and whether nodes for the launch file are."""
    parser.add_argument("--modes", action="store_true", help="every size and rate, and the range of every control")
    parser.add_argument("--launch", action="store_true", help="print nodes to paste into a launch file")


def run(args: argparse.Namespace) -> int:
    """Print what is plugged in; 1 where nothing is."""
    found = plugged_in()
    if not found:
        print("no camera is plugged in, or this user may not see it (on Linux: group video); streams need no listing")
        return 1
    if args.launch:
        print(as_nodes(found))
        return 0
    for camera in found:
        mode = best_mode(camera.modes)
        suits = "" if mode is None else f"  {mode.size_px[0]}×{mode.size_px[1]} at {mode.rates_hz[0]:g} Hz"
        print(f"{camera.uri}  {_printable(camera.name)}{suits}" + (f"  ({camera.problem})" if camera.problem else ""))
        if args.modes:
            for m in camera.modes:
                rates = ", ".join(f"{r:g}" for r in m.rates_hz) or "unknown"
                print(f"    {m.size_px[0]}×{m.size_px[1]} {m.pixels}: {rates} Hz")
            for name, (low, high, now) in camera.controls:
                print(f"    {name}: {low} to {high}, now {now}")
    return 0


def as_nodes(found: tuple[PluggedIn, ...]) -> str:
    """Camera nodes of a launch file, one a device, at the size and rate that suit."""
    lines = ["nodes:"]
    for n, camera in enumerate(found, 1):
        mode = best_mode(camera.modes)
        asked = (
            "" if mode is None else f", size_px: [{mode.size_px[0]}, {mode.size_px[1]}], fps_hz: {mode.rates_hz[0]:g}"
        )
        source = f"{{kind: usb, uri: '{camera.uri}'{asked}}}"
        lines.append(f"  cam{n:02}: {{kind: camera, source: {source}}}  # {_printable(camera.name)}")
    return "\n".join(lines)


def _printable(name: str) -> str:
    """A device's own name, which may hold anything."""
    return "".join(c for c in name if c.isprintable())
