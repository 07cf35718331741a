"""Sessions of OpenCap: cameras in pickles, of which nothing but arrays is ever read."""

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_lenses, load_rig, read_rig_file
from kinecast.capture.errors import KinecastError
from kinecast.engines.synth import ring_rig

NAMES = ("Cam0", "Cam1", "Cam2")
POINTS = np.random.default_rng(3).uniform([-1, -1, 0], [1, 1, 2], (40, 3))


def studio() -> Rig:
    lens = np.array([0.2, -0.5, 0.001, -0.002, 0.3])
    cameras = ring_rig(3, (720, 1280), seed=3)
    return Rig(tuple(replace(c, name=n, distortion=lens) for n, c in zip(NAMES, cameras, strict=True)), "Subject2")


def session(tmp_path: Path, rig: Rig, **changed: Any) -> Path:
    """As OpenCap leaves it: heights before widths, columns for vectors, millimetres. changed: pickles of cameras."""
    for c in rig:
        table = {
            "distortion": c.distortion[None], "intrinsicMat": np.asarray(c.K), "rotation": np.asarray(c.R),
            "imageSize": np.array([[c.size_px[1]], [c.size_px[0]]], float), "translation": 1e3 * c.t[:, None],
        }  # fmt: skip
        folder = tmp_path / "Subject2" / "Videos" / c.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cameraIntrinsicsExtrinsics.pickle").write_bytes(pickle.dumps(changed.get(c.name, table), 3))
    path = tmp_path / "Subject2" / "sessionMetadata.yaml"
    board = {"black2BlackCornersHeight_n": 4, "black2BlackCornersWidth_n": 5, "placement": "backWall"}
    phones = dict.fromkeys(NAMES, "iphone14,2")
    path.write_text(yaml.safe_dump({"checkerBoard": board, "iphoneModel": phones, "mass_kg": 70.0}))
    return path


def test_a_session_is_a_rig_in_metres(tmp_path: Path) -> None:
    rig = studio()
    file, format = read_rig_file(session(tmp_path, rig))
    back = file.rig()
    assert format == "opencap" and back.names == NAMES and back.name == "Subject2" and back.up == "z"
    for c, b in zip(rig, back, strict=True):
        assert b.size_px == (720, 1280)
        np.testing.assert_allclose(b.project(POINTS)[0], c.project(POINTS)[0], atol=1e-6)
    assert any(n.startswith("unit: mm") for n in file.notes)


def test_what_a_session_lacks_is_said(tmp_path: Path) -> None:
    rig = studio()
    lens = {"distortion": np.zeros((1, 5)), "intrinsicMat": np.asarray(rig["Cam1"].K), "imageSize": [[1280], [720]]}
    path = session(tmp_path, rig, Cam1=lens, Cam2=None)
    file, _ = read_rig_file(path)
    assert [c.name for c in file.cameras] == ["Cam0"] and load_lenses(path).names == ("Cam0", "Cam1")
    assert any("left out: Cam2 (no Videos" in n for n in file.notes)
    assert any("left out: Cam1 (a lens alone)" in n for n in file.notes)
    listed = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(listed | {"iphoneModel": {3: "iphone14,2", "Cam0": "iphone14,2"}}))
    assert any("left out: 3, Cam2 (no Videos" in n for n in read_rig_file(path)[0].notes)
    alone = tmp_path / "sessionMetadata.yaml"
    alone.write_text(path.read_text())
    with pytest.raises(
        KinecastError, match=r"OpenCap session, whose cameras are in Videos.*download the whole session"
    ):
        load_rig(alone)


class Runs:
    """What a pickle may hold: a call."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert pickle.loads(pickle.dumps(Runs(made))) is None and made.is_dir()
    made.rmdir()
    for held in (Runs(made), {"rotation": Runs(made)}, np.array([Runs(made)], object)):
        with pytest.raises(KinecastError, match=r"Cam1.*mkdir; nothing of it was run"):
            load_rig(session(tmp_path, studio(), Cam1=held))
        assert not made.exists()
    path = session(tmp_path, studio(), Cam1=[1, 2])
    with pytest.raises(KinecastError, match="a pickle of list"):
        load_rig(path)
    (path.parent / "Videos" / "Cam1" / "cameraIntrinsicsExtrinsics.pickle").write_bytes(b"\x80\x04\x95")
    with pytest.raises(KinecastError, match="pickle data was truncated; nothing of it was run"):
        load_rig(path)
