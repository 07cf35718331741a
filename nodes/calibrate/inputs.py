"""What the subcommands read: the folder, the board, the pictures that show it."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kinecast.calibration.board.board import Board, read_board
from kinecast.calibration.board.detect import BoardDetector, Image
from kinecast.calibration.camera import Rig
from kinecast.calibration.footage import (
    BoardSightings,
    Footage,
    FrameSets,
    find_footage,
    frame_sets,
    look,
    pictures,
    read_timestamps,
    video_stamps_ns,
)
from kinecast.calibration.formats import load_lenses
from kinecast.calibration.solve.intrinsics import LENSES
from kinecast.calibration.solve.warnings import two_boards
from kinecast.capture.errors import KinecastError
from kinecast.capture.progress import progress

BOARD_FILES = ("board.toml", "charuco.toml")
GUESS_CAMERAS, GUESS_PICTURES = 3, 6  # enough to meet a board that is in half of the pictures


def add_board(parser: argparse.ArgumentParser) -> None:
    """``--board``."""
    parser.add_argument(
        "--board",
        metavar="FILE|WORD",
        help="board.toml, a Caliscope charuco.toml, or KIND:COLUMNSxROWS:SQUAREmm as chessboard:4x7:60mm "
        "(default: board.toml or charuco.toml in the folder)",
    )


def add_footage(parser: argparse.ArgumentParser, what: str) -> None:
    """The positional words of the footage, and ``--duration``."""
    parser.add_argument(
        "footage", nargs="+", metavar="FOLDER|VIDEO|URL", help=f"{what}; or videos or addresses, one of each camera"
    )
    parser.add_argument(
        "--duration", type=float, metavar="S", help="film addresses for so long (default: 30 s, files to their end)"
    )


def add_lens(parser: argparse.ArgumentParser) -> None:
    """``--lens`` and ``--cameras``."""
    parser.add_argument(
        "--lens", choices=LENSES, default="auto", help="which coefficients; auto: as many as the data tell"
    )
    parser.add_argument("--cameras", nargs="+", default=[], metavar="NAME", help="only these cameras")


def board_of(args: argparse.Namespace, folder: Path) -> Board:
    """The board that is named, or lies in the folder."""
    if args.board:
        return read_board(args.board)
    for name in BOARD_FILES:
        if (folder / name).is_file():
            return read_board(folder / name)
    raise KinecastError(
        f"which board? there is no {' or '.join(BOARD_FILES)} in {folder}: give --board, "
        "or find out with `kinecast calibrate board --guess`"
    )


def look_at(cameras: Sequence[Footage], board: Board, wanted: Sequence[set[int] | None]) -> list[BoardSightings]:
    """Look for the board in the pictures of every camera. KinecastError where no camera finds it: with a guess why."""
    with progress("looking for the board") as show:
        seen = [look(f, BoardDetector(board), w, show) for f, w in zip(cameras, wanted, strict=True)]
    photos = [i for i, f in enumerate(cameras) if not f.video and len(seen[i].views) < seen[i].looked]
    if photos and not any(s.views for s in seen) and (other := _another(cameras, wanted, board)):
        # before patience is spent on a board that is not there
        raise KinecastError(f"no picture shows the board ({board}): {other}")
    with progress("looking again, more thoroughly") as show:
        for i in photos:
            seen[i] = look(cameras[i], BoardDetector(board, thorough=True), wanted[i], show)
    for f in cameras:
        if f.held_otherwise:
            print(f"camera {f.name}: {f.held_otherwise} photos were taken with the camera held otherwise: turned alike")
    if not any(s.views for s in seen):
        who = "no camera" if len(seen) > 1 else f"camera {seen[0].name}: no picture"
        doubled = [two_boards(s) for s in seen if s.two_boards]
        why = "; ".join(doubled) or _guessed(cameras, wanted, board)
        raise KinecastError(f"{who} shows the board ({board}), in {sum(s.looked for s in seen)} pictures: {why}")
    return seen


def blind(footage: Footage, wanted: set[int] | None, board: Board, seen: BoardSightings) -> str:
    """The sentence about one camera that does not see a board that others see."""
    if seen.two_boards:
        return two_boards(seen)
    why = _guessed([footage], [wanted], board)
    return (
        f"camera {footage.name}: the board ({board}) is in none of {seen.looked} pictures, though other cameras "
        f"see it: {why}; or leave the camera out (--cameras)"
    )


def _another(cameras: Sequence[Footage], wanted: Sequence[set[int] | None], board: Board) -> str:
    """Which other board the pictures show, in words; empty where they show this one, or none that is known."""
    from kinecast.calibration.board.guess import guess, say

    found = guess(_some(cameras, wanted), board)
    said = say(found, board)
    return "" if found is None or "as you said" in said else said


def _guessed(cameras: Sequence[Footage], wanted: Sequence[set[int] | None], board: Board) -> str:
    """Which board the pictures show instead, in words."""
    from kinecast.calibration.board.guess import guess, say

    found = guess(_some(cameras, wanted), board)
    said = say(found, board)
    if found is not None and "as you said" in said:
        return f"{said}; it is too small, blurred or dark in most pictures: film it nearer, slower, in more light"
    return said


def _some(cameras: Sequence[Footage], wanted: Sequence[set[int] | None]) -> list[Image]:
    images = []
    for f, w in list(zip(cameras, wanted, strict=True))[:GUESS_CAMERAS]:
        numbers = sorted(w) if w is not None else list(range(len(f.paths)))
        some = np.unique(np.linspace(0, len(numbers) - 1, GUESS_PICTURES).round().astype(int)).tolist()
        images += [image for _, _, image in pictures(f, {numbers[i] for i in some})]
    return images


def synchronised(
    folder: Path, names: Sequence[str], stamps: Path | None, most: int
) -> tuple[tuple[Footage, ...], FrameSets, list[str]]:
    """The cameras of a folder, which of their pictures belong together, and what was noticed on the way."""
    found = find_footage(folder, names)
    photos = [f.name for f in found if not f.video]
    if photos:
        counts = {len(f.paths) for f in found}
        if len(counts) > 1:
            raise KinecastError(
                f"the folders of photos hold {' and '.join(map(str, sorted(counts)))} pictures: "
                "the n-th photo of every camera must be taken at the same moment"
            )
        times = [np.arange(len(f.paths), dtype=np.int64) * 1_000_000_000 for f in found]
        return found, frame_sets(times, most=most), []
    said: list[str] = []
    path = stamps or folder / "timestamps.csv"
    sets = None
    own = [video_stamps_ns(f) for f in found]
    if stamps is not None or path.is_file():
        times, sets = read_timestamps(path, found)
        for f, given, there in zip(found, times, own, strict=True):
            if abs(len(given) - len(there)) > max(2, 0.02 * len(there)):
                raise KinecastError(
                    f"{path} has {len(given)} rows for camera {f.name}, its video {len(there)} pictures: "
                    "is it the file of this recording?"
                )
            if len(given) != len(there):
                said.append(f"{path.name} has {len(given)} rows for camera {f.name}, its video {len(there)} pictures")
    else:
        times = own
        rates = [1e9 * (len(t) - 1) / max(int(t[-1] - t[0]), 1) if len(t) > 1 else 0.0 for t in times]
        lengths = [float(t[-1]) / 1e9 if len(t) else 0.0 for t in times]
        if max(lengths) - min(lengths) > 0.5:
            said.append(
                f"the videos last {min(lengths):.1f} to {max(lengths):.1f} s: they are read as if all began at the "
                "same moment, as there is no timestamps.csv"
            )
        if max(rates) > 1.02 * min(rates):
            said.append(f"the videos have {min(rates):.1f} to {max(rates):.1f} pictures a second: matched by time")
    found = tuple(replace(f, stamps_ns=t) for f, t in zip(found, times, strict=True))
    return found, frame_sets(times, sets, most), said


def lenses_of(path: Path | None, cameras: Sequence[Footage]) -> Rig | None:
    """Known lenses, renamed to the cameras at hand by the numbers at the ends of their names."""
    if path is None:
        return None
    from kinecast.calibration.align import match

    rig = load_lenses(path)
    wanted = Rig(tuple(replace(rig.cameras[0], name=f.name) for f in cameras))
    pairs = dict(match(wanted, rig)) if len(cameras) > 1 else {}
    missing = [f.name for f in cameras if f.name not in pairs]
    if missing:
        raise KinecastError(f"{path} has no lens for camera {missing[0]}; it has {', '.join(rig.names)}")
    return Rig(tuple(replace(rig[pairs[f.name]], name=f.name) for f in cameras))
