"""Rig files: round trips, units, and one clear line for everything that is wrong in them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import load_rig, read_rig, save_rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.synth.rigs import ring_rig


def same(a: Rig, b: Rig, atol: float) -> None:
    assert a.names == b.names
    for x, y in zip(a, b, strict=True):
        assert x.size_px == y.size_px and x.model == y.model
        n = max(len(x.distortion), len(y.distortion))
        dx, dy = (np.pad(c.distortion, (0, n - len(c.distortion))) for c in (x, y))
        for p, q in ((x.K, y.K), (dx, dy), (x.cam_from_world, y.cam_from_world)):
            assert np.abs(p - q).max() <= atol


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 6))
@settings(max_examples=25)
def test_our_own_file_is_exact_to_the_last_bit(seed: int, n: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rig = replace(ring_rig(n, seed=seed), up="-y", name='a "rig"')
    path = tmp_path_factory.mktemp("rig") / "rig.toml"
    save_rig(rig, path)
    back = load_rig(path)
    same(rig, back, 0.0)
    assert back.up == "-y" and back.name == 'a "rig"'


def test_a_fisheye_comes_back(tmp_path: Path) -> None:
    cam = replace(ring_rig(2).cameras[0], distortion=np.array([0.1, 0.01, 0.0, 0.0]), model="fisheye")
    for format in ("rig", "aniposelib"):
        save_rig(Rig((cam,)), tmp_path / "f.toml", format)
        same(Rig((cam,)), load_rig(tmp_path / "f.toml"), 1e-12)


@pytest.mark.parametrize(("format", "units"), [("aniposelib", "m"), ("aniposelib", "mm"), ("qualisys", "m")])
def test_the_formats_of_others_come_back(tmp_path: Path, format: str, units: str) -> None:
    rig = ring_rig(5, seed=3)
    save_rig(rig, tmp_path / "odd.name", format, units)
    back, recognised = read_rig(tmp_path / "odd.name")
    assert recognised == format
    same(rig, back, 1e-9)  # a Rodrigues vector, and a division by 64 or 1000, round at 1e-16 of values up to 1e3


ANIPOSE = """
[cam_0]
name = "left"
size = [ 1280.0, 720.0]
matrix = [ [ 900.0, 0.0, 640.0], [ 0.0, 900.0, 360.0], [ 0.0, 0.0, 1.0]]
distortions = [ 0.1, 0.0]
rotation = [ 0.0, 0.0, 0.0]
translation = [ 0.0, 0.0, 0.0]
fisheye = false

[cam_1]
name = "right"
size = [1280, 720]
matrix = [ [ 900.0, 0.0, 640.0], [ 0.0, 900.0, 360.0], [ 0.0, 0.0, 1.0]]
distortions = [ 0.1, 0.0, 0.0, 0.0, 0.0]
rotation = [ 0.0, 0.0, 0.0]
translation = [ BASE, 0.0, 0.0]

