"""Keypoints of OpenPose become a recording, or are refused by file and reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.calibration.formats import native
from kinecast.engines.records import FrameSet, Keypoints2D
from kinecast.engines.skeleton import direct_index, skeleton
from kinecast.nodes.cli import main as cli
from kinecast.nodes.exchange.export import read_people
from kinecast.nodes.exchange.import_keypoints import import_openpose
from kinecast.nodes.exchange.openpose import find_folders
from kinecast.nodes.recording.diff import compare
from kinecast.nodes.recording.file import Recording
from tests.nodes.recording.scene import body, circle_rig

RIG = circle_rig()
BODY25 = skeleton("body25")
FPS = 50.0
SIGMA_PX = 1.0


def points_body25(frame: int) -> np.ndarray:
    """(25, 3) the person of the scene in OpenPose's order; every joint of body25 is one of halpe26."""
    return body(0, frame / FPS)[direct_index("halpe26", "body25")]


def person(camera: int, frame: int) -> list[float]:
    rng = np.random.default_rng((camera, frame))
    px = RIG.cameras[camera].project(points_body25(frame))[0] + rng.normal(0, SIGMA_PX, (25, 2))
    return np.concatenate([px, np.full((25, 1), 0.8)], axis=1).ravel().tolist()


def file_of(*people: list[float]) -> dict[str, Any]:
    return {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": p} for p in people]}


Layout = Callable[[str, int], str]
LAYOUTS: dict[str, Layout] = {
    "shelf": lambda camera, n: f"{camera}/{n:06d}_keypoints.json",
    "pose2sim": lambda camera, n: f"pose/{camera.replace('cam', 'Cam_0')}_json/{camera}.{n:04d}.json",
    "unpadded": lambda camera, n: f"{camera}/video2_{n}_keypoints.json",
}


def write(root: Path, frames: range, layout: str = "shelf") -> Path:
    """A folder of OpenPose's files, and its rig beside it; returns the rig's path."""
    for c, camera in enumerate(RIG.names):
        for n in frames:
            path = root / LAYOUTS[layout](camera, n)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(file_of(person(c, n))))
    rig = root.parent / "rig.toml"
    rig.write_text(native.dumps(RIG))
    return rig


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_and_numbers_are_found(tmp_path: Path, layout: str) -> None:
    rig = write(tmp_path / "op", range(8, 12), layout)
    done = import_openpose(tmp_path / "op", rig, tmp_path / "out.mcap", FPS)
    assert (done.frames, done.sets, set(done.without_file.values())) == (4, 4, {0})
    recording = Recording.open(tmp_path / "out.mcap")
    got = [r for _, _, r in recording.messages(("keypoints/cam2",))]
    assert [r.frame_seq for r in got] == [8, 9, 10, 11]
    assert got[0].skeleton == "body25" and got[0].t_capture_ns == 160_000_000
    np.testing.assert_allclose(got[0].keypoints_px[0], np.reshape(person(1, 8), (25, 3))[:, :2], atol=1e-3)


def test_the_import_is_a_recording_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = write(tmp_path / "op", range(30))
    out = tmp_path / "out.mcap"
    assert cli.main(["import", "openpose", str(tmp_path / "op"), "--rig", str(rig), "--fps", "50", "-o", str(out)]) == 0
    assert "4 cameras, 30 frames, body25\n30 frame sets, 1 people" in capsys.readouterr().out
    recording = Recording.open(out)
    assert not recording.cut_short and recording.rig.names == RIG.names
    assert set(recording.sources) == set(RIG.names)
    people = read_people(recording)
    assert len(people.ids) == 1 and people.rate_hz == pytest.approx(FPS)
    # four rays at 4 m, 900 px: one sigma of a joint is about σ · 4 / 900 / √2 ≈ 3 mm; the worst 5 % stay below 5 σ
    have = direct_index("body25", "halpe26") >= 0
    true = np.stack([body(0, t / 1e9) for t in people.t_capture_ns.tolist()])[:, have]
    error_m = np.linalg.norm(people.points_world_m[:, have] - true, axis=-1)
    seen = np.isfinite(error_m)
    sigma_m = SIGMA_PX * 4 / 900 / np.sqrt(2)
    assert seen.mean() > 0.9 and np.quantile(error_m[seen], 0.95) < 5 * sigma_m
    for command in (["replay", str(out)], ["info", str(out)], ["export", str(out), "--to", "npz"]):
        assert cli.main(command) == 0
    assert "bit-identical: 30 of 30 sets" in capsys.readouterr().out


