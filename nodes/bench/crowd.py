"""The synthetic crowd: how near fusion comes to the estimator that is told everything, who is who, and who is nobody.

People cross in 3 px of noise, 10 % outliers and 15 % missing joints. The cameras' shutters are a constant ±20 ms apart:
once the stamps say so, once they are wrong by as much and nothing is done about it, once after the clocks were found
from the motion (as ``kinecast sync`` does).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.engines.metrics import coverage, identities
from kinecast.engines.records import Keypoints2D, Poses, unpack_covariance
from kinecast.engines.synth import CROWD, Scene, World, message, ring_rig
from kinecast.engines.timing.solve import solve
from kinecast.engines.timing.tracks import tracks
from kinecast.nodes.bench import Row
from kinecast.nodes.bus.messages import End
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.warm_up import warm_up_shown
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.reprocess.run_fusion import fuse_messages

Float = NDArray[np.float64]
SCENES = ((3, 2, "cross"), (4, 3, "crowd"), (5, 4, "cross"), (6, 5, "crowd"), (8, 6, "cross"))  # cameras, people
RATE_HZ, SECONDS, PHASE_MS = 30, 12, 20.0
SETTLED_S = 1.0  # errors count from here on: the noise is learnt and everybody has been met


@dataclass(frozen=True, slots=True)
class Score:
    """error_m: mean over measured joints. coverage: shares inside 1, 2, 3 σ. ghosts, missed: of person-frames."""

    error_m: float
    coverage: tuple[float, float, float]
    switches_per_minute: float
    ghosts: float
    missed: float


def phases_ns(rig: Rig, seed: int) -> dict[str, int]:
    """Constant shift of every camera, uniform in ±20 ms."""
    rng = np.random.default_rng((seed, 9))
    return {name: round(1e6 * rng.uniform(-PHASE_MS, PHASE_MS)) for name in rig.names}


def views_of(world: World, rig: Rig, phases: Mapping[str, int], told: bool) -> list[Keypoints2D]:
    """What the cameras report, each ``phases`` ns after the frame's time; the stamps say so where ``told``."""
    out, scene = [], Scene(rig, world, CROWD, world.seed)
    for k in range(RATE_HZ * SECONDS):
        t_ns = round((k + 1) * 1e9 / RATE_HZ)
        for camera in rig:
            true_ns = t_ns + phases[camera.name]
            seen = scene.observe(camera, true_ns, t_ns)
            out.append(message(camera, k, true_ns if told else t_ns, seen))
    return out


def fused(rig: Rig, views: Iterable[Keypoints2D]) -> list[Poses]:
    """The poses that fusion makes of the views."""
    messages: list[Keypoints2D | End] = [*views, *(End(name, 0, 0, "last frame") for name in rig.names)]
    outs = (o for _, outs in fuse_messages(FusionCore(rig, FusionNode()), messages) for o in outs)
    return [o.record for o in outs if o.topic == "poses"]


def score(poses: list[Poses], world: World, shift_ns: int = 0) -> Score:
    """Beside the world, ``shift_ns`` after each set's time: where the mean of wrong clocks is."""
    errors, covariances, frames = [], [], []
    for p in poses:
        truth = world.points_world(p.t_set_ns + shift_ns)
        points = p.points_world_m.astype(np.float64)
        frames.append((points, p.person_ids, truth, list(range(world.people))))
        measured = np.where(p.derived[..., None], np.nan, points)
        for k in range(len(points)):
            gap = np.linalg.norm(measured[k] - truth, axis=-1)
            near = int(np.argmin(np.nanmedian(gap, axis=1)))
            if p.t_set_ns > SETTLED_S * 1e9 and np.nanmedian(gap[near]) < 0.3:
                errors.append(measured[k] - truth[near])
                covariances.append(unpack_covariance(p.covariance_m2[k]))
    e, cov = np.concatenate(errors), np.concatenate(covariances)
    told = identities(frames)
    inside = coverage(e, cov)[0]
    minutes = len(poses) / RATE_HZ / 60
    return Score(
        float(np.nanmean(np.linalg.norm(e, axis=1))), (float(inside[0]), float(inside[1]), float(inside[2])),
        told.switches / minutes, told.ghosts / max(1, told.predicted), told.missed / max(1, told.truth),
    )  # fmt: skip


