"""``kinecast compile`` makes what a first session would wait for, once."""

import pytest

from kinecast.nodes.cli.main import main


def test_kernels_that_are_there_are_not_compiled_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile"]) == 0
    capsys.readouterr()
    assert main(["compile"]) == 0
    said = capsys.readouterr().out
    assert "every kernel of live fusion is there; 0 compiled here" in said
