"""The Qualisys calibration of the sample clip, seen against the chessboard photos that come with it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from kinecast.calibration.camera import Camera
from kinecast.calibration.formats import load_rig
from kinecast.calibration.rig_check import rig_faults
from kinecast.capture.errors import KinecastError
from kinecast.nodes.exchange.sample_clip import CAMERAS, Clip, clip

CORNERS = (4, 7)
SQUARE_M = 0.06


@pytest.fixture(scope="module")
def sample() -> Clip:
    try:
        return clip(1)
    except KinecastError as e:
        pytest.skip(str(e))


def residual_px(camera: Camera, corners: list[np.ndarray]) -> float:
    """Mean RMS distance between a board's corners and their projections, the board's pose being free."""
    board = np.zeros((CORNERS[0] * CORNERS[1], 3))
    board[:, :2] = np.mgrid[0 : CORNERS[0], 0 : CORNERS[1]].T.reshape(-1, 2) * SQUARE_M
    out = []
    for seen in corners:
        found, r, t = cv2.solvePnP(board, seen, camera.K, camera.distortion)
        assert found
        r, t = cv2.solvePnPRefineLM(board, seen, camera.K, camera.distortion, r, t)
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = cv2.Rodrigues(r)[0], t.ravel()
        px, _ = replace(camera, cam_from_world=T).project(board)
        out.append(np.sqrt(((px - seen) ** 2).sum(axis=1).mean()))
    return float(np.mean(out))


def test_the_rig_is_plausible_and_named_as_its_videos(sample: Clip) -> None:
    rig = load_rig(sample.calibration)
    assert rig.names == CAMERAS and rig_faults(rig) == []
    assert all(c.size_px == (1088, 1920) and 1.5 < c.centre_world[2] < 2.5 for c in rig)


def test_focal_lengths_and_lenses_fit_the_chessboards(sample: Clip) -> None:
    """Under 1.5 px at 1920 lines; and the coefficients as they stand fit better than divided by 64, as pixels are."""
    rig = load_rig(sample.calibration)
    whole, divided = [], []
    for name, photos in sample.boards.items():
        corners = []
        for photo in photos[:4]:
            grey = cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE)
            found, at = cv2.findChessboardCorners(grey, CORNERS)
            if found:
                at = cv2.cornerSubPix(grey, at.reshape(-1, 1, 2), (7, 7), (-1, -1), (3, 40, 1e-3))
                corners.append(at.reshape(-1, 2).astype(np.float64))
        assert corners
        camera = rig[name]
        whole.append(residual_px(camera, corners))
        divided.append(residual_px(replace(camera, distortion=camera.distortion / 64), corners))
    assert max(whole) < 1.5
    assert np.mean(whole) < np.mean(divided)
