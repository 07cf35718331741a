"""A recording is put right step by step, says what was done to it, and the same can be done again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.estimate.path_filters import butterworth, one_euro
from kinecast.engines.records import Bodies, Poses
from kinecast.nodes.cli import main as cli
from kinecast.nodes.recording.file import About, Recording, RecordingWriter, Stamp
from kinecast.nodes.reprocess.clean import clean_recording, steps_of
from kinecast.nodes.reprocess.clean_people import Step
from tests.nodes.fusion.toys import bodies
from tests.nodes.recording.scene import circle_rig, frameset, poses, write_scene

RIG = circle_rig()
SETS, GAP = 40, range(10, 16)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Persons 0 and 1 over 40 frame sets; 1 is away in six of them, and then is called 7; joint 3 of 0 is lost once."""
    folder = tmp_path_factory.mktemp("clean")
    write_scene(folder / "rig.mcap", frames=1)
    rig = Recording.open(folder / "rig.mcap").attachment("rig.toml")
    assert rig is not None
    path = folder / "walk.mcap"
    with path.open("wb") as file:
        writer = RecordingWriter(file, About(recording="abc"))
        writer.attach("rig.toml", rig)
        for n in range(SETS):
            both = poses(RIG, n, 1 if n in GAP else 2)
            ids = both.person_ids.copy()
            ids[ids == 1] = 7 if n > GAP[-1] else 1
            points = both.points_world_m.copy()
            if n == 5:
                points[0, 3] = np.nan
            told = replace(both, person_ids=ids, points_world_m=points)
            writer.record(Stamp("framesets", n), frameset(RIG, n))
            writer.record(Stamp("poses", n), told)
            said = bodies(people=len(ids), seq=n, t_ns=told.t_set_ns)
            writer.record(Stamp("bodies", n), replace(said, person_ids=ids))
        writer.finish()
    return Recording.open(path)


def read(path: Path) -> tuple[list[Poses], list[Bodies]]:
    messages = [r for _, _, r in Recording.open(path).messages(("poses", "bodies"))]
    return [m for m in messages if isinstance(m, Poses)], [m for m in messages if isinstance(m, Bodies)]


def clean(recording: Recording, out: Path, *steps: Step) -> tuple[list[Poses], list[Bodies]]:
    clean_recording(recording, out, steps)
    return read(out)


def test_two_names_of_one_person_become_one_and_the_gap_is_filled_and_flagged(
    recording: Recording, tmp_path: Path
) -> None:
    told, bodied = clean(
        recording,
        tmp_path / "a.mcap",
        Step("merge", person=7, into=1),
        Step("fill", seconds=0.5),
        Step("drop", person=0),
    )
    assert len(told) == SETS and all(p.person_ids.tolist() == [1] for p in told)
    filled = np.array([p.filled[0].all() if p.filled.size else False for p in told])
    assert filled.tolist() == [n in GAP for n in range(SETS)]
    before, middle = told[GAP[0] - 1], told[GAP[2]]
    truth = poses(RIG, GAP[2], 2).points_world_m[1]
    assert np.nanmax(np.linalg.norm(middle.points_world_m[0] - truth, axis=1)) < 0.05, "a straight line of 0.12 s"
    assert middle.covariance_m2[0, 0, 0] > before.covariance_m2[0, 0, 0] and not middle.views.any()
    assert np.isnan(middle.residual_px).all() and (middle.detections == -1).all()
    assert {tuple(b.person_ids.tolist()) for b in bodied} == {(1,), ()}, "bodies follow names, and are not invented"


def test_a_joint_that_was_lost_is_filled_and_a_long_gap_is_not(recording: Recording, tmp_path: Path) -> None:
    told, _ = clean(recording, tmp_path / "a.mcap", Step("fill", seconds=0.05))
    assert told[5].filled[0].nonzero()[0].tolist() == [3] and np.isfinite(told[5].points_world_m[0, 3]).all()
    assert all(p.person_ids.tolist() == [0] for p in (told[n] for n in GAP))
    assert not any(p.filled.size for n, p in enumerate(told) if n != 5)


