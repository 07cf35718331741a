"""What a pose prior is worth: how likely it finds held-out poses, and bodies fitted with it to one and two views.

Views are synthetic: the motion of a held-out clip, or of a body that a session was fitted with, before four cameras of
which one or two are used, where a body leans on the prior most. Both priors see the same pixels.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.solver import BodySolver, Fit
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import KeypointTerms, keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import PosePrior, retargeted
from kinecast.engines.metrics import p_mpjpe
from kinecast.engines.observations import camera_arrays
from kinecast.engines.synth.moving_body import BENCH_RIG, UPRIGHT, BodyMotion, body_motion, body_observations
from kinecast.engines.train.data.motion import Clip, leg_m
from kinecast.engines.train.prior import nat, poses_of
from kinecast.nodes.fusion.bodies import COMMON, PERSISTENT
from kinecast.nodes.promote.gate import LogLikelihoods
from kinecast.nodes.promote.lifter_benchmarks import MEASURES, PredictedErrors

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

HZ = 30.0
MAX_FRAMES, MIN_FRAMES = 40, 15  # frames of a piece
DIRECTIONS = 2  # from which each is body_observations
# frames until a fit is begun anew: from one view it ends sooner or later with its front to the back, which is luck and
# drowns everything else; and those at its beginning that are not scored
RESTART_EVERY, SKIPPED = 10, 3
MAX_EXCERPTS = 40  # of a benchmark: enough for an interval, and a minute of work
SEED = 17


def log_likelihoods(prior: PosePrior, clips: Sequence[Clip], mask: Bool | None = None) -> LogLikelihoods:
    """Log-likelihood of every clip's poses. mask: (69,) the coordinates that count; None: all."""
    rows = [(clip.name, nat(prior, R, mask)) for clip in clips if len(R := poses_of([clip]))]
    return LogLikelihoods(
        np.array([n for n, _ in rows], np.str_), np.array([len(v) for _, v in rows], np.float64),
        np.array([v.sum() for _, v in rows]),
    )  # fmt: skip


def excerpts(clips: Sequence[Clip]) -> list[Clip]:
    """The middle ``MAX_FRAMES`` frames of each clip at about ``HZ``; of clips spread over all, ``MAX_EXCERPTS`` at
    most.

    Clips with fewer than ``MIN_FRAMES`` good frames there are left out.
    """
    out = []
    for clip in clips:
        step = max(1, round(clip.rate_hz / HZ))
        local, root, good = clip.local[::step], clip.root[::step], clip.good[::step]
        start = max(0, len(good) - MAX_FRAMES) // 2
        rows = slice(start, start + MAX_FRAMES)
        if good[rows].sum() >= MIN_FRAMES:
            out.append(Clip(clip.name, clip.action, clip.rate_hz / step, local[rows], root[rows], good[rows]))
    if len(out) <= MAX_EXCERPTS:
        return out
    return [out[i] for i in np.linspace(0, len(out) - 1, MAX_EXCERPTS).round().astype(int)]


def fit_errors(prior: PosePrior, clips: Sequence[Clip], views: int) -> PredictedErrors:
    """Bodies of drawn shapes that move as the clips (of :func:`excerpts`), fitted from so many neighbouring views.

    Begun from the true points now and then, as live fits are from triangulated ones; the shape is unknown. Good frames
    are scored.
    """
    body, cameras = load_body(), camera_arrays(BENCH_RIG)
    terms = keypoint_terms(body, "halpe26")
    arrays = retargeted(prior, body).arrays
    rows = []
    for clip in clips:
        rng = np.random.default_rng((crc32(clip.name.encode()), SEED))
        motion = _before_cameras(clip, body, terms, rng)
        observations = body_observations(motion, crc32(clip.name.encode()), len(motion.joints))
        for first in rng.permutation(len(BENCH_RIG))[:DIRECTIONS].tolist():
            used = [(first + k) % len(BENCH_RIG) for k in range(views)]
            solver = BodySolver(
                body, "halpe26", cameras, arrays, BENCH_RIG.up_world, persistent=PERSISTENT, common=COMMON
            )
            fits: list[Fit | None] = []
            for i, (frame, points) in enumerate(zip(observations, motion.points, strict=True)):
                if i % RESTART_EVERY == 0:
                    solver.forget(frame.t_ns)
                w = np.zeros_like(frame.w)
                w[:, used] = frame.w[:, used]
                fits += solver.fit_all(frame.t_ns, frame.ids, frame.xy, w, start=points[None])
            on = [i for i, fit in enumerate(fits) if fit is not None and i % RESTART_EVERY >= SKIPPED and clip.good[i]]
            if on:
                rows.append((clip.name, clip.action, float(len(on)), *_sums(fits, motion, on)))
    names, actions, frames, sums, joints, inside = zip(*rows, strict=True) if rows else ([], [], [], [], [], [])
    return PredictedErrors(
        np.array(names, np.str_), np.array(actions, np.str_), np.array(frames, np.float64),
        np.array(sums, np.float64).reshape(-1, len(MEASURES)), np.array(joints, np.float64).reshape(-1, 24),
        np.array(inside, np.float64),
    )  # fmt: skip


def _before_cameras(clip: Clip, body: BodyModel, terms: KeypointTerms, rng: np.random.Generator) -> BodyMotion:
    """The clip as somebody of a drawn shape in the middle of the rig, the lowest point on the floor."""
    R = clip.local.astype(np.float64)
    R[:, 0] = UPRIGHT @ R[:, 0]
    at = clip.root.astype(np.float64) @ UPRIGHT.T * leg_m(body.J_template)
    betas = rng.normal(size=body.betas)
    middle = (at.min(axis=0) + at.max(axis=0)) / 2
    lowest = body_motion(body, terms, R, at, betas).points[..., 2].min()
    return body_motion(body, terms, R, at - [middle[0], middle[1], lowest], betas)


def _sums(fits: Sequence[Fit | None], motion: BodyMotion, on: Sequence[int]) -> tuple[Float, Float, float]:
    """Over the frames ``on``: sums of the measures, of each joint's error, and of the share inside 2 σ."""
    there = [fit for i in on if (fit := fits[i]) is not None]
    predicted, true = np.stack([f.joints for f in there]), motion.joints[list(on)]
    about = (predicted - predicted[:, :1]) - (true - true[:, :1])
    each = np.linalg.norm(about, axis=-1)
    aligned = p_mpjpe(predicted, true).value
    place = np.linalg.norm(predicted[:, 0] - true[:, 0], axis=-1)
    pairs = np.flatnonzero(np.diff(on) == 1)
    moved = np.linalg.norm(about[pairs + 1] - about[pairs], axis=-1).mean() * HZ if len(pairs) else 0.0
    sd = np.stack([f.joint_sd_m for f in there])
    inside = float((np.abs(predicted - true) <= 2 * sd[..., None]).mean())
    n = len(on)
    return np.array([each.mean(-1).sum(), aligned * n, place.sum(), moved * n]), each.sum(0), inside * n
