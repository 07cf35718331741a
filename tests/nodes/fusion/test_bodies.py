"""Bodies as the last stage of fusion, in a recording, fitted afterwards, and exported."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.formats import native
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Bodies, FrameSet, Poses
from kinecast.engines.synth import Noise, World, messages, ring_rig
from kinecast.nodes.bench.fusion import sets_of
from kinecast.nodes.cli import main as cli
from kinecast.nodes.fusion.bodies import BodyStage
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.file import RIG, About, Recording, RecordingWriter, Stamp

RIG4 = ring_rig(4)
FRAMES = 20


def session(path: Path | None = None, record_bodies: bool = False) -> list[Bodies]:
    """The bodies of a synthetic walk of one person; with ``path`` a recording of it, with or without the bodies."""
    core = FusionCore(RIG4, FusionNode(body="neutral"))
    file = path.open("wb") if path is not None else None
    writer = RecordingWriter(file, About("id", "live")) if file is not None else None
    if writer is not None:
        writer.attach(RIG, native.dumps(RIG4).encode())
    out: list[Bodies] = []
    for n, view in enumerate(messages(World(people=1), RIG4, frames=FRAMES, noise=Noise(2.0, missing=0.1))):
        if writer is not None:
            writer.record(Stamp(f"keypoints/{view.camera}", n), view)
        for said in core.handle(0, f"keypoints/{view.camera}", view):
            if isinstance(said.record, Bodies):
                said.record.check()
                out.append(said.record)
                if writer is not None and record_bodies:
                    writer.record(Stamp("bodies", len(out)), said.record)
            elif isinstance(said.record, Poses | FrameSet) and writer is not None:
                writer.record(Stamp(said.topic, len(out)), said.record)
    if writer is not None and file is not None:
        writer.finish()
        file.close()
    return out


def test_fusion_says_bodies_where_it_is_asked_to() -> None:
    bodies = session()
    assert len(bodies) >= FRAMES - 2
    last = bodies[-1]
    assert last.person_ids.tolist() == [1]
    assert last.body_id.startswith("free-neutral-")
    assert np.isfinite(last.joints_world_m).all() and np.isfinite(last.rotations_rad).all()
    # a person of 1.55 to 1.92 m who walks on z = 0
    assert 0.6 < last.joints_world_m[0, 0, 2] < 1.2
    assert last.explained[0] > 0.7


def test_the_same_views_give_the_same_bodies_bit_for_bit() -> None:
    for a, b in zip(session(), session(), strict=True):
        assert np.array_equal(a.rotations_rad, b.rotations_rad) and np.array_equal(a.trans_m, b.trans_m)


def test_fit_and_export_of_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, fitted = tmp_path / "raw.mcap", tmp_path / "fitted.mcap"
    session(raw)
    assert cli.main(["export", str(raw), "--to", "smpl"]) == 2
    assert "kinecast fit" in capsys.readouterr().err
    assert cli.main(["fit", str(raw), "-o", str(fitted)]) == 0
    bodies = [record for _, _, record in Recording.open(fitted).messages(("bodies",))]
    assert sum(len(b.person_ids) for b in bodies) >= FRAMES - 2
    assert cli.main(["export", str(fitted), "--to", "smpl", "-o", str(tmp_path / "walk.npz")]) == 0
    with np.load(tmp_path / "walk_person1.npz") as amass:
        assert amass["poses"].shape == (len(amass["trans"]), 72)
        assert amass["betas"].shape == (10,) and str(amass["gender"]) == "neutral"
        assert float(amass["mocap_framerate"]) == pytest.approx(30, rel=1e-3)


def recorded(path: Path) -> list[Bodies]:
    return [record for _, _, record in Recording.open(path).messages(("bodies",))]


def test_a_smoothed_recording_has_bodies_that_are_smooth_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, smoothed, again, bare = (tmp_path / f"{n}.mcap" for n in ("raw", "smoothed", "again", "bare"))
    live = session(raw, record_bodies=True)
    assert cli.main(["smooth", str(raw), "-o", str(smoothed)]) == 0
    assert "fitted again" in capsys.readouterr().out
    both = live, recorded(smoothed)
    assert len(both[1]) == len(live) and {b.body_id for b in both[1]} == {live[0].body_id}
    # the walk turns slowly: what changes from step to step is mostly the noise, of which the future takes half at least
    joints = [np.stack([b.joints_world_m[0] for b in each if len(b.person_ids)]) for each in both]
    shake = [float(np.linalg.norm(np.diff(j.astype(np.float64), n=2, axis=0), axis=-1).mean()) for j in joints]
    assert shake[1] < 0.5 * shake[0]
    # bodies that know the future follow from the keypoints, which smoothing leaves alone
    fitted, kept = tmp_path / "fitted.mcap", tmp_path / "kept.mcap"
    assert (
        cli.main(["fit", str(raw), "-o", str(fitted)]) == 0 and cli.main(["smooth", str(fitted), "-o", str(kept)]) == 0
    )
    assert "as they were fitted" in capsys.readouterr().out
    for a, b in zip(recorded(fitted), recorded(kept), strict=True):
        assert np.array_equal(a.rotations_rad, b.rotations_rad) and np.array_equal(a.trans_m, b.trans_m)

    def no_torch(device: str) -> None:
        raise KinecastError("fitting needs torch")

    monkeypatch.setattr("kinecast.nodes.reprocess.smooth.device_of", no_torch)
    assert cli.main(["smooth", str(raw), "-o", str(again)]) == 0
    said = capsys.readouterr().out
    assert "left out" in said and "needs torch" in said and not recorded(again)
    assert cli.main(["smooth", str(raw), "-o", str(bare), "--no-bodies"]) == 0
    assert "bodies" not in capsys.readouterr().out and not recorded(bare)


def test_a_body_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="nobody"):
        FusionCore(RIG4, FusionNode(body=str(tmp_path / "nobody.npz")))


def test_views_gathered_by_fusion_are_those_that_the_stage_would_gather() -> None:
    core, alone = FusionCore(RIG4, FusionNode(body="neutral")), BodyStage(RIG4, RIG4.names)
    for frameset, views in sets_of(RIG4, 2)[:12]:
        poses = core.step(frameset, views)
        assert core.bodies is not None
        shared, own = core.bodies.step(frameset, views, poses, core._given), alone.step(frameset, views, poses)
        assert np.array_equal(shared.rotations_rad, own.rotations_rad) and np.array_equal(shared.betas, own.betas)


def test_what_the_views_saw_stands_at_the_time_of_the_set_after_its_step_too() -> None:
    """Fitting a whole recording and a data set ask after the step, on whose noise they build."""
    late_ns = {name: c * 8_000_000 for c, name in enumerate(RIG4.names)}
    core, stage = FusionCore(RIG4, FusionNode()), BodyStage(RIG4, RIG4.names)
    moved = []
    for frameset, given in sets_of(RIG4, 2)[:12]:
        views = {c: replace(v, t_capture_ns=v.t_capture_ns + late_ns[c]) for c, v in given.items()}
        poses = core.step(frameset, views)
        before = stage.observations(frameset, views, poses).xy
        stage.step(frameset, views, poses)
        np.testing.assert_array_equal(stage.observations(frameset, views, poses).xy, before)
        still = stage.observations(frameset, given, poses).xy
        moved.append(np.nanmax(np.abs(before - still), initial=0.0))
    assert moved[0] == 0.0 and max(moved[4:]) > 0.001  # a pixel of 960: who walks does so in 8 ms and more


def test_fewer_views_are_scored_against_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw.mcap"
    session(raw)
    assert cli.main(["evaluate", "body-views", str(raw), "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["views"] for row in told["views"]] == [3, 2, 1]
    three, one = told["views"][0], told["views"][-1]
    assert one["stated_sd_m"] > three["stated_sd_m"] and one["mean_m"] > three["mean_m"]
    assert set(told["residuals"]) == {"persistent", "common"}
