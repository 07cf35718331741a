"""Cameras look at people, noise can be fitted and drawn, batches hang together, and what is held out stays out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import pose_joints
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.train.data.detector_noise import HALPE, Residuals, load_noise, noisy
from kinecast.engines.train.data.detector_noise_fit import fit_noise
from kinecast.engines.train.data.motion import Clip, read_clips
from kinecast.engines.train.data.pinhole_views import PinholeView, before_cameras, detect, mirror_share
from kinecast.engines.train.data.random_cameras import CameraRanges, random_cameras
from kinecast.engines.train.data.synthetic_batches import Augment, MotionClips, Sampler, _placed, batch_of, held_out
from kinecast.engines.virtual_camera import root_code, root_from_code
from tests.engines.train import toys

QUIET = replace(
    load_noise(), bias=(0.0,) * 26, slow=(0.0,) * 26, fast=(0.0,) * 26, missing=(0.0,) * 26, burst_hz=0.0, swap_hz=0.0
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("motion")
    for i in range(4):
        toys.write_bvh(folder / f"clip{i}.bvh", frames=120, seed=i)
    return list(read_clips(folder, rest_directions(load_body().J_template), 60.0))


def view(count: int = 40, frames: int = 30, seed: int = 0, ranges: CameraRanges | None = None) -> PinholeView:
    rng = np.random.default_rng(seed)
    points = np.tile(rng.normal(0, 0.4, (count, 1, 26, 3)) + np.array([0, 1, 0]), (1, frames, 1, 1))
    return before_cameras(points, rng, ranges or CameraRanges(aim=0.1), np.zeros(count, np.int64))


def test_cameras_look_at_their_target_from_where_they_should() -> None:
    target = np.random.default_rng(1).normal(0, 3, (500, 3))
    ranges = CameraRanges(aim=0.0, roll_rad=0.0)
    cameras = random_cameras(np.random.default_rng(2), target, ranges)
    seen = np.einsum("bij,bj->bi", cameras.R, target) + cameras.t
    assert np.abs(seen[:, :2]).max() < 1e-9
    assert seen[:, 2].min() >= ranges.distance_m[0] and seen[:, 2].max() <= ranges.distance_m[1]
    assert np.allclose(np.linalg.det(cameras.R), 1)
    up = np.einsum("bij,j->bi", cameras.R, [0.0, 1.0, 0.0])
    assert (up[:, 1] < 0).all()  # y of a picture is down


def test_the_committed_noise_has_every_joint_and_reads_back(tmp_path: Path) -> None:
    model = load_noise()
    assert model.joints == HALPE.joints
    assert all(0.005 < b < 0.2 for b in model.bias)
    model.save(tmp_path / "n.toml")
    assert load_noise(tmp_path / "n.toml") == model
    (tmp_path / "n.toml").write_text("bias = 1")
    with pytest.raises(KinecastError, match="no noise file"):
        load_noise(tmp_path / "n.toml")


def test_what_is_fitted_is_what_was_drawn() -> None:
    frames, rng = 1500, np.random.default_rng(4)
    model = replace(QUIET, bias=(0.03,) * 26, slow=(0.02,) * 26, fast=(0.015,) * 26, slow_s=0.15, tails=30.0)
    true = np.zeros((24, frames, 26, 2), np.float32)
    xy, confidence = noisy(model, rng, true, np.ones((24, frames), np.float32), np.ones(true.shape[:3], bool), 30.0)
    told = [
        Residuals(e.astype(float), c.astype(float), c > 0, np.ones(26, bool), np.zeros(frames, bool), 1 / 30)
        for e, c in zip(np.where(confidence[..., None] > 0, xy, np.nan), confidence, strict=True)
    ]
    found = fit_noise(told, "toy")
    # each sequence is harder or easier by a log-normal factor of 0.35, whose root mean square is exp(0.35²) = 1.13;
    # 24 sequences pin that to about 15 %, and biases, one draw each of 26 × 2 numbers, no better
    for name, want in (("bias", 0.03), ("slow", 0.02), ("fast", 0.015)):
        got = float(np.mean(getattr(found, name)))
        assert got == pytest.approx(1.13 * want, rel=0.35), name
    assert found.slow_s == pytest.approx(0.15, rel=0.5)
    with pytest.raises(KinecastError, match="too few"):
        fit_noise([replace(told[0], error=told[0].error[:50])], "toy")


def test_without_noise_the_keypoints_are_the_projections() -> None:
    v = view()
    xy, confidence, true = detect(v, QUIET, np.random.default_rng(0), 30.0)
    seen = confidence > 0
    assert 0.3 < seen.mean() < 1  # some detectors lack joints, some joints are outside the picture
    assert np.abs(xy - true)[seen].max() < 1e-6


def test_features_targets_and_roots_of_a_batch_agree() -> None:
    v = view(seed=3)
    b = batch_of(v, *detect(v, QUIET, np.random.default_rng(0), 30.0), 30.0)
    on = b.weight > 0
    points = b.relative_m + b.root_m[:, :, None]
    shown = points[..., :2] / points[..., 2:] / b.extent[..., None, None]
    given = (b.features[..., 2] > 0) & on[..., None] & (points[..., 2] > 0.5)
    assert given.sum() > 1000
    assert np.abs(shown - b.features[..., :2])[given].max() < 1e-3
    assert np.abs(shown - b.clean)[given].max() < 1e-3
    code = root_code(b.root_m[on].astype(float), b.extent[on].astype(float))
    assert np.allclose(root_from_code(code, b.extent[on].astype(float)), b.root_m[on], atol=1e-5)


def test_a_track_is_born_with_its_first_detection() -> None:
    v = view(count=3)
    xy, confidence, true = detect(v, QUIET, np.random.default_rng(0), 30.0)
    confidence[0, :7] = 0
    confidence[1] = 0  # never seen
    confidence[2, 5:] = 0  # lost after five frames
    b = batch_of(v, xy, confidence, true, 10.0)
    assert b.weight[0, :7].sum() == 0 and b.weight[0, 7:].all() and b.age[0, 7] == 0
    assert np.array_equal(b.features[0, 0], b.features[0, 7])  # its past is its first frame
    assert not b.weight[1].any()
    assert b.weight[2, : 5 + 14].all() and not b.weight[2, 5 + 15 :].any()  # nothing is asked after 1.5 s at 10 Hz


def test_flipping_exchanges_the_sides_and_mirrors_the_picture() -> None:
    v = view(count=5)
    before = v.points_cam.copy()
    after = mirror_share(v, 1.0, np.random.default_rng(0)).points_cam
    left, right = HALPE.index("left_wrist"), HALPE.index("right_wrist")
    assert np.array_equal(after[:, :, left], before[:, :, right] * np.array([-1, 1, 1], np.float32))
    again = mirror_share(PinholeView(after.copy(), v.cameras, v.clip), 1.0, np.random.default_rng(0)).points_cam
    assert np.array_equal(again, before)


def test_keypoints_by_one_product_are_the_body_s(clips: list[Clip]) -> None:
    body = load_body("female")
    terms, betas = keypoint_terms(body, "halpe26"), np.random.default_rng(0).normal(size=10)
    turned, joints, _ = pose_joints(body, clips[0].local[:9].astype(float), betas)
    assert np.allclose(_placed(terms, turned, joints, betas), terms.place(turned, joints, betas), atol=1e-9)


def test_a_batch_is_a_function_of_seed_and_step(clips: list[Clip]) -> None:
    sampler = Sampler(MotionClips(clips, Augment()), load_noise(), CameraRanges(), 3, 40, 30.0, 7)
    a, b, c, d = sampler.batch(5), sampler.batch(5), sampler.batch(6), sampler.batch(5, rank=1)
    assert np.array_equal(a.features, b.features) and np.array_equal(a.relative_m, b.relative_m)
    assert not np.array_equal(a.features, c.features) and not np.array_equal(a.features, d.features)
    assert all(
        np.isfinite(getattr(a, n)).all() for n in ("features", "context", "relative_m", "root_m", "clean", "k_m")
    )


def test_motion_keeps_its_speed_and_bones(clips: list[Clip]) -> None:
    motion = MotionClips(clips, Augment(speed=(1.0, 1.0), arms=0.0, upright=1.0, bodies=("neutral",), betas=0.0))
    points = motion.sequence(np.random.default_rng(0), 0, 0.0, 30, 30.0)
    i, j = HALPE.index("left_knee"), HALPE.index("left_ankle")
    bone = np.linalg.norm(points[:, i] - points[:, j], axis=-1)
    assert bone.std() < 1e-2 * bone.mean()  # keypoints are points of the skin, which gives a little
    twice = motion.sequence(np.random.default_rng(0), 0, 0.0, 59, 60.0)
    assert np.abs(twice[::2] - points).max() < 1e-6


def test_a_glitch_parts_a_clip_and_short_rests_are_left_out(clips: list[Clip]) -> None:
    good = np.ones(120, bool)
    good[20] = False
    motion = MotionClips([replace(clips[0], good=good)], Augment())
    assert list(zip(motion.begin, motion.end, strict=True)) == [(21, 120)]  # 20 frames at 60 Hz are below 0.5 s
    with pytest.raises(KinecastError, match="no clip"):
        MotionClips([replace(clips[0], good=~good)], Augment())


def test_the_committed_list_holds_out_and_is_read(tmp_path: Path) -> None:
    names = ["test/walking/walking_1", "train/walking/walking_1", "cmu/cmu_07_02", "cmu/cmu_02_01", "mine/held_out/a"]
    assert held_out(names).tolist() == [True, False, True, False, True]
    (tmp_path / "x.toml").write_text('clips = ["b*"]')
    assert held_out(["a", "bb"], tmp_path / "x.toml").tolist() == [False, True]
    with pytest.raises(KinecastError, match="no list of held-out clips"):
        held_out(["a"], tmp_path / "none.toml")
