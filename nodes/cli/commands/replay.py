"""``kinecast replay``: fuse a recording again from its journal."""

import argparse
from pathlib import Path

from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.replay import replay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recording, and what to change."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("--out", type=Path, metavar="OUT.mcap", help="write the result as a recording")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. nodes.fusion.min_views=3")


def run(args: argparse.Namespace) -> int:
    """Print how the result compares with what was recorded. 0 where it is identical, or was asked to differ; else 1."""
    recording = Recording.open(args.recording)
    done = replay(recording, args.out, args.set)
    for line in recording.damage():
        print(line)
    for topic, count in done.missing.items():
        print(f"missing: {count} of {topic}, the first is number {done.first_missing[topic]}")
    d = done.diff
    if not done.same_graph:
        print("not a replay of the same graph: " + ", ".join(args.set))
    print(f"bit-identical: {d.same} of {done.sets} sets")
    if d.first is not None:
        print(f"they part at {d.first[0]}: {d.first[1]}; up to {d.max_mm:.6g} mm apart")
    b = done.bodies
    if b.same or b.parts:
        print(f"bodies, bit-identical: {b.same} of {b.same + b.different}")
    if b.first is not None:
        print(f"bodies part at {b.first[0]}: {b.first[1]}; up to {b.max_mm:.6g} mm apart")
    speed = done.span_s / done.took_s
    print(f"{done.span_s:.2f} s of recording in {done.took_s:.2f} s: {speed:.1f} × real time")
    if args.out:
        print(args.out)
    return 0 if done.identical or not done.same_graph else 1
