"""``kinecast train`` and ``kinecast evaluate lifter`` from end to end on toy motion; noise and 2D of recordings."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.synth import Noise
from kinecast.engines.train.data.detector_noise import load_noise
from kinecast.nodes.bench.replay import record
from kinecast.nodes.cli.main import main
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.train.inputs import tracks_of
from kinecast.nodes.train.noise import residuals
from tests.engines.train import toys

SIGMA_PX = 3.0


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion")
    for i in range(3):
        toys.write_bvh(folder / f"clip{i}.bvh", frames=100, seed=i)
    toys.write_bvh(folder / "held_out" / "kept.bvh", frames=100, seed=9)
    return folder


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person before four cameras for two seconds, fused."""
    path = tmp_path_factory.mktemp("session") / "session.mcap"
    return record(path, 4, 1, 60, 30.0, Noise(sigma_px=SIGMA_PX))


def test_a_lifter_is_trained_judged_and_refused_where_it_must_be(
    motion: Path, session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    small = ["--steps", "2", "--sequences", "2", "--frames", "32", "--channels", "16", "--trajectory-channels", "8"]
    assert main(["train", "lifter", str(motion), "-o", str(out), *small, "--receptive-field", "27",
                 "--unlabelled", str(session), "--about", "licence=toy"]) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert "3 clips to train on, 1 held out" in told
    weights = out / "lifter.safetensors"
    assert str(weights) in told
    figures = tmp_path / "f.json"
    assert main(["evaluate", "lifter", str(motion), "--weights", str(weights), "--json", str(figures)]) == 0
    shown = capsys.readouterr().out
    assert "P-MPJPE" in shown and "MRPE" in shown and "2 σ" in shown
    row = json.loads(figures.read_text())["lifters"]["causal 27, 16 channels"]
    assert row["frames"] > 50 and set(row["root"]) == {"k", "k, best constant", "gamma", "trajectory"}
    assert row["p_mpjpe_m"] < row["mpjpe_m"]  # a similarity transform can only help
    # after calibration nearly all errors are inside 3 σ; without training the spread is all that is told
    one, two, three = row["inside_sigma"]["joints"]
    assert one < two < three and three > 0.9
    # again, into the same folder, without saying so; and with what cannot be
    assert main(["train", "lifter", str(motion), "-o", str(out), *small]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "lifter", "-o", str(out)]) == 2
    assert "folders of motion, or --labelled" in capsys.readouterr().err
    assert main(["train", "lifter", str(motion), "-o", str(out), "--about", "x"]) == 2
    assert main(["evaluate", "lifter", str(motion), "--weights", str(session)]) == 2
    assert "not a whole safetensors file" in capsys.readouterr().err


def test_noise_is_fitted_from_a_recording(session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "noise.toml"
    assert main(["train", "noise", str(session), "-o", str(path), "--source", "a ring of four"]) == 0
    model = load_noise(path)
    assert model.source.startswith("a ring of four: ")
    # 3 px an axis, less what the fused points follow of it (four views: about a half in variance at most), over the
    # person's extent in the picture; independent in time, so nearly all of it moves and little lasts
    found = residuals(session)
    per_extent = float(np.nanmedian([np.nanstd(r.error) for r in found]))
    moving = np.hypot(model.slow, model.fast).mean()
    assert moving == pytest.approx(per_extent, rel=0.4)
    assert np.mean(model.bias) < 0.5 * moving
    assert main(["train", "noise", str(session), "-o", str(tmp_path / "n.txt")]) == 2
    assert main(["train", "noise", str(tmp_path / "none.mcap"), "-o", str(path)]) == 2
    capsys.readouterr()


def test_tracks_of_a_recording_are_at_the_model_s_rate(session: Path) -> None:
    tracks = tracks_of(session, 15.0)
    assert len(tracks) == 4  # one person, four views
    assert all(27 <= len(t.xy) <= 31 for t in tracks)  # two seconds at 15 Hz, less what the birth took
    assert all((t.confidence > 0).mean() > 0.9 for t in tracks)
    rig = Recording.open(session).rig
    # rays of a person in the middle of the ring are near the optical axes
    assert max(np.abs(t.xy[t.confidence > 0]).max() for t in tracks) < 1.0
    assert len(rig) == 4
