"""``kinecast diff``: say where two recordings part."""

import argparse
from pathlib import Path

from kinecast.nodes.recording.diff import TopicDiff, compare
from kinecast.nodes.recording.file import LAUNCH, RIG, Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two recordings."""
    parser.add_argument("a", type=Path, help="a recording")
    parser.add_argument("b", type=Path, help="the other")


def line(d: TopicDiff) -> str:
    """One topic in one line."""
    said = f"{d.topic}: {d.same} the same"
    if d.different:
        counts = ", ".join(f"{name} {n}" for name, n in d.fields.most_common())
        said += f", {d.different} different ({counts})"
    said += f", {d.only_a} only in the first" if d.only_a else ""
    said += f", {d.only_b} only in the second" if d.only_b else ""
    return said + (f", up to {d.max_mm:.6g} mm apart" if d.max_mm else "")


def run(args: argparse.Namespace) -> int:
    """Print the topics and the first difference. 0 where there is none, else 1."""
    a, b = Recording.open(args.a), Recording.open(args.b)
    for recording in (a, b):
        for said in recording.damage():
            print(said)
    for name in (RIG, LAUNCH):
        if a.attachment(name) != b.attachment(name):
            print(f"{name}: the attached files are not the same")
    diffs = compare(a, b)
    for d in diffs:
        print(line(d))
    parted = next((d for d in diffs if d.parts), None)
    if parted is None:
        print("no difference" if diffs else "nothing to compare: neither has keypoints, frame sets, poses or bodies")
        return 0
    assert parted.first is not None
    print(f"they part at {parted.topic}, {parted.first[0]}: {parted.first[1]}")
    return 1
