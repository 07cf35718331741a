"""``kinecast export``: write CSV, TRC, npz, SMPL motion or meshes from a recording."""

import argparse
from pathlib import Path

from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.errors import KinecastError
from kinecast.nodes.exchange.export.csv_npz import write_csv, write_npz
from kinecast.nodes.exchange.export.obj import write_obj
from kinecast.nodes.exchange.export.person_series import read_people
from kinecast.nodes.exchange.export.smpl_npz import write_smpl
from kinecast.nodes.exchange.export.trc import write_trc
from kinecast.nodes.recording.body_meshes import mesher_of
from kinecast.nodes.recording.file import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to write, and where."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("--to", required=True, choices=("csv", "trc", "npz", "smpl", "obj"), help="which files")
    parser.add_argument("-o", "--out", type=Path, metavar="PATH", help="default: beside the recording, by its name")
    parser.add_argument("--axes", choices=("rig", "y-up"), default="rig", help="y-up: turn the world so that y is up")
    parser.add_argument("--units", choices=("m", "mm"), default="m", help="TRC: unit of the coordinates")
    parser.add_argument("--layout", choices=("long", "wide"), default="long", help="CSV: a row a joint, or a person")
    parser.add_argument(
        "--min-frames", type=int, default=1, metavar="N", help="TRC, SMPL: leave out people seen for less"
    )
    parser.add_argument("--mesh", choices=("light", "full"), default="light", help="OBJ: of the free body")
    parser.add_argument("--body", default="", metavar="FILE", help="OBJ: the body, where it is your own")


def run(args: argparse.Namespace) -> int:
    """Write the files and print their paths. KinecastError where nobody was left to write."""
    recording = Recording.open(args.recording)
    if args.to == "obj":
        folder = args.out or args.recording.with_name(f"{args.recording.stem}_obj")
        files = write_obj(recording, folder, mesher_of(recording, args.body, args.mesh == "light"))
        print(f"{len(files)} files, metres, in {folder}")
        return 0
    if args.to == "smpl":
        path = require_suffix(args.out or args.recording.with_suffix(".npz"), ".npz")
        written = write_smpl(recording, path, args.min_frames)
        _say(written, args)
        return 0
    path = require_suffix(args.out or args.recording.with_suffix(f".{args.to}"), f".{args.to}")
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
    _say(written, args)
    return 0


def _say(written: list[Path], args: argparse.Namespace) -> None:
    if not written:
        if args.min_frames > 1:
            seen = f"nobody was seen in {args.min_frames} frame sets, so nothing is written; lower --min-frames"
        else:
            seen = "nobody is in it, so nothing is written; `kinecast info` shows what there is"
        raise KinecastError(f"{args.recording}: {seen}")
    for out in written:
        print(out)
