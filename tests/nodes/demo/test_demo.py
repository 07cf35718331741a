"""The demo: it replaces only what is its own, and on the real clip it finds who is there."""

import json
import socket
from pathlib import Path

import pytest
from rich.console import Console

from kinecast.capture.decode import VideoDecoder
from kinecast.capture.errors import KinecastError
from kinecast.engines.models.cache import fault
from kinecast.engines.models.card import find_card
from kinecast.nodes.bus.messages import KERNELS, KERNELS_THERE, Health
from kinecast.nodes.cli import main as cli
from kinecast.nodes.demo import demo
from kinecast.nodes.exchange import sample_clip
from kinecast.nodes.graph import launch_file
from kinecast.nodes.supervise.node_process import State
from kinecast.nodes.supervise.supervisor import NodeStatus


def _models_missing() -> bool:
    return any(fault(find_card(name)) for name in ("pose_detection", "pose_landmark_full"))


def test_the_list_of_the_clip_is_whole() -> None:
    videos = [f"{trial}/videos/{camera}.mp4" for trial in sample_clip.TRIALS.values() for camera in sample_clip.CAMERAS]
    assert set(videos) <= set(sample_clip.SHA256) and len(sample_clip.SHA256) == 42
    assert all(len(h) == 64 for h in sample_clip.SHA256.values())


def test_without_the_clip_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path))
    with pytest.raises(KinecastError, match="fetch-only"):
        sample_clip.clip(1)
    assert len(sample_clip.missing()) == len(sample_clip.SHA256)


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(KinecastError, match="not a demo's result"):
        demo.guard(tmp_path)
    with pytest.raises(KinecastError, match="is a file"):
        demo.guard(tmp_path / "thesis.tex")
    demo.guard(tmp_path / "new")
    (tmp_path / demo.SUMMARY).write_text("{}")
    demo.guard(tmp_path)


def test_ports_that_are_taken_are_passed_over() -> None:
    first = demo.free_ports(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        second = demo.free_ports(3)
        assert not second <= first + 1 < second + 3


def test_it_tells_of_kernels_while_fusion_compiles() -> None:
    def of(state: State, found: dict[str, int]) -> dict[str, NodeStatus]:
        health = Health("fusion", "fusion", 1, "starting", 0, found=found)
        return {"fusion": NodeStatus("fusion", "fusion", state, 1, 0, None, "", health)}

    assert demo.compiling(of("starting", {KERNELS: 61, KERNELS_THERE: 34})) == (34, 61)
    assert demo.compiling(of("starting", {})) is None  # everything is in the cache
    assert demo.compiling(of("running", {KERNELS: 61, KERNELS_THERE: 61})) is None


needs_clip = pytest.mark.skipif(
    not (sample_clip.clip_dir() / "LICENSE").is_file(), reason="the sample clip is not here: kinecast demo --fetch-only"
)


@needs_clip
def test_the_launch_file_of_the_demo_runs_again(tmp_path: Path) -> None:
    ask = demo.DemoOptions(people=2, profile="lightweight", realtime=True)
    graph = demo.write_launch(ask, sample_clip.clip(2), tmp_path)
    assert graph == launch_file.load(tmp_path / "launch.yaml")
    assert graph.session.pace == "realtime" and Path(graph.session.out) == tmp_path
    rig = demo.load_rig(tmp_path / "rig.toml")
    for name, path in sample_clip.clip(2).videos.items():
        assert rig[name].size_px == VideoDecoder(str(path), name).size_px


@pytest.mark.alone
@needs_clip
@pytest.mark.skipif(
    _models_missing(), reason="the models of the lightweight profile are not here: kinecast models pull"
)
def test_one_person_keeps_one_identity_on_the_real_clip(tmp_path: Path) -> None:
    """The whole graph on real video. Limits: what the README promises of this profile."""
    out = tmp_path / "demo"
    demo.run_demo(demo.DemoOptions(profile="lightweight", out=out), Console(quiet=True))
    plain = json.loads((out / "summary.json").read_text())
    assert {c["frames"] for c in plain["cameras"].values()} == {100}
    assert {c["dropped"] for c in plain["cameras"].values()} == {0}
    assert (plain["people"], plain["identities"], plain["identity_changes"]) == (1, 1, 0)
    assert plain["reprojection_px"]["kept"] >= 0.95
    assert plain["bones"]["std_over_mean"] <= 0.06
    assert plain["left_right_flips"] == 0
    assert plain["profile"] == "lightweight" and set(plain["models"]) == {"pose_detection", "pose_landmark_full"}
    body = plain["body"]
    assert body["share"] == 1.0 and body["reprojection_px"]["ratio"] <= 1.3 and not body["missing"]
    assert (out / "demo_person1.npz").is_file()
    assert (out / "demo_person1.trc").is_file() and not list(tmp_path.glob(".partial*"))


def test_the_command_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["render", str(tmp_path / "none.mcap")]) == 2
    assert "no such recording" in capsys.readouterr().err
