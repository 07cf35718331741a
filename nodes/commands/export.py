"""``kinecast export``: write CSV, TRC, npz or SMPL motion from a recording."""

import argparse
from pathlib import Path

from nodes.export.people import read_people
from nodes.export.smpl import write_smpl
from nodes.export.tables import write_csv, write_npz
from nodes.export.trc import write_trc
from nodes.files import named
from nodes.recording import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to write, and where."""
    parser.add_argument("recording", type=Path)
    parser.add_argument("--to", required=True, choices=("csv", "trc", "npz", "smpl"))
    parser.add_argument("-o", "--out", type=Path, metavar="PATH", help="default: beside the recording, by its name")
    parser.add_argument("--axes", choices=("rig", "y-up"), default="rig", help="y-up: turn the world so that y is up")
    parser.add_argument("--units", choices=("m", "mm"), default="m", help="TRC: unit of the coordinates")
    parser.add_argument("--layout", choices=("long", "wide"), default="long", help="CSV: a row a joint, or a person")
    parser.add_argument(
        "--min-frames", type=int, default=1, metavar="N", help="TRC, SMPL: leave out people seen for less"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files and print their paths. 1 where nobody was left to write."""
    recording = Recording.open(args.recording)
    if args.to == "smpl":
        written = write_smpl(recording, named(args.out or args.recording.with_suffix(".npz"), ".npz"), args.min_frames)
        for out in written:
            print(out)
        return 0 if written else 1
    path = named(args.out or args.recording.with_suffix(f".{args.to}"), f".{args.to}")
    people = read_people(recording, args.axes)
    if args.to == "npz":
        written = write_npz(people, path)
    elif args.to == "csv":
        written = write_csv(people, path, args.layout)
    else:
        written = write_trc(people, path, args.units, args.min_frames)
    for line in recording.damage():
        print(line)
    seen = f"{len(people.sets_ns)} frame sets, {len(people.ids)} people, {len(people.person_id)} person-frames"
    print(f"{args.recording.name}: {seen}; {args.units if args.to == 'trc' else 'm'}, {people.up} up")
    for out in written:
        print(out)
    return 0 if written else 1
