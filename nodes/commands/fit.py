"""``kinecast fit``: bodies for a recording, with the future known."""

import argparse
from pathlib import Path

import numpy as np

from capture.errors import KinecastError
from nodes.fitting import fit_recording
from nodes.recording import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recording, where the bodies go, and which body."""
    parser.add_argument("recording", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="a recording (.mcap)")
    parser.add_argument("--body", default="neutral", metavar="BODY", help="neutral, male, female or a body file")


def run(args: argparse.Namespace) -> int:
    """Fit, write, and say how well the bodies explain the keypoints."""
    if args.out.suffix != ".mcap":
        raise KinecastError(f"{args.out}: write a recording (.mcap)")
    recording = Recording.open(args.recording)
    done = fit_recording(recording, args.out, args.body)
    for line in recording.damage():
        print(line)
    print(f"{done.people} people, {len(done.residual_px)} bodies in {done.sets} frame sets")
    if done.residual_px:
        print(
            f"residual {np.nanmedian(done.residual_px):.2f} px (median of the RMS of a body) over "
            f"{100 * np.nanmean(done.explained):.0f} % of the keypoints given"
        )
    print(args.out)
    return 0
