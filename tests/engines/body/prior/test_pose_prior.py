"""The committed prior is a density, prefers natural poses, and means the same on a body with other rest directions.

And how one is made: the mixture, what a fit cannot tell, files that are refused, which one is in force.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import matrices
from kinecast.engines.body.prior.gmm import (
    FLOOR_RAD,
    draw,
    mixture,
    one_gaussian,
    poses_at,
    resample_unseen,
    seen_coordinates,
)
from kinecast.engines.body.prior.pose_prior import (
    PATH,
    coordinates,
    find_prior,
    from_other_rest,
    load_prior,
    named_prior,
    read_prior,
    rest_directions,
    rest_turns,
    retargeted,
    save_prior,
)
from kinecast.engines.models.promoted import PRIORS
from kinecast.engines.skeleton import skeleton


def test_the_mixture_is_a_density() -> None:
    prior = load_prior()
    assert prior.weight.sum() == pytest.approx(1, abs=1e-5)
    assert all(np.linalg.eigvalsh(Q)[0] > 0 for Q in prior.precision)
    assert np.all(prior.low < prior.high)
    eye = prior.reference @ np.swapaxes(prior.reference, -1, -2)
    assert np.abs(eye - np.eye(3)).max() < 1e-5


def test_a_relaxed_pose_is_likelier_than_a_knee_bent_backwards() -> None:
    prior = load_prior()
    relaxed, broken = prior.reference[None].copy(), prior.reference[None].copy()
    broken[0, 4] = broken[0, 4] @ matrices(np.array([-1.5, 0.0, 0.0]))
    assert prior.log_likelihood(relaxed)[0] > prior.log_likelihood(broken)[0] + 10
    outside = coordinates(prior.reference, broken)[0]
    assert np.any((outside < prior.low) | (outside > prior.high))


def test_another_rest_pose_changes_the_words_and_not_the_meaning() -> None:
    prior, body = load_prior(), load_body()
    rng = np.random.default_rng(0)
    other = prior.directions + rng.normal(0, 0.15, prior.directions.shape) * prior.directions.any(axis=1)[:, None]
    other /= np.maximum(np.linalg.norm(other, axis=1, keepdims=True), 1e-9)
    made_elsewhere = replace(prior, directions=other)  # as if the file had been made for a body that rests so
    moved = retargeted(made_elsewhere, body)
    S = rest_turns(rest_directions(body.J_template), other)
    R = prior.reference @ matrices(rng.normal(0, 0.2, (5, 24, 3)))
    ours = R.copy()  # the same poses, told from our body's rest directions
    for j in range(1, 24):
        ours[:, j] = S[body.parents[j]].T @ R[:, j] @ S[j]
    assert np.allclose(moved.log_likelihood(ours), made_elsewhere.log_likelihood(R), atol=1e-6)


def test_written_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "prior.npz"
    save_prior(load_prior(), path)
    again = load_prior(path)
    assert np.allclose(again.precision, load_prior().precision, rtol=1e-6)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(KinecastError, match="no readable pose prior"):
        load_prior.__wrapped__(path)


def test_held_out_poses_are_likelier_to_the_shipped_prior_than_to_one_gaussian() -> None:
    """Six poses each of the subjects and clips that it was not made of; ``make_prior --poses`` wrote them.

    Both are told with the blur that the mixture's floor stands for. Whole clips are drawn: poses of one are alike.
    """
    prior = retargeted(load_prior(), load_body())  # they are told as the free body has them
    with np.load(Path(__file__).parent / "held_out_poses.npz") as file:
        names, R = file["name"], matrices(file["rotvec_1e4"] / 1e4)
    xi = coordinates(prior.reference, R) + np.random.default_rng(0).normal(0, FLOOR_RAD, (len(R), 69))
    blurred = poses_at(prior.reference, xi)
    gain = prior.log_likelihood(blurred) - one_gaussian(prior).log_likelihood(blurred)
    clips = np.array([gain[names == n].mean() for n in np.unique(names)])
    rng = np.random.default_rng(1)
    drawn = rng.choice(clips, (500, len(clips))).mean(axis=1)
    assert len(clips) > 30 and np.quantile(drawn, 0.025) > 3.0  # nat a pose; e³ is twenty times as likely


def test_one_gaussian_has_the_mean_and_covariance_of_the_mixture() -> None:
    prior = load_prior()
    xi = draw(prior, 20000, np.random.default_rng(0))
    flat = one_gaussian(prior)
    sd = np.sqrt(np.diag(np.linalg.inv(flat.precision[0])) - FLOOR_RAD**2)
    # a standard deviation of 20,000 drawn values is off by 1/√40,000 of it, more where tails are long
    assert np.abs(xi.mean(axis=0) - flat.mean[0]).max() < 5 * sd.max() / np.sqrt(20000)
    assert np.allclose(xi.std(axis=0), sd, rtol=0.1)


def test_a_mixture_finds_what_it_was_drawn_from_and_counts_weigh() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(-2, 0.3, (600, 3)), rng.normal(2, 0.3, (200, 3))
    counts = np.concatenate([np.ones(600), np.full(200, 9.0)])
    weight, mean, precision = mixture(np.concatenate([a, b]), 2, rng, counts)
    order = np.argsort(mean[:, 0])
    assert weight[order] == pytest.approx([0.25, 0.75], abs=1e-6)
    assert np.allclose(mean[order], [[-2] * 3, [2] * 3], atol=5 * 0.3 / np.sqrt(200))
    variance = np.diagonal(np.linalg.inv(precision), axis1=1, axis2=2)
    assert np.allclose(variance, 0.3**2 + FLOOR_RAD**2, rtol=5 * np.sqrt(2 / 200))


def test_what_no_keypoint_sees_is_drawn_anew_and_the_rest_stays() -> None:
    prior, rng = load_prior(), np.random.default_rng(0)
    seen = seen_coordinates(load_body(), prior.reference)
    joints = skeleton("smpl24")
    hidden = {(joints.joints[1 + i // 3], "xyz"[i % 3]) for i in np.flatnonzero(~seen)}
    assert {("left_elbow", "x"), ("right_elbow", "x"), ("left_wrist", "z"), ("right_hand", "y")} <= hidden
    assert not {j.removeprefix("left_").removeprefix("right_") for j, _ in hidden} - {"elbow", "wrist", "hand"}
    xi = draw(prior, 4000, rng)
    certain = np.where(seen, xi, 0.0)  # as a fit has it: the prior's own guess, again and again
    told = resample_unseen(prior, certain, seen, rng)
    assert np.array_equal(told[:, seen], xi[:, seen])
    # the spread that poses have comes back: as wide as in those that were drawn, where the guess had none
    assert np.allclose(told[:, ~seen].std(axis=0), xi[:, ~seen].std(axis=0), rtol=0.15)


def test_poses_of_another_body_are_put_in_our_words() -> None:
    prior, body = load_prior(), load_body()
    rng = np.random.default_rng(0)
    other = prior.directions + rng.normal(0, 0.15, prior.directions.shape) * prior.directions.any(axis=1)[:, None]
    made = replace(prior, directions=other / np.maximum(np.linalg.norm(other, axis=1, keepdims=True), 1e-9))
    R = prior.reference @ matrices(rng.normal(0, 0.2, (5, 24, 3)))
    assert np.allclose(
        made.log_likelihood(from_other_rest(R, body, made)), retargeted(made, body).log_likelihood(R), atol=1e-6
    )


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda t: t | {"weight": t["weight"] * 2}, "no shares of 1"),
        (lambda t: t | {"mean": t["mean"] * np.nan}, "mean holds what is no number"),
        (lambda t: t | {"precision": -t["precision"]}, "not positive definite"),
        (lambda t: t | {"low": t["high"], "high": t["low"]}, "low is not below high"),
        (lambda t: t | {"reference": t["reference"][:5]}, "reference is"),
    ],
)
def test_a_file_that_is_no_density_is_named(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], dict[str, Any]], why: str
) -> None:
    with np.load(PATH) as file:
        table = {k: file[k] for k in file.files}
    np.savez(tmp_path / "bad.npz", **spoil(table))
    with pytest.raises(KinecastError, match=f"no readable pose prior .*{why}"):
        read_prior(tmp_path / "bad.npz")


def test_the_promoted_prior_is_the_default_until_it_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path))
    assert find_prior("default") == find_prior("shipped") == PATH
    save_prior(replace(load_prior(), high=load_prior().high + 0.1), tmp_path / "new.npz")
    new = PRIORS.install(tmp_path / "new.npz", "run", load_prior().name, "now")
    assert read_prior(find_prior("default")).name == new.name and find_prior("shipped") == PATH
    assert PRIORS.roll_back()[1] == load_prior().name and find_prior("default") == PATH
    # recordings name it, or name none because there was no other
    assert named_prior(new.name) == tmp_path / "priors" / new.file and named_prior("") == PATH
    assert named_prior(load_prior().name) == PATH and named_prior("promoted-1@000000000000") is None
    with pytest.raises(KinecastError, match="no pose prior 'mine'"):
        find_prior("mine")
