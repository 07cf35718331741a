"""``kinecast calibrate people | refine | check``: what they print, write and refuse."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.align import moved
from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import load_rig, native, save_rig
from kinecast.calibration.people.camera_poses import camera_poses_of, pose_error
from kinecast.calibration.rigid import rotation
from kinecast.engines.synth import World, messages, ring_rig
from kinecast.nodes.bench.calibration_from_people import NOISE
from kinecast.nodes.cli import main as cli
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import LAUNCH, About, Recording, RecordingWriter, Stamp
from kinecast.nodes.recording.file import RIG as RIG_NAME
from kinecast.nodes.reprocess.refine_rig import refine_in_place
from tests.calibration.people.walks import kicked, record, turned, views

RIG = ring_rig(4, seed=5)
HEIGHT_M = float(World(1, 5).height_m[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """moved.mcap: cam02 turned by 2° at 7 s; its rig's cameras all stand at the origin, as where nothing is known."""
    out = tmp_path_factory.mktemp("people")
    nowhere = Rig(tuple(replace(c, cam_from_world=np.eye(4)) for c in RIG), "nowhere")
    moved: dict[str, tuple[float, Camera]] = {"cam02": (7.0, turned(RIG["cam02"], 2.0))}
    record(out / "moved.mcap", nowhere, views(RIG, 14.0, moved, {}))
    record(out / "still.mcap", nowhere, views(RIG, 12.0, {}, {}))
    save_rig(RIG, out / "rig.toml")
    save_rig(kicked(camera_poses_of(RIG), 0.02, 0.0035).on(RIG), out / "off.toml")
    return out


def run(*words: object) -> int:
    return cli.main(["calibrate", *map(str, words)])


