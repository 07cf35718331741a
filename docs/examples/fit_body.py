"""Fit a body to 3D points: those of `kinecast export session.mcap --to npz`, or any file with the same arrays.

python docs/examples/fit_body.py session.npz --person 1
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_rig
from kinecast.engines.body.fit.solver import BodySolver, Fit
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.observations import camera_arrays

SIGMA_M = 0.015  # of a triangulated joint, along each axis


def fit_points(rig: Rig, t_ns: NDArray[np.int64], points: NDArray[np.float64]) -> list[Fit | None]:
    """One fit a frame. points: (T, 26, 3) HALPE-26 joints in metres, NaN where missing."""
    body, cameras = load_body("neutral"), camera_arrays(rig)
    solver = BodySolver(body, "halpe26", cameras, retargeted(load_prior(), body).arrays, rig.up_world)
    no_xy = np.full((len(cameras), points.shape[1], 2), np.nan)  # no view is asked: the points are the data
    no_weight = np.zeros((len(cameras), points.shape[1]))
    info = np.broadcast_to(np.eye(3) / SIGMA_M**2, (points.shape[1], 3, 3))
    return [solver.fit(int(t), 0, no_xy, no_weight, p, info) for t, p in zip(t_ns, points, strict=True)]


def main() -> None:
    """Print the stature's shape coefficients and how far the 24 joints are known, at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("points", type=Path)
    parser.add_argument("--rig", type=Path, required=True, help="only its upward axis and number of cameras are used")
    parser.add_argument("--person", type=int, required=True)
    args = parser.parse_args()
    with np.load(args.points) as file:
        rows = file["person_id"] == args.person
        t_ns, points = file["t_capture_ns"][rows], file["points_world_m"][rows].astype(np.float64)
    fits = [f for f in fit_points(load_rig(args.rig), t_ns, points) if f is not None]
    print(f"{len(fits)} of {len(points)} frames fitted")
    if fits:
        print("betas", np.round(fits[-1].betas, 2))
        print(f"joints known to {1000 * float(np.median(fits[-1].joint_sd_m)):.0f} mm (median, one standard deviation)")


if __name__ == "__main__":
    main()
