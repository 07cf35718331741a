"""Rig files of Vicon, EasyMocap, COLMAP, OpenCV and Caliscope: by hand, round trips, and what must be refused."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import format_of, load_rig, read_rig, save_rig
from kinecast.calibration.rig_check import rig_faults
from kinecast.capture.errors import KinecastError
from kinecast.engines.synth.rigs import ring_rig

LENS = np.array([-0.12, 0.05, 0.001, -0.0015, -0.01])
POINTS = np.array([[0.3, -0.2, 1.0], [-0.4, 0.5, 1.7], [0.0, 0.0, 0.1]])


def bent(n: int = 4, lens: np.ndarray = LENS) -> Rig:
    return Rig(tuple(replace(c, distortion=lens) for c in ring_rig(n, (1280, 720), seed=3)), "studio")


def project(rig: Rig) -> np.ndarray:
    return np.stack([c.project(POINTS)[0] for c in rig])


def same(a: Rig, b: Rig, atol: float) -> None:
    assert a.names == b.names and a.up == b.up
    for x, y in zip(a, b, strict=True):
        assert x.size_px == y.size_px and x.model == y.model
        dx, dy = (np.pad(c.distortion, (0, 8 - len(c.distortion))) for c in (x, y))
        for p, q in ((x.K, y.K), (dx, dy), (x.cam_from_world, y.cam_from_world)):
            assert np.abs(p - q).max() <= atol


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("easymocap", "folder"),
        ("colmap", "folder"),
        ("opencv", "rig.yml"),
        ("opencv", "rig.xml"),
        ("caliscope", "camera_array.toml"),
    ],
)
def test_they_come_back(format: str, name: str, tmp_path: Path) -> None:
    """Quaternions, Rodrigues vectors and ± half a pixel round at 1e-16 of values up to 1e3."""
    rig = replace(bent(), up="-y")
    save_rig(rig, tmp_path / name, format)
    back, recognised = read_rig(tmp_path / name)
    assert recognised == format
    if format == "colmap":  # k3 needs its full model
        assert "FULL_OPENCV" in (tmp_path / name / "cameras.txt").read_text()
    same(rig, back, 1e-9)


@pytest.mark.parametrize("format", ["colmap", "opencv", "caliscope"])
def test_a_fisheye_comes_back(format: str, tmp_path: Path) -> None:
    cam = replace(ring_rig(2).cameras[0], distortion=np.array([0.1, 0.01, 0.002, 0.0]), model="fisheye")
    save_rig(Rig((cam,)), tmp_path / "out.yml", format)
    same(Rig((cam,)), load_rig(tmp_path / "out.yml"), 1e-9)


def test_vicon_comes_back(tmp_path: Path) -> None:
    """Vicon has no tangential terms: other readers get its lens fitted (0.001 px here), we our own numbers."""
    rig = bent(lens=np.array([-0.05, 0.02, 0.0002, -0.0003, 0.0]))
    save_rig(rig, tmp_path / "s.xcp")
    back, recognised = read_rig(tmp_path / "s.xcp")
    assert recognised == "xcp" and back.names == rig.names
    same(rig, back, 1e-9)
    others = (tmp_path / "s.xcp").read_text().replace("KINECAST_LENS", "OTHER")
    (tmp_path / "o.xcp").write_text(others)
    foreign = load_rig(tmp_path / "o.xcp")
    apart = np.linalg.norm(project(rig) - project(foreign), axis=-1)
    assert np.isfinite(apart).any() and 0 < np.nanmax(apart) < 0.05
    plain = bent(lens=np.zeros(4))
    save_rig(plain, tmp_path / "p.xcp")
    same(plain, load_rig(tmp_path / "p.xcp"), 1e-9)
    with pytest.raises(KinecastError, match=r"Vicon's lens model misses it by \d"):
        save_rig(bent(lens=np.array([-0.1, 0.02, 0.02, 0.0, 0.0])), tmp_path / "no.xcp")
    with pytest.raises(KinecastError, match="no inverse at the border"):
        save_rig(bent(lens=np.array([-0.9, 0.3, 0.0, 0.0, 0.0])), tmp_path / "no.xcp")
    assert not (tmp_path / "no.xcp").exists()


XCP = """<?xml version="1.0" encoding="UTF-8" standalone="no" ?>
<Cameras NAME="" VERSION="1.0">
  <Camera DEVICEID="2107" DISPLAY_TYPE="VueBlue" PIXEL_ASPECT_RATIO="1" SENSOR_SIZE="1920 1080" SKEW="0" TYPE="VUE">
    <ThresholdGrid BIT_DEPTH="1"/><ControlFrames/>
    <KeyFrames><KeyFrame FOCAL_LENGTH="1600" FRAME="0" ORIENTATION="0.70710678 0 0 0.70710678"
      POSITION="0 -3000 1000" PRINCIPAL_POINT="950 530" VICON_RADIAL2="ViconRadial2 950 530 RADIAL 0 0"/></KeyFrames>
  </Camera>
  <Camera DEVICEID="2108" DISPLAY_TYPE="T40-S" SENSOR_SIZE="2336 1728" TYPE="DxCore41"><KeyFrames>
    <KeyFrame FOCAL_LENGTH="2000" ORIENTATION="0 0 0 1" POSITION="0 0 0" PRINCIPAL_POINT="1 1"/></KeyFrames></Camera>
  <Camera DEVICEID="2109" DISPLAY_TYPE="VueBlue" SENSOR_SIZE="1920 1080" TYPE="VUE"><KeyFrames/></Camera>
