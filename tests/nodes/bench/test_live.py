"""What the live bench plays and says; the playing itself is the graph's, which has tests of its own."""

from pathlib import Path
from typing import Any

import pytest

from kinecast.calibration.formats import save_rig
from kinecast.engines.synth import ring_rig
from kinecast.nodes.bench import live, machine
from kinecast.nodes.bus.messages import CommonRate
from kinecast.nodes.graph.launch_file import dump, parse
from kinecast.nodes.graph.records import CameraNode, FusionNode


def figures(frames: int, skipped: int, unused: int = 0) -> dict[str, Any]:
    """As of a session of four cameras alike."""
    one = {"frames": frames, "dropped": skipped + unused, "before_start": 0, "skipped_at_source": skipped,
           "unused": unused}  # fmt: skip
    return {
        "cameras": dict.fromkeys(("a", "b", "c", "d"), one),
        "latency_ms": {"total": {"p50": 40.0, "p95": 70.0}},
        "fps": 12.0,
        "identities": 1,
    }


def played(rate_hz: float, skipped: int = 0) -> live.Played:
    note = "this machine holds 4 × 12 Hz of 60" if rate_hz else ""
    return live.Played(60.0, figures(120, skipped), 2, 480 if rate_hz else 0, CommonRate(rate_hz, 0, 60.0, note), 20.0)


def test_before_has_the_settings_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ring_rig(4)
    save_rig(rig, tmp_path / "clip.toml")
    monkeypatch.setattr(live, "load_rig", lambda path: rig)
    monkeypatch.setattr(live, "clip", lambda people: type("Clip", (), {"calibration": tmp_path / "clip.toml"}))
    monkeypatch.setattr(live, "videos", lambda fps_hz: {c: tmp_path / f"{c}.mp4" for c in rig.names})
    case = live.CASES["lightweight-30"]
    before, now = (live.graph_of(tmp_path, case, way) for way in (live.BEFORE, live.NOW))
    assert (before.session.common_rate, now.session.common_rate) == ("off", "auto")
    fusions = [g.nodes["fusion"] for g in (before, now)]
    assert all(isinstance(f, FusionNode) and f.lift == "default" and f.body == "neutral" for f in fusions)
    assert fusions[0].lift_views is None and fusions[1].lift_views is not None  # type: ignore[union-attr]
    cameras = [n for n in before.nodes.values() if isinstance(n, CameraNode)]
    assert len(cameras) == 4 and all(n.detector.model_every == "1" and n.rate_hz == 30 for n in cameras)
    for graph in (before, now):
        assert parse(dump(graph), "launch.yaml", tmp_path) == graph


def test_what_was_left_out_and_what_nobody_reported_is_said() -> None:
    rows = {r.name.partition(": ")[2]: r for r in live.rows_of("live", played(12.0, skipped=30))}
    assert rows["dropped"].value == pytest.approx(100 * 30 / 150) and "4 × 12 Hz of 60" in rows["dropped"].note
    assert rows["frames fused"].value == pytest.approx(12.0) and "60" in rows["frames fused"].note
    assert rows["not reported"].value == 2 and rows["not reported"].aim == 0
    assert "left out" not in {r.name: r for r in live.rows_of("live", played(0.0))}["live: dropped"].note


def test_a_comparison_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[tuple[str, float]] = []

    def play(case: live.Case, seconds: float, way: str) -> live.Played:
        ways.append((way, seconds))
        return played(12.0) if way == live.NOW else live.Played(
            60.0, figures(120, 0, unused=90), 0, 0, CommonRate(0.0, 0, 60.0), 20.0
        )  # fmt: skip

    monkeypatch.setattr(live, "play", play)
    rows = live.compared(live.CASES["lightweight-60"], 60.0)
    assert ways == [("before", 30.0), ("now", 30.0), ("now", 30.0), ("before", 30.0)]
    assert rows[-1].value == pytest.approx(4.0) and rows[-1].unit == "×"


@pytest.mark.parametrize(
    ("rates", "said"),
    [((60, 40, 26), "performance, cameras at 26"), ((60, 30, 12), "balanced, cameras at 30"),
     ((20, 12, 5), "lightweight, cameras at 20 Hz, or fewer cameras")],
)  # fmt: skip
def test_the_best_profile_that_is_fast_enough_is_recommended(rates: tuple[float, ...], said: str) -> None:
    held = [machine.Held(p, True, r, 40, 70, 0.0) for p, r in zip(machine.PROFILES, rates, strict=True)]
    assert said in machine.recommendation(held)


def test_what_a_machine_holds_is_the_common_rate_or_all() -> None:
    case = live.Case("lightweight", 60.0)
    assert machine.held_of(case, played(12.0)).rate_hz == 12
    assert machine.held_of(case, played(0.0)).rate_hz == 60
