"""The lifter at run time: the network's own numbers in the camera, any frame rate, people who vanish, bad input."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift import Lifted, Lifter, fill_unseen, load_lifter
from kinecast.engines.virtual_camera import normalise, out_of_virtual
from tests.engines.lift.toy_lifter import network, project, walker, write

torch = pytest.importorskip("torch", reason="torch is not installed")

F64 = NDArray[np.float64]
WIDTHS = (3, 3, 3)
EPOCH_NS = 1_700_000_000_000_000_000
A, B = (1, "left"), (2, "left")
EXACT_M = 1e-5  # float32 through the network, on poses of about a metre


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("lifter") / "toy.safetensors", widths=WIDTHS)


def call(
    lifter: Lifter, t_s: float, people: dict[tuple[int, str], F64], confidence: float | F64 = 1.0, focal: float = 1000
) -> Lifted:
    """One frame set of people (26, 3) in their cameras."""
    xy = np.array([project(p) for p in people.values()]).reshape(-1, 26, 2)
    say = np.broadcast_to(np.asarray(confidence, np.float64), xy.shape[:2])
    return lifter.step(EPOCH_NS + round(t_s * 1e9), list(people), xy, say, np.full((len(people), 2), focal))


def at(t_s: float, seed: int = 0) -> F64:
    return np.asarray(walker(np.array([t_s]), seed)[0])


def window(times_s: F64, confidence: F64 | None = None, correct: bool = True) -> dict[str, F64]:
    """The slow twin: the whole history of seed 0 at once, answers for every frame in the camera's axes."""
    from kinecast.engines.lift.network import pad_frames

    net = network(widths=WIDTHS)
    say = np.ones((len(times_s), 26)) if confidence is None else confidence
    seen = fill_unseen(normalise(project(walker(times_s))[None], say[None]))
    f, c = (torch.from_numpy(a.astype(np.float32)) for a in (seen.features, seen.context))
    with torch.inference_mode():
        out = net(pad_frames(net.config, f), pad_frames(net.config, c))
        pose = net.projector.correct(out.relative_m, f, c) if correct else out.relative_m
    pose = pose[0].double().numpy()
    turn = seen.cam_from_virtual[0]
    sd = np.exp(out.log_variance[0].double().numpy() / 2)
    return {
        "relative": out_of_virtual(turn, pose - pose[:, 19:20]),
        "sd": np.sqrt(np.einsum("tab,tjb->tja", turn**2, sd**2)),
        "turn": turn,
        "k": seen.k_m[0],
        "gamma": seen.k_m[0] * np.exp(out.log_gamma[0, :, 0].double().numpy()),
        "trajectory": np.exp(out.root_code[0, :, 2].double().numpy()) / seen.extent[0],
        "sd_gamma": np.exp(out.log_gamma[0, :, 1].double().numpy() / 2),
    }


@pytest.mark.parametrize("depth", ["k", "gamma", "trajectory"])
@pytest.mark.parametrize("correct", [True, False])
def test_it_gives_the_networks_numbers(path: Path, depth: Any, correct: bool) -> None:
    times = np.arange(45) / 30
    confidence = np.random.default_rng(0).uniform(0.2, 1, (45, 26))
    confidence[12:17] = 0  # held over
    expected = window(times, confidence, correct)
    lifter = load_lifter(str(path), depth=depth, correct=correct)
    for i, t in enumerate(times):
        out = call(lifter, t, {A: at(t)}, confidence[i])
        assert out.age[0] == i
        assert np.abs(out.relative_m[0] - expected["relative"][i]).max() < EXACT_M
        assert np.abs(out.relative_sd_m[0] - expected["sd"][i]).max() < EXACT_M
        in_virtual = expected["turn"][i].T @ out.root_m[0]
        assert abs(in_virtual[2] / expected[depth][i] - 1) < 1e-4
        values, axes = np.linalg.eigh(out.root_covariance_m2[0])
        assert values[0] > 0
        if depth == "gamma" and not 12 <= i < 17:
            ray = out.root_m[0] / np.linalg.norm(out.root_m[0])
            assert abs(axes[:, 2] @ ray) > 0.99  # long along the ray, as long as the network says
            along = expected["sd_gamma"][i] * np.linalg.norm(out.root_m[0])
            assert abs(np.sqrt(values[2]) / along - 1) < 0.1


