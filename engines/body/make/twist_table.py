"""How far held-out motion is from the prior's guess of twists: ``python -m kinecast.engines.body.make.twist_table
FOLDER``.

FOLDER is that of :mod:`engines.body.make.pose_prior`, whose held-out clips are seen by four cameras (4 px, 5 %
outliers, 15 % missing) and fitted live. Printed are the numbers of :mod:`engines.body.prior.twist_uncertainty` from all
clips, and, for a check, how much of the odd clips lies within 1 and 2 σ when the numbers come from the even ones.
Nothing else needs the data.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.solver import BodySolver
from kinecast.engines.body.make.pose_prior import HELD_SUBJECTS
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import rotvecs
from kinecast.engines.body.prior.pose_prior import load_prior, rest_directions, retargeted
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import WhiteNoise, ring_rig
from kinecast.engines.synth.moving_body import UPRIGHT, BodyMotion, body_motion, observe_body
from kinecast.engines.train.data.motion import leg_m, read_clips

Float = NDArray[np.float64]

BODY = load_body()
RIG = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)
SIGMA_PX, OUTLIERS, MISSING = 4.0, 0.05, 0.15
RATE_HZ = 30.0
FRAMES, LEAST, BEGIN = 90, 15, 8  # of a clip at most and at least; the first ones find their way from the start
CLIPS = {"cc0": 20, "cmu": 5, "cmu_motion": 5}  # at most of each source: hand-keyed clips are short
JOINTS = ("elbow", "wrist", "hand")


def held_out(folder: Path) -> Iterator[tuple[str, BodyMotion, int]]:
    """(source, motion, seed) of clips that the prior was not made from."""
    terms, used, keyed = keypoint_terms(BODY, "halpe26"), dict.fromkeys(CLIPS, 0), 0
    for clip in read_clips(folder, rest_directions(BODY.J_template), RATE_HZ):
        source = clip.name.split("/")[0] if clip.name.startswith(("cc0/", "cmu/")) else "cmu_motion"
        held = clip.name.startswith("test")
        if source == "cc0":
            held, keyed = keyed % 5 == 0, keyed + 1
        elif source == "cmu":
            held = int(clip.name.split("_")[1]) in HELD_SUBJECTS
        if not held or used[source] >= CLIPS[source]:
            continue
        used[source] += 1
        R, root = (a[clip.good][:FRAMES].astype(np.float64) for a in (clip.local, clip.root))
        if len(R) < LEAST:
            continue
        R[:, 0] = UPRIGHT @ R[:, 0]
        at = (root - root.mean(axis=0)) * leg_m(BODY.J_template) @ UPRIGHT.T + [0.0, 0.0, 0.95]
        betas = 0.7 * np.random.default_rng(used[source]).normal(size=BODY.betas)
        yield source, body_motion(BODY, terms, R, at, betas), used[source]


def fitted(motion: BodyMotion, seed: int) -> tuple[Float, Float]:
    """Errors and the posterior's standard deviations, (T, 24, 3) rad about the joints' own axes."""
    cameras = camera_arrays(RIG)
    solver = BodySolver(BODY, "halpe26", cameras, retargeted(load_prior(), BODY).arrays, RIG.up_world)
    px, confidence = observe_body(RIG, motion.points, WhiteNoise(SIGMA_PX, OUTLIERS, MISSING), seed)
    xy = np.stack([c.undistort(px[:, i]) for i, c in enumerate(RIG)], axis=1)
    w = confidence * (cameras.focal_px[:, None] / SIGMA_PX) ** 2
    fits = [solver.fit(round(i * 1e9 / RATE_HZ), 1, xy[i], w[i]) for i in range(len(xy))]
    rows = [i for i, f in enumerate(fits) if f is not None and i >= BEGIN]
    R, sd = (np.stack([getattr(f, n) for i, f in enumerate(fits) if f is not None and i >= BEGIN])
             for n in ("R", "turn_sd_rad"))  # fmt: skip
    return rotvecs(np.swapaxes(motion.rotations[rows], -1, -2) @ R), sd


def prior_var() -> Float:
    """(24, 3) rad²: what the prior says of a turn when all other turns are known, the mean over its parts."""
    precision = retargeted(load_prior(), BODY).precision
    out = np.ones((24, 3))
    out[1:] = (1.0 / np.diagonal(precision, axis1=1, axis2=2)).mean(axis=0).reshape(23, 3)
    return out


def main() -> None:
    """Fit, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    found: dict[str, list[tuple[Float, Float]]] = {}
    for source, motion, seed in held_out(parser.parse_args().folder):
        found.setdefault(source, []).append(fitted(motion, seed))
    for name in JOINTS:
        rows = [skeleton("smpl24").index(f"{side}_{name}") for side in ("left", "right")]
        for axis in range(3):
            f = float(prior_var()[rows[0], axis])
            of = {s: [(e[:, rows, axis].ravel(), sd[:, rows, axis].ravel() ** 2) for e, sd in v]
                  for s, v in found.items()}  # fmt: skip
            s2, half = (guess_var({s: v[::n] for s, v in of.items()}, f) for n in (1, 2))
            print(f"{name} {'xyz'[axis]}: prior {np.rad2deg(np.sqrt(f)):.1f}, guess {np.rad2deg(np.sqrt(s2)):.0f}")
            for source, clips in of.items():
                e, v = (np.concatenate([c[i] for c in clips[1::2]]) for i in (0, 1))
                wide = np.sqrt(v + np.minimum(v / f, 1.0) ** 2 * (half - f))
                inside = [f"{100 * np.mean(np.abs(e) < k * sd):.0f}" for sd in (np.sqrt(v), wide) for k in (1, 2)]
                print(
                    f"  {source}: error {np.rad2deg(np.sqrt(np.mean(e**2))):.0f}°, inside 1, 2 σ {inside[0]}, "
                    f"{inside[1]} % by the prior, {inside[2]}, {inside[3]} % as stated"
                )


def guess_var(of: dict[str, list[tuple[Float, Float]]], f: float) -> float:
    """Mean square error of a guess, rad², that makes errors and statement equal over sources that count alike."""
    each = [tuple(np.concatenate([c[i] for c in clips]) for i in (0, 1)) for clips in of.values()]
    excess = np.mean([np.mean(e**2) - np.mean(v) for e, v in each])
    share2 = np.mean([np.mean(np.minimum(v / f, 1.0) ** 2) for _, v in each])
    return f + max(float(excess / share2), 0.0)


if __name__ == "__main__":
    main()
