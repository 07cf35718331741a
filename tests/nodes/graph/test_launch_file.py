"""Every file of launch_cases/valid is read as its ``# expect:`` lines say; every invalid one is refused as it says."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph import records as graph

CASES = Path(__file__).parent / "cases"
VALID = sorted((CASES / "valid").glob("*.yaml"))
INVALID = sorted((CASES / "invalid").glob("*.yaml"))


def said(file: Path, word: str) -> list[str]:
    return re.findall(rf"^# {word}: (.*)$", file.read_text(), re.MULTILINE)


def at(g: graph.Graph, path: str) -> Any:
    value: Any = g
    for key in path.split("."):
        value = value[key] if isinstance(value, dict) else getattr(value, key)
    return value


@pytest.mark.parametrize("file", VALID, ids=lambda f: f.stem)
def test_valid(file: Path) -> None:
    g = launch_file.load(file, said(file, "set"))
    for line in said(file, "expect"):
        path, _, value = line.partition(" == ")
        assert str(at(g, path)) == value, path
    assert launch_file.parse(launch_file.dump(g), "dump", Path("/elsewhere")) == g


@pytest.mark.parametrize("file", INVALID, ids=lambda f: f.stem)
def test_invalid(file: Path) -> None:
    (expected,) = said(file, "expect")
    with pytest.raises(KinecastError) as error:
        launch_file.load(file, said(file, "set"))
    message = str(error.value)
    assert expected in message and "\n" not in message


def test_there_are_cases() -> None:
    assert len(VALID) >= 5 and len(INVALID) >= 40


def test_the_example_is_valid() -> None:
    g = launch_file.load(CASES.parents[3] / "launch.yaml")
    assert len(g.of_kind("camera")) == 4 and g.of_kind("recorder")


def test_paths_are_relative_to_the_file_and_overrides_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a" / "launch.yaml"
    file.parent.mkdir()
    file.write_text(
        "version: 1\n"
        "nodes:\n"
        "  v: {kind: camera, source: {uri: v.mp4}, detector: {profile: cards/own.toml}}\n"
        "  s: {kind: camera, source: {kind: stream, uri: rtsp://host/1}}\n"
        "  f: {kind: fusion}\n"
    )
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    g = launch_file.load(file, ["session.rig=here.toml"])
    assert g.session.rig == str(tmp_path / "b/here.toml")
    assert g.session.out == str(tmp_path / "a/out/session")
    video, stream = g.nodes["v"], g.nodes["s"]
    assert isinstance(video, graph.CameraNode) and isinstance(stream, graph.CameraNode)
    assert video.source.uri == str(tmp_path / "a/v.mp4")
    assert video.detector.profile == str(tmp_path / "a/cards/own.toml")
    assert stream.source.uri == "rtsp://host/1" and stream.detector.profile == "performance"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match=r"cannot read the launch file .*none.yaml: No such file"):
        launch_file.load(tmp_path / "none.yaml")


def test_every_number_has_a_range() -> None:
    records = [
        graph.Session,
        graph.BusSettings,
        graph.Restart,
        graph.SourceSettings,
        graph.DetectorSettings,
        *graph.KINDS.values(),
    ]
    numbers = {f.name for r in records for f in dataclasses.fields(r) if "int" in str(f.type) or "float" in str(f.type)}
    assert numbers == set(launch_file.RANGES)


def with_cameras(fused: str = "") -> graph.Graph:
    text = "version: 1\nnodes:\n"
    text += "".join(f"  n{c}: {{kind: camera, camera: {c}, source: {{kind: synthetic}}}}\n" for c in ("a", "b"))
    return launch_file.parse(text + f"  f: {{kind: fusion{fused}}}\n", "x.yaml", Path("/x"))


def test_rig_and_launch_file_must_agree() -> None:
    launch_file.check_rig(with_cameras(), ["b", "a"])
    with pytest.raises(KinecastError, match=r"camera 'b' \(nodes.nb\) is in the launch file but not in the rig /x/rig"):
        launch_file.check_rig(with_cameras(), ["a"])
    with pytest.raises(KinecastError, match=r"camera 'c' is in the rig /x/rig.toml but not in the launch file"):
        launch_file.check_rig(with_cameras(), ["a", "b", "c"])
    launch_file.check_rig(with_cameras(", cameras: [a, b]"), ["a", "b", "c"])


def test_a_fusion_that_could_find_nobody_is_refused() -> None:
    with pytest.raises(KinecastError, match=r"has 2 cameras and its min_views is 3.*lower min_views"):
        launch_file.check_rig(with_cameras(", min_views: 3"), ["a", "b"])
    with pytest.raises(KinecastError, match=r"has 1 camera and its min_views is 2"):
        launch_file.check_rig(with_cameras(", cameras: [a, a]"), ["a", "b"])


FILES = (
    "{a: {kind: camera, source: {uri: a.mp4}}, b: {kind: camera, source: {kind: images, uri: b}}, f: {kind: fusion}}"
)


@pytest.mark.parametrize(
    ("session", "nodes", "overrides", "pace"),
    [
        ("{}", FILES, (), "lossless"),
        ("{pace: realtime}", FILES, (), "realtime"),
        ("{}", FILES, ("session.pace=realtime",), "realtime"),
        ("{}", FILES, ("nodes.a.source.loop=repeat",), "realtime"),
        ("{}", FILES.replace("a.mp4", "rtsp://h/a"), (), "realtime"),
        ("{}", FILES.replace("uri: a.mp4", "kind: synthetic"), (), "realtime"),
    ],
)
def test_files_alone_lose_no_frame_unless_that_is_asked_for(
    tmp_path: Path, session: str, nodes: str, overrides: tuple[str, ...], pace: str
) -> None:
    file = tmp_path / "launch.yaml"
    file.write_text(f"version: 1\nsession: {session}\nnodes: {nodes}\n")
    assert launch_file.load(file, overrides).session.pace == pace
    assert launch_file.takes_lossless(file, overrides) == (pace == "lossless")


def test_what_is_kept_of_a_launch_file_has_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "rtsp://me:s3cret@h/a?token=t0ken"
    options = "{headers: 'Authorization: h3ader', buffer_size: '100000'}"
    text = (
        f"version: 1\nnodes:\n  a: {{kind: camera, source: {{uri: '{url}', options: {options}}}}}\n"
        "  b: {kind: camera, source: {kind: stream, uri: 'rtsp://me:${CAM_B}@h/b'}}\n  f: {kind: fusion}\n"
    )
    g = launch_file.parse(text, "text", tmp_path)
    assert (g.nodes["a"].source.kind, g.nodes["a"].source.uri) == ("stream", url)  # type: ignore[union-attr]
    kept = launch_file.dump(launch_file.without_secrets(g))
    assert not any(secret in kept for secret in ("s3cret", "t0ken", "h3ader", "//me"))
    assert launch_file.parse(kept, "kept", tmp_path) == launch_file.without_secrets(g)
    monkeypatch.delenv("CAM_B", raising=False)
    with pytest.raises(KinecastError, match=r"nodes\.b\.source: \$\{CAM_B\} is not set"):
        launch_file.check_secrets(g)
    monkeypatch.setenv("CAM_B", "x")
    launch_file.check_secrets(g)