</Cameras>
"""


def xcp(tmp_path: Path, radial: str = "2e-8") -> Path:
    path = tmp_path / "take.xcp"
    path.write_text(XCP.replace("RADIAL 0 0", f"{radial} 0 0"))
    return path


def test_vicon_by_hand(tmp_path: Path) -> None:
    """3 m south of the origin, 1 m high, looking north: turned by 90° about x. Only the calibrated video camera."""
    rig = load_rig(xcp(tmp_path, "0"))
    assert rig.names == ("2107",) and rig.up == "z"
    cam = rig["2107"]
    assert cam.size_px == (1920, 1080) and np.allclose(cam.centre_world, [0, -3, 1])
    px, depth = cam.project([[0, 0, 1], [0.3, 0, 1], [0, 0, 1.3]])
    assert np.allclose(depth, 3)
    assert np.allclose(px, [[950, 530], [1110, 530], [950, 370]], atol=1e-4)  # east is right, up is up


def test_vicons_lens_corrects_where_opencvs_bends(tmp_path: Path) -> None:
    """A point seen at radius r belongs at r (1 + k r²): 2e-8 per px² moves 800 px by 10 px."""
    cam = load_rig(xcp(tmp_path))["2107"]
    seen = np.array([[1750.0, 530.0]])
    belongs = 950 + 800 * (1 + 2e-8 * 800**2)
    assert np.allclose(cam.undistort(seen)[0, 0] * 1600 + 950, belongs, atol=0.5)
    with pytest.raises(KinecastError, match="not per px²"):
        load_rig(xcp(tmp_path, "0.1"))


def test_the_unit_of_a_vicon_file_in_metres_shows(tmp_path: Path) -> None:
    save_rig(bent(lens=np.zeros(4)), tmp_path / "a.xcp")
    text = (tmp_path / "a.xcp").read_text()
    for c in bent():
        mm = " ".join(repr(float(v)) for v in 1000.0 * c.centre_world)
        assert mm in text
        text = text.replace(mm, " ".join(repr(float(v)) for v in c.centre_world))
    (tmp_path / "a.xcp").write_text(text)
    assert any("is the unit of length right?" in fault for fault in rig_faults(load_rig(tmp_path / "a.xcp")))


def mat(key: str, rows: int, cols: int, *values: float) -> str:
    data = ", ".join(f"{v:.8f}" for v in values)
    lines = (f"{key}: !!opencv-matrix", f"  rows: {rows}", f"  cols: {cols}", "  dt: d", f"  data: [{data}]", "")
    return "\r\n".join(lines)


def easymocap(folder: Path, size: bool = True) -> Path:
    """As EasyMocap writes it: eight digits, CRLF, names of digits alone."""
    head = '%YAML:1.0\r\n---\r\nnames:\r\n  - "01"\r\n  - "02"\r\n'
    folder.mkdir(exist_ok=True)
    intri, extri = head, head
    for name, x in (("01", 0.0), ("02", -2.0)):
        intri += mat(f"K_{name}", 3, 3, 1000, 0, 640, 0, 1000, 360, 0, 0, 1)
        intri += mat(f"dist_{name}", 5, 1, -0.1, 0.02, 0, 0, 0)
        intri += f"H_{name}: 720\r\nW_{name}: 1280\r\n" if size else ""
        extri += mat(f"R_{name}", 3, 1, np.pi / 2, 0, 0)
        extri += mat(f"Rot_{name}", 3, 3, 1, 0, 0, 0, 0, -1, 0, 1, 0) + mat(f"T_{name}", 3, 1, x, 1, 3)
    (folder / "intri.yml").write_text(intri, newline="")
    (folder / "extri.yml").write_text(extri, newline="")
    return folder


def test_easymocap_by_hand(tmp_path: Path) -> None:
    folder = easymocap(tmp_path / "calib")
    for path in (folder, folder / "extri.yml"):
        rig, format = read_rig(path)
        assert format == "easymocap" and rig.names == ("01", "02")
    assert np.allclose(rig["02"].centre_world, [2, -3, 1]) and rig["01"].size_px == (1280, 720)
    assert rig["01"].distortion.tolist() == [-0.1, 0.02, 0, 0, 0]
    without = easymocap(tmp_path / "older", size=False)
    with pytest.raises(KinecastError, match=r"does not say the size.*--size"):
        load_rig(without)
    assert read_rig(without, size_px=(1280, 720))[0]["02"].size_px == (1280, 720)
    (without / "extri.yml").unlink()
    with pytest.raises(KinecastError, match="must lie in one folder"):
        load_rig(without / "intri.yml")


def test_opencv_reads_what_we_write_for_easymocap(tmp_path: Path) -> None:
    """The reader of EasyMocap is cv2.FileStorage itself."""
    rig = bent(2)
    save_rig(rig, tmp_path / "e", "easymocap")
    s = cv2.FileStorage(str(tmp_path / "e" / "extri.yml"), cv2.FILE_STORAGE_READ)
    name = rig.names[1]
    assert s.getNode("names").at(1).string() == name
    assert np.allclose(cv2.Rodrigues(s.getNode(f"R_{name}").mat())[0], rig[name].R)
    assert np.allclose(s.getNode(f"T_{name}").mat().ravel(), rig[name].t)


def test_colmap_by_hand(tmp_path: Path) -> None:
    """Names from folders, points and empty lines, principal points half a pixel less than COLMAP's."""
    (tmp_path / "cameras.txt").write_text(
        "# c\n3 SIMPLE_RADIAL 1280 720 1000 640.5 360.5 -0.1\n7 PINHOLE 640 480 500 501 320 240\n"
    )
    (tmp_path / "images.txt").write_text(
        "# head\n1 0.70710678 0.70710678 0 0 0 1 3 3 left/000001.png\n10 20 -1 30 40 -1\n"
        "2 0.70710678 0.70710678 0 0 0 1 3 3 left/000002.png\n\n5 1 0 0 0 -2 0 0 7 right.jpg\n\n"
    )
    rig, format = read_rig(tmp_path)
    assert format == "colmap" and rig.names == ("left", "right")
    left = rig["left"]
    assert left.K.tolist() == [[1000, 0, 640], [0, 1000, 360], [0, 0, 1]] and left.distortion.tolist() == [
        -0.1,
        0,
        0,
        0,
    ]
    assert np.allclose(left.centre_world, [0, -3, 1], atol=1e-6) and np.allclose(rig["right"].centre_world, [2, 0, 0])
    px, _ = replace(left, distortion=np.zeros(4)).project([[0, 0, 1.3]])
    assert px[0, 1] < 360  # up is up


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ("1 1 0 0 0 0 0 0 1 a.png\n2 1 0 0 0 1 0 0 1 b.png\n", "line 2: expected the points of the image above"),
        ("1 1 0 0 0 0 0 0 1 a/1.png\n\n2 1 0 0 0 1 0 0 1 a/2.png\n\n", "stand in different places"),
        ("1 1 0 0 0 0 0 0 1 a.png\n\n2 1 0 0 0 1 0\n", "line 3: expected IMAGE_ID QW"),
        ("1 1 1 0 0 0 0 0 1 a.png\n\n", "no rotation"),
        ("1 1 0 0 0 0 0 0 4 a.png\n\n", "of camera 4, not in cameras.txt"),
        ("1 1 0 0 0 0 0 nan 1 a.png\n\n", "expected numbers"),
        ("# nothing\n", "no image in it"),
    ],
)
def test_damaged_colmap(images: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 640 480 500 500 320 240\n")
    (tmp_path / "images.txt").write_text(images)
    with pytest.raises(KinecastError, match=said):
        load_rig(tmp_path)


def test_colmap_lenses_and_binaries(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 1 a.png\n\n")
    for line, said in (("1 FOV 640 480 500 500 320 240 1", "lens model FOV"), ("1 OPENCV 640 480 500", "8 parameters")):
        (tmp_path / "cameras.txt").write_text(line)
        with pytest.raises(KinecastError, match=said):
            load_rig(tmp_path)
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "cameras.bin").write_bytes(b"\1")
    with pytest.raises(KinecastError, match="model_converter"):
        load_rig(tmp_path / "b")
    with pytest.raises(KinecastError, match="folder without a calibration"):
        load_rig(tmp_path / "b" / "c")


def write_storage(path: Path, **values: object) -> Path:
    s = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        s.write(key, value)  # type: ignore[call-overload]
    s.release()
    return path


K1 = np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]])


