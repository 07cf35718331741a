"""Every subcommand of ``calibrate`` that wants a video takes addresses of cameras and of files on web servers too."""

from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.board.board import parse
from kinecast.calibration.footage import find_footage, read_timestamps, video_stamps_ns
from kinecast.calibration.formats import load_rig, save_rig
from kinecast.capture.errors import KinecastError
from kinecast.nodes.calibrate.gather import gathered
from kinecast.nodes.cli.main import main
from tests.calibration.filmed import draw, film, flat_on_floor, photos, rig_above, videos
from tests.capture.rtsp import RtspServer
from tests.capture.web import web

WORD = "charuco:5x4:150mm:112mm:DICT_4X4_50"
BOARD, RIG = parse(WORD), rig_above()


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinecast.calibration.report.figures.available", lambda: False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("addresses")
    videos(out / "good", RIG.names, film(RIG, BOARD, 24))
    photos(out / "floor", RIG.names, [[draw(c, [(BOARD, flat_on_floor(BOARD))])] for c in RIG])
    save_rig(RIG, out / "truth.toml")
    return out


def names_in(folder: Path) -> list[str]:
    return [p.name for p in sorted((folder / "good").iterdir())]


def test_a_rig_from_files_on_a_web_server_is_the_rig_from_the_folder(folder: Path, tmp_path: Path) -> None:
    """Files are recorded anew on the way, at a quality that costs under a tenth of a pixel: millimetres."""
    known = ("--board", WORD, "--intrinsics", str(folder / "truth.toml"), "--floor", str(folder / "floor"))
    with web(folder) as server:
        urls = [f"{server}/good/{name}" for name in names_in(folder)]
        assert main(["calibrate", "rig", *urls, *known, "-o", str(tmp_path / "there.toml")]) == 0
    assert main(["calibrate", "rig", str(folder / "good"), *known, "-o", str(tmp_path / "here.toml")]) == 0
    there, here = load_rig(tmp_path / "there.toml"), load_rig(tmp_path / "here.toml")
    assert there.names == here.names
    for a, b in zip(there, here, strict=True):
        assert np.linalg.norm(a.centre_world - b.centre_world) < 0.01


def test_named_files_are_cameras(folder: Path) -> None:
    files = [str(folder / "good" / n) for n in names_in(folder)]
    with gathered([f"left={files[0]}", f"right={files[1]}"]) as there:
        assert [f.name for f in find_footage(there)] == ["left", "right"]
    with pytest.raises(KinecastError, match="two cameras are called a"), gathered([f"a={files[0]}", f"a={files[1]}"]):
        pass
    with pytest.raises(KinecastError, match="is a folder"), gathered([str(folder), files[0]]):
        pass
    with pytest.raises(KinecastError, match="no common clock"), gathered([files[0], "rtsp://127.0.0.1:1/a"]):
        pass


def test_lenses_a_guess_and_live_help_from_one_camera_at_an_address(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = film(RIG, BOARD, 24)[0]
    with web(tmp_path, seen, fps=8.0) as server:
        url = f"{server}/live"
        assert main(["calibrate", "board", WORD, "--guess", url, "--duration", "1.5"]) == 0
        words = ["calibrate", "intrinsics", url, "--board", WORD, "--duration", "3.5", "-o"]
        assert main([*words, str(tmp_path / "lens.toml")]) == 0
        live = ["calibrate", "live", f"left={url}", url, "--board", WORD, "--duration", "2", "--rate-hz", "4"]
        assert main([*live, "--record", str(tmp_path / "kept")]) in (0, 1)
    assert load_rig_names(tmp_path / "lens.toml") == ["cam01"]
    assert "2 videos and timestamps.csv" in capsys.readouterr().out
    assert [f.name for f in find_footage(tmp_path / "kept")] == ["cam02", "left"]


def load_rig_names(path: Path) -> list[str]:
    return [line.split('"')[1] for line in path.read_text().splitlines() if line.startswith("name = ")][-1:]


def test_real_streams_are_filmed_for_as_long_as_asked_with_one_clock(tmp_path: Path) -> None:
    with RtspServer({"a": {}, "b": {}}, fps=15) as server, gathered([server.url("a"), server.url("b")], 2.0) as there:
        found = find_footage(there)
        assert [f.name for f in found] == ["cam01", "cam02"]
        times, _ = read_timestamps(there / "timestamps.csv", found)
        for footage, stamps in zip(found, times, strict=True):
            assert abs(len(video_stamps_ns(footage)) - len(stamps)) <= 2
            assert 1.5e9 < stamps[-1] - stamps[0] < 4e9
        assert min(t[-1] for t in times) > max(t[0] for t in times)


def test_a_camera_that_is_not_there_is_said_without_its_password() -> None:
    with pytest.raises(KinecastError) as e, gathered(["rtsp://me:s3cret@127.0.0.1:1/a"], 1.0):
        pass
    assert "s3cret" not in str(e.value) and "cannot open the stream" in str(e.value)