def test_two_imports_are_the_same(tmp_path: Path) -> None:
    rig = write(tmp_path / "op", range(10))
    for name in ("a", "b"):
        import_openpose(tmp_path / "op", rig, tmp_path / f"{name}.mcap", FPS)
    diffs = compare(Recording.open(tmp_path / "a.mcap"), Recording.open(tmp_path / "b.mcap"))
    assert len(diffs) == 6 and not any(d.parts for d in diffs)


def test_a_missing_file_is_a_frame_without_people(tmp_path: Path) -> None:
    rig = write(tmp_path / "op", range(6))
    (tmp_path / "op/cam3/000002_keypoints.json").unlink()
    (tmp_path / "op/cam3/000005_keypoints.json").unlink()
    done = import_openpose(tmp_path / "op", rig, tmp_path / "out.mcap", FPS)
    assert done.without_file == {"cam1": 0, "cam2": 0, "cam3": 2, "cam4": 0} and done.sets == 6
    recording = Recording.open(tmp_path / "out.mcap")
    assert [len(r.scores) for _, _, r in recording.messages(("keypoints/cam3",))] == [1, 1, 0, 1, 1, 0]
    sets: list[FrameSet] = [r for _, _, r in recording.messages(("framesets",))]
    assert [s.frame_seqs.tolist() for s in sets] == [[n] * 4 for n in range(6)]


def test_confidence_0_is_missing_and_people_of_nothing_are_left_out(tmp_path: Path) -> None:
    rig = write(tmp_path / "op", range(2))
    row = person(0, 0)
    row[3:6] = [0.0, 0.0, 0.0]
    row[8] = 1.05  # OpenPose goes a little over 1
    path = tmp_path / "op/cam1/000000_keypoints.json"
    path.write_text(json.dumps(file_of([0.0] * 75, row)))
    import_openpose(tmp_path / "op", rig, tmp_path / "out.mcap", FPS)
    first: Keypoints2D = next(r for _, _, r in Recording.open(tmp_path / "out.mcap").messages(("keypoints/cam1",)))
    assert first.keypoints_px.shape == (1, 25, 2)
    assert np.isnan(first.keypoints_px[0, 1]).all() and first.confidence[0, 1] == 0
    assert first.confidence[0, 2] == 1.0
    assert first.scores[0] == pytest.approx((23 * 0.8 + 1.0) / 24) and first.local_ids[0] == -1
    there = np.delete(np.reshape(row, (25, 3)), 1, axis=0)[:, :2]
    np.testing.assert_allclose(first.boxes_px[0], [*there.min(0), *there.max(0)], atol=1e-3)


