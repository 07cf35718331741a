"""How far long work is: bars on a terminal, a line every few seconds elsewhere, and a word for what is awaited."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

LINES_S = 5.0  # between lines where there is no terminal


class Progress(Protocol):
    """Called with a part of the work (a camera; "" where there is one part), how much of it is done, of how much, and
    what else is worth a look. total: 0 where nobody knows."""

    def __call__(self, part: str, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress(
    doing: str, console: "Console | None" = None, quiet: bool = False, clock: Callable[[], float] = time.monotonic
) -> Iterator[Progress]:
    """Show how far ``doing`` is while the block runs. console: standard error where there is none; quiet: nothing."""
    if quiet:
        yield _nothing
        return
    if console is None and not sys.stderr.isatty():
        yield Lines(doing, _to_stderr, clock)  # rich is not loaded for lines
        return
    if console is not None and not console.is_terminal:
        known = console
        yield Lines(doing, lambda line: known.print(line, markup=False, highlight=False, soft_wrap=True), clock)
        return
    yield from _bars(doing, console)


class Lines:
    """A line with all parts, when ``LINES_S`` have gone by since the last. write: a line; clock: seconds."""

    def __init__(self, doing: str, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self.doing, self.write, self.clock = doing, write, clock
        self.parts: dict[str, str] = {}
        self.due_s = clock() + LINES_S

    def __call__(self, part: str, done: int, total: int, note: str = "") -> None:
        words = (part, f"{done}/{total}" if total else str(done), note)
        self.parts[part] = " ".join(w for w in words if w)
        now_s = self.clock()
        if now_s >= self.due_s:
            self.due_s = now_s + LINES_S
            self.write(f"{self.doing}: {'  '.join(self.parts.values())}")


def _bars(doing: str, console: "Console | None") -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from kinecast.capture.console import plain_console

    columns = (
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with Bars(*columns, console=console or plain_console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {"": bars.add_task(doing, total=None, note="")}

        def show(part: str, done: int, total: int, note: str = "") -> None:
            if part not in tasks and len(tasks) == 1 and "" in tasks:  # the parts take the place of the whole
                bars.remove_task(tasks.pop(""))
            if part not in tasks:
                tasks[part] = bars.add_task(f"{doing}: {part}" if part else doing, total=None, note="")
            bars.update(tasks[part], completed=done, total=total or None, note=note)

        yield show


def _nothing(part: str, done: int, total: int, note: str = "") -> None:
    """Nobody looks."""


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
