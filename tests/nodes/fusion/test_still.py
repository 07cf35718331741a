"""Photos: everybody is born at once, also whom one view alone sees, and nobody is remembered."""

from dataclasses import replace

import numpy as np

from kinecast.engines.records import Keypoints2D, Poses
from kinecast.engines.synth import Noise, World, messages, ring_rig
from kinecast.nodes.bus.messages import End
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode
from tests.nodes.oracle import Oracle

RIG = ring_rig(4)
SECOND_S = 7.0  # from photo to photo
DEPTH_SD = 0.06


def photos(cameras: tuple[str, ...], still: bool, sets: int = 4) -> tuple[World, list[Poses]]:
    """Photos of two people, of whom these cameras see the second and all the first."""
    world = World(2, seed=3)
    core = FusionCore(RIG, FusionNode(still=still), lifter=Oracle(RIG, world, depth_sd=DEPTH_SD))
    outs = []
    for v in messages(world, RIG, frames=sets, fps_hz=1 / SECOND_S, noise=Noise(2.0, tracked=True)):
        outs += core.handle(0, f"keypoints/{v.camera}", v if v.camera in cameras else _without(v, 1))
    for name in RIG.names:
        outs += core.handle(0, f"end/{name}", End(name, 0, 0, ""))
    return world, [o.record for o in outs if o.topic == "poses"]


def _without(v: Keypoints2D, person: int) -> Keypoints2D:
    keep = v.local_ids != person
    return replace(
        v, keypoints_px=v.keypoints_px[keep], confidence=v.confidence[keep], boxes_px=v.boxes_px[keep],
        scores=v.scores[keep], local_ids=v.local_ids[keep],
    )  # fmt: skip


def off_m(world: World, poses: Poses) -> np.ndarray:
    """(people, 2) mean distance of the published people from each of the world's."""
    true = world.points_world(poses.t_set_ns)
    return np.array([[np.nanmean(np.linalg.norm(p - x, axis=-1)) for x in true] for p in poses.points_world_m])


def test_two_views_are_enough_for_one_photo() -> None:
    world, seen = photos(RIG.names[:2], still=True)
    assert [len(p.person_ids) for p in seen] == [2] * 4
    assert len({i for p in seen for i in p.person_ids.tolist()}) == 8  # a photo knows nobody of another
    for p in seen:
        assert not p.lifted.any() or p.lifted.mean() < 0.1
        assert (off_m(world, p).min(axis=0) < 0.1).all()
    _, moving = photos(RIG.names[:2], still=False)
    assert max(len(p.person_ids) for p in moving[:1]) < 2  # for a session two views must say it again


def test_whom_one_view_sees_is_where_the_lifter_says_and_as_sure() -> None:
    world, seen = photos(RIG.names[:1], still=True)
    assert [len(p.person_ids) for p in seen] == [2] * 4
    for p in seen:
        off = off_m(world, p)
        alone = int(off[:, 1].argmin())
        assert p.lifted[alone].sum() >= 20 and set(p.views[alone][p.lifted[alone]].tolist()) <= {0, 1}
        assert p.detections[alone].tolist()[1:] == [-1] * 3
        sd = np.sqrt(p.covariance_m2[alone][p.lifted[alone]][:, [0, 3, 5]].sum(axis=-1).mean())
        depth = np.linalg.norm(world.points_world(p.t_set_ns)[1].mean(axis=0) - RIG["cam01"].centre_world)
        assert 0.7 * DEPTH_SD * depth < sd < 1.6 * DEPTH_SD * depth and off[alone, 1] < 4 * sd
