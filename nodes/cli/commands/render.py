"""``kinecast render``: draw a recording, bodies and skeletons, into its videos and a 3D view."""

import argparse
import math
from pathlib import Path

from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.errors import KinecastError
from kinecast.capture.progress import progress
from kinecast.nodes.recording.file import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kinecast render``."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("-o", "--out", type=Path, metavar="MP4", help="default: beside the recording, by its name")
    parser.add_argument("--cameras", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--height", type=int, default=1080, metavar="PX", help="of the whole picture, at most")
    parser.add_argument("--no-3d", dest="with_3d", action="store_false", help="leave out the 3D view")
    parser.add_argument("--no-bodies", dest="bodies", action="store_false", help="skeletons only")
    parser.add_argument("--body", default="", metavar="FILE", help="the body of the recording, where it is your own")
    parser.add_argument("--from", dest="from_s", type=float, default=0.0, metavar="S", help="since the first set")
    parser.add_argument(
        "--to", dest="to_s", type=float, default=math.inf, metavar="S", help="since the first frame set"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each n-th frame set alone")
    parser.add_argument("--separate", action="store_true", help="also one file for each camera")


def run(args: argparse.Namespace) -> int:
    """Write the video and print its path."""
    from kinecast.nodes.viewer.video import render

    if not 120 <= args.height <= 4320:
        raise KinecastError(f"--height {args.height}: expected 120 to 4320")
    if not 0 <= args.from_s <= args.to_s:
        raise KinecastError(f"--from {args.from_s:g} --to {args.to_s:g}: expected 0 or more, and no end before")
    if args.every < 1:
        raise KinecastError(f"--every {args.every}: expected 1 or more")
    recording = Recording.open(args.recording)
    out = require_suffix(args.out or args.recording.with_suffix(".mp4"), ".mp4")
    with progress("drawing") as show:
        done = render(
            recording,
            out,
            cameras=tuple(args.cameras),
            height_px=args.height,
            with_3d=args.with_3d,
            separate=args.separate,
            bodies=args.bodies,
            body=args.body,
            span_s=(args.from_s, args.to_s),
            every=args.every,
            progress=lambda n, total: show("", n, total),
        )
    for line in (*recording.damage(), *done.notes):
        print(line)
    view = f", 3D view by {done.renderer}" if done.renderer else ""
    print(f"{done.frames} frames at {done.rate_hz:g} Hz{view}")
    for path in done.paths:
        print(path)
    return 0
