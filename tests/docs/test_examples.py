"""Every example of the pages runs, on synthetic inputs, and gives what its inputs were made of."""

import re
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.formats import save_rig
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.synth import World, ring_rig
from kinecast.engines.synth.moving_body import moving_body
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import NodeContext
from tests.nodes.bus.graphs import free_base_port
from tests.nodes.recording import scene

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs an example as a program; returns what it printed."""

    def program(name: str, *args: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return program


def test_every_example_is_short_and_has_a_test_here() -> None:
    names = [p.name for p in EXAMPLES.glob("*.py")]
    assert names
    assert [n for n in names if f'"{n}"' not in Path(__file__).read_text()] == []
    assert [n for n in names if len((EXAMPLES / n).read_text().splitlines()) >= 60] == []


def test_a_recording_is_read(tmp_path: Path, run: Run) -> None:
    scene.write_scene(tmp_path / "session.mcap", frames=31, people=2)
    out = run("read_recording.py", tmp_path / "session.mcap")
    lines = re.findall(r"person (\d+): (\d+) poses in ([\d.]+) s", out)
    assert len(lines) == 2
    assert all(n == "31" and float(s) == pytest.approx(30 * scene.PERIOD_NS / 1e9, abs=0.006) for _, n, s in lines)


def test_live_poses_are_heard(tmp_path: Path, run: Run) -> None:
    rig = ring_rig()
    save_rig(rig, tmp_path / "rig.toml")
    launch = tmp_path / "launch.yaml"
    launch.write_text(
        f"version: 1\nsession: {{rig: rig.toml, out: out}}\nbus: {{base_port: {free_base_port(2)}}}\n"
        "nodes:\n  cam01: {kind: camera, source: {kind: synthetic}}\n  fusion: {kind: fusion, cameras: [cam01]}\n"
    )
    stop = threading.Event()

    def publish() -> None:
        with Bus(NodeContext("fusion", launch_file.load(launch), 0, 0), stop) as bus:
            frame = 0
            while not stop.wait(0.02):
                bus.publish("poses", scene.poses(scene.circle_rig(), frame))
                frame += 1

    fusion = threading.Thread(target=publish)
    fusion.start()
    try:
        out = run("live_poses.py", launch, "--seconds", 2)
    finally:
        stop.set()
        fusion.join()
    heard = [int(n) for n in re.findall(r"frame set (\d+): person \d+", out)]
    assert len(heard) > 1
    assert heard == list(range(heard[0], heard[0] + len(heard)))


def test_a_source_of_ones_own_gives_every_frame(tmp_path: Path, run: Run) -> None:
    frames = np.stack([np.full((4, 6, 3), 10 * n, np.uint8) for n in range(5)])
    np.save(tmp_path / "frames.npy", frames)
    out = run("own_source.py", tmp_path / "frames.npy", "--fps", 25)
    assert re.findall(r"frame (\d) at (\d+) ns: \(6, 4\) px, mean (\d+)", out) == [
        (str(n), str(n * 40_000_000), str(10 * n)) for n in range(5)
    ]


def test_a_body_is_fitted_to_points(tmp_path: Path, run: Run) -> None:
    body = load_body("neutral")
    betas = np.zeros(body.betas)
    betas[0] = 1.5
    motion = moving_body(body, keypoint_terms(body, "halpe26"), 40, betas=betas)
    save_rig(ring_rig(), tmp_path / "rig.toml")
    t_ns = np.arange(40) * 33_333_333
    np.savez(tmp_path / "p.npz", t_capture_ns=t_ns, person_id=np.full(40, 3), points_world_m=motion.points)
    out = run("fit_body.py", tmp_path / "p.npz", "--rig", tmp_path / "rig.toml", "--person", 3)
    assert "40 of 40 frames fitted" in out
    first = re.search(r"betas \[\s*([-\d.]+)", out)
    assert first
    assert float(first[1]) == pytest.approx(1.5, abs=0.3)  # a unit is 10 cm of stature; points told to 15 mm


def test_triangulated_points_are_those_that_were_projected(tmp_path: Path, run: Run) -> None:
    rig, truth = ring_rig(), World(1, 0).points_world(0)[0]
    save_rig(rig, tmp_path / "rig.toml")
    px = np.stack([camera.project(truth)[0] for camera in rig])
    px[:, 5] = np.nan  # a joint that nobody sees
    np.savez(tmp_path / "k.npz", px=px, confidence=np.isfinite(px).all(axis=-1).astype(float))
    out = run("triangulate.py", tmp_path / "rig.toml", tmp_path / "k.npz", tmp_path / "p.npz")
    assert "25 of 26 joints" in out
    with np.load(tmp_path / "p.npz") as file:
        off_m = np.linalg.norm(file["points_world_m"] - truth, axis=-1)
    assert np.isnan(off_m[5])
    assert np.nanmax(off_m) < 1e-4


def test_a_score_is_what_was_put_in(tmp_path: Path, run: Run) -> None:
    truth = np.stack([World(2, 0).points_world(n * 40_000_000) for n in range(5)]).reshape(10, 26, 3)
    t_ns, sets_ns = np.repeat(np.arange(5) * 40_000_000, 2), np.arange(5) * 40_000_000
    np.savez(tmp_path / "truth.npz", t_capture_ns=t_ns, sets_ns=sets_ns, points_world_m=truth)
    result = truth + np.array([0.01, 0.0, 0.0])
    result[0, 0] = np.nan
    np.savez(tmp_path / "result.npz", t_capture_ns=t_ns, sets_ns=sets_ns, points_world_m=result)
    out = run("score.py", tmp_path / "result.npz", tmp_path / "truth.npz")
    assert "MPJPE: 10.0 mm over 259 of 260 joints" in out
    assert "P-MPJPE: 0.0 mm" in out
    assert "3DPCK 150 mm: 99.6 %" in out
