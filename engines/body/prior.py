"""The pose prior: a mixture of Gaussians over the rotations of 23 joints, and the range that each joint keeps to.

Made by :mod:`engines.body.make_prior` from free motion, for the free body; another body's rotations are told from other
rest directions, so the prior is turned to them when it is loaded.
"""

import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.errors import KinecastError
from capture.whole import whole
from engines.body.initial import swing
from engines.body.lm import PriorArrays
from engines.body.model import BodyModel
from engines.body.rotations import rotvecs
from engines.skeleton import skeleton

Float = NDArray[np.float64]

PATH = Path(__file__).parent.parent / "artifacts" / "pose_prior.npz"
# the joint whose place tells a joint's rest direction, where a limb has one
LIMBS = {"hip": "knee", "knee": "ankle", "ankle": "foot", "shoulder": "elbow", "elbow": "wrist"}


@dataclass(frozen=True, slots=True, eq=False)
class PosePrior:
    """reference: (24, 3, 3). weight: (G,), mean: (G, 69), precision: (G, 69, 69) of log(referenceᵀ R), root left out.

    low, high: (69,) joint limits in the same coordinates. directions: (24, 3) rest directions of the body that it was
    made for, zero where a joint has none.
    """

    reference: Float
    weight: Float
    mean: Float
    precision: Float
    low: Float
    high: Float
    directions: Float

    @property
    def arrays(self) -> PriorArrays:
        """As the solver takes them."""
        log_det = np.linalg.slogdet(self.precision)[1]
        score = np.log(self.weight) + 0.5 * log_det - 0.5 * self.mean.shape[1] * np.log(2 * np.pi)
        return PriorArrays(*(a.copy() for a in (self.reference, self.mean, self.precision, score, self.low, self.high)))

    def log_likelihood(self, R: Float) -> Float:
        """(N,) natural logarithm of the density at local rotations R (N, 24, 3, 3), per 69 coordinates."""
        xi = coordinates(self.reference, R)
        a = self.arrays
        off = xi[:, None] - a.mean
        score = a.log_weight - 0.5 * np.einsum("ngi,gij,ngj->ng", off, a.precision, off, optimize=True)
        top = score.max(axis=1)
        return np.asarray(top + np.log(np.exp(score - top[:, None]).sum(axis=1)))


def coordinates(reference: Float, R: Float) -> Float:
    """(N, 69) log(referenceᵀ R) of all joints but the root."""
    return rotvecs(np.swapaxes(reference, -1, -2) @ R)[:, 1:].reshape(len(R), -1)


def rest_directions(rest: Float) -> Float:
    """(24, 3) unit directions of the limbs of rest joints (24, 3); zero for joints of the trunk and the ends."""
    joints = skeleton("smpl24")
    out = np.zeros((24, 3))
    for j, name in enumerate(joints.joints):
        side, _, part = name.partition("_")
        if part in LIMBS:
            v = rest[joints.index(f"{side}_{LIMBS[part]}")] - rest[j]
            out[j] = v / np.linalg.norm(v)
    return out


def rest_turns(directions: Float, other: Float) -> Float:
    """(24, 3, 3) turns that bring each rest direction of one body (24, 3) to that of another; identity where none."""
    out = np.tile(np.eye(3), (24, 1, 1))
    for j in range(24):
        if directions[j].any() and other[j].any():
            out[j] = swing(directions[j], other[j])
    return out


def retargeted(prior: PosePrior, body: BodyModel) -> PosePrior:
    """The prior in the rotations of ``body``: R' = S_parentᵀ R S, with S the turn from its rest directions to ours."""
    directions = rest_directions(body.J_template)
    S = rest_turns(directions, prior.directions)
    if np.abs(S - np.eye(3)).max() < 1e-3:
        return prior
    reference = prior.reference.copy()
    for j in range(1, 24):
        reference[j] = S[body.parents[j]].T @ prior.reference[j] @ S[j]
    block = np.zeros((69, 69))
    for j in range(1, 24):
        block[3 * j - 3 : 3 * j, 3 * j - 3 : 3 * j] = S[j].T
    # limits belong to axes; turned ones cover the box that they came from
    centre, half = (prior.low + prior.high) / 2, (prior.high - prior.low) / 2
    centre, half = block @ centre, np.abs(block) @ half
    return PosePrior(
        reference, prior.weight, prior.mean @ block.T, block @ prior.precision @ block.T, centre - half, centre + half,
        directions,
    )  # fmt: skip


@cache
def load_prior(path: Path = PATH) -> PosePrior:
    """The prior of that file; KinecastError where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            table = {k: file[k].astype(np.float64) for k in file.files}
        rows, columns = np.tril_indices(69)
        precision = np.zeros((len(table["weight"]), 69, 69))
        precision[:, rows, columns] = precision[:, columns, rows] = table["precision"]
        return PosePrior(
            table["reference"], table["weight"], table["mean"], precision, table["low"], table["high"],
            table["directions"],
        )  # fmt: skip
    except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile, zlib.error) as e:
        raise KinecastError(f"{path}: no readable pose prior ({e}); install Kinecast again") from None


def save_prior(prior: PosePrior, path: Path) -> None:
    """Write the prior as float32, whole."""
    rows, columns = np.tril_indices(69)
    f4 = np.float32
    with whole(path, overwrite=True) as file:
        np.savez_compressed(
            file, reference=prior.reference.astype(f4), weight=prior.weight.astype(f4), mean=prior.mean.astype(f4),
            precision=prior.precision[:, rows, columns].astype(f4), directions=prior.directions.astype(f4),
            low=prior.low.astype(f4), high=prior.high.astype(f4),
        )  # fmt: skip
