"""``kinecast evaluate``: a recording or an export beside a truth, or beside what another program made of it.

``kinecast evaluate lifter FOLDER``: lifters on motion that they were not trained on. ``kinecast evaluate spin FOLDER``:
the rows of the SPIN loop.
"""

import argparse
from pathlib import Path

from rich.console import Console

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.engines.metrics.multi_person import GATE_M
from kinecast.nodes.evaluate.body_view_ablation import figures as body_figures
from kinecast.nodes.evaluate.body_view_ablation import of_recording
from kinecast.nodes.evaluate.body_view_ablation import show as show_body_views
from kinecast.nodes.evaluate.camera_holdout import figures, hold_out
from kinecast.nodes.evaluate.camera_holdout import show as show_held_out
from kinecast.nodes.evaluate.ground_truth import NAMES
from kinecast.nodes.evaluate.other_program import compare, gather, read_trc
from kinecast.nodes.evaluate.other_program import show as show_beside
from kinecast.nodes.evaluate.perturbed import measure
from kinecast.nodes.evaluate.perturbed import show as show_variants
from kinecast.nodes.evaluate.report import plot, show, to_json
from kinecast.nodes.evaluate.result import pair, read_result, read_truth
from kinecast.nodes.evaluate.scores import score
from kinecast.nodes.evaluate.view_ablation import measure as measure_views
from kinecast.nodes.evaluate.view_ablation import show as show_views
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.paths import PLOTS, named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is scored, beside what, and how frames are matched."""
    parser.add_argument(
        "result",
        type=Path,
        help="a recording (.mcap), or an export (.npz); or: lifter, spin, and a folder of motion",
    )
    parser.add_argument(
        "truth",
        type=Path,
        nargs="?",
        help="data set, recording or export; or: synthetic, a TRC, held-out, views, body-views",
    )
    parser.add_argument("--lift", default="default", metavar="NAME", help="views: name or file of the lifter")
    parser.add_argument(
        "--weights",
        nargs="+",
        default=["default"],
        metavar="FILE",
        help="lifter: names or files; spin: files; default: the shipped one",
    )
    parser.add_argument("--shelf", type=Path, metavar="DIR", help="spin: also on the people of this data set")
    parser.add_argument(
        "--datasets", type=Path, nargs="+", default=[], metavar="DIR",
        help="spin: also, or instead of motion, the test sessions of these, beside the fit to all views",
    )  # fmt: skip
    parser.add_argument("--held-out", type=Path, metavar="TOML", help="lifter: which clips; default: our list")
    parser.add_argument("--noise", type=Path, metavar="TOML", help="lifter: detector's noise; default: as in training")
    parser.add_argument("--body", default="neutral", metavar="NAME", help="body-views: name or file of the body")
    parser.add_argument("--dataset", choices=NAMES, help="by default told from what is in it")
    parser.add_argument("--fps", type=float, metavar="HZ", help="rate of a truth that has frame numbers and no times")
    parser.add_argument(
        "--offset-frames", type=int, default=0, metavar="N", help="the truth's number less the result's"
    )
    parser.add_argument("--gate-m", type=float, default=GATE_M, help="further away than this it is somebody else")
    parser.add_argument("--min-confidence", type=float, default=0.1, help="below this a joint of the truth is missing")
    parser.add_argument(
        "--as-recorded",
        action="store_true",
        help="joints by their names alone, also those the data set defines otherwise",
    )
    parser.add_argument(
        "--variants", action="store_true", help="also fuse again with half the frames, a camera less, shutters apart"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures; - prints them and nothing else")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="write a picture (PNG, PDF, SVG)")


def run(args: argparse.Namespace) -> int:
    """Score, print, write. 1 where the truth has people and not one was found."""
    if not 0 < args.gate_m < 100 or not 0 <= args.min_confidence <= 1 or not (args.fps is None or 0 < args.fps <= 1000):
        raise KinecastError("--gate-m is from 0 to 100, --min-confidence from 0 to 1, --fps from 0 to 1000")
    if args.plot:
        named(args.plot, *PLOTS)
    if args.json and args.json != Path("-"):
        named(args.json, ".json")
    if args.truth is None and str(args.result) != "spin":
        raise KinecastError(f"{args.result}: say beside what: a data set, a recording, views, held-out, body-views")
    if str(args.result) == "lifter":
        return _lifter(args)
    if str(args.result) == "spin":
        return _spin(args)
    if args.truth.suffix.lower() == ".trc":
        return _beside(args)
    if str(args.truth) == "held-out":
        return _held_out(args)
    if str(args.truth) == "body-views":
        return _body_views(args)
    if str(args.truth) == "views":
        return _views(args)
    result = read_result(args.result)
    truth = read_truth(args.truth, args.result, args.dataset, args.min_confidence)
    pairing = pair(result, truth, args.fps, args.offset_frames, args.as_recorded)
    scores = score(result, truth, pairing, args.gate_m)
    harder = []
    if args.variants:
        how = {"fps_hz": args.fps, "offset_frames": args.offset_frames, "as_recorded": args.as_recorded}
        harder = measure(Recording.open(args.result), truth, **how)
        scores["variants"] = dict(harder)
    if args.json == Path("-"):
        print(to_json(scores), end="")
    else:
        show(scores, Console(width=None if Console().is_terminal else 120))
        if harder:
            show_variants(harder, Console(width=None if Console().is_terminal else 120))
        for line in result.damage:
            print(line)
    if args.json and args.json != Path("-"):
        atomic_write(args.json, to_json(scores))
        print(args.json)
    if args.plot:
        plot(scores, pairing, args.plot)
        print(args.plot)
    found = scores["errors"]["matched_person_frames"]
    return 0 if found or not scores["frames"]["person_frames"] else 1


def _lifter(args: argparse.Namespace) -> int:
    """Lifters on held-out motion."""
    from kinecast.engines.lift.lifter import find_lifter
    from kinecast.nodes.evaluate import lifter

    told = lifter.measure([find_lifter(w) for w in args.weights], [args.truth], args.held_out, args.noise)
    if args.json == Path("-"):
        print(lifter.to_json(told), end="")
    else:
        lifter.show(told, Console(width=None if Console().is_terminal else 140))
    if args.json and args.json != Path("-"):
        atomic_write(args.json, lifter.to_json(told))
        print(args.json)
    return 0


def _spin(args: argparse.Namespace) -> int:
    """Regressors, the optimiser begun there, one view and all, on people that none was trained on."""
    try:
        from kinecast.nodes.evaluate import regressor as spin
    except ModuleNotFoundError as e:
        raise KinecastError(f"this needs {e.name}: pip install -c constraints.txt -e '.[train]'") from None

    motion = [args.truth] if args.truth is not None else []
    told = spin.measure(args.weights, motion, args.held_out, args.noise, args.shelf, args.datasets)
    if args.json == Path("-"):
        print(spin.to_json(told), end="")
    else:
        spin.show(told, Console(width=None if Console().is_terminal else 150))
    if args.json and args.json != Path("-"):
        atomic_write(args.json, spin.to_json(told))
        print(args.json)
    return 0


def _beside(args: argparse.Namespace) -> int:
    """Two results of the same keypoints, on what both give. 1 where they share nothing."""
    recording = Recording.open(args.result)
    figures = compare(gather(recording, read_trc(args.truth), args.offset_frames), recording.rig)
    if args.json == Path("-"):
        print(to_json(figures), end="")
    else:
        show_beside(figures, ("ours", args.truth.name), Console(width=None if Console().is_terminal else 120))
    if args.json and args.json != Path("-"):
        atomic_write(args.json, to_json(figures))
        print(args.json)
    return 0 if figures["common"] else 1


def _held_out(args: argparse.Namespace) -> int:
    """Each camera foretold from the others. 1 where nobody was."""
    scores = figures(hold_out(Recording.open(args.result)))
    if args.json == Path("-"):
        print(to_json(scores), end="")
    else:
        show_held_out(scores, Console(width=None if Console().is_terminal else 120))
    if args.json and args.json != Path("-"):
        atomic_write(args.json, to_json(scores))
        print(args.json)
    return 0 if scores["all"]["n"] else 1


def _views(args: argparse.Namespace) -> int:
    """Fusion with fewer views, with the lifter and without. 1 where nobody was there to compare."""
    scores = measure_views(Recording.open(args.result), args.lift)
    if args.json == Path("-"):
        print(to_json(scores), end="")
    else:
        show_views(scores, Console(width=None if Console().is_terminal else 120))
    if args.json and args.json != Path("-"):
        atomic_write(args.json, to_json(scores))
        print(args.json)
    return 0 if scores["views"]["1"]["without"]["person_frames"] else 1


def _body_views(args: argparse.Namespace) -> int:
    """Bodies alone from fewer views. 1 where nobody was fitted."""
    scores, residuals, all_views = of_recording(Recording.open(args.result), args.body)
    told = body_figures(scores, residuals, all_views)
    if args.json == Path("-"):
        print(to_json(told), end="")
    else:
        show_body_views(told, Console(width=None if Console().is_terminal else 120))
    if args.json and args.json != Path("-"):
        atomic_write(args.json, to_json(told))
        print(args.json)
    return 0 if scores else 1
