"""``kinecast calibrate board``: a board at true scale, and which board pictures show."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.board.board import read_board, save_board
from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.errors import KinecastError

MOST_LOOKED = 6
SYMMETRIC = (
    "turned by half this board looks the same: one camera's lens can be told from it, but cameras that see it from "
    "different sides disagree about which corner is the first"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    parser.add_argument(
        "board",
        nargs="?",
        help="board.toml, a Caliscope charuco.toml, or a word as charuco:5x7:40mm:30mm:DICT_4X4_50, "
        "chessboard:4x7:60mm",
    )
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="print it at true scale, with a ruler on the page")
    parser.add_argument("--anyway", action="store_true", help="print a board that looks the same turned by half")
    parser.add_argument("--page", metavar="A4|A3|A2|A1|A0", help="by default the smallest that holds it")
    parser.add_argument("-o", "--out", type=Path, metavar="TOML", help="write a board.toml")
    parser.add_argument(
        "--guess", metavar="FILE|FOLDER|URL", help="say which board these pictures or videos show, or a camera now"
    )
    parser.add_argument("--duration", type=float, metavar="S", help="film an address for so long (default: 30 s)")


def run(args: argparse.Namespace) -> int:
    """Print, write or guess. 1 where a guess differs from what was told."""
    from kinecast.calibration.board.draw import page_of, save_pdf

    board = read_board(args.board) if args.board else None
    if board is None and args.guess is None:
        raise KinecastError("which board? give a board.toml or a word as charuco:5x7:40mm:30mm:DICT_4X4_50")
    status = 0
    if board is not None:
        print(board)
        if args.out:
            require_suffix(args.out, ".toml")
            save_board(board, args.out)
            print(f"{args.out} written")
        if board.symmetric:
            print(SYMMETRIC)
        if args.pdf:
            require_suffix(args.pdf, ".pdf")
            if board.symmetric and not args.anyway:
                raise KinecastError(
                    f"{board} is not printed: {SYMMETRIC}; print {board.columns}×{board.rows + 1}, or a charuco, or "
                    "add --anyway where one camera alone will see it"
                )
            page, width, height = page_of(board, args.page)
            save_pdf(board, args.pdf, args.page)
            print(
                f"{args.pdf}: {page}, {width * 1000:.0f} × {height * 1000:.0f} mm; print it at 100 %, glue it onto "
                "something flat and stiff, measure a square and write what you measured into the board file"
            )
    if args.guess:
        from kinecast.calibration.board.guess import guess, say
        from kinecast.nodes.calibrate.gather import gathered

        with gathered([args.guess], args.duration) as shown:
            found = guess(_some_pictures(shown), board)
        said = say(found, board)
        print(said)
        status = 0 if found is not None and ("as you said" in said or board is None) and not found.mirrored else 1
    return status


def _some_pictures(path: Path) -> "list[NDArray[np.uint8]]":
    """Up to six pictures of each camera, evenly spread, of a file or a folder."""
    from kinecast.calibration.footage import VIDEOS, Footage, find_footage, pictures, video_stamps_ns

    if path.is_file() and path.suffix.lower() not in VIDEOS:
        image = cv2.imread(str(path))
        if image is None:
            raise KinecastError(f"cannot read the picture {path}: make it anew")
        return [np.asarray(image, dtype=np.uint8)]
    found = (Footage(path.stem, (path,), True),) if path.is_file() else find_footage(path)
    out = []
    for f in found[:4]:
        count = len(video_stamps_ns(f)) if f.video else len(f.paths)
        wanted = set(np.linspace(0, count - 1, min(count, MOST_LOOKED)).round().astype(int).tolist())
        out += [image for _, _, image in pictures(f, wanted)]
    return out
