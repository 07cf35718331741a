"""``kinecast fit``: bodies for a recording, with the future known."""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.fit_bodies import fit_recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recording, where the bodies go, and which body."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="a recording (.mcap)")
    parser.add_argument("--body", default="neutral", metavar="BODY", help="neutral, male, female or a body file")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where it is computed")
    parser.add_argument("--betas", type=_betas, metavar="B0,B1,…", help="the shape, where it is known: it is held")


def _betas(text: str) -> NDArray[np.float64]:
    try:
        betas = np.array([float(word) for word in text.split(",")])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0.3,-1.2") from None
    if not np.isfinite(betas).all():
        raise argparse.ArgumentTypeError(f"{text!r} holds a number that is not finite")
    return betas


def run(args: argparse.Namespace) -> int:
    """Fit, write, and say how well the bodies explain the keypoints."""
    if args.out.suffix != ".mcap":
        raise KinecastError(f"{args.out}: write a recording (.mcap)")
    recording = Recording.open(args.recording)
    done = fit_recording(recording, args.out, args.body, args.device, args.betas)
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
