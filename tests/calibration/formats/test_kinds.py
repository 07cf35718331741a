"""Calibrations of the kinds that scripts and tools write: read right, or refused in one line; never a wrong number."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_lenses, load_rig, read_rig_file, save_rig
from kinecast.calibration.rigid import inverse, rotation_vector
from kinecast.capture.errors import KinecastError
from kinecast.engines.synth import ring_rig

LENS = np.array([-0.05, 0.03, 0.002, -0.001, 0.01])
POINTS = np.random.default_rng(3).uniform([-1, -1, 0], [1, 1, 2], (40, 3))


@pytest.fixture
def rig() -> Rig:
    return Rig(tuple(replace(c, distortion=LENS) for c in ring_rig(3, (1280, 720), seed=3)), "studio")


def same_pictures(a: Rig, b: Rig) -> None:
    assert a.names == b.names and [c.size_px for c in a] == [c.size_px for c in b]
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x.project(POINTS)[0], y.project(POINTS)[0], atol=1e-6)


def saved(rig: Rig, path: Path) -> str:
    """The text of the rig, written by its name; Vicon's without lenses, which it does not hold exactly."""
    plain = Rig(tuple(replace(c, distortion=np.zeros(4)) for c in rig), rig.name)
    save_rig(plain if path.suffix == ".xcp" else rig, path)
    return path.read_text()


def cameras(rig: Rig, unit: float = 1.0, **more: Any) -> dict[str, dict[str, Any]]:
    return {
        c.name: {"K": c.K.tolist(), "R": c.R.tolist(), "T": (c.t / unit).tolist(), "size": list(c.size_px),
                 "dist": c.distortion.tolist(), **more}
        for c in rig
    }  # fmt: skip


def matrix(key: str, value: Any) -> str:
    a = np.atleast_2d(np.asarray(value, np.float64))
    data = ", ".join(repr(float(v)) for v in a.ravel())
    return f"{key}: !!opencv-matrix\n  rows: {a.shape[0]}\n  cols: {a.shape[1]}\n  dt: d\n  data: [{data}]\n"


# ── JSON ──


@pytest.mark.parametrize("shape", ["flat", "nested", "list", "beside other tables", "millimetres"])
def test_tables_of_cameras_in_json(tmp_path: Path, rig: Rig, shape: str) -> None:
    """``dist`` was passed over in silence, and millimetres were metres."""
    table: Any = cameras(rig, 0.001 if shape == "millimetres" else 1.0)
    if shape == "nested":
        table = {"calibration": {"date": "x", "cameras": table}}
    elif shape == "list":
        table = [{"name": n, **t} for n, t in table.items()]
    elif shape == "beside other tables":
        table = {"info": {"date": "x"}, **table}
    (tmp_path / "c.json").write_text(json.dumps(table))
    same_pictures(rig, load_rig(tmp_path / "c.json"))


def test_a_fisheye_in_json_is_one_and_a_strange_lens_is_refused(tmp_path: Path, rig: Rig) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(cameras(rig, dist=[0.01, 0.02, 0.003, 0.001], fisheye=True)))
    assert {c.model for c in load_rig(path)} == {"fisheye"}
    path.write_text(json.dumps(cameras(rig, distortion_model="thin_prism")))
    with pytest.raises(KinecastError, match="thin_prism"):
        load_rig(path)
    strange = {n: {**t, "myDistortion": t["dist"]} for n, t in cameras(rig).items()}
    for t in strange.values():
        del t["dist"]
    path.write_text(json.dumps(strange))
    with pytest.raises(KinecastError, match="myDistortion: is no name of distortion"):
        load_rig(path)


# ── aniposelib ──


@pytest.mark.parametrize("word", ["fisheye = 1", 'fisheye = "true"', 'camera_model = "fisheye"'])
def test_a_fisheye_in_other_words(tmp_path: Path, rig: Rig, word: str) -> None:
    save_rig(rig, tmp_path / "c.toml", "aniposelib")
    text = (tmp_path / "c.toml").read_text().replace("fisheye = false", word)
    lens = "distortions = [0.01, 0.02, 0.003, 0.001]"
    (tmp_path / "c.toml").write_text(re.sub(r"distortions = \[[^]]*\]", lens, text))
    assert {c.model for c in load_rig(tmp_path / "c.toml")} == {"fisheye"}


