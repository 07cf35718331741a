"""Lenses from noisy corners against the truth: Brown and fisheye, and how far the stated uncertainty goes."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.calibration.board.board import parse
from kinecast.calibration.board.detect import BoardView
from kinecast.calibration.camera import Camera
from kinecast.calibration.rigid import rotation, transform
from kinecast.calibration.solve.intrinsics import fit_lens

BOARD = parse("charuco:8x6:60mm:45mm:DICT_5X5_50")
SIZE = (1280, 720)
NOISE_PX = 0.2
K = np.array([[900.0, 0, 660], [0, 903, 350], [0, 0, 1]])
BROWN = Camera("brown", SIZE, K, np.array([-0.21, 0.09, 0.0008, -0.0006, -0.02]), np.eye(4))
WIDE = np.array([[430.0, 0, 650], [0, 430, 352], [0, 0, 1]])
FISHEYE = Camera("fisheye", SIZE, WIDE, np.array([0.04, -0.012, 0.003, -0.0005]), np.eye(4), "fisheye")


def views(camera: Camera, count: int, seed: int) -> list[BoardView]:
    """The board near the camera, leaning to all sides, its middle all over the picture."""
    rng = np.random.default_rng((seed, 5))
    middle = -BOARD.points_m.mean(axis=0)
    out: list[BoardView] = []
    while len(out) < count:
        px = rng.uniform([80, 60], np.array(SIZE) - [80, 60])
        x, y = camera.undistort(px[None])[0]
        z = rng.uniform(0.6, 1.0) / np.sqrt(1 + x * x + y * y) * camera.K[0, 0] / 900 * 1.2
        lean = np.deg2rad(rng.uniform(-40, 40, 3))
        points = (
            BOARD.points_m
            @ (T := transform(rotation(lean), [x * z, y * z, z]) @ transform(np.eye(3), middle))[:3, :3].T
            + T[:3, 3]
        )
        at, depth = camera.project(points)
        at = at + rng.normal(0, NOISE_PX, at.shape)
        ok = (np.asarray(depth) > 0.1) & (at >= 0).all(axis=1) & (at <= np.array(SIZE) - 1).all(axis=1)
        if ok.sum() >= 12:
            n = len(out)
            out.append(BoardView(n, n, np.flatnonzero(ok).astype(np.int32), at[ok], 2.0, False, SIZE))
    return out


@pytest.mark.parametrize(("camera", "lens"), [(BROWN, "brown5"), (FISHEYE, "fisheye")], ids=["brown", "fisheye"])
def test_a_lens_is_found_as_well_as_it_says(camera: Camera, lens: str) -> None:
    """Numbers within four of their stated σ. At the border, beyond most corners, a ray may be off by eight times the
    noise of a corner; in the middle by less."""
    fit = fit_lens(views(camera, 24, 0), BOARD, SIZE, "cam", lens)
    for name, at in (("fx", (0, 0)), ("fy", (1, 1)), ("cx", (0, 2)), ("cy", (1, 2))):
        sd = fit.solution.sd(0, name)
        assert abs(fit.camera.K[at] - camera.K[at]) < 4 * sd and sd < 0.01 * camera.K[0, 0], name
    # what the picture's rays turn to, after the turn that a lens alone cannot tell
    x, y = np.meshgrid(np.linspace(60, SIZE[0] - 60, 9), np.linspace(50, SIZE[1] - 50, 7))
    px = np.stack([x.ravel(), y.ravel()], axis=1)
    a, b = (np.c_[c.undistort(px), np.ones(len(px))] for c in (camera, fit.camera))
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    u, _, vt = np.linalg.svd(a.T @ b)
    off = np.linalg.norm(b @ (u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt).T - a, axis=1)
    assert camera.K[0, 0] * off.max() < 8 * NOISE_PX and camera.K[0, 0] * np.median(off) < 4 * NOISE_PX
    assert fit.held_out_px == pytest.approx(np.sqrt(2) * NOISE_PX, rel=0.3)


def test_more_coefficients_are_taken_only_where_they_help() -> None:
    straight = replace(BROWN, K=np.diag([900.0, 900, 1]) + np.array([[0, 0, 640], [0, 0, 360], [0, 0, 0.0]]))
    plain = fit_lens(views(replace(straight, distortion=np.zeros(5)), 14, 1), BOARD, SIZE, "cam")
    bent = fit_lens(views(BROWN, 14, 1), BOARD, SIZE, "cam")
    assert len(plain.kind.free) < len(bent.kind.free)
    assert plain.camera.K[0, 0] == pytest.approx(900, rel=0.005)
