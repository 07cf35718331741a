"""Calibration files as other tools really leave them: parts missing, other units, cameras on their side."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import load_lenses, load_rig, read_rig, read_rig_file, save_rig
from kinecast.calibration.formats.qualisys import turned_clockwise
from kinecast.capture.errors import KinecastError
from kinecast.engines.synth import ring_rig

LENS = np.array([-0.05, 0.03, 0.002, -0.001, 0.01])
POINTS = np.random.default_rng(3).uniform([-1, -1, 0], [1, 1, 2], (40, 3))


def studio(n: int = 4, size_px: tuple[int, int] = (1280, 720)) -> Rig:
    return Rig(tuple(replace(c, distortion=LENS) for c in ring_rig(n, size_px, seed=3)), "studio")


def same_pictures(a: Rig, b: Rig, atol_px: float = 1e-6) -> None:
    assert a.names == b.names and [c.size_px for c in a] == [c.size_px for c in b]
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x.project(POINTS)[0], y.project(POINTS)[0], atol=atol_px)


def qualisys(tmp_path: Path, rig: Rig, edit: str, to: str, count: int = 0) -> Path:
    """The rig as ``.qca.txt``, with every (or the first ``count``) match of a pattern replaced."""
    path = tmp_path / "Calib.qca.txt"
    save_rig(rig, path)
    text, n = re.subn(edit, to, path.read_text(), count=count)
    assert n
    path.write_text(text)
    return path


# ── Qualisys ──


def test_a_camera_on_its_side_is_read_upright(tmp_path: Path) -> None:
    """viewrotation: the sensor's numbers, and a picture turned clockwise by so many degrees."""
    lying = studio(size_px=(720, 1280))
    upright, quarters = lying, 0
    for quarters, said in ((1, "90"), (2, "180"), (3, "270")):
        upright = Rig(tuple(turned_clockwise(c, quarters) for c in lying), "studio")
        path = qualisys(tmp_path, lying, "<camera ", f'<camera viewrotation="{said}" ')
        file, _ = read_rig_file(path)
        same_pictures(upright, file.rig())
        assert any("turned upright" in note for note in file.notes)
    # what the turned camera sees is the old picture turned: (x, y) to (y, w - 1 - x) three quarters clockwise
    for c, t in zip(lying, upright, strict=True):
        px, _ = c.project(POINTS)
        np.testing.assert_allclose(
            t.project(POINTS)[0], np.stack([px[:, 1], c.size_px[0] - 1 - px[:, 0]], 1), atol=1e-6
        )
    with pytest.raises(KinecastError, match="no multiple of 90"):
        load_rig(qualisys(tmp_path, lying, "<camera ", '<camera viewrotation="45" '))


