"""The solver's arithmetic against its slow twins: finite differences, numpy's linear algebra, brute-force shape."""

import numpy as np
import pytest

from kinecast.engines.body.fit import expectation, kernels, levenberg_marquardt
from kinecast.engines.body.fit.covariance import marginal_covariance_into
from kinecast.engines.body.model.rotations import matrices, right_inverse_into, rotvecs, straighten
from tests.engines.body.toy_bones import PARENTS, B, D, J, K, toy_bones, toy_expectations, toy_seen

N = 3 * J + 3 + B


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_logarithm_undoes_exponential_up_to_half_a_turn(rng: np.random.Generator) -> None:
    v = rng.normal(size=(500, 3))
    v *= rng.uniform(0, np.pi - 1e-6, (500, 1)) / np.linalg.norm(v, axis=1, keepdims=True)
    assert np.abs(rotvecs(matrices(v)) - v).max() < 1e-8
    near = v / np.linalg.norm(v, axis=1, keepdims=True) * (np.pi - np.logspace(-12, -1, 500)[:, None])
    assert np.abs(matrices(rotvecs(matrices(near))) - matrices(near)).max() < 1e-8
    tiny = v * 1e-9
    assert np.abs(rotvecs(matrices(tiny)) - tiny).max() < 1e-15


def test_inverse_right_jacobian_against_differences(rng: np.random.Generator) -> None:
    for v in rng.normal(0, 0.9, (20, 3)):
        A = np.empty((3, 3))
        right_inverse_into(v, A)
        h = 1e-6
        moved = [rotvecs(matrices(v) @ matrices(s * e)) for e in np.eye(3) * h for s in (1, -1)]
        numeric = np.stack([(moved[2 * i] - moved[2 * i + 1]) / (2 * h) for i in range(3)], axis=1)
        assert np.abs(A - numeric).max() < 1e-8


def test_straightened_rotations_are_rotations(rng: np.random.Generator) -> None:
    R = matrices(rng.normal(size=(10, 3))) + rng.normal(0, 1e-4, (10, 3, 3))
    straighten(R)
    assert np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() < 1e-14
    assert np.all(np.linalg.det(R) > 0)


class Toy:
    """The whole cost of the toy body as a plain function of a step, and its analytic derivatives."""

    def __init__(self, rng: np.random.Generator, only_data: bool = False) -> None:
        self.bones, self.seen = toy_bones(rng), toy_seen(rng)
        self.prior, self.past, self.weights = toy_expectations(rng)
        self.R, self.t, self.beta = matrices(rng.normal(0, 0.5, (J, 3))), rng.normal(0, 0.1, 3), rng.normal(size=B)
        self.only_data = only_data

    def at(self, step: np.ndarray) -> tuple[float, tuple[np.ndarray, ...]]:
        R = self.R @ matrices(step[: 3 * J].reshape(J, 3))
        t, beta = self.t + step[3 * J : 3 * J + 3], self.beta + step[3 * J + 3 :]
        rest, offset = np.empty((J, 3)), np.empty(self.bones.offset.shape)
        G, p, x, M, g = (np.empty(s) for s in ((J, 3, 3), (J, 3), (K, 3), (K, 3, 3), (K, 3)))
        kernels.shape_into(self.bones, beta, rest, offset)
        kernels.pose_into(PARENTS, rest, R, t, G, p)
        kernels.keypoints_into(self.bones, offset, G, p, x)
        cost = kernels.data_into(self.seen, x, self.weights.c2, M, g)
        xi, turned = np.empty(D), np.zeros((J, 3))
        if not self.only_data:
            cost += expectation.expectation_cost(self.prior, self.past, self.weights, 1, R, t, beta, B, xi, turned)
        return cost, (offset, G, p, x, M, g, xi, turned)

    def derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        offset, G, p, x, M, g, xi, turned = self.at(np.zeros(N))[1]
        H, h = np.empty((N, N)), np.empty(N)
        kernels.normal_into(self.bones, offset, G, p, x, M, g, B, H, h)
        if not self.only_data:
            blocks = np.zeros((D, D))
            expectation.prior_blocks(self.prior, 1, self.weights.prior, xi, blocks)
            expectation.add_prior(self.prior, self.weights, 1, blocks, xi, H, h)
            expectation.add_past(self.past, self.t, self.beta, B, turned, H, h)
        return np.tril(H) + np.tril(H, -1).T, h


