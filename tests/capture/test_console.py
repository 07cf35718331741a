"""Names are printed as they are."""

import io

import pytest
from rich.table import Table

from kinecast.capture.console import plain_console


@pytest.mark.parametrize("name", ["[red]cam[/]", "[/]", "[link=file:///etc/passwd]a[/link]", ":boom:", "[bold"])
def test_what_looks_like_markup_is_text(name: str) -> None:
    out = io.StringIO()
    console = plain_console(file=out, width=200)
    table = Table("what")
    table.add_row(name)
    console.print(name)
    console.print(table)
    assert out.getvalue().count(name) == 2
