"""The pose prior made anew from motion and from the accepted frames of data sets. numpy alone; a minute.

Sessions count for a stated share of all poses, however long they are. What the prior in force knows of motion that is
not at hand is kept: poses that are drawn from it count for a share of the rest. What a fit cannot tell is drawn anew
from the shipped prior (see :mod:`engines.body.prior_fit`), and joint limits come from motion alone, for fits are held
by them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.initialise import swing
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import matrices
from kinecast.engines.body.prior.gmm import (
    FLOOR_RAD,
    MARGIN_RAD,
    TAIL,
    draw,
    mirrored,
    mixture,
    poses_at,
    resample_unseen,
    seen_coordinates,
)
from kinecast.engines.body.prior.pose_prior import PosePrior, coordinates, from_other_rest, load_prior, retargeted
from kinecast.engines.train.data.motion import Clip, leg_m
from kinecast.engines.train.data.shards import Shard, iterate, load_manifest

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

RATE_HZ = 10.0  # poses nearer in time are hardly new
BLOCK_S = 5.0  # of a person in one session: a piece of evidence
GAP = 1.5  # periods without a frame end a block
SHORTEST = 8  # frames
BLUR_SEED = 5


@dataclass(frozen=True, slots=True)
class PriorConfig:
    """share: of what is learnt from that is of the data sets. keep: of the rest, that is drawn from the base.

    components: numbers of Gaussians to try.
    """

    share: float = 0.1
    keep: float = 0.5
    components: tuple[int, ...] = (12,)
    seed: int = 4


@dataclass(frozen=True, slots=True)
class Trained:
    """prior: the mixture that held-out poses like best. nat: of each number of components, mean log-likelihood of a
    held-out pose of (motion, sessions), NaN where there are none. poses: learnt from, of motion and of sessions.
    """

    prior: PosePrior
    nat: dict[int, tuple[float, float]]
    poses: tuple[int, int]


def session_clips(folders: Sequence[Path], split: str, body: Callable[[str], BodyModel]) -> list[Clip]:
    """The fitted bodies of a split as motion, in blocks of up to ``BLOCK_S`` named SESSION/PERSON/NUMBER.

    A frame is good that no gate refused. body: the model of a body id; its rotations are put in the shipped prior's
    words. The world is turned so that y is up. KinecastError for a session that is given twice, and a damaged shard.
    """
    out, owner = list[Clip](), dict[str, Path]()
    for folder in folders:
        model = body(load_manifest(folder).body_id)
        for key, session in load_manifest(folder).sessions.items():
            if owner.setdefault(key, folder) != folder:
                raise KinecastError(f"{folder}: session {key} ({session.name}) is in {owner[key]} too; give it once")
        for session, file, shard in iterate(folder, split):
            name = f"{session.key}/{file.person}"
            rig = load_rig(folder / session.rig)
            out += _blocks(shard, rig, model, name, session.session or session.name, len(out))
    return out


def _blocks(shard: Shard, rig: Rig, body: BodyModel, name: str, action: str, number: int) -> Iterator[Clip]:
    if len(shard.t_ns) < SHORTEST:
        return
    upright = swing(rig.up_world, np.array([0.0, 1.0, 0.0]))
    R = from_other_rest(matrices(shard.rotations_rad.astype(np.float64)), body, shipped())
    R[:, 0] = upright @ R[:, 0]
    root = shard.joints_m[:, 0].astype(np.float64) @ upright.T / leg_m(body.J_template)
    t_s = (shard.t_ns - shard.t_ns[0]) / 1e9
    period = float(np.median(np.diff(t_s)))
    block = np.cumsum(np.diff(t_s, prepend=0.0) > GAP * period)
    for run in np.unique(block):
        rows = np.flatnonzero(block == run)
        for part in np.array_split(rows, max(1, round(len(rows) * period / BLOCK_S))):
            if (shard.refused[part] == 0).sum() >= SHORTEST:
                yield Clip(
                    f"{name}/{number}", action, 1 / period, R[part].astype(np.float32), root[part].astype(np.float32),
                    shard.refused[part] == 0,
                )  # fmt: skip
                number += 1


@cache
def shipped() -> PosePrior:
    """The shipped prior in the words of the free body, which are those of motion and of what is made here."""
    return retargeted(load_prior(), load_body())


def poses_of(clips: Sequence[Clip]) -> Float:
    """(N, 24, 3, 3) the good frames of clips, at about ``RATE_HZ``."""
    out = []
    for clip in clips:
        step = max(1, round(clip.rate_hz / RATE_HZ))
        out.append(clip.local[::step][clip.good[::step]].astype(np.float64))
    return np.concatenate(out) if out else np.zeros((0, 24, 3, 3))


def nat(prior: PosePrior, R: Float, seen: Bool | None = None) -> Float:
    """(N,) log-likelihood of held-out poses, with the blur that the floor stands for.

    Comparable between priors of one reference, which is :func:`shipped`'s for all that are made here.
    """
    xi = coordinates(prior.reference, R)
    blurred = poses_at(prior.reference, xi + np.random.default_rng(BLUR_SEED).normal(0, FLOOR_RAD, xi.shape))
    return prior.log_likelihood(blurred, seen)


def train_prior(
    config: PriorConfig, base: PosePrior, motion: Sequence[Clip], sessions: Sequence[Clip] = (),
    held_motion: Sequence[Clip] = (), held_sessions: Sequence[Clip] = (),
) -> Trained:  # fmt: skip
    """Mixtures over the poses of ``motion`` and ``sessions``; the one that what is held out likes best.

    base: the prior in force, in the words of :func:`shipped`. Raises KinecastError where nothing is to be learnt from.
    """
    ours, rng = shipped(), np.random.default_rng(config.seed)
    ref, seen = ours.reference, seen_coordinates(load_body(), ours.reference)
    moved, fitted = (poses_of(c) for c in (motion, sessions))
    if not len(moved):
        raise KinecastError("no pose of motion to learn from: every frame of it is a glitch")
    xi = coordinates(ref, np.concatenate([moved, mirrored(moved)]))
    extremes = np.percentile(xi, [TAIL, 100 - TAIL], axis=0)
    low = np.minimum(base.low, extremes[0] - MARGIN_RAD)
    high = np.maximum(base.high, extremes[1] + MARGIN_RAD)
    counts = np.full(len(xi), 1 - config.keep)
    if config.keep > 0:
        xi = np.concatenate([xi, draw(base, len(xi) // 2, rng)])
        counts = np.concatenate([counts, np.full(len(xi) - len(counts), 2 * config.keep)])
    if len(fitted) and config.share > 0:
        from_sessions = resample_unseen(ours, coordinates(ref, np.concatenate([fitted, mirrored(fitted)])), seen, rng)
        each = config.share / (1 - config.share) * counts.sum() / len(from_sessions)
        xi, counts = np.concatenate([xi, from_sessions]), np.concatenate([counts, np.full(len(from_sessions), each)])
    nats, best = {}, None
    apart = poses_of(held_motion), poses_of(held_sessions)
    for components in config.components:
        found = mixture(xi, min(components, len(xi)), np.random.default_rng(config.seed), counts)
        prior = PosePrior(ref, *found, low, high, ours.directions)
        likelihoods = [float(nat(prior, R, mask).mean()) if len(R) else np.nan
                 for R, mask in zip(apart, (None, seen), strict=True)]  # fmt: skip
        nats[components] = likelihoods[0], likelihoods[1]
        parts = [(w, s) for w, s in zip(likelihoods, (1 - config.share, config.share), strict=True) if np.isfinite(w)]
        score = sum(w * s for w, s in parts) if parts else 0.0
        if best is None or score > best[0]:
            best = score, prior
    assert best is not None
    return Trained(best[1], nats, (2 * len(moved), 2 * len(fitted)))