def test_gradient_against_finite_differences(rng: np.random.Generator) -> None:
    for _ in range(3):
        toy = Toy(rng)
        h = toy.derivatives()[1]
        e = 1e-5  # central: truncation e² ~ 1e-10, rounding 1e-16 · cost / e ~ 1e-9
        numeric = [(toy.at(d)[0] - toy.at(-d)[0]) / (4 * e) for d in np.eye(N) * e]  # half gradient
        assert np.abs(h - numeric).max() < 1e-6 * np.abs(h).max()


def test_information_is_the_second_derivative_where_residuals_vanish(rng: np.random.Generator) -> None:
    toy = Toy(rng, only_data=True)
    x = toy.at(np.zeros(N))[1][3]
    toy.seen.X[:] = x
    for c, P in enumerate(toy.seen.P):
        h = x @ P[:, :3].T + P[:, 3]
        toy.seen.xy[c] = h[:, :2] / h[:, 2:]
    H, h = toy.derivatives()
    e = 1e-4
    steps = np.eye(N) * e
    # fourth-order terms leave e² · (third derivatives) behind
    numeric = np.array(
        [
            [(toy.at(a + b)[0] - toy.at(a - b)[0] - toy.at(b - a)[0] + toy.at(-a - b)[0]) / (8 * e * e) for b in steps]
            for a in steps
        ]
    )
    assert np.abs(h).max() < 1e-9
    assert np.abs(H - numeric).max() < 1e-4 * np.abs(H).max()


def test_factor_solution_and_inverse_against_numpy(rng: np.random.Generator) -> None:
    for n in (1, 5, 42, 75):
        A = rng.normal(size=(n, n))
        A = A @ A.T + np.eye(n)
        L, x, inverse, b = np.zeros((n, n)), np.empty(n), np.empty((n, n)), rng.normal(size=n)
        assert kernels.cholesky(A, L, n)
        kernels.cholesky_solve(L, b, n, x)
        kernels.invert_lower_transposed(L, n, inverse)
        assert np.allclose(L @ L.T, A, rtol=1e-12, atol=1e-12)
        assert np.allclose(x, np.linalg.solve(A, b), rtol=1e-9, atol=1e-10)
        assert np.allclose(inverse @ inverse.T, np.linalg.inv(A), rtol=1e-9, atol=1e-10)
    assert not kernels.cholesky(-np.eye(3), np.zeros((3, 3)), 3)


@pytest.mark.parametrize("betas", [0, B])
def test_variance_of_joints_against_the_chain_rule(rng: np.random.Generator, betas: int) -> None:
    toy = Toy(rng)
    H, _ = toy.derivatives()
    n = 3 * J + 3 + betas
    H = H[:n, :n] + np.eye(n)
    L, inverse, joint, turn = np.zeros((n, n)), np.empty((n, n)), np.empty(J), np.empty((J, 3))
    assert kernels.cholesky(H, L, n)
    kernels.invert_lower_transposed(L, n, inverse)
    offset, G, p, x, M, *_ = toy.at(np.zeros(N))[1]
    rest = toy.bones.rest + toy.bones.rest_shape @ toy.beta
    determined = marginal_covariance_into(toy.bones, rest, offset, G, M, inverse, betas, joint, turn)
    covariance, e = np.linalg.inv(H), 1e-6
    there = [toy.at(np.append(d, np.zeros(N - n)))[1] for d in np.eye(n) * e]
    moved = np.stack([a[2] - p for a in there], axis=-1) / e
    expected = np.einsum("jia,ab,jib->j", moved, covariance, moved) / 3
    assert np.allclose(joint, expected, rtol=1e-4)
    assert np.allclose(turn.ravel(), np.diag(covariance)[: 3 * J], rtol=1e-9)
    moved = np.stack([a[3] - x for a in there], axis=-1) / e
    assert determined == pytest.approx(np.einsum("kij,kja,ab,kib->", M, moved, covariance, moved), rel=1e-4)


def test_what_is_told_of_the_shape_is_the_schur_complement(rng: np.random.Generator) -> None:
    H, h = Toy(rng, only_data=True).derivatives()
    m, info, gradient = N - B, np.empty((B, B)), np.empty(B)
    levenberg_marquardt.marginalise_pose(H, h, B, info, gradient)
    A = H[:m, :m] + np.eye(m)
    assert np.allclose(info, H[m:, m:] - H[m:, :m] @ np.linalg.solve(A, H[:m, m:]), rtol=1e-9)
    assert np.allclose(gradient, h[m:] - H[m:, :m] @ np.linalg.solve(A, h[:m]), rtol=1e-9)
