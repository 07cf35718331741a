"""Progress: lines where there is no terminal, bars where there is one, nothing where nobody looks."""

import io

import pytest
from rich.console import Console

from kinecast.capture import progress as module
from kinecast.capture.progress import LINES_S, progress


def test_a_line_every_few_seconds_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with progress("drawing", clock=lambda: now[0]) as show:
        for n in range(40):  # a second apart
            show("cam1", n, 100)
            show("cam2", 2 * n, 0, "late")
            now[0] += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"drawing: cam1 {n}/100  cam2 {2 * (n - 1)} late" for n in range(5, 40, round(LINES_S))]


def test_lines_go_where_the_console_writes() -> None:
    out, now = io.StringIO(), iter([0.0, 1.0, 6.0])
    with progress("training", Console(file=out), clock=lambda: next(now)) as show:
        show("", 1, 3, "loss [bold]0.5")
        show("", 2, 3, "loss [bold]0.25")
    assert out.getvalue() == "training: 2/3 loss [bold]0.25\n"


def test_bars_on_a_terminal() -> None:
    out = io.StringIO()
    with progress("looking", Console(file=out, force_terminal=True, width=100)) as show:
        show("cam1", 3, 7, "sharp")
        show("cam2", 1, 7)
    drawn = out.getvalue()
    assert "looking: cam1" in drawn and "3/7" in drawn and "sharp" in drawn and "looking: cam2" in drawn


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES_S", 0.0)
    with progress("training", quiet=True) as show:
        show("", 1, 2)
    assert capsys.readouterr() == ("", "")
    with progress("training") as show:
        show("", 1, 2)
    assert capsys.readouterr().err == "training: 1/2\n"
