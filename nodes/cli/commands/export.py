"""``kinecast export``: a recording as files for other programs."""

import argparse
from pathlib import Path

from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.errors import KinecastError
from kinecast.nodes.exchange.export.bone_names import BONES
from kinecast.nodes.exchange.export.formats import FORMATS, Choices, Written, write
from kinecast.nodes.recording.file import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to write, and where."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("--to", required=True, choices=tuple(FORMATS), help="which files")
    parser.add_argument("-o", "--out", type=Path, metavar="PATH", help="default: beside the recording, by its name")
    parser.add_argument(
        "--axes",
        choices=("rig", "y-up", "z-up"),
        help="the world of the file: the rig's, or turned so that y or z points up; by default what its readers expect",
    )
    parser.add_argument("--units", choices=("m", "cm", "mm"), help="of lengths; by default what its readers expect")
    parser.add_argument(
        "--person", type=int, action="append", default=[], metavar="ID", help="only this one; repeatable"
    )
    parser.add_argument("--layout", choices=("long", "wide"), default="long", help="CSV: a row a joint, or a person")
    parser.add_argument("--bones", choices=tuple(BONES), default="smpl", help="BVH, GLB: what the joints are called")
    parser.add_argument(
        "--min-frames", type=int, default=1, metavar="N", help="files of a person: leave out people seen for less"
    )
    parser.add_argument("--mesh", choices=("light", "full"), default="light", help="OBJ, GLB: of the free body")
    parser.add_argument("--body", default="", metavar="FILE", help="bodies: the body, where it is your own")


def run(args: argparse.Namespace) -> int:
    """Write the files and print their paths. KinecastError where nobody was left to write."""
    recording = Recording.open(args.recording)
    row = FORMATS[args.to]
    choices = Choices(
        args.axes, args.units, args.layout, args.bones, args.mesh, args.body, args.min_frames, tuple(args.person)
    )
    written = write(recording, args.to, _target(args, row.suffix), choices)
    for line in (*recording.damage(), *written.notes):
        print(line)
    print(f"{args.recording.name}: {written.seen}")
    if args.to == "obj":
        return 0
    _refuse_nothing(written, args)
    for out in written.files:
        print(out)
    return 0


def _target(args: argparse.Namespace, suffix: str) -> Path:
    out: Path | None = args.out
    if not suffix:
        return out or args.recording.with_name(f"{args.recording.stem}_{args.to}")
    ending = f"_{args.to}{suffix}" if args.to not in suffix and args.to != "smpl" else suffix
    return require_suffix(out or args.recording.with_name(args.recording.stem + ending), suffix)


def _refuse_nothing(written: Written, args: argparse.Namespace) -> None:
    if written.files:
        return
    if args.min_frames > 1:
        seen = f"nobody was seen in {args.min_frames} frame sets, so nothing is written; lower --min-frames"
    else:
        seen = "nobody is in it, so nothing is written; `kinecast info` shows what there is"
    raise KinecastError(f"{args.recording}: {seen}")
