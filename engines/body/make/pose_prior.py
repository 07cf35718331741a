"""Train the pose prior from free motion: ``python -m kinecast.engines.body.make.pose_prior FOLDER``. Nothing else needs
the data.

FOLDER holds ``cmu_motion/cmu_motion.npz``, ``motion_cmu_s01_09/motion_cmu_s01_09.npz`` (CMU Graphics Lab, free for all
uses; the data were obtained from mocap.cs.cmu.edu, created with funding from NSF EIA-0196217) and
``motion_cc0/motion_cc0_humanoid.npz`` (CC0), read by :mod:`engines.train.data.motion`. Each pose is taken as it is and
mirrored. Held out: whole subjects and clips. What is written is the mixture that held-out motion likes best.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.atomic_write import atomic_path
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import rotvecs
from kinecast.engines.body.prior.gmm import FLOOR_RAD, MARGIN_RAD, TAIL, mean_pose, mirrored, mixture, poses_at
from kinecast.engines.body.prior.pose_prior import PATH, PosePrior, coordinates, rest_directions, save_prior
from kinecast.engines.train.data.motion import read_clips

Float = NDArray[np.float64]

RATE_HZ = 10.0
HELD_SUBJECTS = (3, 7)  # of s01–s09
SEED = 4
POSES = 6  # of a held-out clip, for the test


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


def main() -> None:
    """Read, split, fit, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=PATH)
    parser.add_argument("--components", type=int, nargs="*", default=[1, 4, 8, 16])
    parser.add_argument("--poses", type=Path, help="write held-out poses here too, a few a clip, for the test")
    args = parser.parse_args()
    directions = rest_directions(load_body().J_template)
    parts: dict[bool, list[Float]] = {False: [], True: []}
    kept: dict[str, Float] = {}
    for name, held, R in clips(args.folder, directions):
        parts[held] += [R, mirrored(R)]
        if held:
            kept[name] = R[np.linspace(0, len(R) - 1, POSES).round().astype(np.int64)]
    if args.poses:
        _write_poses(kept, args.poses)
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
        score = float(prior.log_likelihood(poses_at(reference, blurred)).mean())
        print(f"{components:3d} components: {score:8.2f} nat a held-out pose")
        if best is None or score > best[0]:
            best = score, prior
    assert best is not None
    save_prior(best[1], args.out)
    print(f"{args.out}: {len(best[1].weight)} components, {args.out.stat().st_size / 1e3:.0f} kB")


def _write_poses(kept: dict[str, Float], path: Path) -> None:
    """name (N,), rotvec_1e4 (N, 24, 3) int16."""
    names = [name for name, R in kept.items() for _ in R]
    turns = np.round(1e4 * rotvecs(np.concatenate(list(kept.values())))).astype(np.int16)
    with atomic_path(path, overwrite=True) as file:
        np.savez_compressed(file, name=np.array(names), rotvec_1e4=turns)


if __name__ == "__main__":
    main()