def test_opencvs_stereo_sample(tmp_path: Path) -> None:
    """Lenses in one file, the second camera from the first in another; squares in millimetres."""
    path = write_storage(tmp_path / "intrinsics.yml", M1=K1, D1=np.zeros((1, 14)), M2=2 * K1, D2=np.zeros((1, 5)))
    with pytest.raises(KinecastError, match=r"extrinsics\.yml"):
        read_rig(path, size_px=(640, 480))
    T = np.array([[-250.0], [0], [0]])
    write_storage(tmp_path / "extrinsics.yml", R=cv2.Rodrigues(np.array([0.0, 0.1, 0]))[0], T=T)
    with pytest.raises(KinecastError, match="--size"):
        load_rig(path)
    rig = read_rig(path, size_px=(640, 480))[0]
    assert rig.names == ("cam_1", "cam_2") and not rig["cam_1"].centre_world.any()
    assert np.linalg.norm(rig["cam_2"].centre_world) == pytest.approx(0.25)  # 250 units apart can only be mm
    assert read_rig(path, "cm", (640, 480))[0]["cam_2"].t[0] == -2.5


def test_opencvs_one_camera_and_multiview_samples(tmp_path: Path) -> None:
    one = write_storage(
        tmp_path / "left.xml", image_width=640, image_height=480, camera_matrix=K1,
        distortion_coefficients=np.array([[0.1], [0], [0], [0], [0]]),
    )  # fmt: skip
    rig, format = read_rig(one)
    assert format == "opencv" and rig.names == ("left",) and np.allclose(rig["left"].cam_from_world, np.eye(4))
    many = write_storage(
        tmp_path / "multi.yaml", rvecs=np.array([[[0.0], [0], [0]], [[0], [0.5], [0]]]),
        Ts=np.array([[0.0, 0, 0], [-1, 0, 0]]),
        Ks=np.stack([K1, K1]), distortions=np.zeros((2, 1, 4)), is_fisheye=np.array([0, 1]),
        image_sizes=np.array([[640, 480], [640, 480]]), cam_ids="a,b",
    )  # fmt: skip
    rig = load_rig(many)
    assert rig.names == ("a", "b") and rig["b"].model == "fisheye" and rig["b"].t.tolist() == [-1, 0, 0]
    assert np.allclose(rig["b"].R, cv2.Rodrigues(np.array([0, 0.5, 0]))[0])


