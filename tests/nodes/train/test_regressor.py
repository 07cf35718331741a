"""``kinecast train spin`` and ``kinecast evaluate spin`` from end to end on toy motion; whose is what in Shelf."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.regressor import read_regressor
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.cli.main import main
from kinecast.nodes.evaluate.regressor import shelf_people
from kinecast.nodes.fusion.bodies import BodyStage
from kinecast.nodes.graph.launch_file import parse
from kinecast.nodes.graph.records import FusionNode
from tests.engines.train.regressor.toys import clip
from tests.engines.train.toy_sessions import RIG, write_dataset
from tests.engines.train.toys import write_bvh

pytest.importorskip("torch")
WAYS = ("one-view", "all-views")
SMALL = ["--scenes", "3", "--views", "2", "--rounds", "2", "--steps", "2"]


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    """One class of motion to learn, another for the exam."""
    for name, seed in (("walking/a", 1), ("walking/b", 2), ("held_out/c", 3)):
        path = tmp_path / "motion" / f"{name}.bvh"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bvh(path, 150, seed)
    return tmp_path / "motion"


def test_train_and_evaluate(motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("kinecast.nodes.evaluate.regressor.SCENES", 3)
    monkeypatch.setattr("kinecast.nodes.evaluate.regressor.FRAMES", 3)
    monkeypatch.setattr("kinecast.nodes.evaluate.regressor.VIEWS", 2)
    out = tmp_path / "run"
    assert main(["train", "regressor", str(motion), "-o", str(out), *SMALL, "--ways", *WAYS]) == 0
    assert "fits replaced" in capsys.readouterr().out
    files = [str(out / f"{way}.safetensors") for way in WAYS]
    told = tmp_path / "rows.json"
    assert main(["evaluate", "regressor", str(motion), "--weights", *files, "--json", str(told)]) == 0
    shown = capsys.readouterr().out
    assert "learning from all views' fits instead of one view's" in shown
    rows = json.loads(told.read_text())["synthetic"]["rows"]
    assert set(rows) == {
        "optimiser alone, 16 starts", "one-view: regressor alone", "one-view: + optimiser",
        "all-views: regressor alone", "all-views: + optimiser",
    }  # fmt: skip
    # six steps teach nothing, the optimiser puts it right from there
    one = {name: row["all views"]["mpjpe_m"] for name, row in rows.items()}
    assert one["all-views: + optimiser"] < one["all-views: regressor alone"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "regressor", "nowhere", "-o", "out"], "no such folder"),
        (["train", "regressor", "MOTION", "-o", "out", "--views", "0"], "1 or more"),
        (["train", "regressor", "MOTION", "-o", "out", "--rate", "2"], "between 0 and 1"),
        (["train", "regressor", "-o", "out"], "nothing to learn from"),
        (["train", "regressor", "MOTION", "-o", "out", "--ways", "both"], "known are fixed"),
        (["train", "regressor", "MOTION", "-o", "out", "--recorded", "0"], "1 or more"),
        (["train", "regressor", "--datasets", "nowhere", "-o", "out"], "no data set here"),
        (["train", "regressor", "--datasets", "nowhere", "-o", "out", "--ways", "truth"], "recordings have no truth"),
        (["evaluate", "regressor"], "nobody to ask"),
        (["evaluate", "regressor", "MOTION", "--weights", "MOTION/walking/a.bvh"], "safetensors"),
        (["evaluate", "regressor", "MOTION", "--weights", "nothing.safetensors"], "cannot read"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_line(
    motion: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(motion.parent)
    assert main([w.replace("MOTION", "motion") for w in words]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1
    assert not Path("out").exists()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded sessions: two to learn from, one for validation, one for tests."""
    clips = [clip("a", "walking", 1), clip("b", "walking", 2)]
    splits = {"train": 2, "validate": 1, "test": 1}
    return write_dataset(tmp_path_factory.mktemp("recorded") / "data", clips, splits, frames=60)


