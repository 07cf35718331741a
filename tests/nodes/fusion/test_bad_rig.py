"""Rigs that are not what they claim to be, and detections that are not one person each: the rest is unharmed."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kinecast.calibration.camera import Camera, Rig
from kinecast.engines.records import Keypoints2D, Poses
from kinecast.engines.synth import CROWD, Noise, World, messages, ring_rig
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode
from tests.nodes.fusion.scene import Score, ideal_m, run, with_camera, wrong_lens

FRAMES = 45
TURNED = np.diag([-1.0, -1, 1, 1])  # about the axis of the lens


def upside_down(c: Camera) -> Camera:
    return replace(c, cam_from_world=TURNED @ c.cam_from_world)


def given(people: int = 2, noise: Noise = CROWD, frames: int = FRAMES) -> tuple[Rig, World, list[Keypoints2D]]:
    rig, world = ring_rig(5), World(people=people)
    return rig, world, list(messages(world, rig, frames=frames, noise=noise))


def used(poses: list[Poses], camera: int) -> float:
    """Share of the measured joints that stand on the camera."""
    bits = np.concatenate([p.views[p.views > 0] for p in poses])
    return float((bits >> np.uint32(camera) & 1).mean())


@pytest.mark.parametrize("change", [upside_down, wrong_lens])
def test_a_camera_that_is_not_as_calibrated_is_left_out_by_name(change: Callable[[Camera], Camera]) -> None:
    rig, world, views = given()
    false = with_camera(rig, "cam03", change)
    poses, _, _ = run(false, views, FusionCore(false, FusionNode()))
    s = Score(poses, world)
    assert s.switches == 0 and s.ghosts == 0 and s.missed <= 0.02 * s.truth
    assert s.median_m < 1.5 * ideal_m(rig.subset(("cam01", "cam02", "cam04", "cam05")))
    # the views of each joint name it: all cameras but this one are used
    assert used(poses, 2) < 0.1 and min(used(poses, c) for c in (0, 1, 3, 4)) > 0.6
    # and what it saw is counted: people that no other view confirms
    reasons = ("no_agreeing_view", "too_few_views", "outlier_view", "duplicate_detection")
    assert sum(poses[-1].refused.get(r, 0) for r in reasons) > FRAMES


def test_two_cameras_at_one_place_make_no_depth_and_do_no_harm() -> None:
    rig = ring_rig(4)
    twin = replace(rig["cam02"], name="cam05")
    both = replace(rig, cameras=(*rig.cameras, twin))
    world = World(people=2)
    poses, _, _ = run(both, messages(world, both, frames=FRAMES, noise=CROWD))
    s = Score(poses, world)
    assert s.switches == 0 and s.ghosts == 0 and s.missed <= 0.02 * s.truth
    assert s.median_m < 1.5 * ideal_m(rig)
    pair = both.subset(("cam02", "cam05"))
    alone, _, _ = run(pair, messages(world, pair, frames=FRAMES, noise=CROWD))
    assert not any(len(p.person_ids) for p in alone)  # their rays meet at no angle
    assert sum(alone[-1].refused.values()) >= 2 * FRAMES


def merged(v: Keypoints2D) -> Keypoints2D:
    """Two people in one box: the upper half of one and the lower half of the other; nobody else."""
    if v.camera != "cam02" or len(v.scores) < 2 or v.frame_seq < 10:
        return v
    order = np.argsort(v.local_ids)
    px, confidence = v.keypoints_px[order[:1]].copy(), v.confidence[order[:1]].copy()
    low = [11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25]
    px[0, low], confidence[0, low] = v.keypoints_px[order[1], low], v.confidence[order[1], low]
    return _people(v, px, confidence)


def split(v: Keypoints2D) -> Keypoints2D:
    """Everybody in two halves, each a person of its own."""
    if v.camera != "cam02" or v.frame_seq < 10:
        return v
    low = np.isin(np.arange(26), [11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25])
    halves = [np.where(part, v.confidence, 0).astype(np.float32) for part in (low, ~low)]
    return _people(v, np.concatenate([v.keypoints_px] * 2), np.concatenate(halves))


def twice(v: Keypoints2D) -> Keypoints2D:
    """Everybody found twice."""
    if v.camera != "cam02" or v.frame_seq < 10:
        return v
    return _people(v, np.concatenate([v.keypoints_px, v.keypoints_px + np.float32(2)]), np.tile(v.confidence, (2, 1)))


def _people(v: Keypoints2D, px: np.ndarray, confidence: np.ndarray) -> Keypoints2D:
    n = len(px)
    px = np.where(confidence[..., None] > 0, px, np.nan).astype(np.float32)
    return replace(
        v, keypoints_px=px, confidence=confidence, boxes_px=np.zeros((n, 4), np.float32),
        scores=np.ones(n, np.float32), local_ids=np.full(n, -1, np.int32),
    )  # fmt: skip


@pytest.mark.parametrize(("edit", "least"), [(merged, 0.4), (split, 0.8), (twice, 0.8)])
def test_people_that_a_view_merges_splits_or_doubles_are_put_right_by_joint(
    edit: Callable[[Keypoints2D], Keypoints2D], least: float
) -> None:
    _, world, views = given(noise=Noise(3.0, tracked=True))
    rig = ring_rig(5)
    clean = Score(run(rig, views)[0], world)
    poses, _, _ = run(rig, views, edit=edit)
    s = Score(poses, world)
    assert s.switches == 0 and s.ghosts == 0 and s.missed == clean.missed
    assert s.median_m < 1.15 * clean.median_m
    # both halves are used, of both people: not the view thrown away
    late = poses[12:]
    assert used(late, 1) > least * used(late, 0)