def ideal_m(world: World, rig: Rig) -> float:
    """Mean error of who knows every association and every lie, and has all views at one time.

    Least squares over the views that tell the truth of a joint, from its normal equations; drawn, not run.
    """
    rng = np.random.default_rng((world.seed, 10))
    sizes = []
    for k in range(RATE_HZ, RATE_HZ * SECONDS, 3):
        X = world.points_world(round((k + 1) * 1e9 / RATE_HZ)).reshape(-1, 3)
        normal = np.zeros((len(X), 3, 3))
        views = np.zeros(len(X), int)
        for camera in rig:
            px = camera.project(X)[0]
            seen = (px > -0.5).all(axis=1) & (px < np.array(camera.size_px) - 0.5).all(axis=1)
            seen &= rng.random(len(X)) > CROWD.missing
            seen &= rng.random(len(X)) > CROWD.outliers
            slope = np.stack([(camera.project(X + d)[0] - px) / 1e-5 for d in np.eye(3) * 1e-5], axis=-1)[seen]
            normal[seen] += np.swapaxes(slope, 1, 2) @ slope / CROWD.sigma_px**2
            views[seen] += 1
        root = np.linalg.cholesky(np.linalg.inv(normal[views >= 2]))
        sizes.append(np.linalg.norm((root @ rng.normal(size=(len(root), 3, 1)))[..., 0], axis=1))
    return float(np.mean(np.concatenate(sizes)))


def found_clocks(rig: Rig, views: list[Keypoints2D], phases: Mapping[str, int]) -> tuple[list[Keypoints2D], float]:
    """The views with stamps put right by the motion, and the worst error of an offset in ms."""
    by_camera = [tracks([v for v in views if v.camera == c.name], c, 0) for c in rig]
    offsets_ns = np.round(1e9 * solve(rig, by_camera, 0.1).offsets_s).astype(np.int64)
    true_ns = np.array([-phases[n] for n in rig.names], np.float64)  # a stamp is behind where the picture is later
    worst = float(np.abs(offsets_ns - (true_ns - true_ns.mean())).max()) / 1e6
    late = dict(zip(rig.names, offsets_ns.tolist(), strict=True))
    right = [replace(v, t_capture_ns=v.t_capture_ns - late[v.camera]) for v in views]
    return sorted(right, key=lambda v: (v.t_capture_ns, v.camera)), worst


def run() -> list[Row]:
    """Every scene with stamps that are right, wrong, and found."""
    rows = []
    for k, (cameras, people, scenario) in enumerate(SCENES):
        rig, world = ring_rig(cameras, seed=k), World(people, k, scenario)
        warm_up_shown(cameras)
        phases = phases_ns(rig, k)
        ideal, mean = ideal_m(world, rig), round(float(np.mean(list(phases.values()))))
        told = sorted(views_of(world, rig, phases, told=True), key=lambda v: (v.t_capture_ns, v.camera))
        wrong = views_of(world, rig, phases, told=False)
        right, worst_ms = found_clocks(rig, wrong, phases)
        name = f"crowd, {cameras} cameras × {people} people ({scenario})"
        cases = {
            "stamps right": score(fused(rig, told), world),
            "stamps wrong": score(fused(rig, wrong), world, mean),
            "clocks found": score(fused(rig, right), world, mean),
        }
        for case, s in cases.items():
            inside = ", ".join(f"{100 * c:.0f}" for c in s.coverage)
            note = f"{1000 * s.error_m:.1f} mm, ideal {1000 * ideal:.1f}; inside 1, 2, 3 σ {inside} %; "
            note += f"{s.switches_per_minute:.1f} switches a minute; missed {100 * s.missed:.1f} %"
            note += f"; worst clock {worst_ms:.1f} ms" if case == "clocks found" else ""
            rows.append(Row(f"{name}, {case}: error / ideal", s.error_m / ideal, "×", 1.5, note))
            rows.append(Row(f"{name}, {case}: ghosts", 100 * s.ghosts, "%", 1.0))
    return rows
