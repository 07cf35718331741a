"""The SPIN loop on a handful of people: views, windows, rounds that only get cheaper, a network equal to its twin."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kinecast.capture.errors import KinecastError  # noqa: E402
from kinecast.engines.body.fit.multi_start import Fits  # noqa: E402
from kinecast.engines.body.fit.regressor import WINDOW, Regressor, into_world, write_regressor  # noqa: E402
from kinecast.engines.body.fit.solver import BodySolver  # noqa: E402
from kinecast.engines.body.fit.start import find_starts, starts_of  # noqa: E402
from kinecast.engines.body.model.load import load_body  # noqa: E402
from kinecast.engines.body.model.rotations import matrices  # noqa: E402
from kinecast.engines.observations import CameraArrays  # noqa: E402
from kinecast.engines.skeleton import skeleton  # noqa: E402
from kinecast.engines.train.data.detector_noise import load_noise, other_detector  # noqa: E402
from kinecast.engines.train.data.synthetic_batches import Augment, MotionClips  # noqa: E402
from kinecast.engines.train.regressor.benchmark import ROOT, Benchmark, Errors, paired_gain  # noqa: E402
from kinecast.engines.train.regressor.network import Figure, Network, put_in_view  # noqa: E402
from kinecast.engines.train.regressor.optimiser import (  # noqa: E402
    Optimiser,
    SpinConfig,
    TrainingSet,
    mirrored,
    predict,
    predict_fused,
    world_from_virtual,
)
from kinecast.engines.train.regressor.spin_loop import TrainingPeople, loop  # noqa: E402
from kinecast.engines.train.regressor.synthetic import Scenes, scenes, split  # noqa: E402
from tests.engines.train.regressor.toys import clip  # noqa: E402


@pytest.fixture(scope="module")
def optimiser() -> Optimiser:
    return Optimiser()


@pytest.fixture(scope="module")
def people() -> Scenes:
    motion = MotionClips([clip("a", "walking", 1), clip("b", "walking", 2)], Augment(arms=0.0))
    return scenes(motion, load_noise(), 4, 4, 2, seed=5)


@pytest.fixture(scope="module")
def untrained(optimiser: Optimiser) -> Regressor:
    torch.manual_seed(0)
    return Regressor(dict(Network(optimiser.prior.reference).state()), "", {})


def test_scenes_are_a_function_of_their_arguments(people: Scenes) -> None:
    motion = MotionClips([clip("a", "walking", 1), clip("b", "walking", 2)], Augment(arms=0.0))
    again = scenes(motion, load_noise(), 4, 4, 2, seed=5)
    np.testing.assert_array_equal(again.xy, people.xy)
    other = scenes(motion, load_noise(), 4, 4, 2, seed=6)
    assert not np.array_equal(other.points, people.points)
    assert np.isfinite(people.w).all() and (people.w[people.confidence == 0] == 0).all()


def test_a_window_ends_with_the_present_and_begins_with_the_first(people: Scenes) -> None:
    w = people.windows
    assert w.shape == (4, 4, 2, WINDOW, 26, 3)
    np.testing.assert_array_equal(w[:, :, :, -1], people.features)
    np.testing.assert_array_equal(w[:, 2, :, -3], people.features[:, 0])
    np.testing.assert_array_equal(w[:, 2, :, 0], people.features[:, 0])


def test_whole_classes_are_kept_for_the_exam() -> None:
    clips = [clip("a", "walking", 1), clip("b", "dancing", 2)]
    held = [clip("c", "walking", 3), clip("d", "dancing", 4), clip("e", "swimming", 5)]
    learnt, exam = split(clips, held)
    assert [c.name for c in learnt] == ["a"] and [c.name for c in exam] == ["d", "e"]


def test_another_detector_is_another() -> None:
    ours = load_noise()
    theirs = other_detector(ours)
    assert theirs.fast != ours.fast and theirs.joints == ours.joints


def test_the_network_and_its_numpy_twin_say_the_same(people: Scenes, untrained: Regressor) -> None:
    network = Network(np.tile(np.eye(3), (24, 1, 1)))
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.03 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
        windows = people.windows.reshape(-1, WINDOW, 26, 3)
        context = people.context.reshape(-1, 5)
        R, betas = network(torch.tensor(windows), torch.tensor(context))
    twin = Regressor(dict(network.state()), "", {}).predict(windows, context)
    np.testing.assert_allclose(twin[0], R.numpy(), atol=2e-4)  # float32, three times round
    np.testing.assert_allclose(twin[1], betas.numpy(), atol=2e-4)


def test_the_figure_stands_as_the_body_does(optimiser: Optimiser) -> None:
    rng = np.random.default_rng(0)
    R, betas = matrices(rng.normal(0, 0.5, (3, 24, 3))), rng.normal(size=(3, 10))
    ours = Figure(optimiser.bones).place(torch.tensor(R).float(), torch.tensor(betas).float())
    np.testing.assert_allclose(ours.numpy(), optimiser.points(R, betas), atol=1e-5)


def test_a_mirrored_pose_is_the_mirror_image(optimiser: Optimiser) -> None:
    R = matrices(np.random.default_rng(1).normal(0, 0.4, (2, 24, 3)))
    betas = np.zeros((2, 10))
    points = optimiser.points(R, betas)
    other = optimiser.points(mirrored(torch.tensor(R)).numpy(), betas)
    flip = list(skeleton("halpe26").flip)
    mirror = points[:, flip] * np.array([-1.0, 1.0, 1.0])
    # the free body itself is not quite the same on both sides
    np.testing.assert_allclose(other - other[:, 19:20], mirror - mirror[:, 19:20], atol=0.02)


def test_placing_in_a_view_is_linear_and_right() -> None:
    rng = np.random.default_rng(2)
    points, t = rng.normal(0, 0.4, (3, 26, 3)), np.array([[0, 0, 3.0], [0.4, 0.1, 5.0], [0, 0.5, 8.0]])
    there = points + t[:, None]
    xy = there[..., :2] / there[..., 2:]
    found = put_in_view(*(torch.tensor(a, dtype=torch.float64) for a in (points, xy, np.ones((3, 26)))))
    np.testing.assert_allclose(found.numpy(), t, atol=0.02)  # a little is held back at the camera


def test_lessons_bring_fits_into_the_view_and_back(people: Scenes, optimiser: Optimiser) -> None:
    n = people.w.shape[0] * people.w.shape[1]
    R = matrices(np.random.default_rng(3).normal(size=(n, 24, 3)))
    none = np.zeros((n, 26, 3))
    cost = np.arange(n, dtype=float)
    fits = Fits(R, none[:, 0], np.zeros((n, 10)), none, cost, np.where(cost > 3, 1.0, 0.2))
    told, betas, good = TrainingSet([people]).learn_from([fits])
    assert len(told) == 2 * n and betas.shape == (2 * n, 10)
    assert good.tolist() == np.repeat(cost > 3, 2).astype(float).tolist()
    back = into_world(told.numpy().astype(np.float64), world_from_virtual(people).reshape(-1, 3, 3))
    np.testing.assert_allclose(back, np.repeat(R, 2, axis=0), atol=1e-5)


@pytest.mark.parametrize("way", ["one-view", "all-views"])
def test_rounds_only_make_fits_cheaper(people: Scenes, optimiser: Optimiser, way: str, tmp_path: Path) -> None:
    config = SpinConfig(rounds=2, steps=4, size=16)
    trained = loop(way, optimiser, TrainingPeople(people), config, tmp_path / "a", say=lambda _: None)
    assert trained.rounds[1]["cost"] <= trained.rounds[0]["cost"]
    assert trained.rounds[1]["loss"] < trained.rounds[0]["loss"]
    same = loop(way, optimiser, TrainingPeople(people), config, tmp_path / "b", say=lambda _: None)
    for name, value in trained.state.items():
        np.testing.assert_array_equal(value, same.state[name])
    # of the synthetic people only the newest fits are kept
    assert [p.name for p in (tmp_path / "a").glob("fits-*")] == ["fits-0001-0.npz"]


def test_all_views_are_better_than_one(people: Scenes, optimiser: Optimiser) -> None:
    exam = Benchmark([people], optimiser)
    found = exam.optimiser_alone()
    one, every = found["one view"].row, found["all views"].row
    assert every["mpjpe_m"] < one["mpjpe_m"]  # depth that one view does not show
    assert every["mpjpe_m"] < 0.08  # two views, 5 % noise of half a metre


def test_the_truth_scores_nothing_and_a_turned_one_is_told(people: Scenes, optimiser: Optimiser) -> None:
    exam = Benchmark([people], optimiser)

    def answer(turn: np.ndarray):  # type: ignore[no-untyped-def]
        def told(s: Scenes, every: bool) -> Fits:
            X = np.zeros((*s.points.shape[:2], 26, 3))
            X[..., :, :] = np.einsum("jk,stjd->stkd", s.from_halpe, s.points)
            root = s.points[:, :, ROOT : ROOT + 1]
            X = (X - root) @ turn.T + root
            X = X if every else np.repeat(X[:, :, None], s.w.shape[2], axis=2)
            flat = X.reshape(-1, 26, 3)
            none = np.zeros(len(flat))
            return Fits(none, none, none, flat, none, none)

        return exam.evaluate(told)["one view"].row

    right, back = answer(np.eye(3)), answer(np.diag([-1.0, 1.0, -1.0]))
    assert right["mpjpe_m"] < 1e-9 and right["turned"] == 0
    assert back["turned"] == 1 and back["p_mpjpe_m"] < 1e-9 < 0.1 < back["mpjpe_m"]


def test_a_gain_has_its_sign_and_an_interval() -> None:
    scene = np.repeat(np.arange(20), 5)
    worse, better = np.full(100, 0.10), np.full(100, 0.08) + np.random.default_rng(0).normal(0, 0.01, 100)
    none = np.zeros(100, bool)
    mean, low, high = paired_gain(Errors(worse, worse, none, scene), Errors(better, better, none, scene))["mpjpe_m"]
    assert low < mean < high and low > 0.01 and high < 0.03


def test_starts_are_what_the_regressor_says_of_a_first_frame(people: Scenes, untrained: Regressor) -> None:
    starts = starts_of(untrained)
    every = people.confidence[0, 0] > 0
    w = np.where(every, (people.confidence[0, 0] * 100) ** 2, 0.0)
    R, _ = predict(untrained, people)
    alone = starts(people.P[0, :1], people.xy[0, 0, :1], w[:1])
    # the say of confidences is relative to the best, so the virtual camera is the same but for rounding
    np.testing.assert_allclose(alone[0], R[0, 0, 0], atol=0.05)
    assert len(starts(people.P[0], people.xy[0, 0], w)) == 1
    assert predict_fused(untrained, people)[0].shape == (4, 4, 24, 3, 3)
    assert starts(people.P[0], people.xy[0, 0], np.zeros_like(w)) == []


def test_the_live_fit_begins_where_it_is_told_if_that_is_cheaper(people: Scenes, optimiser: Optimiser) -> None:
    camera = CameraArrays(
        ("a",), people.P[0, :1], np.zeros((1, 3)), np.eye(3)[None], np.zeros((1, 8)), np.zeros(1, bool), np.ones(1),
        np.ones((1, 2)),
    )  # fmt: skip
    asked = list[int]()

    def told(P: np.ndarray, xy: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
        asked.append(int((w > 0).sum()))
        return [people.R[0, 0]]

    def cost(**how: object) -> float:
        solver = BodySolver(
            optimiser.body, "halpe26", camera, optimiser.prior, np.array([0.0, 1.0, 0.0]), contact=False, **how
        )  # type: ignore[arg-type]
        fit = solver.fit(0, 1, people.xy[0, 0, :1], people.w[0, 0, :1])
        assert fit is not None
        return fit.cost

    # the cheapest after a few steps is taken to the end, so a start more may lose what rounding of the end is worth
    assert cost(starts=told) <= cost() + 1.0
    # asked as it is, and with left and right exchanged
    assert asked == [int((people.w[0, 0, 0] > 0).sum())] * 2


def test_without_weights_or_for_another_body_there_is_no_start(
    tmp_path: Path, optimiser: Optimiser, untrained: Regressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "start.safetensors"
    monkeypatch.setattr("kinecast.engines.body.fit.start.PATH", path)
    assert find_starts(optimiser.body) is None
    write_regressor(path, untrained.tensors, optimiser.body.id, {})
    assert find_starts(optimiser.body) is not None
    assert find_starts(load_body("male")) is None  # its betas mean something else
    assert find_starts(optimiser.body, "off") is None and find_starts(optimiser.body, str(path)) is not None
    with pytest.raises(KinecastError, match="another body"):
        find_starts(load_body("male"), str(path))
    with pytest.raises(KinecastError, match="cannot read"):
        find_starts(optimiser.body, str(tmp_path / "none.safetensors"))
