"""The pose prior: a mixture of Gaussians over the rotations of 23 joints, and the range that each joint keeps to.

Made by :mod:`engines.body.make.pose_prior` from free motion, for the free body; another body's rotations are told from
other rest directions, so the prior is turned to them when it is loaded.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import applied, times
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.expectation import PriorArrays
from kinecast.engines.body.fit.initialise import swing
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.rotations import rotvecs
from kinecast.engines.fixed import log_det as log_det_of
from kinecast.engines.models.promoted import PRIORS, named
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

PATH = Path(__file__).parents[2] / "artifacts" / "pose_prior.npz"
# the joint whose place tells a joint's rest direction, where a limb has one
LIMBS = {"hip": "knee", "knee": "ankle", "ankle": "foot", "shoulder": "elbow", "elbow": "wrist"}


@dataclass(frozen=True, slots=True, eq=False)
class PosePrior:
    """reference: (24, 3, 3). weight: (G,), mean: (G, 69), precision: (G, 69, 69) of log(referenceᵀ R), root left out.

    low, high: (69,) joint limits in the same coordinates. directions: (24, 3) rest directions of the body that it was
    made for, zero where a joint has none. name: its file's, with a hash of its bytes; "" where it is in no file.
    """

    reference: Float
    weight: Float
    mean: Float
    precision: Float
    low: Float
    high: Float
    directions: Float
    name: str = ""

    @property
    def arrays(self) -> PriorArrays:
        """As the solver takes them."""
        log_det = np.array([log_det_of(Q) for Q in self.precision])
        score = np.log(self.weight) + 0.5 * log_det - 0.5 * self.mean.shape[1] * np.log(2 * np.pi)
        return PriorArrays(*(a.copy() for a in (self.reference, self.mean, self.precision, score, self.low, self.high)))

    def log_likelihood(self, R: Float, seen: NDArray[np.bool_] | None = None) -> Float:
        """(N,) natural logarithm of the density at local rotations R (N, 24, 3, 3), per 69 coordinates.

        seen: (69,) those that count, whatever the others are; None: all.
        """
        xi, mean, precision = coordinates(self.reference, R), self.mean, self.precision
        if seen is not None:
            inside = np.linalg.inv(precision)[:, seen][:, :, seen]
            xi, mean, precision = xi[:, seen], mean[:, seen], np.linalg.inv(inside)
        score = np.empty((len(xi), len(mean)))
        for g, Q in enumerate(precision):
            off = xi - mean[g]
            score[:, g] = np.log(self.weight[g]) + 0.5 * np.linalg.slogdet(Q)[1] - 0.5 * ((off @ Q) * off).sum(axis=1)
        score -= 0.5 * mean.shape[1] * np.log(2 * np.pi)
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
            out[j] = v / np.linalg.norm(v, axis=-1)
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
        reference[j] = times(times(S[body.parents[j]].T, prior.reference[j]), S[j])
    block = np.zeros((69, 69))
    for j in range(1, 24):
        block[3 * j - 3 : 3 * j, 3 * j - 3 : 3 * j] = S[j].T
    # limits belong to axes; turned ones cover the box that they came from
    centre, half = (prior.low + prior.high) / 2, (prior.high - prior.low) / 2
    centre, half = applied(block, centre), applied(np.abs(block), half)
    return PosePrior(
        reference, prior.weight, times(prior.mean, block.T), times(times(block, prior.precision), block.T),
        centre - half, centre + half, directions, prior.name,
    )  # fmt: skip


def from_other_rest(R: Float, body: BodyModel, prior: PosePrior) -> Float:
    """Local rotations (N, 24, 3, 3) of ``body`` in the words of the body that the prior was made for; its way back is
    what :func:`retargeted` does to the prior.
    """
    S = rest_turns(rest_directions(body.J_template), prior.directions)
    parents = np.asarray(body.parents)
    out = R @ np.swapaxes(S, -1, -2)
    out[:, 1:] = S[parents[1:]] @ out[:, 1:]
    return np.asarray(out)


@cache
def load_prior(path: Path = PATH) -> PosePrior:
    """The prior of a file that does not change, by default the shipped one; see :func:`read_prior`."""
    return read_prior(path)


def read_prior(path: Path) -> PosePrior:
    """Read and check a file of :func:`save_prior`; KinecastError where it is missing, damaged, or no density."""
    again = "install Kinecast again" if path == PATH else "copy it again, or train one anew"
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            table = {k: file[k].astype(np.float64) for k in file.files}
        rows, columns = np.tril_indices(69)
        precision = np.zeros((len(table["weight"]), 69, 69))
        precision[:, rows, columns] = precision[:, columns, rows] = table["precision"]
        prior = PosePrior(
            table["reference"], table["weight"], table["mean"], precision, table["low"], table["high"],
            table["directions"], named(path.stem, content),
        )  # fmt: skip
        if why := _wrong(prior):
            raise ValueError(why)
        return prior
    except (OSError, KeyError, ValueError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise KinecastError(f"{path}: no readable pose prior ({e}); {again}") from None


def _wrong(prior: PosePrior) -> str:
    """Why it is no prior; empty where it is one."""
    G = len(prior.weight)
    shapes = {
        "reference": (24, 3, 3), "weight": (G,), "mean": (G, 69), "precision": (G, 69, 69), "low": (69,),
        "high": (69,), "directions": (24, 3),
    }  # fmt: skip
    for name, shape in shapes.items():
        value = getattr(prior, name)
        if value.shape != shape or not G:
            return f"{name} is {value.shape}, expected {shape}"
        if not np.isfinite(value).all():
            return f"{name} holds what is no number"
    eye = prior.reference @ np.swapaxes(prior.reference, -1, -2)
    if np.abs(eye - np.eye(3)).max() > 1e-3:
        return "reference holds what is no rotation"
    if not (prior.weight > 0).all() or abs(prior.weight.sum() - 1) > 1e-3:
        return "the weights are no shares of 1"
    if np.linalg.eigvalsh(prior.precision)[:, 0].min() <= 0:
        return "a precision is not positive definite"
    return "" if (prior.low < prior.high).all() else "low is not below high"


def find_prior(what: str) -> Path:
    """The file of a prior: ``default`` is the user's own that was promoted last (engines.models.promoted), else the
    shipped one, which is ``shipped`` in any case; else a path. KinecastError where there is none.
    """
    if what == "default":
        return PRIORS.current() or PATH
    if what == "shipped":
        return PATH
    if Path(what).is_file():
        return Path(what)
    raise KinecastError(f"no pose prior {what!r}: give default, shipped, or the path of a file")


def named_prior(name: str, what: str = "default") -> Path | None:
    """The file of a prior by the name that a recording has, ``stem@hash``: promoted, shipped, or ``what``; or None.

    "" is the shipped one: recordings that name none were made when there was no other.
    """
    if not name:
        return PATH
    return PRIORS.by_name(name, [PATH, *([Path(what)] if Path(what).is_file() else [])])


def save_prior(prior: PosePrior, path: Path) -> None:
    """Write the prior as float32, whole."""
    rows, columns = np.tril_indices(69)
    f4 = np.float32
    with atomic_path(path, overwrite=True) as file:
        np.savez_compressed(
            file, reference=prior.reference.astype(f4), weight=prior.weight.astype(f4), mean=prior.mean.astype(f4),
            precision=prior.precision[:, rows, columns].astype(f4), directions=prior.directions.astype(f4),
            low=prior.low.astype(f4), high=prior.high.astype(f4),
        )  # fmt: skip