def test_units_between_metres_and_millimetres_must_be_said(tmp_path: Path) -> None:
    rig = ring_rig(2)
    far = Rig(tuple(replace(c, cam_from_world=np.block([[c.R, 7 * c.t[:, None]], [np.zeros((1, 3)), 1]])) for c in rig))
    for format, file in (("opencv", "far.yml"), ("colmap", "far/images.txt"), ("easymocap", "easy/extri.yml")):
        path = tmp_path / file
        save_rig(far, path if format == "opencv" else path.parent, format)
        same(far, load_rig(path), 1e-9)  # ours say that they are in metres
        text = "\n".join(line for line in path.read_text().splitlines() if "units" not in line)
        path.write_text(text)
        with pytest.raises(KinecastError, match=r"units apart.*--units"):
            load_rig(path)


def test_caliscope_reads_it(tmp_path: Path) -> None:
    """As its own reader takes it: numbered tables, Rodrigues vectors, five coefficients, no lens beyond them."""
    rig = Rig(tuple(replace(c, name=f"cam_{i + 3}") for i, c in enumerate(bent(2, lens=np.array([0.1, 0, 0, 0])))))
    save_rig(rig, tmp_path / "camera_array.toml")
    tables = tomllib.loads((tmp_path / "camera_array.toml").read_text())["cameras"]
    assert list(tables) == ["3", "4"] and len(tables["3"]["distortions"]) == 5 and tables["4"]["cam_id"] == 4
    assert np.allclose(cv2.Rodrigues(np.array(tables["4"]["rotation"]))[0], rig["cam_4"].R)
    with pytest.raises(KinecastError, match="k3 only"):
        save_rig(bent(2, lens=np.array([0.1, 0, 0, 0, 0, 0.1, 0, 0])), tmp_path / "no.toml", "caliscope")