def test_people_from_a_recording_without_extrinsics(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new.toml"
    args = ("people", folder / "still.mcap", "--stature", f"{HEIGHT_M:.4f}", "-o", out, "--beside", folder / "rig.toml")
    assert run(*args) == 0
    assert "usable: " in capsys.readouterr().out
    assert pose_error(camera_poses_of(load_rig(out)), camera_poses_of(RIG))[0].max() < 0.03


def test_refine_writes_only_what_is_better(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new.toml"
    assert run("refine", folder / "rig.toml", folder / "still.mcap", "-o", out) == 1
    assert not out.exists() and "is not written" in capsys.readouterr().out
    assert run("refine", folder / "off.toml", folder / "still.mcap", "-o", out) == 0
    assert "use the refined rig" in capsys.readouterr().out
    assert pose_error(camera_poses_of(load_rig(out)), camera_poses_of(RIG))[0].max() < 0.015


def test_check_names_the_camera_and_repairs_the_rig(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "repaired.toml"
    assert run("check", folder / "rig.toml", folder / "moved.mcap", "-o", out) == 1
    said = capsys.readouterr().out
    assert "camera cam02 has moved: turned " in said and "cam01 has" not in said
    rig = load_rig(out)
    assert np.array_equal(rig["cam03"].cam_from_world, RIG["cam03"].cam_from_world)
    between = rig["cam02"].R @ turned(RIG["cam02"], 2.0).R.T
    assert np.rad2deg(np.arccos(np.clip((np.trace(between) - 1) / 2, -1, 1))) < 0.3
    assert run("check", folder / "rig.toml", folder / "still.mcap") == 0
    assert "no camera has moved" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("people", "still.mcap"), "nothing tells the scale: say --stature"),
        (("people", "still.mcap", "--stature", "17"), "expected 0.5 to 2.5 metres"),
        (("people", "still.mcap", "--distance", "left_knee", "tail", "0.4"), "no joint 'tail'"),
        (("people", "still.mcap", "--camera-distance", "cam01", "cam09", "3"), "no camera 'cam09'"),
        (("people", "still.mcap", "--camera-distance", "cam01", "cam01", "3"), "two different cameras"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert run(*(folder / w if w.endswith(".mcap") else w for w in words)) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_a_rig_of_other_cameras_or_sizes_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_rig(Rig(tuple(replace(c, name=f"x{c.name}") for c in RIG)), tmp_path / "names.toml")
    assert run("refine", tmp_path / "names.toml", folder / "still.mcap") == 2
    assert "rename with" in capsys.readouterr().err
    save_rig(Rig(tuple(replace(c, size_px=(640, 360)) for c in RIG)), tmp_path / "sizes.toml")
    assert run("refine", tmp_path / "sizes.toml", folder / "still.mcap") == 2
    assert "1280×720" in capsys.readouterr().err


def test_what_was_recorded_is_fused_again_only_with_a_better_rig(folder: Path, tmp_path: Path) -> None:
    """Without poses or a launch file nothing can be fused again; a rig that is right is kept before that is asked."""
    path = record(tmp_path / "session.mcap", RIG, views(RIG, 12.0, {}, {}))
    save_rig(RIG, tmp_path / "rig.toml")
    before = path.read_bytes()
    told = refine_in_place(path, tmp_path / "rig.toml")
    assert not told.used and told.plain["verdict"] == "keep" and path.read_bytes() == before
    assert told.plain["residual_px"]["supplied"] > 0 and Recording.open(path).rig.names == RIG.names


def test_a_better_rig_is_taken_and_the_session_fused_again(tmp_path: Path) -> None:
    """The residual of the recorded poses falls with the rig that the recording then carries."""
    off = kicked(camera_poses_of(RIG), 0.05, 0.009).on(RIG)
    path, rig_path = tmp_path / "session.mcap", tmp_path / "rig.toml"
    save_rig(off, rig_path)
    sources = {n: CameraNode(camera=n, source=SourceSettings(kind="synthetic")) for n in RIG.names}
    settings = FusionNode(estimate_offsets=False)
    graph = Graph(Session("synthetic", str(tmp_path), str(rig_path), "lossless"), {**sources, "fusion": settings})
    core, count = FusionCore(off, settings), 0
    with path.open("xb") as file:
        writer = RecordingWriter(file, About("r", "s"), str(path))
        writer.attach(RIG_NAME, native.dumps(off).encode())
        writer.attach(LAUNCH, dump(graph).encode())
        for view in messages(World(1, 5), RIG, frames=160, fps_hz=15.0, noise=NOISE):
            count += 1
            writer.record(Stamp(f"keypoints/{view.camera}", view.frame_seq, count), view)
            for out in core.handle(0, f"keypoints/{view.camera}", view):
                if out.topic in ("framesets", "poses"):
                    writer.record(Stamp(out.topic, count, count), out.record)
        writer.finish()
    before = Recording.open(path)
    old = [float(np.nanmedian(p.residual_px)) for _, _, p in before.messages(("poses",)) if len(p.person_ids)]
    told = refine_in_place(path, rig_path)
    assert told.used, told.plain["advice"]
    after = Recording.open(path)
    new = [float(np.nanmedian(p.residual_px)) for _, _, p in after.messages(("poses",)) if len(p.person_ids)]
    assert len(new) == len(old) and np.median(new) < 0.9 * np.median(old)
    assert pose_error(camera_poses_of(after.rig), camera_poses_of(RIG))[0].max() < 0.015
    assert np.array_equal(load_rig(rig_path)["cam01"].cam_from_world, after.rig["cam01"].cam_from_world)
    assert (tmp_path / "rig-supplied.toml").is_file() and len(list(tmp_path.glob("*.mcap"))) == 1


@pytest.mark.parametrize("up", ["z", "y"])
def test_convert_puts_a_rig_upright_by_the_people_of_a_recording(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], up: str
) -> None:
    """The rig lies on its side in another world; the keypoints were recorded in the right one. Feet tell a floor to a
    degree, and to a few centimetres, since the joints of feet are above their soles.
    """
    tilt = np.eye(4)
    tilt[:3, :3] = rotation(np.array([1.2, -0.4, 0.7]))
    tilt[:3, 3] = [3.0, -2.0, 5.0]
    save_rig(moved(RIG, tilt), tmp_path / "tilted.toml")
    words = ["rig", "convert", str(tmp_path / "tilted.toml"), str(tmp_path / "out.toml"), "--up", up]
    assert cli.main([*words, "--align", str(folder / "still.mcap")]) == 0
    assert "aligned: up and floor from" in capsys.readouterr().out
    placed = load_rig(tmp_path / "out.toml")
    axis = {"z": 2, "y": 1}[up]
    assert placed.up == up
    heights = np.array([c.centre_world[axis] for c in placed]) - [c.centre_world[2] for c in RIG]
    assert np.abs(heights).max() < 0.15 and np.ptp(heights) < 0.15
    between = placed.cameras[0].cam_from_world[:3, axis] @ RIG.cameras[0].cam_from_world[:3, 2]
    assert np.rad2deg(np.arccos(np.clip(between, -1, 1))) < 1.5