def test_recordings_alone_taken_up_and_asked(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinecast.nodes.evaluate.regressor.RECORDED", 2)
    monkeypatch.setattr("kinecast.nodes.evaluate.regressor.FRAMES", 3)
    out = tmp_path / "run"
    command = ["train", "regressor", "--datasets", str(data), "-o", str(out), "--recorded", "2", "--rounds", "1",
               "--steps", "2", "--ways", "all-views"]  # fmt: skip
    assert main(command) == 0
    assert "2 recorded sessions, up to 2 scenes" in capsys.readouterr().out
    weights = out / "all-views.safetensors"
    before, first = weights.read_bytes(), read_regressor(weights).tensors
    assert main(command) == 0
    assert "round 1" not in capsys.readouterr().out and weights.read_bytes() == before
    weights.unlink()  # broken off before it was written
    assert main(command) == 0
    assert "goes on after round 1 of 1" in capsys.readouterr().out
    again = read_regressor(weights).tensors
    assert all(np.array_equal(value, again[name]) for name, value in first.items())
    before = weights.read_bytes()

    def refused(*more: str) -> str:
        assert main([*command, *more]) == 2
        return capsys.readouterr().err

    assert "the recipe of this run is another: rate" in refused("--rate", "0.01")
    assert "base of this run is another (, now all-views@" in refused("--base", str(weights))
    told = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(told | {"data": told["data"] | {"data": "0" * 16}}))
    assert "the data of this run is another: data" in refused()
    (out / "run.json").write_text(json.dumps(told | {"version": 0}))
    assert "a run of version 0" in refused()
    (out / "run.json").write_text(json.dumps(told | {"format": "kinecast run"}))
    assert "is not of a SPIN loop" in refused()
    (out / "run.json").unlink()
    assert "holds other files" in refused() and weights.read_bytes() == before

    rows = tmp_path / "rows.json"
    assert main(["evaluate", "regressor", "--datasets", str(data), "--weights", str(weights), "--json", str(rows)]) == 0
    assert "beside pseudo ground truth: the fit to all views, no truth" in " ".join(capsys.readouterr().out.split())
    (asked,) = json.loads(rows.read_text()).values()
    assert asked["people"] == 1
    # the optimiser finds the body that made the keypoints
    assert asked["rows"]["all-views: + optimiser"]["all views"]["mpjpe_m"] < 0.06


def test_a_regressor_is_put_in_force_by_its_file(tmp_path: Path) -> None:
    text = """
version: 1
session: {name: x, out: out, rig: rig.toml}
nodes:
  cam01: {kind: camera, source: {uri: a.mp4}}
  cam02: {kind: camera, source: {uri: b.mp4}}
  fusion: {kind: fusion, body: neutral, body_start: runs/spin/all-views.safetensors}
"""
    graph = parse(text, "launch.yaml", tmp_path)
    fusion = graph.nodes["fusion"]
    assert isinstance(fusion, FusionNode) and fusion.body_start == str(tmp_path / "runs/spin/all-views.safetensors")
    with pytest.raises(KinecastError, match="cannot read the regressor"):
        BodyStage(RIG, RIG.names, start=fusion.body_start)
    assert BodyStage(RIG, RIG.names, start="off")._starts is None
    assert FusionNode().body_start == "default" and BodyStage(RIG, RIG.names)._starts is not None


def test_people_of_shelf_are_told_apart_by_the_truth(tmp_path: Path) -> None:
    """Two people cross in two views; detections come in any order, and each goes to its own."""
    rng = np.random.default_rng(0)
    K = [[1000.0, 0, 500], [0, 1000, 400], [0, 0, 1]]
    turns = [np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float), np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], float)]
    rig = {
        f"cam{c}": {"K": K, "cam_from_world": np.c_[R, [0.0, 1.0, 5.0]].tolist(), "size": [1032, 776]}
        for c, R in enumerate(turns)
    }
    (tmp_path / "calibration.json").write_text(json.dumps(rig))
    shelf15, body25 = skeleton("shelf15"), skeleton("body25")
    frames, points = [], rng.normal(0, 0.25, (2, 15, 3)) + np.array([0, 0, 1.0])
    for n in range(6):
        people = {str(p): np.c_[points[p] + [p * 1.2 - 0.6 + 0.02 * n, 0, 0], np.ones(15)].tolist() for p in range(2)}
        frames.append(people)
        for c, R in enumerate(turns):
            found = []
            for p in rng.permutation(2):
                X = np.array(people[str(p)])[:, :3] @ R.T + [0.0, 1.0, 5.0]
                px = X[:, :2] / X[:, 2:] * 1000 + [500, 400]
                rows = np.zeros((25, 3))
                for j, joint in enumerate(body25.joints):
                    if joint in shelf15.joints:
                        rows[j] = [*px[shelf15.joints.index(joint)], 0.9]
                found.append({"pose_keypoints_2d": rows.reshape(-1).tolist()})
            folder = tmp_path / "openpose" / f"cam{c}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{n:06d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": found}))
    (tmp_path / "ground_truth.json").write_text(json.dumps(frames))
    scenes = shelf_people(tmp_path)
    assert len(scenes) == 4  # two people, every second frame and those between
    hip = shelf15.joints.index("left_knee"), skeleton("halpe26").index("left_knee")
    for s in scenes:
        cam = np.einsum("cij,tj->tci", s.P[0][..., :3], s.points[0][:, hip[0]]) + s.P[0][None, ..., 3]
        np.testing.assert_allclose(s.xy[0][:, :, hip[1]], cam[..., :2] / cam[..., 2:], atol=1e-6)