BAD: dict[str, tuple[str | bytes, str]] = {
    "not json": ("{", "not JSON"),
    "binary": (b"\xff\xfe\x00", "not JSON"),
    "a list": ("[]", "no list 'people'"),
    "people a number": ('{"people": 3}', "no list 'people'"),
    "person a number": ('{"people": [3]}', "no list 'pose_keypoints_2d'"),
    "COCO-18": (json.dumps(file_of([1.0] * 54)), "COCO-18"),
    "BODY_135": (json.dumps(file_of([1.0] * 405)), "BODY_135"),
    "half a person": (json.dumps(file_of([1.0] * 40)), "an unknown skeleton"),
    "another skeleton": (json.dumps(file_of([9.0, 9.0, 0.5] * 26)), "halpe26 keypoints, but body25"),
    "two skeletons": (json.dumps(file_of([9.0, 9.0, 0.5] * 25, [9.0, 9.0, 0.5] * 26)), "78 numbers, the others 75"),
    "text": (json.dumps(file_of(["a"] * 75)), "not a number"),  # type: ignore[list-item]
    "nan": (json.dumps(file_of([float("nan")] * 75)), "not finite"),
    "confidence": (json.dumps(file_of([9.0, 9.0, 7.0] * 25)), "confidence outside"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_refuses_the_whole_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    rig = write(tmp_path / "op", range(3))
    content, reason = BAD[case]
    bad = tmp_path / "op/cam2/000001_keypoints.json"
    bad.write_bytes(content.encode() if isinstance(content, str) else content)
    out = tmp_path / "new" / "out.mcap"
    assert cli.main(["import", "openpose", str(tmp_path / "op"), "--rig", str(rig), "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert str(bad) in said and reason in said and said.count("\n") == 1
    assert not out.parent.exists()


def test_coordinates_that_are_no_pixels_of_this_camera_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = write(tmp_path / "op", range(2))
    for scale, reason in (
        (1 / 1280, "--keypoint_scale 0"),
        (3.0, "lie outside the 1280×720 pictures of camera 'cam1'"),
    ):
        for n in range(2):
            rows = np.reshape(person(0, n), (25, 3)) * [scale, scale, 1]
            (tmp_path / f"op/cam1/{n:06d}_keypoints.json").write_text(json.dumps(file_of(rows.ravel().tolist())))
        assert (
            cli.main(["import", "openpose", str(tmp_path / "op"), "--rig", str(rig), "-o", str(tmp_path / "o.mcap")])
            == 2
        )
        assert reason in capsys.readouterr().err


def reorder(root: Path, joints: tuple[str, ...]) -> None:
    """Rewrite all files with the joints in another order; the upper neck is where the neck is."""
    index = [BODY25.joints.index("neck" if j == "upper_neck" else j) if j != "head_top" else 0 for j in joints]
    for path in root.rglob("*.json"):
        rows = [np.reshape(p["pose_keypoints_2d"], (25, 3))[index] for p in json.loads(path.read_text())["people"]]
        path.write_text(json.dumps(file_of(*(r.ravel().tolist() for r in rows))))


def test_the_two_orders_of_25_joints_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = write(tmp_path / "op", range(4))
    assert import_openpose(tmp_path / "op", rig, tmp_path / "a.mcap", FPS).skeleton == "body25"
    reorder(tmp_path / "op", skeleton("body25b").joints)
    assert import_openpose(tmp_path / "op", rig, tmp_path / "b.mcap", FPS).skeleton == "body25b"
    wrist = skeleton("body25b").index("left_wrist"), BODY25.index("left_wrist")
    first, second = (
        next(r for _, _, r in Recording.open(tmp_path / f"{n}.mcap").messages(("keypoints",))) for n in "ab"
    )
    np.testing.assert_array_equal(second.keypoints_px[0, wrist[0]], first.keypoints_px[0, wrist[1]])
    # somebody whose joints all lie in one place tells nothing
    for path in (tmp_path / "op").rglob("*.json"):
        path.write_text(json.dumps(file_of([300.0, 300.0, 0.5] * 24 + [300.0, 500.0, 0.5])))
    command = ["import", "openpose", str(tmp_path / "op"), "--rig", str(rig), "-o", str(tmp_path / "c.mcap")]
    assert cli.main(command) == 2
    assert "say --skeleton body25 or body25b" in capsys.readouterr().err
    assert cli.main([*command, "--skeleton", "body25b"]) == 0


def test_folders_that_do_not_fit_the_rig_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = write(tmp_path / "op", range(2))
    (tmp_path / "op/cam4").rename(tmp_path / "op/left")
    command = ["import", "openpose", str(tmp_path / "op"), "--rig", str(rig), "-o", str(tmp_path / "o.mcap")]
    assert cli.main(command) == 2
    assert "no folder for camera 'cam4' of the rig; there are cam1, cam2, cam3, left" in capsys.readouterr().err
    assert cli.main([*command, "--cameras", "cam9"]) == 2
    assert "the rig has no camera 'cam9'" in capsys.readouterr().err
    assert [f.path.name for f in find_folders(tmp_path / "op", RIG.names, ["cam4=left", "cam2"])] == ["cam2", "left"]
    assert cli.main([*command, "--cameras", "cam1", "cam2", "cam4=left"]) == 0
    assert Recording.open(tmp_path / "o.mcap").rig.names == ("cam1", "cam2", "cam4")


def test_a_recording_that_is_there_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = write(tmp_path / "op", range(2))
    out = tmp_path / "out.mcap"
    out.write_bytes(b"precious")
    assert cli.main(["import", "openpose", str(tmp_path / "op"), "--rig", str(rig), "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err and out.read_bytes() == b"precious"
