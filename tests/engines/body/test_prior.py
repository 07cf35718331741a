"""The committed prior is a density, prefers natural poses, and means the same on a body with other rest directions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture.errors import KinecastError
from engines.body.files import load_body
from engines.body.prior import coordinates, load_prior, rest_directions, rest_turns, retargeted, save_prior
from engines.body.rotations import matrices


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
