"""Bodies in a session: fused again bit for bit, compared, measured, and told by info."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.engines.records import Bodies, Meshes
from kinecast.nodes.cli import main as cli
from kinecast.nodes.evaluate.session_quality import measure
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.meshes import find_body
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.diff import compare
from kinecast.nodes.recording.file import LAUNCH, Recording
from kinecast.nodes.reprocess.replay import replay
from tests.nodes.recording.scene import PERIOD_NS, keypoints
from tests.nodes.reprocess.scene import RIGGED, Change, Live, graph

SETTINGS = FusionNode(body="neutral")


def session(path: Path, change: Change = lambda topic, record: record) -> Recording:
    """A short lossless session of two people with bodies."""
    live = Live(path, change)
    plain = graph()
    live.writer.attach(LAUNCH, dump(replace(plain, nodes={**plain.nodes, "fusion": SETTINGS})).encode())
    core = FusionCore(RIGGED, SETTINGS)
    live.fuse(core, range(12))
    for name in RIGGED.names:
        live.give(core.handle(0, f"end/{name}", None), 0)
    live.close()
    return Recording.open(path)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return session(tmp_path_factory.mktemp("bodies") / "a.mcap")


def test_bodies_are_bit_identical_again(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "again.mcap"
    assert cli.main(["replay", str(recording.path), "--out", str(out)]) == 0
    assert "bodies, bit-identical: 12 of 12" in capsys.readouterr().out
    bodies = next(d for d in compare(recording, Recording.open(out)) if d.topic == "bodies")
    assert bodies.same == 12 and not bodies.parts


def test_a_body_that_was_changed_is_named(tmp_path: Path) -> None:
    def bend(topic: str, record: Any) -> Any:
        if not isinstance(record, Bodies) or record.frameset_seq != 7:
            return record
        turned = record.rotations_rad.copy()
        turned[0, 5, 1] += np.float32(1e-6)
        moved = record.joints_world_m.copy()
        moved[0, 5, 0] += np.float32(0.004)
        return replace(record, rotations_rad=turned, joints_world_m=moved)

    done = replay(session(tmp_path / "bent.mcap", bend))
    assert not done.identical and not done.diff.parts
    assert (done.bodies.same, done.bodies.different) == (11, 1)
    assert done.bodies.first == ("set 7", "rotations_rad, joints_world_m")
    assert done.bodies.max_mm == pytest.approx(4.0, abs=0.01)


def test_the_figures_of_bodies_stand_beside_the_triangulation(recording: Recording) -> None:
    """2 px of noise in four views; a body has fewer freedoms than 26 points, and other proportions than the scene's."""
    plain = measure(recording).plain()["body"]
    assert plain["id"] == find_body(plain["id"]).id and plain["missing"] == ""
    assert plain["share"] == 1.0 and plain["person_frames"] == 24
    r = plain["reprojection_px"]
    free = measure(recording).plain()["reprojection_px"]
    assert r["free_median"] == pytest.approx(free["median"], abs=0.01) and r["keypoints"] == free["keypoints"]
    assert r["ratio"] == pytest.approx(r["median"] / r["free_median"], abs=0.01) and r["median"] > 0.5
    assert set(plain["stature_m"]) == {"1", "2"} and all(1.0 < v < 2.3 for v in plain["stature_m"].values())
    json.dumps(plain, allow_nan=False)


def test_info_tells_of_bodies(recording: Recording, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(recording.path)]) == 0
    assert "bodies: 24 person-frames of free-neutral-" in capsys.readouterr().out


def test_meshes_are_published_only_where_they_are_asked_for(recording: Recording) -> None:
    core = FusionCore(RIGGED, FusionNode(body="neutral", meshes="light"))
    outs = []
    for n in range(3):
        for c, name in enumerate(RIGGED.names):
            outs += core.handle(n * PERIOD_NS, f"keypoints/{name}", keypoints(RIGGED, c, n, 2, noise_px=2.0))
    bodies = [o.record for o in outs if isinstance(o.record, Bodies)]
    meshes = [o.record for o in outs if isinstance(o.record, Meshes)]
    assert len(meshes) == len(bodies) >= 2
    for body, mesh in zip(bodies, meshes, strict=True):
        mesh.check()
        assert mesh.body_id == find_body(mesh.body_id).id != body.body_id  # the light twin's
        assert mesh.person_ids.tolist() == body.person_ids.tolist()
        gap = np.linalg.norm(mesh.vertices_world_m[:, None] - body.joints_world_m[:, :, None], axis=-1).min(axis=2)
        assert gap.max() < 0.2  # no joint of a body is further inside than that
    assert not any(topic == "meshes" for topic, _, _ in recording.messages())
