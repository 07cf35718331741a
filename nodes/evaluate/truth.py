"""``kinecast evaluate truth SESSION TRUTH``: a recording or an export against ground truth."""

import argparse
from pathlib import Path

from rich.console import Console

from kinecast.capture.errors import KinecastError
from kinecast.engines.metrics.multi_person import GATE_M
from kinecast.nodes.evaluate import perturbed, report
from kinecast.nodes.evaluate.ground_truth import NAMES
from kinecast.nodes.evaluate.result import pair, read_result, read_truth
from kinecast.nodes.evaluate.scores import score
from kinecast.nodes.recording.file import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is scored, against what, and how frames and people are matched."""
    parser.add_argument("session", type=Path, metavar="SESSION", help="a recording (.mcap) or an export (.npz)")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="folder of a data set, recording, export; synthetic")
    parser.add_argument("--dataset", choices=NAMES, help="by default told from what is in it")
    parser.add_argument("--fps", type=float, metavar="HZ", help="rate of a truth that has frame numbers and no times")
    report.add_offset(parser, "the truth's number less the result's")
    parser.add_argument(
        "--max-distance-m", "--gate-m", dest="max_distance_m", type=float, default=GATE_M, metavar="M",
        help="further away than this it is another person; default %(default)s",
    )  # fmt: skip
    parser.add_argument("--min-confidence", type=float, default=0.1, help="below this a joint of the truth is missing")
    parser.add_argument(
        "--as-recorded", action="store_true",
        help="joints by their names alone, also those the data set defines otherwise",
    )  # fmt: skip
    parser.add_argument(
        "--variants", action="store_true", help="also fuse again with half the frames, a camera less, shutters apart"
    )
    report.add_outputs(parser, plot=True)


def run(args: argparse.Namespace) -> int:
    """Score, print, write. 1 where the truth has people and not one was found."""
    if not 0 < args.max_distance_m < 100 or not 0 <= args.min_confidence <= 1:
        raise KinecastError("--max-distance-m is from 0 to 100, --min-confidence from 0 to 1")
    if args.fps is not None and not 0 < args.fps <= 1000:
        raise KinecastError("--fps is from 0 to 1000")
    report.check_outputs(args)
    result = read_result(args.session)
    truth = read_truth(args.truth, args.session, args.dataset, args.min_confidence)
    pairing = pair(result, truth, args.fps, args.offset_frames, args.as_recorded)
    scores = score(result, truth, pairing, args.max_distance_m)
    harder = []
    if args.variants:
        how = {"fps_hz": args.fps, "offset_frames": args.offset_frames, "as_recorded": args.as_recorded}
        harder = perturbed.measure(Recording.open(args.session), truth, **how)
        scores["variants"] = dict(harder)

    def show(console: Console) -> None:
        report.show(scores, console)
        if harder:
            perturbed.show(harder, console)
        for line in result.damage:
            print(line)

    report.emit(args, scores, show, lambda path: report.plot(scores, pairing, path))
    found = scores["errors"]["matched_person_frames"]
    return 0 if found or not scores["frames"]["person_frames"] else 1
