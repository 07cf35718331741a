"""Joints that optical flow has moved repeat the error of the last look: fusion counts a look once and says so."""

from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.engines.observations import Detections
from kinecast.engines.records import Keypoints2D, Poses
from kinecast.engines.synth import Noise, World, messages, ring_rig
from kinecast.engines.triangulate.measure import DRIFT_MPS, drifted_sigma, fresh_share
from kinecast.nodes.bus.codec import decode, encode
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.exchange.import_keypoints import FUSION, record
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Node, Session, SourceSettings
from kinecast.nodes.recording.file import About, Recording
from kinecast.nodes.reprocess.smooth import smooth_recording
from tests.nodes.fusion.scene import run

RIG = ring_rig(4)
SETS, SIGMA_PX = 60, 3.0
FRAME_NS = 16_666_667


def test_sigma_grows_with_the_age_of_the_look_and_no_further() -> None:
    sigma, depth = np.full((1, 3), 0.002), np.full((1, 3), 4.0)
    age = np.array([[0.0, 0.02, 0.1]])
    told = drifted_sigma(sigma, depth, age)
    np.testing.assert_allclose(told, np.hypot(0.002, DRIFT_MPS * age / 4.0))
    assert drifted_sigma(sigma, depth, None) is sigma


def test_what_flow_repeats_is_no_news() -> None:
    used = np.ones((1, 3, 2), np.bool_)
    used[0, 2, 1] = False
    confidence = np.array([[[1.0, 1.0], [0.5, 1.0], [1.0, 1.0]]])
    share = fresh_share(used, confidence, np.array([[0.0, 0.02, 0.02]]))
    np.testing.assert_allclose(share, [[1 / 2.25, 1 / 2]])
    assert fresh_share(used, confidence, np.full((1, 3), 0.02)).max() < 0.1


def views(every: int, told: bool, seed: int) -> list[Keypoints2D]:
    """Somebody who walks; the noise is drawn anew where a camera's model looks, in turns, and repeated in between."""
    rng = np.random.default_rng(seed)
    noise: dict[str, NDArray[np.float32]] = {}
    out = []
    for view in messages(World(1, seed), RIG, frames=SETS, fps_hz=60, noise=Noise(sigma_px=0.0)):
        camera = RIG.names.index(view.camera)
        age = (view.frame_seq + camera) % every if view.camera in noise else 0
        if age == 0 or noise[view.camera].shape != view.keypoints_px.shape:
            age, noise[view.camera] = 0, rng.normal(0, SIGMA_PX, view.keypoints_px.shape).astype(np.float32)
        ages = np.full(len(view.scores), age * FRAME_NS / 1e9, np.float32)
        out.append(replace(view, keypoints_px=view.keypoints_px + noise[view.camera],
                           look_age_s=ages if told and age else ages[:0]))  # fmt: skip
    return out


def fused(seen: list[Keypoints2D], smooth: bool) -> list[Poses]:
    core = FusionCore(RIG, FusionNode(smooth=smooth, estimate_offsets=False))
    return run(RIG, seen, core)[0]


def surprise(every: int, told: bool, seed: int) -> float:
    """Mean squared error of the filtered joints in σ, an axis: 1 is honest, and more is too sure."""
    world, squares = World(1, seed), []
    for poses in fused(views(every, told, seed), smooth=True)[20:]:
        truth = world.points_world(poses.t_set_ns)[0]
        for p in range(len(poses.person_ids)):
            error = poses.points_world_m[p].astype(float) - truth
            sd2 = poses.covariance_m2[p][:, [0, 3, 5]].astype(float)
            fine = np.isfinite(error).all(1) & ~poses.derived[p] & (poses.confidence[p] > 0)
            squares.append((error[fine] ** 2 / sd2[fine]).mean())
    return float(np.mean(squares))


@pytest.mark.parametrize("every", [2, 3])
def test_the_filter_is_no_surer_for_hearing_the_same_error_again(every: int) -> None:
    seeds = range(2)
    alone = np.mean([surprise(1, True, s) for s in seeds])
    honest = np.mean([surprise(every, True, s) for s in seeds])
    doubled = np.mean([surprise(every, False, s) for s in seeds])
    assert honest < 1.25 * alone
    assert doubled > 1.4 * honest


def test_shares_are_in_the_message_and_a_message_without_them_is_all_news() -> None:
    (*_, last) = fused(views(3, True, 0), smooth=False)
    assert last.fresh.shape == last.confidence.shape
    assert ((last.fresh > 0) & (last.fresh < 1)).any()
    again = decode(Poses, encode(last))
    np.testing.assert_array_equal(again.fresh, last.fresh)
    (*_, plain) = fused(views(1, True, 0), smooth=False)
    assert plain.fresh.size == 0


def test_ages_follow_the_detections() -> None:
    camera, none = np.array([0, 1]), np.zeros(2, np.int64)
    found = Detections(
        np.zeros((2, 1, 2)), np.ones((2, 1)), camera, none, np.array([0, 1, 2]), none, np.array([0.0, 0.03])
    )
    np.testing.assert_allclose(found.ages_s(np.array([[0, 1], [-1, 1]])), [[0, 0.03], [0, 0.03]])
    assert replace(found, look_age_s=np.zeros(2)).ages_s(np.array([[0, 1]])) is None


def test_messages_of_before_are_read_and_those_of_now_repeat_bit_for_bit() -> None:
    seen = views(3, True, 1)
    plain = msgpack.unpackb(encode(seen[-1]), strict_map_key=False)
    del plain["look_age_s"]
    assert decode(Keypoints2D, msgpack.packb(plain)).look_age_s.size == 0
    again = [decode(Keypoints2D, encode(v)) for v in seen]
    for a, b in zip(fused(seen, smooth=True), fused(again, smooth=True), strict=True):
        for name in ("person_ids", "points_world_m", "covariance_m2", "confidence", "fresh"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_smoothing_takes_for_news_what_is_news(tmp_path: Path) -> None:
    told = {}
    for word in (True, False):
        path = tmp_path / f"{word}.mcap"
        nodes: dict[str, Node] = {c: CameraNode(source=SourceSettings(uri=c)) for c in RIG.names}
        graph = Graph(Session("t", ".", "rig.toml", "lossless"), {**nodes, FUSION: FusionNode()})
        by_camera: dict[str, list[Keypoints2D]] = {c: [] for c in RIG.names}
        for view in views(3, word, 2):
            by_camera[view.camera].append(view)
        reports = [SourceReport(c.name, "video", c.name, c.size_px, 60.0, False, 0, "synthetic") for c in RIG]
        record(path, About("0" * 32, "t"), RIG, graph, list(by_camera.values()), reports)
        smooth_recording(Recording.open(path), tmp_path / f"{word}-smooth.mcap")
        smoothed = Recording.open(tmp_path / f"{word}-smooth.mcap")
        told[word] = np.nanmedian([np.nanmedian(p.covariance_m2[..., 0]) for _, _, p in smoothed.messages(("poses",))])
    # three sets of one look are one look: of a path that is known by its neighbours the variance falls less than thrice
    assert 1.5 < told[True] / told[False] < 3.5
