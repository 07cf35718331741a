"""The fusion core alone, per frame set on one core, beside the triangulation that people write first."""

import itertools
import time
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.engines.lift.lifter import shipped_lifters
from kinecast.engines.records import FrameSet, Keypoints2D
from kinecast.engines.synth import Noise, World, messages, ring_rig
from kinecast.nodes.bench import Row, median_us
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.warm_up import warm_up_shown
from kinecast.nodes.graph.records import FusionNode

CROWD = Noise(3.0, outliers=0.10, missing=0.15)
SIZES = ((4, 2, 1.0), (8, 6, 3.0), (12, 6, None))  # cameras, people, aim in ms
WHOLE = ((4, 2, 30.0, 4.0), (4, 2, 60.0, 4.0), (8, 6, 30.0, 8.0))  # with lifter and body, at so many Hz
FRAMES = 120


def sets_of(rig: Rig, people: int, fps_hz: float = 30.0) -> list[tuple[FrameSet, dict[str, Keypoints2D]]]:
    """Frame sets of a crowd, ready to be fused."""
    by_frame: dict[int, dict[str, Keypoints2D]] = {}
    for view in messages(World(people=people), rig, frames=FRAMES, fps_hz=fps_hz, noise=CROWD):
        by_frame.setdefault(view.frame_seq, {})[view.camera] = view
    return [
        (FrameSet(k, 0, next(iter(v.values())).t_capture_ns, rig.names, np.full(len(rig), k, np.int64), "complete",
                  np.zeros(len(rig), np.int64)), v)
        for k, v in sorted(by_frame.items())
    ]  # fmt: skip


def fused_ms(rig: Rig, sets: list[tuple[FrameSet, dict[str, Keypoints2D]]]) -> tuple[float, float]:
    """Median and 95th percentile of ``FusionCore.step``, over five rounds, in ms."""
    times: list[int] = []
    for _ in range(5):
        core = FusionCore(rig, FusionNode())
        for frameset, views in sets:
            start = time.perf_counter_ns()
            core.step(frameset, views)
            times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1e6, float(np.percentile(times, 95)) / 1e6


def whole_rows(cameras: int, people: int, fps_hz: float, aim: float) -> list[Row]:
    """The whole frame set, lifter and body on, and with every view lifted in every set, as it was; in turns.

    CPU time of the thread, so that the ratio holds on a busy machine; the first second is not counted.
    """
    rig = ring_rig(cameras)
    sets, steps = sets_of(rig, people, fps_hz), dict[str, list[int]]()
    took: dict[str, list[int]] = {"now": [], "before": []}
    for _ in range(2):
        settings = FusionNode(lift="default", body="neutral")
        cores = {
            "now": FusionCore(rig, settings, stopwatch=time.thread_time_ns),
            "before": FusionCore(rig, replace(settings, lift_views=None)),
        }
        for number, (frameset, views) in enumerate(sets):
            for way, core in cores.items():
                start = time.thread_time_ns()
                said = {o.topic: o.record for o in core.fuse(frameset, views)}
                if number < fps_hz:
                    continue
                took[way].append(time.thread_time_ns() - start)
                if way == "now":
                    for step, ns in (said["poses"].step_ns | said["bodies"].step_ns).items():
                        steps.setdefault(step, []).append(ns)
    now, before = (np.array(took[way]) / 1e6 for way in ("now", "before"))
    each = ", ".join(f"{s} {np.mean(ns) / 1e6:.2f}" for s, ns in steps.items() if s not in ("sync", "total"))
    what = f"with lifter and body, {cameras} cameras × {people} people, {fps_hz:g} Hz"
    note = f"p95 {np.percentile(now, 95):.2f}; mean {now.mean():.2f}: {each}"
    return [
        Row(what, float(np.median(now)), "ms/set", aim, note),
        Row(f"{what}: of every view lifted", 100 * now.mean() / before.mean(), "%", None, f"{before.mean():.2f} ms"),
    ]


def _observed(rig: Rig, people: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P (C, 3, 4) in normalised coordinates and xy (N, C, 2) of all joints of everybody, associated by the truth."""
    X = World(people=people).points_world(10**9).reshape(-1, 3)
    xy = np.stack([c.undistort(c.project(X)[0]) for c in rig], axis=1)
    return np.stack([c.P_normalised for c in rig]), np.nan_to_num(xy)


def svd_ms(rig: Rig, people: int) -> float:
    """Linear triangulation of everybody by numpy's SVD: no robustness, no association, no lens."""
    P, xy = _observed(rig, people)

    def call() -> object:
        A = (xy[..., None] * P[None, :, None, 2] - P[None, :, :2]).reshape(len(xy), -1, 4)
        v = np.linalg.svd(A)[2][:, 3]
        return v[:, :3] / v[:, 3:]

    return median_us(call, 0.3) / 1e3


def opencv_ms(rig: Rig, people: int) -> float:
    """``cv2.triangulatePoints`` over all pairs of cameras and the median of them."""
    P, xy = _observed(rig, people)
    views = [np.ascontiguousarray(xy[:, c].T) for c in range(len(rig))]

    def call() -> object:
        found = []
        for a, b in itertools.combinations(range(len(rig)), 2):
            h = cv2.triangulatePoints(P[a], P[b], views[a], views[b])
            found.append(h[:3] / h[3])
        return np.median(found, axis=0)

    return median_us(call, 0.3) / 1e3


def run() -> list[Row]:
    """Time per frame set, without lifter and body and with; the ratios are peer's time over ours."""
    cv2.setNumThreads(1)
    warm_up_shown(4)
    rows = []
    for cameras, people, aim in SIZES:
        rig = ring_rig(cameras)
        p50, p95 = fused_ms(rig, sets_of(rig, people))
        svd, pairs = svd_ms(rig, people), opencv_ms(rig, people)
        note = f"p95 {p95:.2f}; triangulation alone by numpy SVD {svd:.2f} ms (× {svd / p50:.1f}), "
        note += f"by OpenCV's pairs {pairs:.2f} ms (× {pairs / p50:.1f})"
        rows.append(Row(f"fusion, {cameras} cameras × {people} people", p50, "ms/set", aim, note))
    if not shipped_lifters():
        return [
            *rows,
            Row("with lifter and body", float("nan"), "ms/set", note="no lifter is shipped with this program"),
        ]
    warm_up_shown(4, "neutral", "default")
    return rows + [row for size in WHOLE for row in whole_rows(*size)]
