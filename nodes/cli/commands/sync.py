"""``kinecast sync``: find how far each camera's clock is off, from the motion of the people alone."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.capture.atomic_write import atomic_path, require_suffix
from kinecast.capture.errors import KinecastError
from kinecast.capture.refusals import sentence
from kinecast.nodes.evaluate.report import PLOTS
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.sync_clocks import Timing, estimate, write_synced


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recording, how far to search, and what to write."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("-o", "--out", type=Path, metavar="OUT.mcap", help="fuse again with these clocks")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the agreement against the shift, by camera")
    parser.add_argument(
        "--max-offset", type=float, default=0.5, metavar="S", help="search so far between two clocks (default 0.5)"
    )
    parser.add_argument("--reference", metavar="CAMERA", help="the clock that is right (default: the mean of all)")
    parser.add_argument(
        "--rates", choices=("auto", "on", "off"), default="auto", help="drift of the clocks too (auto: from 20 s on)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="with -o, as for replay")


def run(args: argparse.Namespace) -> int:
    """Print the table and write what was asked for. 1 where the motion cannot tell the clock of a camera."""
    recording = Recording.open(args.recording)
    if args.plot is not None:
        _pyplot()  # before the work, not after it
        require_suffix(args.plot, *PLOTS)
    timing = estimate(recording, args.max_offset, args.reference, {"auto": None, "on": True, "off": False}[args.rates])
    for line in [*recording.damage(), *table(timing)]:
        print(line)
    if args.plot is not None and timing.clocks.votes.size:
        plot(timing, args.plot)
        print(args.plot)
    if refused := timing.refused():
        for line in refused:
            print(f"cannot tell the clock of {line}")
        if args.out is not None:
            print(f"{args.out} is not written")
        return 1
    if args.out is not None:
        done = write_synced(recording, timing, args.out, args.set)
        print(f"{done.sets} frame sets, {len(done.people)} people" + (f", {done.bodies} bodies" if done.bodies else ""))
        if done.note:
            print(done.note)
        for cause, count in done.dropped.items():
            print(f"not used: {count} frames, {sentence(cause)}")
        print(args.out)
    return 0


def table(timing: Timing) -> list[str]:
    """One line a camera: offset and rate, each with its standard deviation."""
    c = timing.clocks
    out = []
    if not timing.met:
        out.append("the clocks never met: offsets are against each camera's own first frame")
    for n, name in enumerate(timing.rig.names):
        if c.reason[n]:
            out.append(f"{name}: unknown")
            continue
        line = f"{name}: offset {1e3 * c.offsets_s[n]:+.2f} ± {1e3 * c.sigma_s[n]:.2f} ms"
        if c.rate_sigma.any():
            line += f", rate {1e6 * c.rates[n]:+.1f} ± {1e6 * c.rate_sigma[n]:.1f} ppm"
        out.append(line)
    if c.pairs:
        out.append(
            f"{c.pairs} pairs of views of a joint; median distance of their rays {c.before:.2f} σ as stamped, "
            f"{c.after:.2f} σ with these clocks"
        )
    return out


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise KinecastError("--plot needs matplotlib, which is not installed: pip install 'kinecast[plot]'") from None
    return pyplot


def plot(timing: Timing, path: Path) -> None:
    """Agreement of each camera with the others against its offset, a panel a camera."""
    pyplot = _pyplot()
    c = timing.clocks
    figure, axes = pyplot.subplots(
        len(timing.rig), 1, figsize=(8, 1.8 * len(timing.rig) + 0.6), sharex=True, squeeze=False, layout="constrained"
    )
    for n, (name, panel) in enumerate(zip(timing.rig.names, axes[:, 0], strict=True)):
        panel.plot(1e3 * (c.searched_s[n] + c.shifts_s), c.votes[n], color="#1f77b4", linewidth=1)
        panel.axvline(1e3 * c.offsets_s[n], color="#d62728" if c.reason[n] else "#2ca02c", linewidth=1)
        told = c.reason[n] or f"{1e3 * c.offsets_s[n]:+.2f} ± {1e3 * c.sigma_s[n]:.2f} ms"
        panel.set_title(f"{name}: {told}", fontsize=9, loc="left")
        panel.set_ylabel("agreement", fontsize=8)
        low, high = np.nanmin(c.votes), np.nanmax(c.votes)
        panel.set_ylim(low - 0.02, high + 0.02)
    axes[-1, 0].set_xlabel("offset of the camera's clock, ms")
    with atomic_path(path, overwrite=True) as file:
        figure.savefig(file, format=path.suffix.removeprefix(".") or "png", dpi=120)
    pyplot.close(figure)