@pytest.mark.parametrize(("word", "unit"), [("meters", "m"), ("Millimeters", "mm"), ("centimetre", "cm")])
def test_units_in_words(tmp_path: Path, rig: Rig, word: str, unit: str) -> None:
    save_rig(rig, tmp_path / "c.toml", "aniposelib", unit)
    text = (tmp_path / "c.toml").read_text().replace(f'units = "{unit}"', f'units = "{word}"')
    (tmp_path / "c.toml").write_text(text)
    same_pictures(rig, load_rig(tmp_path / "c.toml"))


# ── Kalibr, ROS, OpenCV ──


@pytest.mark.parametrize("key", ["T_cam_imu", "T_imu_cam"])
def test_a_camchain_with_an_imu_and_no_chain(tmp_path: Path, rig: Rig, key: str) -> None:
    table = {
        f"cam{i}": {
            "camera_model": "pinhole", "distortion_model": "radtan", "resolution": list(c.size_px),
            "distortion_coeffs": c.distortion[:4].tolist(),
            "intrinsics": [float(v) for v in (c.K[0, 0], c.K[1, 1], c.K[0, 2], c.K[1, 2])],
            key: (c.cam_from_world if key == "T_cam_imu" else inverse(c.cam_from_world)).tolist(),
        }
        for i, c in enumerate(rig)
    }  # fmt: skip
    (tmp_path / "chain.yaml").write_text(json.dumps(table, indent=1).replace('{\n "cam0"', '---\n{\n "cam0"', 1))
    found = load_rig(tmp_path / "chain.yaml")
    gaps = [[np.linalg.norm(a.centre_world - b.centre_world) for a in r for b in r] for r in (rig, found)]
    np.testing.assert_allclose(*gaps, atol=1e-9)


def topic(case: str, more: str = "") -> str:
    k, d, r, p = (c if case == "ROS 1" else c.lower() for c in "KDRP")
    eye = "[1, 0, 0, 0, 1, 0, 0, 0, 1]"
    return (
        f"height: 720\nwidth: 1280\ndistortion_model: plumb_bob\n{d}: [-0.1, 0.02, 0.001, 0.0005, 0.0]\n"
        f"{k}: [900, 0, 640, 0, 901, 360, 0, 0, 1]\n{r}: {eye}\n{p}: [900, 0, 640, 0, 0, 901, 360, 0, 0, 0, 1, 0]\n"
        f"{more}"
    )


@pytest.mark.parametrize("case", ["ROS 1", "ROS 2"])
def test_a_recorded_camera_info(tmp_path: Path, case: str) -> None:
    more = "binning_x: 2\nbinning_y: 2\nroi:\n  x_offset: 10\n  y_offset: 0\n  height: 480\n  width: 640\n"
    (tmp_path / "c.yaml").write_text(topic(case, more) + "---\n" + topic(case))
    file = read_rig_file(tmp_path / "c.yaml")[0]
    assert file.lenses[0].K[1, 1] == 901 and file.lenses[0].distortion[0] == -0.1
    assert any("binning 2×2" in n for n in file.notes) and any("roi 640×480 at 10, 0" in n for n in file.notes)
    (tmp_path / "c.yaml").write_text(topic(case).replace("plumb_bob", "fov"))
    with pytest.raises(KinecastError, match="'fov' is a lens that is not known"):
        load_rig(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    "names",
    [("mtx", "dist", "rvec", "tvec"), ("intrinsics", "dist_coeffs", "rotation_matrix", "translation_vector")],
)
def test_opencv_files_with_other_names(tmp_path: Path, rig: Rig, names: tuple[str, ...]) -> None:
    text = "%YAML:1.0\n---\n"
    for c in rig:
        turn = rotation_vector(c.R)[:, None] if names[2] == "rvec" else c.R
        values = zip(names, (c.K, c.distortion[None], turn, c.t[:, None]), strict=True)
        body = "".join(matrix(*v) for v in values) + f"image_width: {c.size_px[0]}\nimage_height: {c.size_px[1]}\n"
        text += f"{c.name}:\n" + "".join(f"  {line}\n" for line in body.splitlines())
    (tmp_path / "c.yml").write_text(text)
    same_pictures(rig, load_rig(tmp_path / "c.yml"))


