"""Projection and its inverse, for ordinary, wide and fisheye lenses, up to the corner of the picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinecast.calibration.camera import Camera, Rig

K = np.array([[900.0, 0, 960], [0, 905.0, 540], [0, 0, 1]])
LENSES = {
    "none": ([0, 0, 0, 0], "brown"),
    "mild": ([-0.046, 0.14, 0.0006, 0.0007, 0.0], "brown"),
    "barrel": ([-0.33, 0.12, 0.0005, -0.0003, -0.02], "brown"),
    "rational": ([0.4, 0.1, 0.0002, 0.0001, 0.005, 0.72, 0.2, 0.03], "brown"),
    "fisheye": ([0.03, -0.01, 0.004, -0.001], "fisheye"),
}


def camera(lens: str, cam_from_world: np.ndarray | None = None) -> Camera:
    distortion, model = LENSES[lens]
    return Camera(lens, (1920, 1080), K, distortion, np.eye(4) if cam_from_world is None else cam_from_world, model)


@pytest.mark.parametrize("lens", LENSES)
@given(x=st.floats(0, 1919), y=st.floats(0, 1079))
def test_undistort_inverts_the_lens_or_says_that_it_cannot(lens: str, x: float, y: float) -> None:
    cam = camera(lens)
    xy = cam.undistort([x, y])
    if np.isfinite(xy).all():
        assert np.abs(cam.distort(xy) - [x, y]).max() < 1e-6
    else:
        assert lens in ("barrel", "fisheye")  # the others reach every pixel of the picture
        assert np.hypot((x - 960) / 900, (y - 540) / 905) > 0.9


@pytest.mark.parametrize("lens", LENSES)
@given(x=st.floats(-4, 4), y=st.floats(-4, 4), z=st.floats(0.3, 20))
def test_project_then_undistort_returns_to_the_ray_of_the_point(lens: str, x: float, y: float, z: float) -> None:
    cam = camera(lens)
    point = np.array([x, y, z])
    px, depth = cam.project(point)
    assert depth == pytest.approx(z)
    if np.isfinite(px).all() and (px >= 0).all() and (px < [1920, 1080]).all():
        ray = np.append(cam.undistort(px), 1.0) @ cam.R
        ray /= np.linalg.norm(ray)
        # 1e-6 px is 1e-9 rad with this focal length; near a fold a pixel is many times more
        assert np.linalg.norm(np.cross(ray, point / np.linalg.norm(point))) < 1e-6


def test_a_point_beyond_the_fold_is_not_seen() -> None:
    """Polynomials fold back: at 63° off axis this lens would put the point into the middle of the picture."""
    cam = camera("barrel")
    xy = np.array([2.0, 0.0])
    assert 0 < cam.distort(xy)[0] < 1919
    assert np.isnan(cam.project([2.0, 0.0, 1.0])[0]).all()
    assert np.isfinite(cam.project([0.5, 0.0, 1.0])[0]).all()


def test_behind_and_missing_points_give_nan_and_keep_depth() -> None:
    cam = camera("mild")
    px, depth = cam.project([[0, 0, -2.0], [np.nan, 0, 1], [0, 0, 2]])
    assert np.isnan(px[:2]).all() and np.allclose(px[2], [960, 540])
    assert depth[0] == -2 and depth[2] == 2
    assert np.isnan(cam.undistort([[np.nan, 1], [np.inf, 0]])).all()


@pytest.mark.parametrize("shape", [(2,), (5, 2), (3, 4, 2), (0, 2)])
def test_shapes_are_kept(shape: tuple[int, ...]) -> None:
    cam = camera("rational")
    px = np.full(shape, 600.0)
    assert cam.undistort(px).shape == shape
    assert cam.project(np.ones((*shape[:-1], 3)))[0].shape == shape


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"K": np.eye(3) * -1}, "focal"),
        ({"distortion": [0.1]}, "coefficients"),
        ({"cam_from_world": np.diag([1, 1, -1, 1.0])}, "rigid"),
        ({"size_px": (0, 10)}, "size_px"),
    ],
)
def test_a_camera_cannot_be_half_built(change: dict[str, object], word: str) -> None:
    good = {"name": "a", "size_px": (9, 9), "K": K, "distortion": np.zeros(4), "cam_from_world": np.eye(4)}
    with pytest.raises(ValueError, match=word):
        Camera(**(good | change))  # type: ignore[arg-type]


def test_a_rig_keeps_order_and_knows_its_names() -> None:
    rig = Rig((camera("mild"), camera("none")), up="-y")
    assert rig.names == ("mild", "none") and rig.subset(("none",)).names == ("none",)
    assert rig.up_world.tolist() == [0, -1, 0]
    with pytest.raises(KeyError, match="mild, none"):
        rig["cam9"]
    with pytest.raises(ValueError, match="twice"):
        Rig((camera("mild"), camera("mild")))
