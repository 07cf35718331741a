"""An address of Ray that is none, or where nobody listens, is told at once: Ray itself tries for minutes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.nodes.cli import main as cli
from kinecast.nodes.dataset.workers import check_ray_address, map_jobs


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
        list(map_jobs(str, ["job"], address=address))


@pytest.mark.parametrize("before", ["", "ray://"])
def test_nobody_there_is_told_before_ray_is_asked(before: str, port: int) -> None:
    with pytest.raises(
        KinecastError, match=f"nobody answers at {before}127.0.0.1:{port} .Connection refused.: start Ray"
    ):
        list(map_jobs(str, ["job"], workers=2, address=f"{before}127.0.0.1:{port}"))


@contextmanager
def answering(words: bytes) -> Iterator[str]:
    """The address of somebody who says this to the first who calls, having heard him out."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(words)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_who_answers_as_ray_does_is_reached_and_others_are_told() -> None:
    with answering(b"\x00\x00\x18\x04\x00\x00\x00\x00\x00" + bytes(24)) as address:  # as seen of Ray 2.55
        check_ray_address(address)
    for words in (b"HTTP/1.1 400 Bad Request\r\n", b""):
        with (
            answering(words) as address,
            pytest.raises(KinecastError, match=f"who answers at {address} is not Ray"),
        ):
            check_ray_address(address)
    check_ray_address("")
    check_ray_address("auto")


def test_who_listens_and_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinecast.nodes.dataset.workers.REACH_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(KinecastError, match=r"nobody answers at .* \(timed out\)"):
            check_ray_address(f"127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("RAY_USE_TLS", "1")  # what is said then only Ray understands
        check_ray_address(f"127.0.0.1:{server.getsockname()[1]}")


def test_a_data_set_is_not_begun_without_its_cluster(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["dataset", "build", str(tmp_path / "x.mcap"), "-o", str(tmp_path / "set"), "--device", "cpu"]
    assert cli.main([*argv, "--ray", f"127.0.0.1:{port}"]) == 2
    assert "nobody answers at" in capsys.readouterr().err and not [p for p in tmp_path.rglob("*") if p.is_file()]
