"""Files written as others prepare them are read back: the same points, the same rays, cameras solved for."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.published import LabelledSampler, read_labelled, solve_camera
from kinecast.engines.train.data.published.read import _H36M_32, _MPI_28, _SPIN_24

Float = NDArray[np.float64]
K = np.array([[1145.0, 0, 512], [0, 1143, 515], [0, 0, 1]])


def walk(frames: int, joints: int, seed: int = 0) -> Float:
    """(T, J, 3) somebody who moves about, world metres, z up."""
    rng = np.random.default_rng(seed)
    body = rng.normal(0, 0.35, (joints, 3))
    t = np.linspace(0, 1, frames)[:, None, None]
    path = np.concatenate([2 * np.sin(3 * t), 1.5 * np.cos(4 * t), 0.2 * np.sin(9 * t)], -1)
    return np.asarray(body + path + 0.1 * np.sin(6 * t + np.arange(joints)[:, None]) + [0, 0, 1])


def cameras() -> list[tuple[Float, Float]]:
    """Two, 6 m away, looking at the middle; y of the camera is down."""
    out = []
    for angle in (0.3, 2.0):
        centre = np.array([6 * np.cos(angle), 6 * np.sin(angle), 1.6])
        forward = np.array([0, 0, 1.0]) - centre
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        out.append((R, -R @ centre))
    return out


def project(world: Float, R: Float, t: Float, noise_px: float = 0.0) -> tuple[Float, Float]:
    cam = world @ R.T + t
    px = cam[..., :2] / cam[..., 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]
    return cam, px + np.random.default_rng(1).normal(0, noise_px, px.shape)


def write_videopose(folder: Path, which: str, joints: int, noise_px: float = 0.0) -> list[Path]:
    two: dict[str, dict[str, list[NDArray[np.float32]]]] = {}
    three: dict[str, dict[str, Float]] = {}
    for s, subject in enumerate(("S1", "S9") if which == "h36m" else ("Train/S1", "Validate/S2")):
        two[subject], three[subject] = {}, {}
        for a, action in enumerate(("Walking 1", "Sitting")):
            world = walk(80, joints, 10 * s + a)
            three[subject][action] = world
            kept = world[:, _H36M_32] if joints == 32 else world
            two[subject][action] = [project(kept, R, t, noise_px)[1].astype(np.float32) for R, t in cameras()]
    paths = [folder / f"data_2d_{which}_toy.npz", folder / f"data_3d_{which}.npz"]
    layout = {"layout_name": "h36m", "num_joints": 17, "keypoints_symmetry": [[4, 5], [1, 2]]}
    np.savez_compressed(paths[0], positions_2d=np.array(two, object), metadata=np.array(layout, object))
    np.savez_compressed(paths[1], positions_3d=np.array(three, object))
    return paths


@pytest.mark.parametrize(("which", "joints", "name"), [("h36m", 32, "h36m17"), ("h36m", 17, "h36m17"),
                                                       ("humaneva", 15, "humaneva15")])  # fmt: skip
def test_videopose3d_s_files(tmp_path: Path, which: str, joints: int, name: str) -> None:
    found = read_labelled(write_videopose(tmp_path, which, joints))
    assert len(found) == 2 * 2 * 2  # subjects, actions, cameras
    assert {s.skeleton for s in found} == {name}
    assert len({s.name for s in found}) == len(found)
    world = walk(80, joints)
    world = world[:, _H36M_32] if joints == 32 else world
    cam, _ = project(world, *cameras()[1])
    s = next(s for s in found if s.name.endswith("S1/Walking 1/1"))
    assert s.action == "Walking" and s.rate_hz == (50.0 if which == "h36m" else 60.0)
    # float32 pixels of 0.00006 px and exact points: the camera comes back to far below a millimetre
    assert np.abs(s.points_cam - cam).max() < 1e-3
    assert np.abs(s.xy - cam[..., :2] / cam[..., 2:]).max() < 1e-4
    assert s.focal_px == pytest.approx(K[0, 0], rel=1e-3)


def test_a_camera_from_noisy_pairs() -> None:
    world = walk(400, 17).reshape(-1, 3)
    R, t = cameras()[0]
    _, px = project(world, R, t, 4.0)
    px[::20] += 300  # swapped, missed: nothing of it may stay
    found_K, found_R, found_t = solve_camera(world, px, "toy")
    # 6,460 good pairs of 4 px: a focal length is known to about 4 / sqrt(6460) px over a spread of 0.2 of it, far
    # below 1 %; depth and focal length are known together, so the centre gets 1 % of 6 m
    assert found_K[0, 0] == pytest.approx(K[0, 0], rel=0.02)
    assert np.linalg.norm(-found_R.T @ found_t + R.T @ t) < 0.12
    assert np.arccos((np.trace(found_R @ R.T) - 1) / 2) < np.deg2rad(0.7)
    with pytest.raises(KinecastError, match="do not tell the camera"):
        solve_camera(world[:20], px[:20], "toy")
    flat = world * [1, 1, 0]
    with pytest.raises(KinecastError, match="all in a plane"):
        solve_camera(flat, px, "toy")


def test_mpi_inf_3dhp(tmp_path: Path) -> None:
    import scipy.io

    path = tmp_path / "S3" / "Seq2" / "annot.mat"
    path.parent.mkdir(parents=True)
    world = walk(60, 28)
    seen = [project(world, R, t) for R, t in cameras()]
    cells2, cells3 = np.empty((14, 1), object), np.empty((14, 1), object)
    for i in range(14):
        cells2[i, 0] = seen[i][1].reshape(60, 56) if i < 2 else np.zeros((0, 0))
        cells3[i, 0] = (seen[i][0] * 1e3).reshape(60, 84) if i < 2 else np.zeros((0, 0))
    scipy.io.savemat(path, {"annot2": cells2, "annot3": cells3})
    found = read_labelled([path])
    assert [s.name for s in found] == ["mpi/S3/Seq2/0", "mpi/S3/Seq2/1"]
    assert found[1].rate_hz == 50.0 and found[1].focal_px == pytest.approx(K[1, 1], rel=1e-6)
    cam = seen[1][0][:, _MPI_28]
    assert np.abs(found[1].points_cam - cam).max() < 1e-5
    assert np.abs(found[1].xy - cam[..., :2] / cam[..., 2:]).max() < 1e-6
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(KinecastError, match="no annotations of MPI-INF-3DHP"):
        read_labelled([path])


def test_spin(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    relative = rng.normal(0, 0.4, (5, 24, 3))
    root, scale, centre = np.array([0.1, -0.2, 40.0]), 1.3, np.array([320.0, 240.0])
    focal = 5000 * scale * 200 / 224
    cam = relative - relative[:, [_SPIN_24[0]]] + root
    part = np.concatenate([cam[..., :2] / cam[..., 2:] * focal + centre, np.ones((5, 24, 1))], -1)
    part[:, 3, 2] = 0  # a joint that nobody marked
    S = np.concatenate([relative, np.ones((5, 24, 1))], -1)
    path = tmp_path / "lsp_train.npz"
    np.savez(path, part=part, S=S, scale=np.full(5, scale), center=np.tile(centre, (5, 1)),
             imgname=np.array(["a.jpg"] * 5))  # fmt: skip
    found = read_labelled([path])
    assert len(found) == 5 and found[0].rate_hz == 0 and found[0].skeleton == "h36m17"
    assert np.abs(found[2].points_cam[0] - cam[2, list(_SPIN_24)]).max() < 1e-3
    assert (found[0].confidence[0] == 0).sum() == 1


def test_batches_of_a_data_set_hang_together(tmp_path: Path) -> None:
    found = read_labelled(write_videopose(tmp_path, "h36m", 17))
    sampler = LabelledSampler(found, "h36m17", 6, 30, 25.0, 0)
    b = sampler.batch(3)
    assert b.features.shape == (6, 30, 17, 3) and np.array_equal(b.features, sampler.batch(3).features)
    points = b.relative_m + b.root_m[:, :, None]
    shown = points[..., :2] / points[..., 2:] / b.extent[..., None, None]
    on = (b.features[..., 2] > 0) & (b.weight > 0)[..., None]
    assert on.sum() > 1000
    # 50 Hz to 25 Hz: every other frame, nothing between; what is left is that of the solved camera
    assert np.abs(shown - b.features[..., :2])[on].max() < 5e-3
    with pytest.raises(KinecastError, match="choose --skeleton"):
        LabelledSampler(found, "halpe26", 6, 30, 25.0, 0)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    two, three = write_videopose(tmp_path, "h36m", 17)
    with pytest.raises(KinecastError, match="both needed"):
        read_labelled([three])
    with pytest.raises(KinecastError, match="neither h36m nor humaneva"):
        read_labelled([two.rename(tmp_path / "data_2d_other.npz")])
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(KinecastError, match="none of the layouts"):
        read_labelled([tmp_path / "x.npz"])

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("run",)

    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d=np.array({"S1": Evil()}, object))
    with pytest.raises(KinecastError, match=r"more than numbers: it asks for builtins\.eval; nothing of it was run"):
        read_labelled([tmp_path / "data_3d_h36m.npz"])


def test_the_skeleton_of_humaneva_is_as_its_layout() -> None:
    s = skeleton("humaneva15")
    assert [s.joints[i] for i in (2, 5, 8, 11)] == ["left_shoulder", "right_shoulder", "left_hip", "right_hip"]