@pytest.mark.parametrize("view", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_whole_pixels_and_no_view_are_told_from_the_sensor(tmp_path: Path, whole: bool, view: bool) -> None:
    rig = studio()
    path = tmp_path / "Calib.qca.txt"
    save_rig(rig, path)
    text = path.read_text()
    if whole:
        text = re.sub(
            r'((?:focalLength|centerPoint|sensorMax)[UV])="([^"]+)"', lambda g: f'{g[1]}="{float(g[2]) / 64!r}"', text
        )
    if not view:
        text = re.sub(r"<fov_[a-z_]+ [^>]*>", "", text)
    path.write_text(text)
    file, _ = read_rig_file(path)
    same_pictures(rig, file.rig())
    assert any("whole pixels" in n for n in file.notes) == whole
    assert any("fov_video is missing" in n for n in file.notes) == (not view)


def test_a_lens_that_no_lens_is_is_refused(tmp_path: Path) -> None:
    path = qualisys(tmp_path, studio(), r'focalLength([UV])="[^"]+"', r'focalLength\1="1650"')
    with pytest.raises(KinecastError, match=r"focal length of 25\.78 px .* is no lens's"):
        load_rig(path)


def test_marker_cameras_and_failed_ones_are_left_out_and_said(tmp_path: Path) -> None:
    rig = studio()
    path = qualisys(tmp_path, rig, 'model="video"', 'model="Miqus Hybrid"', 2)
    path.write_text(path.read_text().replace('model="video"', 'model="Arqus A12"'))
    file, _ = read_rig_file(path)
    assert file.rig().names == rig.names[:2]
    assert any(n.startswith(f"left out: {rig.names[2]}, {rig.names[3]} (marker") for n in file.notes)
    failed = qualisys(tmp_path, rig, "<camera ", '<camera calibrated="false" ', 1)
    failed.write_text(re.sub(r' (r[1-3][1-3])="[^"]+"', r' \1="0"', failed.read_text(), count=9))
    file, _ = read_rig_file(failed)
    assert file.rig().names == rig.names[1:] and any("calibrated is false" in n for n in file.notes)


# ── lenses without places ──


def caliscope(tmp_path: Path, rig: Rig, edit: str, to: str, count: int = 0) -> Path:
    path = tmp_path / "camera_array.toml"
    save_rig(rig, path)
    text, n = re.subn(edit, to, path.read_text(), count=count, flags=re.S)
    assert n
    path.write_text(text)
    return path


@pytest.mark.parametrize("to", ["", 'rotation = "null"\ntranslation = "null"\n'])
def test_lenses_alone_are_enough_where_only_lenses_are_asked(tmp_path: Path, to: str) -> None:
    rig = studio()
    place = r"rotation = \[.*?\]\ntranslation = \[.*?\]\n"
    some = caliscope(tmp_path, rig, place, to, 2)
    file, _ = read_rig_file(some)
    assert file.rig().names == rig.names[2:]
    assert any(n.startswith("left out: ") and "places" in n for n in file.notes)
    lenses = load_lenses(some)
    assert lenses.names == rig.names and np.array_equal(lenses[rig.names[0]].K, rig[rig.names[0]].K)
    none = caliscope(tmp_path, rig, place, to)
    with pytest.raises(KinecastError, match="no camera's place: enough for `kinecast calibrate rig --intrinsics`"):
        load_rig(none)
    assert load_lenses(none).names == rig.names


def test_tables_without_a_matrix_are_no_cameras(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    save_rig(studio(), path, "aniposelib")
    path.write_text(path.read_text() + "\n[capture_volume]\nstage = 1\n[charuco]\ncolumns = 4\nsize = [3, 4]\n")
    same_pictures(studio(), load_rig(path))


def test_easymocap_has_more_lenses_than_places(tmp_path: Path) -> None:
    rig = studio(6)
    save_rig(rig, tmp_path / "rig", "easymocap")
    placed = rig.subset(rig.names[1:4])
    save_rig(placed, tmp_path / "placed", "easymocap")
    (tmp_path / "rig" / "extri.yml").write_text((tmp_path / "placed" / "extri.yml").read_text())
    file, _ = read_rig_file(tmp_path / "rig")
    same_pictures(placed, file.rig())
    assert len(file.lenses) == 6 and any(n.startswith("left out: ") for n in file.notes)
    (tmp_path / "rig" / "intri.yml").write_text((tmp_path / "rig" / "intri.yml").read_text().replace(rig.names[2], "x"))
    with pytest.raises(KinecastError, match=r"is missing, and extri\.yml places it"):
        load_rig(tmp_path / "rig")


# ── other tools ──


def moved_to_first(rig: Rig) -> Rig:
    """The same cameras in the world of the first."""
    world = np.linalg.inv(rig.cameras[0].cam_from_world)
    return Rig(tuple(replace(c, cam_from_world=c.cam_from_world @ world) for c in rig), rig.name, "-y")


def in_first(points: np.ndarray, rig: Rig) -> np.ndarray:
    T = rig.cameras[0].cam_from_world
    return points @ T[:3, :3].T + T[:3, 3]


def sees_as(a: Camera, b: Camera, rig: Rig, atol_px: float = 1e-4) -> None:
    np.testing.assert_allclose(a.project(in_first(POINTS, rig))[0], b.project(POINTS)[0], atol=atol_px)


def test_kalibr_is_a_chain_of_cameras(tmp_path: Path) -> None:
    rig = Rig(tuple(replace(c, distortion=LENS[:4]) for c in studio()), "studio")
    chain: dict[str, dict[str, object]] = {}
    for i, c in enumerate(rig):
        chain[f"cam{i}"] = {
            "camera_model": "pinhole", "intrinsics": [float(v) for v in (c.K[0, 0], c.K[1, 1], c.K[0, 2], c.K[1, 2])],
            "distortion_model": "radtan", "distortion_coeffs": c.distortion.tolist(), "resolution": list(c.size_px),
        }  # fmt: skip
        if i:
            step = c.cam_from_world @ np.linalg.inv(rig.cameras[i - 1].cam_from_world)
            chain[f"cam{i}"]["T_cn_cnm1"] = step.tolist()
    (tmp_path / "camchain.yaml").write_text(yaml.safe_dump(chain))
    file, format = read_rig_file(tmp_path / "camchain.yaml")
    back = file.rig()
    assert format == "kalibr" and back.names == ("cam0", "cam1", "cam2", "cam3") and back.up == "-y"
    for c, b in zip(rig, back, strict=True):
        sees_as(b, c, rig)
    assert any("world is that of camera cam0" in n for n in file.notes)
    del chain["cam2"]["T_cn_cnm1"]
    (tmp_path / "camchain.yaml").write_text(yaml.safe_dump(chain))
    assert load_rig(tmp_path / "camchain.yaml").names == ("cam0", "cam1")
    chain["cam1"]["camera_model"] = "omni"
    (tmp_path / "camchain.yaml").write_text(yaml.safe_dump(chain))
    with pytest.raises(KinecastError, match=r"cam1.*omni is no pinhole"):
        load_rig(tmp_path / "camchain.yaml")


def test_mc_calib_gives_poses_of_cameras_and_groups(tmp_path: Path) -> None:
    rig = studio()
    first = moved_to_first(rig)
    s = cv2.FileStorage(str(tmp_path / "calibrated_cameras_data.yml"), cv2.FILE_STORAGE_WRITE)
    s.write("nb_camera", 5)
    for i, c in enumerate((*first, first.cameras[0])):
        pose = np.linalg.inv(c.cam_from_world)
        pose[:3, 3] *= 1000
        s.startWriteStruct(f"camera_{i}", cv2.FileNode_MAP)
        for key, value in (
            ("camera_matrix", np.array(c.K)), ("distortion_vector", np.array(c.distortion)[None]),
            ("distortion_type", 0), ("camera_group", int(i == 4)),
            ("img_width", c.size_px[0]), ("img_height", c.size_px[1]),
            ("camera_pose_matrix", pose),
        ):  # fmt: skip
            s.write(key, value)
        s.endWriteStruct()
    s.release()
    file, _ = read_rig_file(tmp_path / "calibrated_cameras_data.yml")
    back = file.rig()
    assert len(back) == 4 and any("camera_4" in n and "camera_group" in n for n in file.notes)
    assert any(n.startswith("unit: mm") for n in file.notes)
    for c, b in zip(rig, back, strict=True):
        sees_as(b, c, rig)


def test_ros_camera_info_is_a_lens(tmp_path: Path) -> None:
    c = studio().cameras[0]
    info = {
        "image_width": c.size_px[0], "image_height": c.size_px[1], "camera_name": "narrow_stereo/left",
        "camera_matrix": {"rows": 3, "cols": 3, "data": np.ravel(c.K).tolist()}, "distortion_model": "plumb_bob",
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": c.distortion.tolist()},
    }  # fmt: skip
    (tmp_path / "left.yaml").write_text(yaml.safe_dump(info))
    lenses = load_lenses(tmp_path / "left.yaml")
    assert lenses.names == ("left",) and np.allclose(lenses["left"].K, c.K)
    assert np.allclose(lenses["left"].distortion, c.distortion) and lenses["left"].size_px == c.size_px
    info |= {
        "distortion_model": "equidistant",
        "distortion_coefficients": {"rows": 1, "cols": 4, "data": [0.1, 0, 0, 0]},
    }
    (tmp_path / "left.yaml").write_text(yaml.safe_dump(info))
    assert load_lenses(tmp_path / "left.yaml")["left"].model == "fisheye"


@pytest.mark.parametrize("flat", [True, False])
def test_4d_association_json(tmp_path: Path, flat: bool) -> None:
    import json

    rig = studio()
    table: dict[str, dict[str, object]] = {}
    for c in rig:
        K = np.ravel(c.K).tolist() if flat else c.K.tolist()
        RT = c.cam_from_world[:3]
        place: dict[str, object] = {"RT": np.ravel(RT).tolist()} if flat else {"R": c.R.tolist(), "T": c.t.tolist()}
        table[c.name] = {
            "K": K,
            **place,
            "distCoeff": c.distortion.tolist(),
            "imgSize": list(c.size_px),
            "rectifyAlpha": 0,
        }
    (tmp_path / "calibration.json").write_text(json.dumps(table))
    same_pictures(rig, load_rig(tmp_path / "calibration.json"))


def test_a_wide_lens_of_vicon_needs_eight_terms(tmp_path: Path) -> None:
    """3 px of a corner's 400: five terms cannot, eight can, and the lens can be inverted to the corner."""
    c = replace(ring_rig(2, (1920, 1080), seed=1, focal_of_width=0.66).cameras[0], distortion=np.zeros(4))
    save_rig(Rig((c,), "vue"), tmp_path / "wide.xcp")
    text = re.sub(r' KINECAST_LENS="[^"]*"', "", (tmp_path / "wide.xcp").read_text())
    k = (2.6e-7, 6e-14, 8e-20)
    text = re.sub(
        r'VICON_RADIAL2="[^"]*"', f'VICON_RADIAL2="Vicon3Parameter {c.K[0, 2]} {c.K[1, 2]} {k[0]} {k[1]} {k[2]}"', text
    )
    (tmp_path / "wide.xcp").write_text(text)
    read = load_rig(tmp_path / "wide.xcp").cameras[0]
    assert len(read.distortion) == 8
    seen = np.array([[0.0, 0.0], [1919, 1079], [960, 0], [300, 700], [960, 540]])
    d = seen - c.K[:2, 2]
    r2 = (d**2).sum(axis=1)
    right = c.K[:2, 2] + d * (1 + r2 * (k[0] + r2 * (k[1] + r2 * k[2])))[:, None]
    flat = read.undistort(seen) @ np.diag([read.K[0, 0], read.K[1, 1]]) + read.K[:2, 2]
    np.testing.assert_allclose(flat, right, atol=0.3)


# ── what is taken for granted ──


def test_the_unit_and_the_upward_axis_that_were_guessed_are_said(tmp_path: Path) -> None:
    def notes_of(rig: Rig, units: str) -> list[str]:
        save_rig(rig, tmp_path / "a.toml", "aniposelib", units)
        text = (tmp_path / "a.toml").read_text()
        (tmp_path / "a.toml").write_text(re.sub(r"\[metadata\].*", "", text, flags=re.S))
        return read_rig_file(tmp_path / "a.toml")[0].notes

    notes = notes_of(studio(), "m")
    assert any(n.startswith("unit: m,") for n in notes) and any(n.startswith("up: z (the cameras") for n in notes)
    assert any(n.startswith("unit: mm,") for n in notes_of(studio(), "mm"))
    assert any("-y" in n and "--align" in n for n in notes_of(moved_to_first(studio()), "m"))
    save_rig(studio(), tmp_path / "b.toml", "aniposelib")
    assert not read_rig_file(tmp_path / "b.toml")[0].notes  # it says both


def test_an_unknown_text_is_told_what_is_known(tmp_path: Path) -> None:
    for name, text in (("a.yaml", "a: 1\nb: 2\n"), ("b.txt", "hello"), ("c.toml", "a = 1\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(KinecastError, match=r"no calibration that is known: expected rig\.toml.*Qualisys.*Kalibr"):
            read_rig(tmp_path / name)


def test_voxelposes_file_for_shelf_and_campus(tmp_path: Path) -> None:
    """Positions of the cameras in millimetres, k and p apart, no size of the pictures but that of the data set."""
    rig = studio(3, (1032, 776))
    table = {
        str(i): {
            "R": c.R.tolist(), "T": (1000 * c.centre_world)[:, None].tolist(),
            "fx": c.K[0, 0], "fy": c.K[1, 1], "cx": c.K[0, 2], "cy": c.K[1, 2],
            "k": LENS[[0, 1, 4], None].tolist(), "p": LENS[[2, 3], None].tolist(),
        }
        for i, c in enumerate(rig)
    }  # fmt: skip
    path = tmp_path / "calibration_shelf.json"
    path.write_text(json.dumps(table))
    read = load_rig(path)
    same_pictures(Rig(tuple(replace(c, name=str(i)) for i, c in enumerate(rig)), "studio"), read)
    other = path.rename(tmp_path / "cameras.json")
    with pytest.raises(KinecastError, match="--size"):
        load_rig(other)
    assert {c.size_px for c in read_rig(other, size_px=(360, 288))[0]} == {(360, 288)}
