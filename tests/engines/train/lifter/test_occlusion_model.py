"""The table by which hidden joints are filled: found again from cases whose errors are known, and read as written."""

from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.estimate.occlusion import KNOTS_S, Evidence, Shares, cells, fuse, load_errors, load_shares
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.lifter.occlusion_model import PARTS, Cases, fit_shares, write_shares

N, EACH = len(cells()), 400
CARRIED, LIFTED, TOLD = 0.05, 0.1, 0.05  # σ of what is carried on, of lifted poses, and what the lifter says of it


def _cases(rng: np.random.Generator) -> Cases:
    """Joints that turn with the trunk, ± CARRIED; the lifter is half as sure as it says."""
    n = N * EACH
    base, turn, motion = (rng.normal(0, s, (n, 3)) for s in (0.5, 0.2, 1.0))
    truth = base + turn + rng.normal(0, CARRIED, (n, 3))
    lifted = truth + rng.normal(0, LIFTED, (n, 3)) - base
    # as many between any two knots
    since = np.interp(rng.uniform(0, len(KNOTS_S) - 1, (n, 1)), np.arange(len(KNOTS_S)), KNOTS_S)
    e = Evidence(
        base[:, None], np.zeros((n, 1)), np.stack([motion, turn, lifted], axis=1)[:, None],
        np.repeat(np.arange(N), EACH)[:, None], since, np.full((n, 1), TOLD**2),
    )  # fmt: skip
    return Cases(e, truth, np.tile(np.arange(EACH) % 20, N))


@pytest.fixture(scope="module")
def shares() -> Shares:
    return fit_shares(_cases(np.random.default_rng(0)))


def test_the_table_is_that_of_the_errors_put_in(shares: Shares) -> None:
    # 50 cases of 0.05 m between two knots, of which two thirds count for either: a share of turns of 0.2 m is told to
    # 0.05 / 0.2 / √(3 · 33) = 0.025 or better, at the ends to 0.035; the worst of 126 is four times as far
    np.testing.assert_allclose(shares.weights[..., 1], 1.0, atol=0.14)
    # motion has no time to show at first: after 0.1 s it has gone 0.08 m
    np.testing.assert_allclose(shares.weights[:, 2:, 0], 0.0, atol=4 * CARRIED / 0.08 / np.sqrt(3 * 33))
    assert np.median(shares.lifted) == pytest.approx(LIFTED / TOLD, rel=0.3)
    assert np.median(shares.unsure) == pytest.approx(1.0, rel=0.15)
    again = _cases(np.random.default_rng(1))
    points, variance = fuse(shares, again.evidence, (np.arange(N * EACH), np.zeros(N * EACH, np.intp)))
    error = np.linalg.norm(points - again.truth_m, axis=-1)
    best = 1 / np.sqrt(1 / CARRIED**2 + 1 / LIFTED**2)
    assert np.sqrt((error**2).mean() / 3) == pytest.approx(best, rel=0.08)
    assert 0.95 < (error < 3 * np.sqrt(variance)).mean() < 0.99


def test_too_few_cases_are_named() -> None:
    found = _cases(np.random.default_rng(0))
    few = found.evidence.cell[:, 0] != 0
    some = Evidence(*(getattr(found.evidence, n)[few] for n in Evidence.__slots__))
    with pytest.raises(ValueError, match=" on ".join(cells()[0])):
        fit_shares(Cases(some, found.truth_m[few], found.clip[few]))


def test_a_table_is_read_as_it_was_written(shares: Shares, tmp_path: Path) -> None:
    names = sorted({part for part, _ in cells()})
    row = {"seen": [0.9, 0.9, 1.0], "unseen": [[1.0, 1.1, 1.2]] * 3, "kept": 0.7}
    write_shares(tmp_path / "t.toml", shares, [{"part": name, **row} for name in names], 0.6, "made up")
    again = load_shares(tmp_path / "t.toml")
    for name in ("weights", "sd_m", "moved", "unsure"):
        np.testing.assert_allclose(getattr(again, name), getattr(shares, name), atol=1e-4)
    errors = load_errors(skeleton("halpe26").joints, tmp_path / "t.toml")
    assert errors.tau_s == 0.6 and (errors.kept == 0.7).all() and errors.unseen.shape[0] == 3
    assert len(KNOTS_S) == shares.sd_m.shape[1]


def test_whatever_hides_can_be_hidden() -> None:
    assert {j for joints in PARTS for j in joints} == set(range(26))
