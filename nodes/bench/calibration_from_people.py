"""``kinecast bench calibrate-people``: rigs from people on synthetic walks, against the truth.

How far off they are, and whether the stated uncertainty covers it.
"""

import argparse

import numpy as np
from rich.table import Table

from kinecast.calibration.camera import Rig
from kinecast.calibration.people.camera_poses import aligned, camera_poses_of, pose_error, without_free
from kinecast.calibration.people.from_scratch import RigFromPeople, build, faults
from kinecast.calibration.people.metric_world import from_stature
from kinecast.calibration.people.walk import Walk
from kinecast.capture.console import plain_console
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Keypoints2D
from kinecast.engines.synth import CameraClock, Detector, Noise, World, messages, ring_rig
from kinecast.engines.synth.habitual import detector_named, detector_names
from kinecast.nodes.calibrate.walk_from_recording import roles, walk_of_one

NOISE = Noise(sigma_px=3.0, outliers=0.03, missing=0.10)
FPS_HZ = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long people walk, before how many cameras, how often."""
    parser.add_argument(
        "--walk-s", "--walks", dest="walk_s", type=float, nargs="+", default=[10, 30, 60], metavar="S",
        help="seconds of each walk; default 10 30 60",
    )  # fmt: skip
    parser.add_argument("--cameras", type=int, default=4, help="in the ring; default 4")
    parser.add_argument(
        "--detector", default="white", metavar="NAME",
        help=f"white: new errors in every frame; or one with habits: {', '.join(detector_names()[1:])}; default white",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=5, help="rigs and worlds of each length; default 5")


def run(args: argparse.Namespace) -> int:
    """Print the table. Always 0: a benchmark measures, it does not judge."""
    plain_console(width=130).print(table(args.walk_s, args.cameras, args.seeds, args.detector))
    return 0


def synthetic(
    rig: Rig,
    world: World,
    seconds: float,
    seed: int = 0,
    noise: Detector = NOISE,
    clocks: dict[str, CameraClock] | None = None,
) -> Walk:
    """A walk of the synthetic world as cameras of ``rig`` would report it."""
    views: dict[str, list[Keypoints2D]] = {}
    for m in messages(world, rig, frames=round(seconds * FPS_HZ), fps_hz=FPS_HZ, noise=noise, clocks=clocks, seed=seed):
        views.setdefault(m.camera, []).append(m)
    return walk_of_one(rig, views)


def table(seconds: list[float], cameras: int = 4, seeds: int = 5, detector: str = "white") -> Table:
    """Error in mm and coverage for walks of so many seconds, ``seeds`` worlds and rigs each."""
    if min(seconds) < 2 or max(seconds) > 600 or not 1 <= seeds <= 100:
        raise KinecastError("--walk-s is from 2 to 600, --seeds from 1 to 100")
    errs = (
        f"{NOISE.sigma_px:g} px noise, {100 * NOISE.outliers:g} % outliers, {100 * NOISE.missing:g} % missing"
        if detector == "white"
        else f"habits of {detector}"
    )
    out = Table(title=f"{cameras} cameras in a ring of 10 m, {errs}, one person; means of {seeds} rigs")
    for column in (
        "walk s", "camera centres off mm", "worst mm", "turned off °", "stated σ mm", "within 2 σ", "halves differ mm",
        "scale off", "tilt °", "floor off mm", "used",
    ):  # fmt: skip
        out.add_column(column, justify="right")
    for s in seconds:
        rows = []
        for seed in range(seeds):
            noise = NOISE if detector == "white" else detector_named(detector, seed)
            rows += [r for r in [_one(s, cameras, seed, noise)] if r is not None]
        if not rows:
            out.add_row(f"{s:g}", *["–"] * 9, f"0 of {seeds}")
            continue
        m = np.array(rows)
        mean = m.mean(axis=0)
        out.add_row(
            f"{s:g}", f"{mean[0]:.1f}", f"{m[:, 1].max():.1f}", f"{mean[2]:.3f}", f"{mean[3]:.1f}",
            f"{100 * mean[4]:.0f} %", f"{mean[5]:.1f}", f"{mean[6]:.1f} %", f"{mean[7]:.2f}", f"{mean[8]:.0f}",
            f"{int(m[:, 9].sum())} of {seeds}",
        )  # fmt: skip
    return out


def _one(seconds: float, cameras: int, seed: int, noise: Detector) -> tuple[float, ...] | None:
    rig, world = ring_rig(cameras, seed=seed), World(1, seed)
    walk = synthetic(rig, world, seconds, seed, noise)
    stature = float(world.height_m[0])
    answer = None if faults(walk) else build(walk, lambda _, points: from_stature(points, roles(), stature), stature)
    if not isinstance(answer, RigFromPeople) or len(answer.index) < cameras:
        return None
    truth = camera_poses_of(rig)
    off, angle = pose_error(answer.places, truth)
    laid = aligned(answer.places, truth)
    error = (without_free(truth) @ laid.step_to(truth)).reshape(-1, 7)[:, 3:6]
    assert answer.found.bundle is not None
    sigma = answer.metres.factor * np.sqrt(np.diag(answer.found.bundle.cov).reshape(-1, 7)[:, 3:6])
    spread = [np.linalg.norm(p.centres - p.centres.mean(0), axis=1).mean() for p in (answer.places, truth)]
    # the truth's floor is z = 0 and its up is z: both are told by the rig laid on the truth without its scale
    rigid = aligned(answer.places, truth, scale=False)
    up = rigid.R[0].T @ (answer.places.R[0] @ np.array([0.0, 0.0, 1.0]))
    height = float(np.mean(answer.places.centres[:, 2] - truth.centres[:, 2] * spread[0] / spread[1]))
    return (
        1e3 * float(off.mean()), 1e3 * float(off.max()), float(np.rad2deg(angle.mean())),
        1e3 * float(answer.sigma_m.mean()), float((np.abs(error) < 2 * sigma).mean()),
        1e3 * float(answer.halves_m.mean()),
        100 * abs(spread[0] / spread[1] - 1), float(np.rad2deg(np.arccos(np.clip(up[2], -1, 1)))), 1e3 * abs(height),
        float(answer.verdict == "good"),
    )  # fmt: skip