@pytest.mark.parametrize("format", ["xcp", "opencv", "easymocap", "colmap", "caliscope"])
def test_files_cut_off_are_refused_in_one_line(format: str, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    save_rig(bent(lens=np.zeros(4)), path, format)
    for file in [path] if path.is_file() else [f for f in path.iterdir() if f.name != "points3D.txt"]:
        whole = file.read_text()
        for share in (0.1, 0.45, 0.6, 0.93):
            file.write_text(whole[: int(share * len(whole))])
            try:
                back = load_rig(path)
            except KinecastError as e:
                assert str(path) in str(e) and "\n" not in str(e).strip()
            else:  # a list may end early at the end of a line: then cameras are missing, and none is wrong
                assert len(back) < 4 and format == "colmap"
        file.write_text(whole)
    assert len(load_rig(path)) == 4


def refused(change: Callable[[Camera], Camera], format: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match=said):
        save_rig(Rig(tuple(change(c) for c in ring_rig(2))), tmp_path / "x", format)


def test_what_a_format_cannot_say_is_refused(tmp_path: Path) -> None:
    skewed = np.array([[0, 1.0, 0], [0, 0, 0], [0, 0, 0]])
    refused(lambda c: replace(c, K=c.K + skewed), "colmap", "skewed", tmp_path)
    refused(lambda c: replace(c, distortion=np.zeros(4), model="fisheye"), "easymocap", "k1 k2 p1 p2 k3", tmp_path)
    with pytest.raises(KinecastError, match="z-up"):
        save_rig(replace(ring_rig(2), up="y"), tmp_path / "x.xcp")
    (tmp_path / "file").write_text("")
    with pytest.raises(KinecastError, match="name a folder"):
        save_rig(ring_rig(2), tmp_path / "file", "colmap")
    names = ("a.xcp", "b.YML", "c.xml", "camera_array.toml", "d.qca.txt", "e.toml")
    assert [format_of(n) for n in names] == ["xcp", "opencv", "opencv", "caliscope", "qualisys", "rig"]


JUNK = ["nan", "1e999", '"', "<", "[", "\n", " ", "\x00", "-", "9", "!!opencv-matrix", "&a", "*a"]


@pytest.mark.parametrize("name", ["a.xcp", "b.yml", "c.xml", "easymocap", "colmap", "camera_array.toml"])
@pytest.mark.filterwarnings("ignore:overflow")
def test_damaged_at_random_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_rig(bent(3, lens=np.zeros(4)), path, name if "." not in name else None)
    rng = np.random.default_rng(7)
    refused = 0
    for file in [path] if path.is_file() else [f for f in path.iterdir() if f.name != "points3D.txt"]:
        whole = file.read_text()
        for _ in range(25):
            at = int(rng.integers(len(whole)))
            file.write_text(whole[:at] + str(rng.choice(JUNK)) + whole[at + int(rng.integers(12)) :])
            try:
                load_rig(path)
            except KinecastError as e:
                refused += 1
                assert "\n" not in str(e).strip() and str(tmp_path) in str(e)
        file.write_text(whole)
    assert refused > 5
