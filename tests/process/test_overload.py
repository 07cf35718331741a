"""Detectors that are too slow: all cameras take the same moments, sets are whole, people keep their identity."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from kinecast.nodes.bus.messages import Health
from kinecast.nodes.graph.records import CameraNode
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.replay import replay
from kinecast.nodes.supervise.supervisor import NodeStatus, Supervisor
from tests.children import PATHS
from tests.process.graphs import CAMERAS, make
from tests.process.toys.slow_camera import DETECT_S

pytestmark = pytest.mark.alone
FULL_HZ, SECONDS, LATE_S = 20.0, 14.0, 6.0


def test_slow_cameras_take_the_same_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PATHS)
    graph = make(tmp_path, "realtime", None, FULL_HZ)
    people = {n: replace(node, source=replace(node.source, people=2)) if isinstance(node, CameraNode) else node
              for n, node in graph.nodes.items()}  # fmt: skip
    notes: set[str] = set()

    def look(nodes: dict[str, NodeStatus]) -> None:
        notes.update(s.health.note for s in nodes.values() if isinstance(s.health, Health))

    supervisor = Supervisor(replace(graph, nodes=people), {"camera": "tests.process.toys.slow_camera"})
    outcome = supervisor.run(look, timeout_s=SECONDS)
    assert outcome.code == 0, {n.name: n.reason for n in outcome.nodes.values()}
    recording = Recording.open(tmp_path / "out/session.mcap")
    orders = [record for _, _, record in recording.messages(("common_rate",))]
    rate_hz = orders[-1].rate_hz
    assert 0.4 / DETECT_S < rate_hz < 1 / DETECT_S and orders[-1].full_hz == FULL_HZ
    assert orders[-1].note in notes
    sets = [record for _, _, record in recording.messages(("framesets",))]
    late = [s for s in sets if s.t_set_ns > sets[-1].t_set_ns - LATE_S * 1e9]
    assert len(late) > 0.8 * LATE_S * rate_hz
    whole = [s for s in late if (s.frame_seqs >= 0).all()]
    assert len(whole) > 0.95 * len(late)
    # the same frame of every camera; an order for another rate reaches one camera a frame before the next
    alike = [s for s in whole if len(set(s.frame_seqs.tolist())) == 1]
    assert len(alike) >= 0.95 * len(whole), f"{len(alike)} of {len(whole)} alike, {len(orders)} orders"
    ids = {i for _, _, p in recording.messages(("poses",)) for i in p.person_ids.tolist()}
    assert len(ids) == 2
    lost = {n: s.health.drops for n, s in outcome.nodes.items() if s.health is not None and n in CAMERAS}
    assert all(drops["left_out"] > 0 for drops in lost.values())
    for camera in CAMERAS:
        numbers = [k.frame_seq for _, _, k in recording.messages((f"keypoints/{camera}",))]
        between = sum(b - a - 1 for a, b in itertools.pairwise(numbers))
        told = lost[camera].get("left_out", 0) + lost[camera].get("skipped_at_source", 0)
        assert abs(told - between) <= 0.5 * FULL_HZ  # what came before the first, or after the last, for half a second
    assert replay(recording).identical
