"""Tables on a terminal."""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from kinecast.capture.console import plain_console

WIDEST = 1000


def print_whole(console: Console, table: Table) -> None:
    """Print a table with every cell whole: a narrow terminal wraps its lines, and no name is cut."""
    needs = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    plain_console(file=console.file, width=max(console.width, needs), highlight=False).print(table, crop=False)
