"""What a node counts, how it is judged, and who reads what."""

import math
from dataclasses import replace

import pytest

from kinecast.nodes.bus.health_meter import HealthMeter, percentiles
from kinecast.nodes.bus.health_verdict import judge
from kinecast.nodes.bus.wiring import must_hear, reads
from kinecast.nodes.graph.records import SUPERVISOR, FusionNode, fused_cameras
from tests.nodes.bus.graphs import graph

SECOND = 1_000_000_000


def test_percentiles_by_hand() -> None:
    assert percentiles([float(i) for i in range(101)]) == (50.0, 95.0)
    assert percentiles([3.0]) == (3.0, 3.0)
    assert all(math.isnan(p) for p in percentiles([]))


def test_rates_are_over_the_last_two_seconds() -> None:
    meter = HealthMeter("cam0", "camera")
    for half in range(9):
        for _ in range(50 if half < 5 else 10):
            meter.count_published("keypoints/cam0")
        health = meter.snapshot(half * SECOND // 2)
    # 10 each half second for the last two seconds
    assert health.rate_hz["keypoints/cam0"] == pytest.approx(20.0)
    assert health.published["keypoints/cam0"] == 5 * 50 + 4 * 10


def test_latencies_forget_after_ten_seconds() -> None:
    meter = HealthMeter("cam0", "camera")
    meter.latency("detect", 900_000_000, 0)
    meter.latency("detect", 5_000_000, 9 * SECOND)
    p50, p95 = meter.snapshot(9 * SECOND).latency_ms["detect"]
    assert (p50, p95) == (5.0, 900.0)
    assert meter.snapshot(11 * SECOND).latency_ms == {"detect": (5.0, 5.0)}
    assert meter.snapshot(20 * SECOND).latency_ms == {}


def test_judgement() -> None:
    g = graph(cameras=2, pace="realtime")  # cameras of 100 Hz
    meter = HealthMeter("cam0", "camera")
    meter.state = "running"
    meter.snapshot(0)
    for _ in range(180):
        meter.count_published("keypoints/cam0")
    health = meter.snapshot(2 * SECOND)

    def asked(h: object, now_ns: int = 2 * SECOND) -> tuple[bool, bool | None, bool]:
        v = judge(g, "cam0", h, now_ns)  # type: ignore[arg-type]
        return v.alive, v.on_rate, v.valid

    assert asked(health) == (True, True, True)  # 90 of 100 Hz
    assert asked(replace(health, rate_hz={"keypoints/cam0": 89.0})) == (True, False, True)
    assert asked(health, 4 * SECOND) == (False, True, True)
    assert asked(replace(health, state="stalled")) == (True, None, False)
    assert asked(replace(health, drops={"late": 3})) == (True, True, True)
    assert asked(replace(health, drops={"gap/keypoints/cam0": 1})) == (True, True, False)
    assert asked(None) == (False, None, False)


def test_wiring_of_a_full_graph() -> None:
    g = graph(cameras=2, recorder=True, viewer=True)
    assert reads(g, "cam0") == {SUPERVISOR: ("common_rate",)}
    assert reads(g, "fusion") == {
        "cam0": ("keypoints", "source", "end"),
        "cam1": ("keypoints", "source", "end"),
        SUPERVISOR: ("end",),
    }
    assert set(reads(g, "recorder")) == {"cam0", "cam1", "fusion", "viewer", SUPERVISOR}
    assert {"framesets", "poses", "bodies", "rig_health", "end", "health"} == set(reads(g, "recorder")["fusion"])
    assert must_hear(g, "cam0") == must_hear(g, SUPERVISOR) == ("fusion", "recorder")
    assert must_hear(g, "fusion") == ("recorder",)
    assert must_hear(g, "viewer") == must_hear(g, "recorder") == ()


def test_a_camera_that_is_not_fused_is_only_recorded() -> None:
    g = graph(cameras=2, recorder=True)
    g.nodes["fusion"] = FusionNode(cameras=("cam1",))
    assert fused_cameras(g, "fusion") == ("cam1",)
    assert must_hear(g, "cam0") == ("recorder",) and must_hear(g, "cam1") == ("fusion", "recorder")
