"""A board as rectangles: drawn into pictures, and printed to PDF at true scale with a ruler beside it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.board.board import Board, dictionary
from kinecast.calibration.camera import Float
from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError

POINTS_PER_M = 72 / 0.0254
PAGES_MM = {"A4": (210, 297), "A3": (297, 420), "A2": (420, 594), "A1": (594, 841), "A0": (841, 1189)}
MARGIN_M = 0.010  # what printers cannot reach, and the white that a detector needs around a board
RULER_M = 0.100
RULER_ROOM_M = 0.022
SLIVER_M = 0.00002  # neighbouring rectangles overlap by so much, or a viewer shows hairlines between them


def rectangles(board: Board) -> Float:
    """(n, 4) x y width height in metres of what is dark (light where the board is inverted), from the top left."""
    out: list[list[float]] = []
    s = board.square_m
    if board.kind == "chessboard":
        out = [
            [c * s, r * s, s, s] for r in range(board.rows + 1) for c in range(board.columns + 1) if (r + c) % 2 == 0
        ]
    elif board.kind == "charuco":
        # the pattern of OpenCV before 4.6 puts a marker into the first square where the rows are even
        dark = 1 if board.legacy and board.rows % 2 == 0 else 0
        number, inset = board.first_id, (s - board.marker_m) / 2
        for r in range(board.rows):
            for c in range(board.columns):
                if (r + c) % 2 == dark:
                    out.append([c * s, r * s, s, s])
                else:
                    out += _marker(board, number, c * s + inset, r * s + inset, board.marker_m)
                    number += 1
    else:
        pitch = s + board.gap_m
        for n in range(board.markers):
            out += _marker(board, board.first_id + n, n % board.columns * pitch, n // board.columns * pitch, s)
    return np.array(out)


def _marker(board: Board, number: int, x: float, y: float, size: float) -> list[list[float]]:
    """The dark cells of a marker, those beside each other in a row as one."""
    words = dictionary(board.dictionary)
    count = words.markerSize + 2
    cells = words.generateImageMarker(number, count) < 128
    out, step = [], size / count
    for r in range(count):
        c = 0
        while c < count:
            end = c
            while end < count and cells[r, end]:
                end += 1
            if end > c:
                out.append([x + c * step, y + r * step, (end - c) * step, step])
            c = max(end, c + 1)
    return out


def picture(board: Board, px_per_m: float, margin_m: float | None = None) -> NDArray[np.uint8]:
    """The board as a grey picture with a margin, a square's width by default."""
    margin = board.square_m if margin_m is None else margin_m
    w, h = board.size_m
    image = np.full((round((h + 2 * margin) * px_per_m), round((w + 2 * margin) * px_per_m)), 255, np.uint8)
    for x, y, dx, dy in rectangles(board):
        a, b = round((x + margin) * px_per_m), round((x + dx + margin) * px_per_m)
        c, d = round((y + margin) * px_per_m), round((y + dy + margin) * px_per_m)
        image[c:d, a:b] = 0
    return 255 - image if board.inverted else image


def page_of(board: Board, page: str | None = None) -> tuple[str, float, float]:
    """Name, width and height (m) of the smallest page that holds the board and a ruler, turned as it fits best.

    page: a name of ``PAGES_MM``; KinecastError where the board does not fit on it, or on any.
    """
    w, h = board.size_m
    need = w + 2 * MARGIN_M, h + 2 * MARGIN_M + RULER_ROOM_M
    if page is not None and page not in PAGES_MM:
        raise KinecastError(f"there is no page {page!r}; known are {', '.join(PAGES_MM)}")
    for name in [page] if page else list(PAGES_MM):
        short, long = (v / 1000 for v in PAGES_MM[name])
        for width, height in ((short, long), (long, short)):
            if need[0] <= width and need[1] <= height and width >= RULER_M + 2 * MARGIN_M:
                return name, width, height
    where = page or "A0"
    raise KinecastError(
        f"the board is {w * 1000:.0f} × {h * 1000:.0f} mm and does not fit on {where}: use smaller squares"
    )


def pdf(board: Board, page: str | None = None) -> bytes:
    """A PDF of one page with the board at true scale in its middle and a ruler of 100 mm below it."""
    _, width, height = page_of(board, page)
    w, h = board.size_m
    left, top = (width - w) / 2, (height - RULER_ROOM_M - h) / 2
    k = POINTS_PER_M

    def rectangle(x: float, y: float, dx: float, dy: float) -> str:
        return f"{x * k:.3f} {(height - y - dy) * k:.3f} {dx * k:.3f} {dy * k:.3f} re f"

    ink = []
    if board.inverted:
        around = min(MARGIN_M, board.square_m / 2)
        ink += ["0 g", rectangle(left - around, top - around, w + 2 * around, h + 2 * around), "1 g"]
    else:
        ink.append("0 g")
    ink += [rectangle(left + x, top + y, dx + SLIVER_M, dy + SLIVER_M) for x, y, dx, dy in rectangles(board)]
    ink += ["0 g", *_ruler(width, height, k)]
    said = f"{board}. Print at 100 %, without fitting to the page; then measure the ruler and a square.".replace(
        "×", "x"
    )
    ink.append(f"BT /F1 7 Tf {MARGIN_M * k:.2f} {0.004 * k:.2f} Td ({said}) Tj ET")
    return _document("\n".join(ink).encode("latin-1"), width * k, height * k)


def _ruler(width: float, height: float, k: float) -> list[str]:
    x0, y = (width - RULER_M) / 2, MARGIN_M
    out = [f"{x0 * k:.3f} {y * k:.3f} {RULER_M * k:.3f} {0.0002 * k:.3f} re f"]
    for mm in range(round(RULER_M * 1000) + 1):
        tall = 0.006 if mm % 10 == 0 else 0.004 if mm % 5 == 0 else 0.0025
        out.append(f"{(x0 + mm / 1000 - 0.00005) * k:.3f} {y * k:.3f} {0.0001 * k:.3f} {tall * k:.3f} re f")
        if mm % 20 == 0:
            out.append(f"BT /F1 7 Tf {(x0 + mm / 1000 - 0.002) * k:.2f} {(y + 0.0075) * k:.2f} Td ({mm} mm) Tj ET")
    return out


def _document(content: bytes, width_pt: float, height_pt: float) -> bytes:
    """The least that is a PDF: a catalogue, a page, its content, a font that every reader has."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width_pt:.3f} {height_pt:.3f}] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, at = b"%PDF-1.4\n", []
    for n, body in enumerate(objects, 1):
        at.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (n, body)
    table = b"".join(b"%010d 00000 n \n" % a for a in at)
    count = len(objects) + 1
    tail = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % count + table + tail


def save_pdf(board: Board, path: Path, page: str | None = None) -> None:
    """Write the PDF of a board."""
    atomic_write(path, pdf(board, page))
