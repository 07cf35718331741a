"""``kinecast rig show | check | convert | synth``: calibrated rigs, in whatever file they come."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from rich.table import Table

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import WRITABLE, format_of, read_rig_file, save_rig
from kinecast.calibration.formats.fields import UPS
from kinecast.calibration.rig_check import rig_faults
from kinecast.capture.console import plain_console
from kinecast.capture.errors import KinecastError

CAMERAS = "cameras"  # what --align alone means


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    sub = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("show", "print cameras, lenses and places"),
        ("check", "look for what cannot be right; status 1 where something is"),
        ("convert", "write the rig in another format"),
    ):
        p = sub.add_parser(name, help=text)
        p.add_argument(
            "file", help="rig.toml, or a file or folder of another tool (docs/reference/rig-formats.md lists them)"
        )
        p.add_argument("--units", choices=("m", "cm", "mm"), help="unit of length of a file that does not say it")
        p.add_argument(
            "--size",
            type=int,
            nargs=2,
            metavar=("W", "H"),
            help="size of the pictures, for a file that does not say it",
        )
        if name == "convert":
            p.add_argument("out", help="the file to write")
            p.add_argument(
                "--to",
                "--format",
                dest="format",
                choices=WRITABLE,
                help="by default as the name of OUT says (.qca.txt, .xcp, .yml, .xml, camera_array.toml), else rig; "
                "easymocap and colmap write a folder",
            )
            p.add_argument(
                "--out-units", choices=("m", "cm", "mm"), default="m", help="of an aniposelib or OpenCV file"
            )
            p.add_argument("--up", choices=UPS, help="upward axis of the world (the axes stay as they are)")
            p.add_argument(
                "--align",
                nargs="?",
                const=CAMERAS,
                metavar="FLOOR|SESSION.mcap",
                help="put the world upright: by what the cameras' pictures call up, by a board on the floor in this "
                "folder of a photo or video of each camera (with --board), or by the people of this recording",
            )
            p.add_argument("--board", metavar="FILE|WORD", help="the board on the floor of --align FLOOR")
            p.add_argument("--rename", metavar="OLD=NEW", nargs="+", default=[], help="new names of cameras")
            p.add_argument("--cameras", metavar="NAME", nargs="+", help="only these, in this order")
    p = sub.add_parser("synth", help="write the rig of the synthetic world: cameras in a ring")
    p.add_argument("--cameras", type=int, default=4, help="how many")
    p.add_argument("--size", type=int, nargs=2, default=(320, 240), metavar=("W", "H"), help="of the pictures, pixels")
    p.add_argument("--radius-m", type=float, default=5.0, help="of the ring, metres")
    p.add_argument("--seed", type=int, default=0, help="of the places")
    p.add_argument("-o", "--out", required=True, help="the rig file to write")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    if args.action == "synth":
        from kinecast.engines.synth.rigs import ring_rig

        if min(args.size) < 16 or max(args.size) > 16384 or not 0.5 <= args.radius_m <= 100 or args.seed < 0:
            raise KinecastError("--size is from 16 to 16384, --radius-m from 0.5 to 100, --seed from 0")
        rig = ring_rig(args.cameras, (args.size[0], args.size[1]), radius_m=args.radius_m, seed=args.seed)
        save_rig(rig, args.out)
        print(f"{args.out}: {len(rig)} synthetic cameras ({', '.join(rig.names)})")
        return 0
    file, format = read_rig_file(args.file, args.units, tuple(args.size) if args.size else None)
    rig = file.rig()
    for note in file.notes:
        print(f"{args.file}: {note}")
    if args.action == "convert":
        return _convert(rig, args)
    if args.action == "show":
        _show(rig, format)
        return 0
    faults = rig_faults(rig)
    for fault in faults:
        print(f"{args.file}: {fault}")
    if not faults:
        print(f"{args.file}: {len(rig)} cameras, nothing wrong found ({format})")
    return 1 if faults else 0


def _convert(rig: Rig, args: argparse.Namespace) -> int:
    rig = rename(rig, args.rename)
    if args.cameras:
        try:
            rig = rig.subset(tuple(args.cameras))
        except KeyError as e:
            raise KinecastError(str(e.args[0])) from None
    if args.up:
        rig = replace(rig, up=cast(Any, args.up))
    if args.align:
        rig = _aligned(rig, args)
    for fault in rig_faults(rig):
        print(f"{args.file}: {fault}")
    format = args.format or format_of(args.out)
    save_rig(rig, args.out, format, args.out_units)
    print(f"{args.out}: {len(rig)} cameras ({', '.join(rig.names)}), {format}")
    return 0


def _aligned(rig: Rig, args: argparse.Namespace) -> Rig:
    """The rig in an upright world, z up (y where --up y asks for it)."""
    from kinecast.calibration.solve.world import upright
    from kinecast.nodes.calibrate.world import floor_world, people_world

    if args.up not in (None, "y", "z"):
        raise KinecastError(f"--align makes a world that is z or y up: --up {args.up} does not go with it")
    up: Literal["y", "z"] = "y" if args.up == "y" else "z"
    if args.align == CAMERAS:
        placed = upright(rig, rig.cameras, up)
        print(f"aligned: {up} up by the mean of what the pictures call up; the origin is what the cameras look at")
        return placed
    if Path(args.align).suffix == ".mcap":
        placed, note, warnings = people_world(rig, Path(args.align), up)
        return _told(placed, note, warnings)
    if not args.board:
        raise KinecastError("--align FLOOR needs the board that lies there: --board charuco:5x7:40mm:30mm:DICT_4X4_50")
    return _told(*floor_world(rig, Path(args.align), args.board, up))


def _told(placed: Rig, note: str, warnings: list[str]) -> Rig:
    """The rig, after it is said how it was aligned."""
    print(f"aligned: {note}")
    for warning in warnings:
        print(f"warning: {warning}")
    return placed


def rename(rig: Rig, pairs: list[str]) -> Rig:
    """The rig with cameras renamed by ``OLD=NEW`` words; KinecastError where a name is not there or comes twice."""
    new: dict[str, str] = {}
    for pair in pairs:
        old, sep, name = pair.partition("=")
        if not sep or not name or old not in rig.names:
            raise KinecastError(f"--rename {pair}: expected OLD=NEW with OLD one of {', '.join(rig.names)}")
        new[old] = name
    try:
        return replace(rig, cameras=tuple(replace(c, name=new.get(c.name, c.name)) for c in rig))
    except ValueError as e:
        raise KinecastError(f"--rename: {e}") from None


def _show(rig: Rig, format: str) -> None:
    table = Table(title=f"{rig.name}: {len(rig)} cameras, {rig.up} up, read as {format}")
    for column in ("camera", "size px", "focal px", "centre px", "field °", "lens", "stands at m", "looks along"):
        table.add_column(column, no_wrap=True)
    for c in rig:
        w, h = c.size_px
        edges = c.undistort([[0, c.K[1, 2]], [w - 1, c.K[1, 2]]])[:, 0]
        field = np.rad2deg(np.arctan(edges[1]) - np.arctan(edges[0]))
        table.add_row(
            c.name,
            f"{w}×{h}",
            f"{c.K[0, 0]:.1f} {c.K[1, 1]:.1f}",
            f"{c.K[0, 2]:.1f} {c.K[1, 2]:.1f}",
            f"{field:.0f}",
            f"{c.model}, {np.count_nonzero(c.distortion)} terms" if np.any(c.distortion) else "none",
            " ".join(f"{v:.3f}" for v in c.centre_world),
            " ".join(f"{v:+.2f}" for v in c.R[2]),
        )
    plain_console(width=150).print(table)
