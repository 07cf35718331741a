"""The synthetic world through the whole of fusion: views and rigs that are spoiled, and the score against the truth."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from kinecast.calibration.camera import Camera, Rig
from kinecast.engines.records import FrameSet, Keypoints2D, Poses
from kinecast.engines.synth import World
from kinecast.nodes.bus.core import Out
from kinecast.nodes.bus.messages import End
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode

START_S = 1.0
Edit = Callable[[float, Keypoints2D], Keypoints2D]


def nobody(v: Keypoints2D) -> Keypoints2D:
    return replace(
        v, **{n: getattr(v, n)[:0] for n in ("keypoints_px", "confidence", "boxes_px", "scores", "local_ids")}
    )


def only(camera: str, until_s: float = np.inf) -> Edit:
    """From START_S on nobody is found in the other cameras."""
    return lambda t, v: nobody(v) if START_S <= t < until_s and v.camera != camera else v


ViewEdit = Callable[[Keypoints2D], Keypoints2D]


def run(
    rig: Rig, views: Iterable[Keypoints2D], core: FusionCore | None = None, edit: ViewEdit = lambda v: v
) -> tuple[list[Poses], list[FrameSet], list[Keypoints2D]]:
    core = core or FusionCore(rig, FusionNode())
    outs: list[Out] = []
    given = [edit(v) for v in views]
    for v in given:
        outs += core.handle(0, f"keypoints/{v.camera}", v)
    for name in rig.names:
        outs += core.handle(0, f"end/{name}", End(name, 0, 0, ""))
    main = [o for o in outs if o.topic in ("framesets", "poses")]
    assert [o.topic for o in main] == ["framesets", "poses"] * (len(main) // 2)  # the journal first
    assert [o.topic for o in outs if o.topic.startswith("end/")] == ["end/fusion"] == [outs[-1].topic]
    return [o.record for o in main[1::2]], [o.record for o in main[::2]], given


class Score:
    """What came out against the truth: errors in m of measured joints, identities by person, ghosts and misses."""

    def __init__(self, poses: list[Poses], world: World) -> None:
        self.errors: list[float] = []
        self.ids: dict[int, list[int]] = {}
        self.ghosts = self.missed = self.truth = 0
        for p in poses:
            X = world.points_world(p.t_set_ns)
            there = np.flatnonzero(np.isfinite(X[:, 0, 0]))
            d = np.linalg.norm(p.points_world_m[:, None].astype(float) - X[there][None], axis=-1)
            d[np.broadcast_to(p.derived[:, None], d.shape)] = np.nan
            cost = np.nan_to_num(np.nanmedian(d, axis=-1), nan=9.0) if d.size else np.zeros((len(d), len(there)))
            a, b = linear_sum_assignment(np.minimum(cost, 0.5))
            hit = cost[a, b] < 0.3
            for i, k in zip(a[hit], b[hit], strict=True):
                self.errors += d[i, k][np.isfinite(d[i, k])].tolist()
                self.ids.setdefault(int(there[k]), []).append(int(p.person_ids[i]))
            self.truth += len(there)
            self.ghosts += len(d) - int(hit.sum())
            self.missed += len(there) - int(hit.sum())

    @property
    def median_m(self) -> float:
        return float(np.median(self.errors))

    @property
    def switches(self) -> int:
        return sum(sum(a != b for a, b in pairwise(i)) for i in self.ids.values())


def ideal_m(rig: Rig, sigma_px: float = 3.0) -> float:
    """Median error of the estimator that knows every association and lie, from the normal equations at the middle.

    Three quarters of the views are left (10 % lies, 15 % missing); the median of a χ with 3 degrees is 1.54 σ.
    """
    A = np.zeros((3, 3))
    x = np.array([0.0, 0, 1])
    for c in rig:
        J = np.stack([(c.project(x + e)[0] - c.project(x - e)[0]) / 2e-4 for e in np.eye(3) * 1e-4], axis=1)
        A += J.T @ J / sigma_px**2
    return 1.54 * float(np.sqrt(np.trace(np.linalg.inv(0.765 * A)) / 3))


def wrong_lens(c: Camera) -> Camera:
    return replace(
        c, K=np.diag([1.6, 1.6, 1.0]) @ c.K - np.array([[0, 0, 0.6 * c.K[0, 2]], [0, 0, 0.6 * c.K[1, 2]], [0, 0, 0]])
    )


def with_camera(rig: Rig, name: str, change: Callable[[Camera], Camera]) -> Rig:
    return replace(rig, cameras=tuple(change(c) if c.name == name else c for c in rig))
