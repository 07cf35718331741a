"""``kinecast recover``: make a recording that was cut short whole again."""

import argparse
from pathlib import Path

from kinecast.nodes.recording.file import ABOUT, Recording
from kinecast.nodes.recording.recover import recover


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and where the whole one goes."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("-o", "--out", type=Path, metavar="OUT.mcap", help="default: NAME-recovered.mcap, beside it")


def run(args: argparse.Namespace) -> int:
    """Recover and say what was lost. 0 also where something was: the new file is whole."""
    recording = Recording.open(args.recording)
    out = args.out or args.recording.with_name(f"{args.recording.stem}-recovered.mcap")
    count = recover(recording, out)
    for line in recording.damage() or ["nothing was lost: the recording was whole"]:
        print(line)
    if not any(ABOUT in s.scan.metadata for s in recording.segments):
        print("it was cut before it said what it is: no rig, no launch file")
    print(f"{count} messages of {len(recording.segments)} segment(s) recovered")
    print(out)
    return 0
