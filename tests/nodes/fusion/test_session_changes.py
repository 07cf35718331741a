"""Sessions in which something changes half-way: what was learnt follows where it should, and only there."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from kinecast.engines.records import Keypoints2D, Poses
from kinecast.engines.synth import Noise, SampledPeople, World, messages, ring_rig
from kinecast.engines.triangulate.solve import NoiseScale
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode
from tests.nodes.fusion.scene import nobody

RIG = ring_rig(4)
RATE_HZ = 15.0
NOISE = Noise(sigma_px=4.0, missing=0.05)


def fused(core: FusionCore, seen: Iterator[Keypoints2D]) -> list[Poses]:
    outs = (o.record for v in seen for o in core.handle(0, f"keypoints/{v.camera}", v))
    return [r for r in outs if isinstance(r, Poses)]


def defocused(seen: Iterator[Keypoints2D], camera: str, start_s: float, end_s: float) -> Iterator[Keypoints2D]:
    """A camera out of focus: three times the noise, the confidence hardly lower."""
    rng = np.random.default_rng(5)
    for v in seen:
        if v.camera == camera and start_s <= v.t_capture_ns / 1e9 < end_s:
            blur = rng.normal(0, 12.0, v.keypoints_px.shape).astype(np.float32)
            v = replace(v, keypoints_px=v.keypoints_px + blur, confidence=0.9 * v.confidence)
        yield v


def test_one_camera_defocused_half_way_is_trusted_less_and_the_others_as_before() -> None:
    core = FusionCore(RIG, FusionNode())
    seen = defocused(messages(World(people=1), RIG, frames=1800, fps_hz=RATE_HZ, noise=NOISE), "cam03", 45.0, 80.0)
    factor: dict[int, np.ndarray] = {}
    for v in seen:
        core.handle(0, f"keypoints/{v.camera}", v)
        second = v.t_capture_ns // 10**9
        if second in (44, 79, 118):
            factor[int(second)] = core.noise_factor.mean(axis=1)
    others = [0, 1, 3]
    # three times the noise, of which the gate of 3.5 σ hides the far half; at most twice the rig's (NoiseScale.STEP)
    assert factor[79][2] > 1.5 * factor[44][2]
    for second in (79, 118):
        np.testing.assert_allclose(factor[second][others], factor[44][others], rtol=0.1)
    # a joint has 2 less its leverage of 3/4 degrees of freedom a frame, less what is missing
    kept = np.exp(-(118 - 80) * RATE_HZ * 1.25 * 0.95 / NoiseScale.MEMORY)
    more = (factor[118][2] ** 2 - factor[44][2] ** 2) / (factor[79][2] ** 2 - factor[44][2] ** 2)
    assert more < 1.2 * kept


def two_lives(first_m: float, second_m: float, gap_s: float) -> tuple[Iterator[Keypoints2D], int]:
    """Somebody walks for 6 s, is away for gap_s, and somebody of another size goes on in the same place."""
    one = World(people=1, seed=3)
    points = np.stack([one.points_world(round(k * 1e9 / RATE_HZ)) for k in range(240)])
    leaves, comes = round(6 * RATE_HZ), round((6 + gap_s) * RATE_HZ)
    # both walk where one would have gone on: only their size tells them apart
    size = np.where(np.arange(240) < leaves, first_m, second_m) / one.height_m[0]
    floor = points[:, :, :, :2].mean(axis=2, keepdims=True)
    centre = np.concatenate([floor, np.zeros_like(floor[..., :1])], axis=-1)
    points = centre + (points - centre) * size[:, None, None, None]
    points[leaves:comes] = np.nan
    return messages(SampledPeople(points, RATE_HZ), RIG, frames=240, fps_hz=RATE_HZ, noise=NOISE), comes


@pytest.mark.parametrize("gap_s", [0.6, 1.2])
def test_a_child_where_an_adult_was_is_somebody_new(gap_s: float) -> None:
    seen, comes = two_lives(1.75, 1.25, gap_s)
    poses = fused(FusionCore(RIG, FusionNode()), seen)
    before = {int(i) for p in poses[:85] for i in p.person_ids}
    after = {int(i) for p in poses[comes + 20 :] for i in p.person_ids}
    assert len(before) == 1 and len(after) == 1
    assert before != after


def test_the_same_person_who_comes_back_is_the_same() -> None:
    seen, comes = two_lives(1.75, 1.75, 0.8)
    poses = fused(FusionCore(RIG, FusionNode()), seen)
    assert {int(i) for p in poses[:85] for i in p.person_ids} == {
        int(i) for p in poses[comes + 20 :] for i in p.person_ids
    }


def test_somebody_who_changes_clothes_stays_who_it_is() -> None:
    """Behind a coat every joint is seen a little wider and lower: identities know no clothes, only places and size."""

    def changed(v: Keypoints2D) -> Keypoints2D:
        if v.t_capture_ns < 6e9 or not len(v.keypoints_px):
            return v
        px = v.keypoints_px.copy()
        middle = np.nanmean(px, axis=1, keepdims=True)
        px += np.float32(0.06) * (px - middle)
        return replace(v, keypoints_px=px)

    world = World(people=2, seed=1)
    core = FusionCore(RIG, FusionNode())
    seen = (changed(v) for v in messages(world, RIG, frames=240, fps_hz=RATE_HZ, noise=NOISE))
    poses = fused(core, seen)
    assert {int(i) for p in poses[15:] for i in p.person_ids} == {1, 2}
    assert sum(len(p.person_ids) == 2 for p in poses[15:]) > 0.97 * len(poses[15:])


def test_local_ids_that_a_view_exchanges_and_puts_right_exchange_nobody() -> None:
    def exchanged(v: Keypoints2D) -> Keypoints2D:
        ids = v.local_ids.copy()
        if v.camera == "cam02" and 4e9 < v.t_capture_ns < 8e9:
            ids = np.where(ids >= 0, 1 - ids, ids).astype(np.int32)
        return replace(v, local_ids=ids)

    def run(change: bool) -> list[Poses]:
        noise = replace(NOISE, tracked=True)
        views = messages(World(people=2, seed=1), RIG, frames=180, fps_hz=RATE_HZ, noise=noise)
        return fused(FusionCore(RIG, FusionNode()), (exchanged(v) if change else v for v in views))

    for a, b in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(a.person_ids, b.person_ids)
        np.testing.assert_array_equal(a.points_world_m, b.points_world_m)


def test_a_camera_that_goes_blind_and_comes_back_has_not_moved() -> None:
    core = FusionCore(RIG, FusionNode())
    said = []
    for v in messages(World(people=1), RIG, frames=750, fps_hz=RATE_HZ, noise=NOISE):
        blind = v.camera == "cam01" and 20e9 < v.t_capture_ns < 30e9
        for o in core.handle(0, f"keypoints/{v.camera}", nobody(v) if blind else v):
            if o.topic == "rig_health":
                said.append(o.record)
    assert len(said) > 40
    assert not any(h.moved_since_ns.any() for h in said)