# ── folders ──


def test_easymocap_without_extri_has_lenses(tmp_path: Path, rig: Rig) -> None:
    save_rig(rig, tmp_path / "e", "easymocap")
    (tmp_path / "e/extri.yml").unlink()
    assert len(load_lenses(tmp_path / "e")) == len(rig)
    with pytest.raises(KinecastError, match="no camera's place"):
        load_rig(tmp_path / "e")


def test_colmap_with_all_images_in_one_folder(tmp_path: Path, rig: Rig) -> None:
    save_rig(rig, tmp_path / "c", "colmap")
    images = tmp_path / "c/images.txt"
    text = images.read_text()
    for c in rig:
        text = text.replace(f" {c.name}.png", f" images/{c.name}.png")
    images.write_text(text)
    same_pictures(rig, load_rig(tmp_path / "c"))


# ── Qualisys, Vicon ──


def test_two_of_one_name_and_two_calibrations_are_refused(tmp_path: Path, rig: Rig) -> None:
    """The second of one serial took the place of the first in silence."""
    for name in ("c.qca.txt", "c.xcp"):
        path = tmp_path / name
        text = saved(rig, path)
        first, second = rig.names[:2]
        path.write_text(text.replace(f'"{second}"', f'"{first}"'))
        with pytest.raises(KinecastError, match="two cameras have it"):
            load_rig(path)
    save_rig(rig, tmp_path / "c.qca.txt")
    block = (tmp_path / "c.qca.txt").read_text().partition("\n")[2]
    (tmp_path / "c.qca.txt").write_text(f"<root>{block}{block}</root>")
    with pytest.raises(KinecastError, match="holds 2 calibrations"):
        load_rig(tmp_path / "c.qca.txt")
    (tmp_path / "c.qca.txt").write_text("<calibration><camera/></calibration>")
    with pytest.raises(KinecastError, match="no camera in it"):
        load_rig(tmp_path / "c.qca.txt")


def test_another_radial_model_of_vicon_is_refused(tmp_path: Path, rig: Rig) -> None:
    text = saved(rig, tmp_path / "c.xcp").replace("KINECAST_LENS", "X").replace("ViconRadial2", "Other")
    (tmp_path / "c.xcp").write_text(text)
    with pytest.raises(KinecastError, match="of the model 'Other'"):
        load_rig(tmp_path / "c.xcp")


# ── texts ──


@pytest.mark.parametrize("name", ["c.toml", "c.qca.txt", "c.xcp", "c.yml"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "crlf"])
def test_texts_in_other_encodings(tmp_path: Path, rig: Rig, name: str, encoding: str) -> None:
    path = tmp_path / name
    text = saved(rig, path)
    if encoding == "utf-16":
        text = text.replace('encoding="UTF-8"', 'encoding="UTF-16"')
    path.write_bytes(text.replace("\n", "\r\n").encode() if encoding == "crlf" else text.encode(encoding))
    found = load_rig(path)
    assert found.names == rig.names
    for a, b in zip(rig, found, strict=True):
        np.testing.assert_allclose(a.K, b.K, atol=1e-9)
        np.testing.assert_allclose(a.cam_from_world, b.cam_from_world, atol=1e-9)


@pytest.mark.parametrize(
    "data",
    [b"", b" \n", b"\0" * 99, b"null", b"[" * 100_000, b"{a: " * 50_000, b"- " * 50_000, b"\xff\xfe", b"\xff\xfe[\0",
     bytes(range(256)) * 9, b"a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n", b'<?xml version="1.0" encoding="x"?><a/>'],
)  # fmt: skip
@pytest.mark.parametrize("name", ["c.toml", "c.yaml", "c.json", "c.xcp", "c.qca.txt"])
def test_what_is_no_calibration_gets_one_line(tmp_path: Path, data: bytes, name: str) -> None:
    """A hundred thousand brackets ended the process."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(KinecastError) as e:
        load_rig(tmp_path / name)
    assert "\n" not in str(e.value) and name in str(e.value)