def test_names_are_given_parted_and_refused(recording: Recording, tmp_path: Path) -> None:
    told, _ = clean(
        recording, tmp_path / "a.mcap", Step("split", person=0, into=9, start_s=0.3), Step("relabel", person=7, into=2)
    )
    at = [(p.t_set_ns - told[0].t_set_ns) * 1e-9 for p in told]
    for t, p in zip(at, told, strict=True):
        assert (9 if t >= 0.3 else 0) in p.person_ids and 7 not in p.person_ids
    for step, why in (
        (Step("drop", person=5), "nobody has the identity 5; there are 0, 1, 7"),
        (Step("relabel", person=7, into=1), "somebody is 1 already; --merge 7=1"),
        (Step("split", person=1, into=4, start_s=0.5), "from 0.5 s on: nobody has the identity 1"),
        (Step("trim", start_s=50.0), "nothing is left from 50 to inf s"),
    ):
        with pytest.raises(KinecastError, match=why):
            clean_recording(recording, tmp_path / "b.mcap", [step])
        assert not (tmp_path / "b.mcap").exists()


def test_of_two_in_one_set_the_one_who_had_the_name_stays(recording: Recording, tmp_path: Path) -> None:
    done = clean_recording(recording, tmp_path / "a.mcap", [Step("merge", person=1, into=0)])
    assert f"in {GAP[0]} frame sets both were there, and person 0 stayed" in done.told[0]
    told, _ = read(tmp_path / "a.mcap")
    np.testing.assert_array_equal(told[2].points_world_m[0], poses(RIG, 2, 2).points_world_m[0])


def test_the_command_tells_its_steps_and_they_can_be_repeated(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "a.mcap", tmp_path / "b.mcap"
    words = "--trim 0.05 0.6 --merge 7=1 --fill 0.5 --filter butterworth:6".split()
    assert cli.main(["clean", str(recording.path), "-o", str(first), *words]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in told[:4]] == ["trim", "merge", "fill", "filter"]
    assert "kinecast fit" in told[3]
    assert [s.kind for s in steps_of(Recording.open(first))] == ["trim", "merge", "fill", "filter"]
    assert cli.main(["clean", str(recording.path), "-o", str(again), "--like", str(first)]) == 0
    for a, b in zip(read(first)[0], read(again)[0], strict=True):
        np.testing.assert_array_equal(a.points_world_m, b.points_world_m)
        assert a.filtered == "butterworth 6 Hz"
    assert Recording.open(first).about["made_by"] == "clean"


@pytest.mark.parametrize(
    "words",
    ["--trim 3 1", "--fill 0", "--fill 60", "--filter butter:6", "--filter butterworth", "--filter rts:3", "--merge 3",
     "--split 2=3", "--relabel 2=2", "--drop x", ""],
)  # fmt: skip
def test_words_that_are_no_step_are_refused(recording: Recording, tmp_path: Path, words: str) -> None:
    out = tmp_path / "x.mcap"
    try:
        status = cli.main(["clean", str(recording.path), "-o", str(out), *words.split()])
    except SystemExit as e:
        status = int(e.code or 0)
    assert status == 2 and not out.exists()


def test_butterworth_keeps_what_is_slow_takes_what_is_fast_and_does_not_lag() -> None:
    t = np.arange(600) / 100
    slow, fast = np.sin(2 * np.pi * 1.0 * t), 0.2 * np.sin(2 * np.pi * 25.0 * t)
    path = np.zeros((600, 2, 3))
    path[:, 0, 0], path[:, 1, 1] = slow + fast, slow
    path[250:260, 1] = np.nan
    got = butterworth(path, 100.0, 6.0)
    np.testing.assert_allclose(got[50:-50, 0, 0], slow[50:-50], atol=0.01)
    assert np.isnan(got[250:260, 1]).all() and np.isfinite(got[260:, 1]).all()
    at_cutoff = butterworth(np.repeat(np.sin(2 * np.pi * 6.0 * t)[:, None, None], 3, 2), 100.0, 6.0)
    assert np.abs(at_cutoff[100:-100]).max() == pytest.approx(0.5**0.5, abs=0.02), "3 dB at the cutoff, both passes"
    with pytest.raises(ValueError, match="needs more than"):
        butterworth(path, 100.0, 45.0)


def test_one_euro_holds_what_rests_and_follows_what_moves() -> None:
    rng = np.random.default_rng(0)
    rest = rng.normal(0, 0.01, (400, 1, 3))
    assert one_euro(rest, 60.0, 1.0)[100:].std() < 0.5 * rest[100:].std()
    moving = np.zeros((120, 1, 3))
    moving[:, 0, 0] = np.arange(120) / 60 * 3.0  # 3 m/s
    assert np.abs(one_euro(moving, 60.0, 1.0)[60:] - moving[60:]).max() < 0.12