[metadata]
adjusted = false
error = 0.0
"""


def anipose(tmp_path: Path, base: float, extra: str = "") -> Path:
    path = tmp_path / "calibration.toml"
    path.write_text(ANIPOSE.replace("BASE", str(base)) + extra)
    return path


def test_aniposelib_units_are_told_by_the_size_of_the_rig(tmp_path: Path) -> None:
    assert load_rig(anipose(tmp_path, -3.0))["right"].centre_world[0] == 3.0
    assert load_rig(anipose(tmp_path, -3000.0))["right"].centre_world[0] == pytest.approx(3.0)
    path = anipose(tmp_path, -60.0)
    with pytest.raises(KinecastError, match=r"60 units apart.*--units"):
        load_rig(path)
    assert load_rig(path, units="cm")["right"].centre_world[0] == pytest.approx(0.6)
    assert load_rig(anipose(tmp_path, -3.0, 'units = "mm"'))["right"].centre_world[0] == pytest.approx(0.003)


QCA_CAMERA = """<camera active="1" serial="{name}" model="{model}" viewrotation="0">
  <fov_video left="{left}" top="0" right="{right}" bottom="719"/>
  <transform x="0" y="-3000" z="1000" r11="1" r12="0" r13="0" r21="0" r22="0" r23="1" r31="0" r32="-1" r33="0"/>
  <intrinsic focalLengthU="64000" focalLengthV="64000" centerPointU="41600" centerPointV="23040" skew="0"
    radialDistortion1="-0.05" radialDistortion2="0.1" radialDistortion3="0" tangentalDistortion1="0.001"
    tangentalDistortion2="0.002"/></camera>"""


def qca(tmp_path: Path, *cameras: str) -> Path:
    path = tmp_path / "Calib.qca.txt"
    path.write_text(
        "<?xml version='1.0' encoding='ASCII'?>\n<calibration><cameras>" + "".join(cameras) + "</cameras></calibration>"
    )
    return path


def test_qualisys_axes_and_units_by_hand(tmp_path: Path) -> None:
    """3 m south of the origin and 1 m high, looking north: the camera's y is the world's z, its z points south."""
    rig = load_rig(qca(tmp_path, QCA_CAMERA.format(name="cam01", model="none", left=10, right=1289)))
    cam = rig["cam01"]
    assert cam.size_px == (1280, 720) and np.allclose(cam.centre_world, [0, -3, 1])
    assert np.allclose(cam.K, [[1000, 0, 640], [0, 1000, 360], [0, 0, 1]])
    plain = replace(cam, distortion=np.zeros(4))
    px, depth = plain.project([[0, 0, 1], [0.3, 0, 1], [0, 0, 1.3]])
    assert np.allclose(depth, 3)
    assert np.allclose(px, [[640, 360], [740, 360], [640, 260]])  # east is right, up is up
    assert cam.distortion.tolist() == [-0.05, 0.1, 0.001, 0.002, 0.0]


def test_qualisys_video_cameras_go_before_marker_cameras(tmp_path: Path) -> None:
    marker = QCA_CAMERA.format(name="1", model="Oqus 300", left=0, right=1279)
    video = QCA_CAMERA.format(name="2", model="Miqus Video", left=0, right=1279)
    assert load_rig(qca(tmp_path, marker, video)).names == ("2",)


GOOD = "kinecast_rig = 1\n[[camera]]\nname='a'\nsize_px=[9,9]\nK_px=[[9,0,4],[0,9,4],[0,0,1]]\ndistortion=[0,0,0,0]\n"
GOOD += "rotation_cam_from_world=[[1,0,0],[0,1,0],[0,0,1]]\ntranslation_cam_from_world_m=[0,0,0]\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kinecast_rig = 1", "kinecast_rig = 2", ["version 2"]),
        ("size_px=[9,9]", "size_px=[9]", ["'a'", "size_px", "expected 2"]),
        ("size_px=[9,9]", "size_px=[9,9.5]", ["'a'", "size_px"]),
        ("K_px=[[9,0,4],[0,9,4],[0,0,1]]", "", ["'a'", "K_px", "is missing"]),
        ("K_px=[[9,0,4]", "K_px=[[nan,0,4]", ["'a'", "K_px", "not finite"]),
        ("K_px=[[9,0,4]", "K_px=[['x',0,4]", ["'a'", "K_px"]),
        ("K_px=[[9,0,4]", "K_px=[[-9,0,4]", ["'a'", "focal"]),
        ("[[1,0,0],[0,1,0],[0,0,1]]\nt", "[[2,0,0],[0,1,0],[0,0,1]]\nt", ["'a'", "rotation"]),
        ("distortion=[0,0,0,0]", "distortion=[0]", ["'a'", "distortion"]),
        ("name='a'", "", ["number 0", "name"]),
        ("name='a'", "name='a'\nlens='wide'", ["'a'", "lens", "fisheye"]),
        ("name='a'", "name='a'\nszie=1", ["'a'", "szie", "size_px"]),
        ("[[camera]]", "up='w'\n[[camera]]", ["up", "-x"]),
        ("[[camera]]", "[camera]", ["[[camera]]"]),
        ("kinecast_rig = 1", "kinecast_rig = ", ["TOML"]),
        ("kinecast_rig = 1", "other = 1", ["no calibration"]),
    ],
)
def test_what_is_wrong_in_our_file_is_said_in_one_line(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(GOOD)
    load_rig(path)
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(KinecastError) as e:
        load_rig(path)
    text = str(e.value)
    assert "rig.toml" in text and "\n" not in text
    assert all(w in text for w in words), text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xfe", ["not a text file"]),
        (b'{"a": 1', ["JSON"]),
        (b"[1, 2]", ["no TOML", "Kalibr"]),
        (b'{"cameras": [{"name": "00_00", "type": "hd", "K": [[1,0,0],[0,1,0],[0,0,1]]}]}', ["00_00", "R"]),
        (b"<calibration><cameras><camera serial='c7'></cameras>", ["XML"]),
        (b"<calibration><cameras><camera serial='c7'/></cameras></calibration>", ["c7", "transform"]),
        (b"<!DOCTYPE x><calibration><camera/></calibration>", ["refused"]),
        (b"<calibration><cameras/><camera/></calibration>", ["no camera"]),
        (b"", ["no calibration"]),
    ],
)
def test_files_that_are_not_rigs(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(KinecastError) as e:
        load_rig(path)
    assert all(w in str(e.value) for w in ["x.toml", *words]), str(e.value)


def test_a_missing_file_and_an_unwritable_place(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match=r"nothing\.toml"):
        load_rig(tmp_path / "nothing.toml")
    (tmp_path / "file").write_text("")
    with pytest.raises(KinecastError, match="cannot write"):
        save_rig(ring_rig(2), tmp_path / "file" / "rig.toml")
    fisheye = replace(ring_rig(2).cameras[0], distortion=np.zeros(4), model="fisheye")
    with pytest.raises(KinecastError, match="lens"):
        save_rig(Rig((fisheye,)), tmp_path / "a.qca.txt")
    assert not (tmp_path / "a.qca.txt").exists()


def test_panoptic_is_in_centimetres_and_y_down(tmp_path: Path) -> None:
    text = '{"calibDataSource": "x", "cameras": [{"name": "00_05", "type": "hd", "resolution": [1920, 1080], '
    text += '"K": [[1400,0,960],[0,1400,540],[0,0,1]], "distCoef": [0,0,0,0,0], "R": [[1,0,0],[0,1,0],[0,0,1]], '
    text += '"t": [[0],[100],[300]]}, {"name": "01_01", "type": "vga"}]}'
    (tmp_path / "c.json").write_text(text)
    rig, format = read_rig(tmp_path / "c.json")
    assert format == "json" and rig.up == "-y" and rig.names == ("00_05",)
    assert rig["00_05"].t.tolist() == [0, 1, 3]


def test_many_coefficients_are_cut_only_where_they_are_zero(tmp_path: Path) -> None:
    text = ANIPOSE.replace("BASE", "-3.0").replace("[ 0.1, 0.0]", str([0.1] * 5 + [0.0] * 9))
    (tmp_path / "a.toml").write_text(text)
    assert load_rig(tmp_path / "a.toml")["left"].distortion.tolist() == [0.1] * 5
    (tmp_path / "a.toml").write_text(ANIPOSE.replace("BASE", "-3.0").replace("[ 0.1, 0.0]", str([0.1] * 14)))
    with pytest.raises(KinecastError, match=r"left.*distortions"):
        load_rig(tmp_path / "a.toml")


def test_the_camera_of_every_format_is_a_camera(tmp_path: Path) -> None:
    assert all(isinstance(c, Camera) for c in load_rig(anipose(tmp_path, -3.0)))
