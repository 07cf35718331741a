"""``kinecast dataset``: recordings made into data for training, and sessions forgotten again."""

import argparse
from pathlib import Path

from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.refusals import sentence
from kinecast.engines.train.data.shards import load_manifest
from kinecast.nodes.dataset.build import build, check, describe, forget
from kinecast.nodes.dataset.export import export
from kinecast.nodes.dataset.gates import Gates
from kinecast.nodes.dataset.habits import habits_of
from kinecast.nodes.dataset.session import Recipe
from kinecast.nodes.evaluate.gate_report import gate_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One parser for each of build, list, check, report, export, habits, forget."""
    sub = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    make = sub.add_parser("build", help="make or extend a data set; what is there and whole is kept")
    make.add_argument("recordings", type=Path, nargs="+", metavar="SESSION", help="recordings (.mcap)")
    make.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the data set")
    make.add_argument("--body", default="neutral", metavar="BODY", help="neutral, male, female or a body file")
    make.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where bodies are fitted")
    make.add_argument("--workers", type=int, default=1, metavar="N", help="more than one need Ray")
    make.add_argument("--ray", default="", metavar="ADDRESS", help="a Ray cluster that runs already")
    make.add_argument("--test", type=int, default=20, metavar="PERCENT", help="of the sessions, held out")
    make.add_argument("--validate", type=int, default=10, metavar="PERCENT", help="of the people of the others")
    for name in ("views", "explained", "apart_m", "bone_share", "limit_rad", "speed_mps"):
        value = getattr(Gates(), name)
        make.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, metavar="X", help="a gate")
    for name, text in (("list", "the sessions of a data set"), ("check", "read everything and say what is wrong")):
        sub.add_parser(name, help=text).add_argument("folder", type=Path, metavar="DIR", help="a data set")
    out = sub.add_parser("export", help="write SPIN's or VideoPose3D's npz")
    out.add_argument("folder", type=Path, metavar="DIR", help="a data set")
    out.add_argument("--to", choices=("spin", "videopose3d"), required=True, help="whose layout")
    out.add_argument("--split", choices=("train", "validate", "test"), default="train", help="which sessions")
    out.add_argument("--body", default="neutral", metavar="BODY", help="what it was built with")
    score = sub.add_parser("report", help="what each gate does to accuracy, of sessions that know their truth")
    score.add_argument("folder", type=Path, metavar="DIR", help="a data set")
    score.add_argument("recordings", type=Path, nargs="+", metavar="SESSION", help="those of a synthetic world")
    habit = sub.add_parser("habits", help="fit what one detector does wrong all the time, for synthetic scenes")
    habit.add_argument("recordings", type=Path, nargs="+", metavar="SESSION", help="fused recordings of one detector")
    habit.add_argument("-o", "--out", type=Path, required=True, metavar="TABLE.toml", help="the table")
    habit.add_argument("--detector", metavar="NAME", help="its name in the table; default: that of the file")
    habit.add_argument("--source", metavar="TEXT", help="what the recordings are, for the table; default: their names")
    habit.add_argument("--body", default="neutral", metavar="BODY", help="neutral, male, female or a body file")
    gone = sub.add_parser("forget", help="delete a session with everything made of it")
    gone.add_argument("folder", type=Path, metavar="DIR", help="a data set")
    gone.add_argument("session", metavar="SESSION", help="its key, or the name of its recording")


def run(args: argparse.Namespace) -> int:
    """Do it and say what came of it. 1 where a recording was refused or a data set is not whole."""
    if args.what == "build":
        return _build(args)
    if args.what == "list":
        manifest = load_manifest(args.folder)
        print(f"{len(manifest.sessions)} sessions, {manifest.skeleton}, body {manifest.body_id}")
        for _, session in sorted(manifest.sessions.items()):
            print(describe(session))
        for file, sessions in sorted(manifest.exports.items()):
            print(f"{file}: of {len(sessions)} sessions")
        return 0
    if args.what == "check":
        wrong = list(check(args.folder))
        for line in wrong:
            print(line)
        print(f"{len(wrong)} things wrong" if wrong else "whole")
        return 1 if wrong else 0
    if args.what == "report":
        print(f"{'gate':14}{'kept':>8}{'mean mm':>10}{'p90 mm':>10}{'refused':>10}{'mean mm':>10}")
        for r in gate_report(args.folder, args.recordings):
            print(
                f"{sentence(r.gate):14}{r.kept:8d}{r.kept_mm:10.1f}{r.kept_p90_mm:10.1f}{r.refused:10d}{r.refused_mm:10.1f}"
            )
        return 0
    if args.what == "habits":
        require_suffix(args.out, ".toml")
        source = args.source or ", ".join(path.name for path in args.recordings)
        habits_of(args.recordings, args.detector or args.out.stem, source, args.body).save(args.out)
        print(args.out)
        return 0
    if args.what == "export":
        for path in export(args.folder, args.to, args.split, args.body):
            print(path)
        return 0
    for file in forget(args.folder, args.session):
        print(f"deleted {file}")
    print("not reached: recordings and copies of them, runs (checkpoints, pictures of poses) and weights trained on it")
    return 0


def _build(args: argparse.Namespace) -> int:
    gates = Gates(
        views=args.views, explained=args.explained, apart_m=args.apart_m, bone_share=args.bone_share,
        limit_rad=args.limit_rad, speed_mps=args.speed_mps,
    )  # fmt: skip
    recipe = Recipe(args.body, args.device, gates, args.test, args.validate)
    built = build(args.recordings, args.out, recipe, args.workers, args.ray, print)
    shards = [f for s in built.manifest.sessions.values() for f in s.shards]
    frames, good = sum(f.frames for f in shards), sum(f.accepted for f in shards)
    print(
        f"{args.out}: {len(built.manifest.sessions)} sessions, {frames} person-frames, {good} ground truth "
        f"({100 * good / max(frames, 1):.0f} %)"
    )
    return 1 if built.refused else 0