@pytest.mark.parametrize("hz", [25, 29.97, 33, 60, 100, 120])
def test_every_frame_rate_and_no_lag(path: Path, hz: float) -> None:
    """Against the network at its own rate on the true motion, its window ending at the very time of the call."""
    lifter = load_lifter(str(path), correct=False)
    errors, moved, calls = [], [], int(2 * hz)
    for i in range(calls):
        t = i / hz
        out = call(lifter, t, {A: at(t)})
        if t > 1.2 and i % 7 == 0:
            now, before = (
                window(end - np.arange(26, -1, -1) / 30, correct=False)["relative"][-1] for end in (t, t - 1 / 30)
            )
            errors.append(np.abs(out.relative_m[0] - now).mean())
            moved.append(np.abs(now - before).mean())
    # linear interpolation misses by an eighth of acceleration times period squared, a small part of what moves in a
    # frame; the clock may be 6 % off; an answer that is late by a frame would be off by all that moves
    assert np.mean(errors) < 0.15 * np.mean(moved)
    assert abs(out.age[0] - (calls - 1) / hz * 30) <= 0.06 * 60 + 1
    assert abs(lifter.input_hz / hz - 1) < 0.01


def test_jitter_makes_no_frames(path: Path) -> None:
    lifter, rng = load_lifter(str(path)), np.random.default_rng(0)
    for i in range(90):
        t = i / 30 + rng.uniform(-0.004, 0.004) * (i > 0)
        out = call(lifter, t, {A: at(t)})
    assert abs(out.age[0] - 89) <= 1


def test_somebody_who_is_not_seen_for_three_seconds(path: Path) -> None:
    """His place grows vague, then unknown, then he is forgotten; the person beside him does not notice."""
    lifter, alone = load_lifter(str(path)), load_lifter(str(path))
    spread: list[float] = []
    for i in range(150):
        t, gone = i / 30, 30 <= i < 135
        here, there = at(t, 1), at(t)
        passed = {A: there, B: here} if i % 2 or not gone else {B: here}  # passed unseen, or not passed
        say = np.ones((len(passed), 26))
        say[: len(passed) - 1] = 0.0 if gone else 1.0
        out, single = call(lifter, t, passed, say), call(alone, t, {B: here})
        # other batch sizes round otherwise
        assert np.abs(out.relative_m[-1] - single.relative_m[0]).max() < EXACT_M
        assert np.allclose(out.root_m[-1], single.root_m[0], rtol=1e-4)
        assert out.age[-1] == single.age[0] == i
        if len(passed) == 1:
            continue
        unseen_s = (i - 29) / 30 if gone else 0.0
        if i < 30 or 0 < unseen_s < 0.97:
            assert np.isfinite(out.root_m[0]).all()
            assert out.age[0] == i
            spread.append(float(np.trace(out.root_covariance_m2[0])))
        elif 1.03 < unseen_s < 2.97:
            assert np.isnan(out.root_m[0]).all()
            assert np.isfinite(out.relative_m[0]).all()
        elif unseen_s > 3.1:
            assert np.isnan(out.relative_m[0]).all()
            assert out.age[0] == -1
        elif i >= 135:
            assert out.age[0] == i - 135  # born anew
    assert spread[-1] > spread[29] + 2 * 0.9**2  # after 0.95 s he may have walked a metre


def test_a_track_that_is_forgotten_is_born_anew(path: Path) -> None:
    lifter = load_lifter(str(path))
    for i in range(10):
        call(lifter, i / 30, {A: at(i / 30), B: at(i / 30, 1)})
    lifter.forget([A, (77, "nowhere")])
    out = call(lifter, 10 / 30, {B: at(10 / 30, 1), A: at(10 / 30)})
    assert out.age.tolist() == [10, 0]
    assert np.abs(out.relative_m[1] - window(np.array([10 / 30]))["relative"][0]).max() < EXACT_M


def test_nobody_and_somebody_unseen(path: Path) -> None:
    lifter = load_lifter(str(path))
    assert call(lifter, 0.0, {}).relative_m.shape == (0, 26, 3)
    out = call(lifter, 1 / 30, {A: at(0)}, 0.0)
    assert out.age.tolist() == [-1]
    assert np.isnan(out.root_m).all()
    assert call(lifter, 2 / 30, {A: at(0)}).age.tolist() == [0]


@pytest.mark.parametrize("jump_s", [-0.5, 1.5])
def test_time_that_jumps_starts_anew(path: Path, jump_s: float) -> None:
    lifter = load_lifter(str(path))
    for i in range(12):
        call(lifter, 10 + i / 30, {A: at(i / 30)})
    out = call(lifter, 10 + 11 / 30 + jump_s, {A: at(0.0)})
    assert out.age[0] == 0
    assert np.abs(out.relative_m[0] - window(np.zeros(1))["relative"][0]).max() < EXACT_M


