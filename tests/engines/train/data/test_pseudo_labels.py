"""Sessions as training sees them: true points where no gate refused, in the view's own axes, the same batch again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.train.data.detector_noise import load_noise
from kinecast.engines.train.data.mixture import Mixture
from kinecast.engines.train.data.motion import Clip, read_clips
from kinecast.engines.train.data.pseudo_labels import PseudoLabelSampler, shard_sources, view_tracks
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.data.shards import MANIFEST, Session, load_manifest, write_shard
from kinecast.engines.train.data.synthetic_batches import Augment, MotionClips, Sampler
from kinecast.engines.virtual_camera import out_of_virtual
from tests.engines.train import toys
from tests.engines.train.toy_sessions import HZ, RIG, SIGMA_PX, shard_of, walk, write_dataset


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("motion")
    for i in range(2):
        toys.write_bvh(folder / f"clip{i}.bvh", frames=200, seed=i)
    return list(read_clips(folder, rest_directions(load_body().J_template), 60.0))


@pytest.fixture(scope="module")
def data(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), clips, {"train": 2, "test": 1}, frames=100)


def truth(data: Path, **changes: float) -> PseudoLabelSampler:
    values = {"virtual": 0.0, "flip": 0.0} | changes
    return PseudoLabelSampler(shard_sources([data], "train"), load_noise(), CameraRanges(), 6, 40, HZ, 1, **values)


SESSION = Session("k", "k.mcap", "", "", RIG.names, "", "", "", "train", (), {})


def test_points_are_the_views_own_and_refused_frames_do_not_count(clips: list[Clip]) -> None:
    rng = np.random.default_rng(0)
    points = walk(MotionClips(clips, Augment()), rng, 90)
    people = view_tracks(shard_of(points, rng, slice(30, 40)), RIG, SESSION, 1, HZ)
    assert [p.camera for p in people] == list(RIG.names)
    for p, camera in zip(people, RIG.cameras, strict=True):
        T = camera.cam_from_world
        there = points @ T[:3, :3].T + T[:3, 3]
        assert np.flatnonzero(~p.good).tolist() == list(range(30, 40))
        assert np.abs(p.points_cam - there)[p.good].max() < 1e-4  # float32 of a few metres
        assert np.isfinite(p.points_cam).all()
        off = (p.xy - there[..., :2] / there[..., 2:])[p.good] * p.focal_px
        assert abs(off.std() / SIGMA_PX - 1) < 0.05  # 5000 numbers: ± 1 %
        assert np.allclose(p.up, T[:3, 2])


def test_another_rate_is_resampled_and_a_gap_is_not_bridged(clips: list[Clip]) -> None:
    rng = np.random.default_rng(0)
    shard = shard_of(walk(MotionClips(clips, Augment()), rng, 60), rng)
    late = shard.t_ns.copy()
    late[30:] += 500_000_000
    person = view_tracks(replace(shard, t_ns=late), RIG, SESSION, 1, HZ)[0]
    assert len(person.good) == 75
    # between the two halves: 14 frames of the network's clock
    assert np.flatnonzero(~person.good).tolist() == list(range(30, 44)) or (~person.good).sum() in (14, 15)
    faster = view_tracks(replace(shard, t_ns=shard.t_ns // 2), RIG, SESSION, 1, HZ)[0]
    assert len(faster.good) == 30 and faster.good.all()


def test_a_batch_is_a_function_of_its_number(data: Path) -> None:
    for changes in ({}, {"virtual": 0.5, "flip": 0.5}):
        a, b = truth(data, **changes).batch(7), truth(data, **changes).batch(7)
        assert all(np.array_equal(getattr(a, n), getattr(b, n)) for n in a.__slots__)
        assert a.features.shape == (6, 40, 26, 3) and a.weight.sum() > 100
        assert all(np.isfinite(getattr(a, n)).all() for n in a.__slots__)
    other = truth(data).batch(8)
    assert not np.array_equal(other.features, truth(data).batch(7).features)


@pytest.mark.parametrize("changes", [{}, {"flip": 1.0}, {"virtual": 1.0}, {"virtual": 1.0, "flip": 1.0}])
def test_what_is_seen_lies_where_the_truth_is(data: Path, changes: dict[str, float]) -> None:
    """The keypoints of a batch are those of its points, however it was mirrored and moved, up to the noise."""
    batch = truth(data, **changes).batch(3)
    on = batch.weight > 0
    points = batch.relative_m + batch.root_m[:, :, None]
    seen = points[..., :2] / points[..., 2:] / batch.extent[..., None, None]
    off = np.linalg.norm(seen - batch.features[..., :2], axis=-1)[on][batch.features[..., 2][on] > 0]
    assert np.median(off) < 0.15  # in extents of the person: 3 px of 150, or the fitted detectors' noise
    camera = out_of_virtual(batch.cam_from_virtual.astype(float), points.astype(float))
    trunk = camera[..., 17, 1] - camera[..., 19, 1]
    assert (trunk[on] < 0).mean() > 0.95  # heads up: y is down in a picture; toys do not lie down


def test_one_session_in_two_data_sets_is_named(data: Path, clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="give it once"):
        shard_sources([data, write_dataset(tmp_path / "copy", clips, {"train": 1}, frames=40)], "train")
    with pytest.raises(KinecastError, match="no person"):
        truth(write_dataset(tmp_path / "other", clips, {"test": 1}, frames=40))


def test_questions_cover_each_view_once(data: Path) -> None:
    asked = list(replace(truth(data), shards=shard_sources([data], "test")).heldout_clips())
    assert len(asked) == len(RIG.names)  # 100 frames: one block
    assert {q.name for q in asked} == {"0000000000000002/1/0"} and all(q.batch.weight.sum() > 90 for q in asked)
    assert not any(q.lying.any() for q in asked)


def test_motion_and_sessions_share_a_batch(data: Path, clips: list[Clip]) -> None:
    motion = Sampler(MotionClips(clips, Augment()), load_noise(), CameraRanges(), 8, 24, HZ, 1)
    both = Mixture.of(motion, truth(data), 8, 24, 0.25)
    assert both.batch(1).features.shape[:2] == (8, 24)
    assert both.sessions is not None and both.sessions.size == 2
    assert len(Mixture.of(motion, truth(data), 8, 24, 0.0).batch(1).clip) == 8
    assert len(Mixture.of(None, truth(data), 8, 24, 0.25).batch(1).clip) == 8


def test_a_manifest_is_parsed_once_and_again_when_it_has_changed(data: Path, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes((data / MANIFEST).read_bytes())
    first, again = load_manifest(tmp_path), load_manifest(tmp_path)
    key = min(first.sessions)
    assert first.sessions[key] is again.sessions[key]
    del first.sessions[key]  # of this reader alone
    assert key in load_manifest(tmp_path).sessions
    first.save(tmp_path)
    assert key not in load_manifest(tmp_path).sessions


def test_a_keypoint_that_is_no_number_is_missing_and_a_confidence_is_refused(clips: list[Clip], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shard = shard_of(walk(MotionClips(clips, Augment()), rng, 40), rng)
    px, say = shard.keypoints_px.copy(), shard.confidence.copy()
    px[5, 0, 9], px[6, 1, 3, 0] = np.nan, np.inf
    people = view_tracks(replace(shard, keypoints_px=px), RIG, SESSION, 1, HZ)
    assert people[0].confidence[5, 9] == 0 and people[1].confidence[6, 3] == 0
    assert all(np.isfinite(getattr(p, name)).all() for p in people for name in ("xy", "confidence", "points_cam"))
    for bad in (np.nan, np.inf):
        say[5, 0, 9] = bad
        with pytest.raises(KinecastError, match="confidence holds a number that is not finite; build it again"):
            write_shard(tmp_path / "s.npz", replace(shard, confidence=say))


def test_a_session_of_other_cameras_than_its_rig_or_shard_is_refused(clips: list[Clip]) -> None:
    rng = np.random.default_rng(0)
    shard = shard_of(walk(MotionClips(clips, Augment()), rng, 40), rng)
    names = list(RIG.names)
    for cameras in (("east", *names[1:]), (*names, names[0]), tuple(names[:2])):
        with pytest.raises(KinecastError, match="session k: the rig or a shard of it is of other cameras than"):
            view_tracks(shard, RIG, replace(SESSION, cameras=cameras), 1, HZ)


def test_data_sets_of_two_bodies_are_learned_from_together(data: Path, clips: list[Clip], tmp_path: Path) -> None:
    """A lifter learns keypoints, which every body has; rotations, which are one body's own, it never sees."""
    other = write_dataset(tmp_path / "other", clips, {"train": 1}, frames=60, seed=5)
    replace(load_manifest(other), body_id="another").save(other)
    both = shard_sources([data, other], "train")
    assert len(both) == 3 and {s.folder for s in both} == {data, other}
    both_seen = PseudoLabelSampler(both, load_noise(), CameraRanges(), 6, 40, HZ, 1, virtual=0.0, flip=0.0).batch(0, 0)
    assert np.isfinite(both_seen.relative_m).all() and both_seen.weight.any()
