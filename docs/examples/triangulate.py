"""Triangulate keypoints of one person with a rig, with covariance: numpy in, numpy out.

python docs/examples/triangulate.py rig.toml keypoints.npz points.npz

keypoints.npz: px (C, J, 2) pixels of the original pictures, confidence (C, J) in [0, 1], cameras in the rig's order.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_rig
from kinecast.engines.observations import camera_arrays
from kinecast.engines.triangulate.solve import Solution, noise_sigma, triangulate

Float = NDArray[np.float64]


def points_of(rig: Rig, px: Float, confidence: Float, depth_m: float = 4.0) -> Solution:
    """The person as a `Solution` of one row. depth_m: a guess of the distance, which only sets the expected noise."""
    cameras = camera_arrays(rig)
    xy = np.stack([camera.undistort(px[c]) for c, camera in enumerate(rig)])  # normalised, lens taken out
    seen = np.where(np.isfinite(xy).all(axis=-1), confidence, 0.0)
    joints = px.shape[1]
    nothing_known = np.full((1, joints, 3), np.nan), np.full((1, joints), np.nan)
    sigma = noise_sigma(cameras, np.full((1, len(rig)), depth_m))
    return triangulate(cameras, xy[None], seen[None], sigma, *nothing_known)


def main() -> None:
    """Write points_world_m (J, 3), covariance_m2 (J, 3, 3), residual_px (J,) and views (J,), a bit a camera."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rig", type=Path)
    parser.add_argument("keypoints", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with np.load(args.keypoints) as file:
        solution = points_of(load_rig(args.rig), file["px"].astype(float), file["confidence"].astype(float))
    names = ("points_world_m", "covariance_m2", "residual_px", "views")
    person = {name: getattr(solution, name)[0] for name in names}
    np.savez(args.out, **person)
    good = np.isfinite(person["points_world_m"]).all(axis=-1)
    print(f"{good.sum()} of {good.size} joints; median residual {np.nanmedian(person['residual_px']):.1f} px")


if __name__ == "__main__":
    main()
