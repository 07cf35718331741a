"""What other programs read from a recording."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.camera import Rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.cli import main as cli
from kinecast.nodes.exchange.export import read_people, write_csv, write_npz, write_trc
from kinecast.nodes.exchange.export.c3d import write_c3d
from kinecast.nodes.exchange.export.formats import Choices, write
from kinecast.nodes.exchange.export.parquet import write_parquet
from kinecast.nodes.exchange.export.person_series import ExportedPeople, turn_to, turn_y_up
from kinecast.nodes.exchange.export.trc import marker_name
from kinecast.nodes.recording.file import About, Recording, RecordingWriter, Stamp
from tests.nodes.recording.scene import PERIOD_NS, body, circle_rig, poses, write_scene


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Two people in 12 frame sets; person 1 is not there in the first three, and there is nobody in the last."""
    rig = circle_rig()
    path = tmp_path / "walk.mcap"
    write_scene(path, frames=1)
    attached = Recording.open(path).attachment("rig.toml")
    assert attached is not None
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        writer.attach("rig.toml", attached)
        for n in range(12):
            people = 0 if n == 11 else 1 if n < 3 else 2
            writer.record(Stamp("poses", n), poses(rig, n, people))
        writer.finish()
    return Recording.open(path)


def test_npz_has_a_row_a_person_frame(recording: Recording, tmp_path: Path) -> None:
    people = read_people(recording)
    write_npz(people, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as got:
        assert got["points_world_m"].shape == (3 + 8 * 2, 26, 3)
        assert got["confidence"].shape == (19, 26)
        assert str(got["units"]) == "m" and str(got["skeleton"]) == "halpe26" and str(got["up"]) == "z"
        assert got["joints"][0] == "nose" and len(got["joints"]) == 26
        row = np.flatnonzero((got["person_id"] == 1) & (got["t_capture_ns"] == 5 * PERIOD_NS))
        np.testing.assert_allclose(got["points_world_m"][row[0]], body(1, 5 * PERIOD_NS / 1e9), atol=1e-6)
        assert len(got["sets_ns"]) == 12


@pytest.mark.parametrize(("units", "scale"), [("m", 1.0), ("mm", 1000.0)])
def test_trc_has_one_file_a_person(recording: Recording, tmp_path: Path, units: str, scale: float) -> None:
    written = write_trc(read_people(recording), tmp_path / "walk.trc", units)  # type: ignore[arg-type]
    assert [p.name for p in written] == ["walk_person0.trc", "walk_person1.trc"]
    lines = [line.split("\t") for line in written[1].read_text().splitlines()]
    assert lines[0][:3] == ["PathFileType", "4", "(X/Y/Z)"]
    said = dict(zip(lines[1], lines[2], strict=True))
    assert (said["NumFrames"], said["NumMarkers"], said["Units"], said["DataRate"]) == ("8", "26", units, "60")
    # the rules of OpenSim's reader: markers in every third column, X1 Y1 Z1 … below, all rows as long as these
    assert [c for c in lines[3] if c][:3] == ["Frame#", "Time", "Nose"] and len([c for c in lines[3] if c]) == 28
    assert [c for c in lines[4] if c][:4] == ["X1", "Y1", "Z1", "X2"]
    assert {len(line) for line in lines[3:]} == {2 + 26 * 3}
    assert lines[5][0] == "4" and float(lines[5][1]) == pytest.approx(3 * PERIOD_NS / 1e9)
    want = body(1, 3 * PERIOD_NS / 1e9) * scale
    # six decimals are written, and the message is float32
    np.testing.assert_allclose(np.array(lines[5][2:], float).reshape(26, 3), want, atol=1e-6 * scale)


def test_trc_says_nan_where_somebody_is_missing_in_between(tmp_path: Path) -> None:
    rig = circle_rig()
    path = tmp_path / "gap.mcap"
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        for n in range(3):
            writer.record(Stamp("poses", n), poses(rig, n, 0 if n == 1 else 1))
        writer.finish()
    people = read_people(Recording.open(path))
    assert people.up == "unknown"
    (written,) = write_trc(people, tmp_path / "gap.trc")
    rows = written.read_text().splitlines()[5:]
    assert len(rows) == 3 and set(rows[1].split("\t")[2:]) == {"NaN"} and "NaN" not in rows[2]
    with pytest.raises(KinecastError, match="no rig is attached"):
        read_people(Recording.open(path), "y-up")


def test_marker_names_are_those_of_pose2sim() -> None:
    joints = "nose left_eye right_shoulder left_big_toe right_small_toe head_top mid_hip neck".split()
    assert [marker_name(j) for j in joints] == "Nose LEye RShoulder LBigToe RSmallToe Head Hip Neck".split()


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_y_up_is_a_rotation_that_turns_up_to_y(up: str) -> None:
    rig = Rig(circle_rig().cameras, "r", up)  # type: ignore[arg-type]
    R = turn_y_up(rig)
    np.testing.assert_array_equal(R @ rig.up_world, [0, 1, 0])
    np.testing.assert_array_equal(R @ R.T, np.eye(3))
    assert np.linalg.det(R) == pytest.approx(1.0)


def test_z_up_turns_as_pose2sim_does(recording: Recording) -> None:
    plain, turned = read_people(recording), read_people(recording, "y-up")
    np.testing.assert_array_equal(turned.points_world_m, plain.points_world_m[..., [1, 2, 0]])


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_csv_names_its_units(recording: Recording, tmp_path: Path, layout: str) -> None:
    people = read_people(recording)
    write_csv(people, tmp_path / "a.csv", layout)  # type: ignore[arg-type]
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (19 * 26 if layout == "long" else 19)
    last = body(1, 10 * PERIOD_NS / 1e9)
    column = "x_m" if layout == "long" else "right_heel_x_m"
    # five decimals
    assert float(rows[-1][column]) == pytest.approx(last[-1, 0], abs=6e-6)


def test_the_command_writes_and_says_where(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, names in {
        "npz": ["walk.npz"],
        "csv": ["walk.csv"],
        "trc": ["walk_person0.trc", "walk_person1.trc"],
    }.items():
        assert cli.main(["export", str(recording.path), "--to", kind]) == 0
        told = capsys.readouterr().out.splitlines()
        assert "12 frame sets, 2 people, 19 person-frames" in told[0]
        assert told[1:] == [str(tmp_path / n) for n in names]


def test_a_recording_without_poses_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "e.mcap").open("wb") as file:
        RecordingWriter(file, About()).finish()
    assert cli.main(["export", str(tmp_path / "e.mcap"), "--to", "npz"]) == 2
    assert "e.mcap: there are no poses in it" in capsys.readouterr().err
    assert not (tmp_path / "e.npz").exists()


def test_c3d_is_what_another_reader_finds(recording: Recording, tmp_path: Path) -> None:
    pytest.importorskip("ezc3d")
    c3d = pytest.importorskip("c3d")
    people = read_people(recording, "z-up")
    written = write(recording, "c3d", tmp_path / "walk.c3d", Choices())
    assert [p.name for p in written.files] == ["walk_person0.c3d", "walk_person1.c3d"]
    for person, file in enumerate(written.files):
        mine = people.person_id == person
        with file.open("rb") as stream:
            reader = c3d.Reader(stream)
            frames = [(n, points) for n, points, _ in reader.read_frames()]
            assert reader.point_rate == pytest.approx(60, abs=0.1)
            assert [n.strip() for n in reader.point_labels] == [marker_name(j) for j in people.skeleton.joints]
            assert reader.get("POINT:UNITS").string_value.strip() == "mm"
            screen = [reader.get(f"POINT:{a}_SCREEN").string_value.strip() for a in "XY"]
            assert screen == ["+X", "+Z"], "z up"
        assert frames[0][0] == people.set_index[mine].min() + 1, "frames count from the start of the recording"
        got = np.stack([points for _, points in frames])
        want = people.points_world_m[mine]
        seen = np.isfinite(want[..., 0])
        np.testing.assert_allclose(got[..., :3][seen] / 1000, want[seen], atol=1e-6)
        assert (got[..., 3][~seen] < 0).all() and (got[..., 3][seen] >= 0).all()


def test_a_lost_point_of_a_c3d_is_marked_and_not_at_the_origin(tmp_path: Path) -> None:
    ezc3d = pytest.importorskip("ezc3d")
    people = table(joints_missing=(3, 7))
    (file,) = write_c3d(people, tmp_path / "a.c3d")
    got = ezc3d.c3d(str(file))["data"]
    lost = np.isnan(got["points"][0])
    assert lost[3].all() and lost[7].all() and lost.sum() == 2 * len(people.person_id)
    masks = got["meta_points"]["camera_masks"]
    assert masks[0][0].all() and masks[2][0].all() and not masks[1][0].any(), "cameras 1 and 3 saw it"


def table(joints_missing: tuple[int, ...] = ()) -> ExportedPeople:
    """One person standing for five frames, seen by the first and the third camera."""
    here = np.tile(body(0, 0.0), (5, 1, 1)).astype(np.float32)
    here[:, list(joints_missing)] = np.nan
    n, j = here.shape[:2]
    times = np.arange(n) * PERIOD_NS
    covariance = np.tile(np.array([1e-4, 0, 0, 1e-4, 0, 4e-4], np.float32), (n, j, 1))
    ones = np.ones((n, j), np.float32)
    return ExportedPeople(
        skeleton("halpe26"), times, np.arange(n), np.zeros(n, np.int32), here, ones, ones,
        np.zeros((n, j), bool), times, "z",
        covariance_m2=covariance, views=np.full((n, j), 0b101, np.uint32), lifted=np.zeros((n, j), bool),
        filled=np.zeros((n, j), bool),
        cameras=("a", "b", "c"),
    )  # fmt: skip


def test_parquet_is_read_by_its_own_library(recording: Recording, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    people = read_people(recording)
    (file,) = write(recording, "parquet", tmp_path / "walk.parquet", Choices()).files
    got = parquet.read_table(file)
    columns = got.to_pydict()
    assert got.num_rows == 19 * 26 and columns["joint"][:2] == list(people.skeleton.joints[:2])
    np.testing.assert_array_equal(np.array(columns["z_m"], np.float32).reshape(19, 26), people.points_world_m[..., 2])
    np.testing.assert_array_equal(
        np.array(columns["cov_zz_m2"], np.float32).reshape(19, 26), people.covariance_m2[..., 5]
    )
    assert {k.decode(): v.decode() for k, v in got.schema.metadata.items()}["skeleton"] == "halpe26"
    (lost,) = write_parquet(table((3,)), tmp_path / "lost.parquet")
    again = parquet.read_table(lost).to_pydict()
    assert again["x_m"][3] is None and not again["measured"][3] and again["measured"][4]
    assert again["n_views"][4] == 2


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_worlds_are_turned_and_never_mirrored(up: str) -> None:
    rig = replace(circle_rig(), up=up)  # type: ignore[arg-type]
    for axes, axis in (("y-up", 1), ("z-up", 2)):
        turn = turn_to(rig, axes)  # type: ignore[arg-type]
        assert np.linalg.det(turn) == pytest.approx(1.0)
        np.testing.assert_allclose(turn @ rig.up_world, np.eye(3)[axis])
    if up == "z":
        np.testing.assert_array_equal(turn_to(rig, "z-up"), np.eye(3))
