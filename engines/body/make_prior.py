"""Train the pose prior from free motion: ``python -m engines.body.make_prior FOLDER``. Nothing else needs the data.

FOLDER holds ``cmu_motion/cmu_motion.npz``, ``motion_cmu_s01_09/motion_cmu_s01_09.npz`` (CMU Graphics Lab, free for all
uses; the data were obtained from mocap.cs.cmu.edu, created with funding from NSF EIA-0196217) and
``motion_cc0/motion_cc0_humanoid.npz`` (CC0), read by :mod:`engines.train.motion`. Each pose is taken as it is and
mirrored. Held out: whole subjects and clips. What is written is the mixture that held-out motion likes best.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.body.files import load_body
from engines.body.prior import PATH, PosePrior, coordinates, rest_directions, save_prior
from engines.body.rotations import matrices, rotvecs
from engines.skeleton import skeleton
from engines.train.motion import read_clips

Float = NDArray[np.float64]

JOINTS = skeleton("smpl24")
FLOOR_RAD = 0.10  # sources have joints without a degree of freedom, and skeletons that differ by this much
MARGIN_RAD = 0.15  # limits lie so far outside of what was seen
TAIL = 0.1  # percent of the poses on either side that limits may ignore
RATE_HZ = 10.0
HELD_SUBJECTS = (3, 7)  # of s01–s09
SEED = 4


def clips(folder: Path, directions: Float) -> Iterator[tuple[str, bool, Float]]:
    """(name, held out, local rotations (T, 24, 3, 3)) of every clip, at RATE_HZ."""
    hand_keyed = 0
    for clip in read_clips(folder, directions, RATE_HZ):
        if clip.name.startswith("cc0/"):
            held = hand_keyed % 5 == 0
            hand_keyed += 1
        elif clip.name.startswith("cmu/"):
            held = int(clip.name.split("_")[1]) in HELD_SUBJECTS
        else:
            held = clip.name.startswith("test")
        yield clip.name, held, clip.local[clip.good].astype(np.float64)


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


def mixture(xi: Float, components: int, rng: np.random.Generator) -> tuple[Float, Float, Float]:
    """weight (G,), mean (G, D), precision (G, D, D) by expectation–maximisation (Dempster et al. 1977)."""
    n, D = xi.shape
    share = np.zeros((n, components))
    centres = xi[rng.choice(n, components, replace=False)]
    for _ in range(10):  # k-means to begin
        distance = ((xi**2).sum(axis=1)[:, None] - 2 * xi @ centres.T) + (centres**2).sum(axis=1)
        nearest = distance.argmin(axis=1)
        centres = np.stack(
            [xi[nearest == g].mean(axis=0) if (nearest == g).any() else centres[g] for g in range(components)]
        )
    share[np.arange(n), nearest] = 1.0
    for _ in range(25):
        total = share.sum(axis=0) + 1e-9
        weight, mean = total / total.sum(), share.T @ xi / total[:, None]
        precision, score = np.empty((components, D, D)), np.empty((n, components))
        for g in range(components):
            off = xi - mean[g]
            covariance = (off * share[:, g : g + 1]).T @ off / total[g] + FLOOR_RAD**2 * np.eye(D)
            precision[g] = np.linalg.inv(covariance)
            half = off @ np.linalg.cholesky(precision[g])
            score[:, g] = np.log(weight[g]) - 0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * (half**2).sum(axis=1)
        share = np.exp(score - score.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
    return weight, mean, precision


def main() -> None:
    """Read, split, fit, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=PATH)
    parser.add_argument("--components", type=int, nargs="*", default=[1, 4, 8, 16])
    args = parser.parse_args()
    directions = rest_directions(load_body().J_template)
    parts: dict[bool, list[Float]] = {False: [], True: []}
    for _, held, R in clips(args.folder, directions):
        parts[held] += [R, mirrored(R)]
    train, test = np.concatenate(parts[False]), np.concatenate(parts[True])
    reference = mean_pose(train)
    xi = coordinates(reference, train)
    print(f"{len(train)} poses to learn from, {len(test)} held out")
    everything = np.concatenate([xi, coordinates(reference, test)])
    low, high = np.percentile(everything, [TAIL, 100 - TAIL], axis=0)
    best: tuple[float, PosePrior] | None = None
    for components in args.components:
        found = mixture(xi, components, np.random.default_rng(SEED))
        prior = PosePrior(reference, *found, low - MARGIN_RAD, high + MARGIN_RAD, directions)
        # held-out poses are told with the same blur that the floor stands for
        blurred = coordinates(reference, test) + np.random.default_rng(5).normal(0, FLOOR_RAD, (len(test), 69))
        score = float(prior.log_likelihood(reference @ _up(blurred)).mean())
        print(f"{components:3d} components: {score:8.2f} nat a held-out pose")
        if best is None or score > best[0]:
            best = score, prior
    assert best is not None
    save_prior(best[1], args.out)
    print(f"{args.out}: {len(best[1].weight)} components, {args.out.stat().st_size / 1e3:.0f} kB")


def _up(xi: Float) -> Float:
    """(N, 24, 3, 3) from (N, 69), the root as it is."""
    return matrices(np.concatenate([np.zeros((len(xi), 3)), xi], axis=1).reshape(len(xi), 24, 3))


if __name__ == "__main__":
    main()
