"""``kinecast smooth``: the people of a recording, smoothed with knowledge of the future."""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.engines.estimate.rts import PSD_M2_S3
from kinecast.nodes.exchange.export.csv_npz import write_npz
from kinecast.nodes.exchange.export.person_series import read_people
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.smooth import smooth_all, smooth_recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recording, and where the smoothed people go."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="a recording (.mcap) or .npz")
    parser.add_argument(
        "--psd",
        type=float,
        default=PSD_M2_S3,
        metavar="M2_S3",
        help=f"process noise in m²/s³: more follows faster motion (default {PSD_M2_S3:g})",
    )
    parser.add_argument(
        "--no-bodies",
        dest="bodies",
        action="store_false",
        help="do not fit the bodies of a live session again, which takes about 10 ms each",
    )


def run(args: argparse.Namespace) -> int:
    """Smooth, write, and say how far the points moved and what that costs in residual."""
    if args.out.suffix not in (".mcap", ".npz"):
        raise KinecastError(f"{args.out}: write a recording (.mcap) or .npz")
    recording = Recording.open(args.recording)
    bodies = ""
    if args.out.suffix == ".mcap" and args.bodies:
        done, bodies = smooth_all(recording, args.out, args.psd)
    elif args.out.suffix == ".mcap":
        done = smooth_recording(recording, args.out, args.psd)
    else:
        with tempfile.TemporaryDirectory() as folder:
            between = Path(folder) / "smoothed.mcap"
            done = smooth_recording(recording, between, args.psd)
            write_npz(read_people(Recording.open(between)), args.out)
    for line in recording.damage():
        print(line)
    moved, before, after = (np.concatenate(x) for x in (done.moved_m, done.before_px, done.after_px))
    print(f"{done.people} people, {done.joints} joints in {done.sets} frame sets")
    if len(moved):
        print(
            f"points moved by {1e3 * np.median(moved):.1f} mm (median), {1e3 * np.percentile(moved, 95):.1f} mm (95 %)"
        )
    if len(before):
        print(
            f"residual {np.median(before):.2f} px as measured, {np.median(after):.2f} px smoothed "
            f"(medians over the same {len(before)} joints)"
        )
    if bodies:
        print(bodies)
    print(args.out)
    return 0
