"""A toy body of five bones and eight keypoints, with random numbers everywhere, for the solver's kernels."""

import numpy as np

from kinecast.engines.body.fit.expectation import Past, PriorArrays, Weights
from kinecast.engines.body.fit.kernels import Bones, PersonKeypoints
from kinecast.engines.body.model.rotations import matrices

PARENTS = np.array([-1, 0, 1, 2, 1])
J, K, M, B, C = 5, 8, 3, 4, 3
D = 3 * (J - 1)


def toy_bones(rng: np.random.Generator) -> Bones:
    """Keypoints of one to three terms on random joints; the weights of each add to 1."""
    terms = rng.integers(1, M + 1, K)
    joint, weight = rng.integers(0, J, (K, M)), rng.uniform(0.2, 1, (K, M))
    index, count, under = np.zeros((K, J), np.int64), np.zeros(K, np.int64), np.zeros((K, J, M), np.int64)
    for k in range(K):
        weight[k, : terms[k]] /= weight[k, : terms[k]].sum()
        chains = []
        for m in range(terms[k]):
            chain, j = set(), joint[k, m]
            while j >= 0:
                chain.add(int(j))
                j = PARENTS[j]
            chains.append(chain)
        movers = sorted(set().union(*chains))
        index[k, : len(movers)], count[k] = movers, len(movers)
        for m, chain in enumerate(chains):
            under[k, : len(movers), m] = [a in chain for a in movers]
    return Bones(
        PARENTS, rng.normal(0, 0.3, (J, 3)), rng.normal(0, 0.02, (J, 3, B)), joint, weight,
        rng.normal(0, 0.1, (K, M, 3)), rng.normal(0, 0.02, (K, M, 3, B)), terms, index, count, under,
    )  # fmt: skip


def toy_seen(rng: np.random.Generator) -> PersonKeypoints:
    """Three cameras 4 m away and points with covariance; one keypoint of each is missing."""
    P = np.zeros((C, 3, 4))
    P[:, :, :3], P[:, 2, 3] = matrices(rng.normal(0, 0.2, (C, 3))), 4.0
    w = np.full((C, K), 1 / 0.02**2)
    w[0, 1] = 0.0
    A = rng.normal(0, 10, (K, 3, 3))
    info = A @ A.transpose(0, 2, 1)
    info[3] = 0.0
    return PersonKeypoints(P, rng.normal(0, 0.1, (C, K, 2)), w, rng.normal(size=(K, 3)), info)


def toy_expectations(rng: np.random.Generator) -> tuple[PriorArrays, Past, Weights]:
    """Everything that is not data, all of it active: limits are narrow."""
    prior = PriorArrays(
        matrices(rng.normal(0, 0.3, (J, 3))), rng.normal(0, 0.1, (2, D)), np.stack([np.eye(D) * 9 + 1, np.eye(D) * 4]),
        np.zeros(2), np.full(D, -0.2), np.full(D, 0.2),
    )  # fmt: skip
    past = Past(
        matrices(rng.normal(0, 0.5, (J, 3))),
        rng.uniform(1, 5, (J, 3)),
        rng.normal(size=3),
        2.0,
        np.zeros(B),
        np.eye(B),
    )
    return prior, past, Weights(9.0, 0.7, 5.0, 1, 1e-9, 0.0)
