"""An address of Ray that is none, or where nobody listens, is told at once: Ray itself tries for minutes."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture.errors import KinecastError
from nodes import cli
from nodes.dataset.workers import each, reach


@pytest.fixture
def port() -> Iterator[int]:
    """One that is taken, and that nobody answers at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.mark.parametrize(
    "address",
    [
        "nonsense",
        "host:port",
        "127.0.0.1:99999",
        "127.0.0.1",
        ":6379",
        "http://127.0.0.1:80",
        "ray://",
        "h:1/x",
        "[::1",
    ],
)
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(KinecastError, match=r"--ray is .*: give HOST:PORT"):
        list(each(str, ["job"], address=address))


@pytest.mark.parametrize("before", ["", "ray://"])
def test_nobody_there_is_told_before_ray_is_asked(before: str, port: int) -> None:
    with pytest.raises(
        KinecastError, match=f"nobody answers at {before}127.0.0.1:{port} .Connection refused.: start Ray"
    ):
        list(each(str, ["job"], workers=2, address=f"{before}127.0.0.1:{port}"))


def test_who_listens_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach(f"127.0.0.1:{server.getsockname()[1]}")
    reach("")
    reach("auto")


def test_a_data_set_is_not_begun_without_its_cluster(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["dataset", "build", str(tmp_path / "x.mcap"), "-o", str(tmp_path / "set"), "--device", "cpu"]
    assert cli.main([*argv, "--ray", f"127.0.0.1:{port}"]) == 2
    assert "nobody answers at" in capsys.readouterr().err and not [p for p in tmp_path.rglob("*") if p.is_file()]
