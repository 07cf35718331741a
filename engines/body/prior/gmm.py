"""Fitting the pose prior: a weighted mixture of Gaussians by expectation–maximisation, and what a fit cannot tell."""

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.model.body import BodyModel, pose_joints
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.rotations import matrices, rotvecs
from kinecast.engines.body.prior.pose_prior import PosePrior
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

JOINTS = skeleton("smpl24")
FLOOR_RAD = 0.10  # sources have joints without a degree of freedom, and skeletons that differ by this much
MARGIN_RAD = 0.15  # limits lie so far outside of what was seen
TAIL = 0.1  # percent of the poses on either side that limits may ignore
UNSEEN_M = 0.02  # a turn by a radian that moves no keypoint so far drowns in the noise of any detector
ROUNDS = 25


def mirrored(R: Float) -> Float:
    """The poses (T, 24, 3, 3) with left and right exchanged."""
    v = rotvecs(R)[:, list(JOINTS.flip)] * [1.0, -1.0, -1.0]
    return matrices(v)


def mean_pose(R: Float) -> Float:
    """(24, 3, 3) mean rotation of each joint, on the manifold."""
    reference = R[0].copy()
    for _ in range(5):
        reference = reference @ matrices(rotvecs(np.swapaxes(reference, -1, -2) @ R).mean(axis=0))
    reference[0] = np.eye(3)
    return np.asarray(reference)


def poses_at(reference: Float, xi: Float) -> Float:
    """(N, 24, 3, 3) rotations of coordinates (N, 69) about a reference, the root as it is."""
    return np.asarray(reference @ matrices(np.concatenate([np.zeros((len(xi), 3)), xi], axis=1).reshape(-1, 24, 3)))


def mixture(
    xi: Float, components: int, rng: np.random.Generator, counts: Float | None = None
) -> tuple[Float, Float, Float]:
    """weight (G,), mean (G, D), precision (G, D, D) by expectation–maximisation (Dempster et al. 1977).

    xi: (N, D). counts: (N,) how much each row stands for; None: all alike. A component that nothing stands for any
    more is left out, so that there may be fewer than ``components``.
    """
    n, D = xi.shape
    counts = np.ones(n) if counts is None else counts
    share = np.zeros((n, components))
    centres = xi[rng.choice(n, components, replace=False, p=counts / counts.sum())]
    for _ in range(10):  # k-means to begin
        distance = ((xi**2).sum(axis=1)[:, None] - 2 * xi @ centres.T) + (centres**2).sum(axis=1)
        nearest = distance.argmin(axis=1)
        for g in range(components):
            mine = (nearest == g) * counts
            centres[g] = mine @ xi / mine.sum() if mine.any() else centres[g]
    share[np.arange(n), nearest] = 1.0
    for _ in range(ROUNDS):
        share = share[:, (counts @ share) > 1e-9]
        held = share * counts[:, None]
        total = held.sum(axis=0)
        weight, mean = total / total.sum(), held.T @ xi / total[:, None]
        precision, score = np.empty((len(weight), D, D)), np.empty((n, len(weight)))
        for g in range(len(weight)):
            off = xi - mean[g]
            covariance = (off * held[:, g : g + 1]).T @ off / total[g] + FLOOR_RAD**2 * np.eye(D)
            precision[g] = np.linalg.inv(covariance)
            half = off @ np.linalg.cholesky(precision[g])
            score[:, g] = np.log(weight[g]) - 0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * (half**2).sum(axis=1)
        share = np.exp(score - score.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
    return weight, mean, precision


def one_gaussian(prior: PosePrior) -> PosePrior:
    """The single Gaussian of the same mean and covariance: what expectation–maximisation would make of the same poses
    with one component, for it keeps both.
    """
    mean = prior.weight @ prior.mean
    off = prior.mean - mean
    within = np.einsum("g,gij->ij", prior.weight, np.linalg.inv(prior.precision))
    covariance = within + np.einsum("g,gi,gj->ij", prior.weight, off, off)
    precision = np.linalg.inv(covariance)
    return PosePrior(prior.reference, np.ones(1), mean[None], precision[None], prior.low, prior.high, prior.directions)


def seen_coordinates(body: BodyModel, reference: Float, name: str = "halpe26") -> Bool:
    """(69,) the coordinates about ``reference`` (24, 3, 3) that move a keypoint of the skeleton ``name``.

    The others (hands, the twist of a forearm) are in a fit what its prior guessed.
    """
    terms, betas = keypoint_terms(body, name), np.zeros(body.betas)
    small = 1e-3
    R = poses_at(reference, np.concatenate([np.zeros((1, 69)), small * np.eye(69)]))
    turned, joints, _ = pose_joints(body, R, betas, np.zeros((70, 3)))
    points = terms.place(turned, joints, betas)[:, terms.count > 0]
    return np.asarray(np.linalg.norm(points[1:] - points[0], axis=-1).max(axis=1) > UNSEEN_M * small)


def draw(prior: PosePrior, number: int, rng: np.random.Generator) -> Float:
    """(number, 69) poses as the prior has them, without the floor: whoever fits a mixture to them puts it on again."""
    chosen = rng.choice(len(prior.weight), number, p=prior.weight / prior.weight.sum())
    out = rng.normal(size=(number, 69))
    for g, half in enumerate(_halves(np.linalg.inv(prior.precision))):
        out[chosen == g] = prior.mean[g] + out[chosen == g] @ half.T
    return out


def _halves(covariance: NDArray[np.floating]) -> Float:
    """(G, D, D) square roots of covariances without the floor."""
    value, vector = np.linalg.eigh(covariance - FLOOR_RAD**2 * np.eye(covariance.shape[-1]))
    return np.asarray(vector * np.sqrt(np.maximum(value, 0.0))[:, None])


def resample_unseen(prior: PosePrior, xi: Float, seen: Bool, rng: np.random.Generator) -> Float:
    """(N, 69) with every coordinate that is not ``seen`` (69,) drawn anew, as the prior has it given the others.

    xi: (N, 69) about the prior's reference. To learn the prior's own guesses would be to learn that they are sure.
    """
    away, out = ~seen, xi.copy()
    score, means, inside = [], [], []
    for weight, mean, Q in zip(prior.weight, prior.mean, prior.precision, strict=True):
        off = xi[:, seen] - mean[seen]
        inner = np.linalg.inv(Q[np.ix_(away, away)])
        means.append(mean[away] - off @ Q[np.ix_(seen, away)] @ inner)
        marginal = np.linalg.inv(np.linalg.inv(Q)[np.ix_(seen, seen)])
        score.append(np.log(weight) + 0.5 * np.linalg.slogdet(marginal)[1] - 0.5 * ((off @ marginal) * off).sum(axis=1))
        inside.append(inner)
    chosen = (np.stack(score, axis=1) + rng.gumbel(size=(len(xi), len(score)))).argmax(axis=1)
    noise = rng.normal(size=(len(xi), int(away.sum())))
    for g, (mean, half) in enumerate(zip(means, _halves(np.stack(inside)), strict=True)):
        rows = chosen == g
        out[np.ix_(rows, away)] = mean[rows] + noise[rows] @ half.T
    return out
