"""Lamps of cameras and pairs on the terminal, as plain lines where there is none, and the beep when it is enough."""

from contextlib import ExitStack
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kinecast.calibration.solve.coverage import CameraCoverage, Coverage
from kinecast.capture.clock import Clock
from kinecast.capture.console import plain_console

LINES_S = 5.0  # between lines where there is no terminal
REFRESH_S = 0.25


class Screen:
    """Shows lamps, not more often than can be read; rings once."""

    def __init__(self, clock: Clock, console: Console | None = None) -> None:
        self._clock, self._console = clock, console or plain_console()
        self._live: Live | None = None
        self._stack = ExitStack()
        self._shown_ns: int | None = None
        self.rang = False

    def __enter__(self) -> "Screen":
        if self._console.is_terminal:
            self._live = self._stack.enter_context(Live(console=self._console, auto_refresh=False))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @property
    def due(self) -> bool:
        """Whether it is time to show the lamps again."""
        period_s = REFRESH_S if self._live is not None else LINES_S
        return self._shown_ns is None or self._clock.now_ns() - self._shown_ns > period_s * 1e9

    def show(self, found: Coverage) -> bool:
        """Show the lamps where it is time, and ring at the first that are enough; whether they are."""
        if self._live is not None and (self.due or found.enough):
            self._live.update(picture(found), refresh=True)
        elif self._live is None and self.due:
            self._console.print(found.advice, highlight=False, markup=False)
        if self.due:
            self._shown_ns = self._clock.now_ns()
        if found.enough and not self.rang:
            self.rang = True
            self._console.bell()
        return found.enough


def lines(found: Coverage) -> list[str]:
    """The lamps as plain lines."""
    out = [
        f"{c.name}: {c.indicator}, {c.views} places in {c.looked} pictures, "
        f"{100 * c.covered:.0f} % of the picture covered"
        + (f", tilted to {', '.join(c.tilts)}" if c.tilts else "")
        + (f"; {c.missing}" if c.missing else "")
        for c in found.cameras
    ]
    out += [f"{p.a} and {p.b}: {p.indicator}, {p.shared} places seen together" for p in found.pairs if p.shared]
    if len(found.groups) > 1:
        out.append("not yet linked: " + "; ".join(", ".join(g) for g in found.groups))
    return [*out, found.advice if not found.enough else "enough: stop filming, and calibrate"]


def picture(found: Coverage) -> Group:
    """The lamps for a terminal."""
    table = Table("camera", "", "places", "covered", "picture", "tilted to", "missing", title="cameras")
    for c in found.cameras:
        table.add_row(
            c.name, Text("●", c.indicator), str(c.views), f"{100 * c.covered:.0f} %", _map(c), " ".join(c.tilts),
            c.missing,
        )  # fmt: skip
    names = [c.name for c in found.cameras]
    pairs = {(p.a, p.b): p for p in found.pairs}
    grid = Table("", *names[1:], title="places that both saw")
    for a in names[:-1]:
        cells = [Text(f"● {pairs[a, b].shared}", pairs[a, b].indicator) if (a, b) in pairs else "" for b in names[1:]]
        grid.add_row(a, *cells)
    said = "enough: stop with Ctrl-C, and calibrate" if found.enough else found.advice
    return Group(table, grid, Text(said, "bold green" if found.enough else "bold yellow"))


def _map(c: CameraCoverage) -> Text:
    """The picture's cells, two rows of them a line of text: dark where nothing was seen."""
    text, shades = Text(), ("grey15", "dark_green", "green3", "bright_green")

    def shade(n: float) -> str:
        return shades[0 if n == 0 else 1 if n < 10 else 2 if n < 40 else 3]

    for top, bottom in zip(c.cells[::2], c.cells[1::2], strict=True):
        for a, b in zip(top, bottom, strict=True):
            text.append("▀", f"{shade(a)} on {shade(b)}")
        text.append("\n")
    text.right_crop(1)
    return text