def test_a_recording_at_5_hz_is_named(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lifter = load_lifter(str(path))
    with caplog.at_level(logging.WARNING, "kinecast.lift"):
        for i in range(12):
            out = call(lifter, i / 5, {A: at(i / 5)})
    assert np.isfinite(out.relative_m).all()
    assert "gets 5 frames a second and was trained at 30" in lifter.complaint
    assert [r.getMessage() for r in caplog.records] == [lifter.complaint]
    brisk = load_lifter(str(path))
    for i in range(12):
        call(brisk, i / 25, {A: at(i / 25)})
    assert brisk.complaint == ""


def test_somebody_upside_down_is_somebody(path: Path) -> None:
    lifter = load_lifter(str(path))
    for i in range(5):
        pose = at(i / 30) * [1, -1, 1]
        out = call(lifter, i / 30, {A: at(i / 30), B: pose})
    assert np.isfinite(out.relative_m).all()
    assert np.isfinite(out.root_m).all()
    assert (np.linalg.eigvalsh(out.root_covariance_m2) > 0).all()


def test_the_same_calls_give_the_same_numbers(path: Path) -> None:
    def run() -> list[bytes]:
        lifter, said = load_lifter(str(path)), []
        for i in range(40):
            t = i / 41
            people = {A: at(t)} | ({B: at(t, 1)} if 10 < i < 30 else {})
            out = call(lifter, t, people)
            said.append(out.relative_m.tobytes() + out.root_covariance_m2.tobytes())
        return said

    assert run() == run()


def test_another_runtime(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path))
    lifters = [load_lifter(str(path), runtime=r) for r in ("numpy", "onnxruntime")]
    for i in range(40):
        t = i / 41
        ours, theirs = (call(each, t, {A: at(t), B: at(t, 1)}) for each in lifters)
        assert np.abs(ours.relative_m - theirs.relative_m).max() < EXACT_M
        assert np.allclose(ours.root_m, theirs.root_m, rtol=1e-4)
    assert [p.stem for p in (tmp_path / "models").iterdir()] == [lifters[0].name]


def test_calibration_scales_what_the_network_says(path: Path, tmp_path: Path) -> None:
    factors = np.full((26, 3), 2.0)
    told = {"joints": factors.tolist(), "log_gamma": 3.0, "log_k": {"mean": 0.3, "sd": 0.4}, "depth": "k"}
    scaled = load_lifter(str(write(tmp_path / "s.safetensors", told, widths=WIDTHS)))
    plain = load_lifter(str(path), depth="k")
    assert scaled.depth == "k"
    more, less = (call(each, 0, {A: at(0)}) for each in (scaled, plain))
    assert np.allclose(more.relative_sd_m, 2 * less.relative_sd_m)
    ray = more.root_m[0] / np.linalg.norm(more.root_m[0])
    along = np.sqrt(ray @ more.root_covariance_m2[0] @ ray) / np.linalg.norm(more.root_m[0])
    assert 0.5 < along < 0.55  # sqrt(0.3² + 0.4²), and a little from across the ray


@pytest.mark.parametrize(
    "told", [{"colour": 1}, {"joints": [1, 2]}, {"log_gamma": -1}, {"depth": "guess"}, {"log_k": {"mean": 0}}]
)
def test_a_calibration_that_will_not_do(tmp_path: Path, told: dict[str, Any]) -> None:
    with pytest.raises(KinecastError, match="train or calibrate it anew"):
        load_lifter(str(write(tmp_path / "s.safetensors", told, widths=(3,))))


def test_lifters_that_will_not_do(path: Path, tmp_path: Path) -> None:
    symmetric = write(tmp_path / "sym.safetensors", widths=(3,), causal=False)
    bare = write(tmp_path / "bare.safetensors", widths=(3,), gamma_hidden=0, trajectory_channels=0)
    for what, options, says in (
        (symmetric, {}, "is symmetric"),
        (bare, {}, "no depth by gamma: take one of k"),
        (bare, {"depth": "trajectory"}, "no depth by trajectory"),
        (path, {"depth": "guess"}, "unknown depth 'guess'"),
        (path, {"skeleton": "coco17"}, "lifts the skeleton halpe26"),
        ("no-such-lifter", {}, "no lifter 'no-such-lifter'"),
    ):
        with pytest.raises(KinecastError, match=says):
            load_lifter(str(what), **options)
    assert np.isfinite(call(load_lifter(str(bare), depth="k"), 0, {A: at(0)}).root_m).all()


def test_calls_that_will_not_do(path: Path) -> None:
    lifter = load_lifter(str(path))
    with pytest.raises(ValueError, match="1 rows of 26 joints"):
        lifter.step(0, [A], np.zeros((1, 17, 2)), np.zeros((1, 17)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="passed twice"):
        lifter.step(0, [A, A], np.zeros((2, 26, 2)), np.zeros((2, 26)), np.ones((2, 2)))
