"""Synthetic walks for the tests: one person, 3 px noise, 3 % outliers, 10 % missing, cameras in a ring of 10 m."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import native
from kinecast.calibration.people.camera_poses import CameraPoses
from kinecast.calibration.people.walk import Walk
from kinecast.calibration.rigid import rotation
from kinecast.engines.records import Keypoints2D
from kinecast.engines.synth import CameraClock, Scene, World, message, ring_rig
from kinecast.nodes.bench.calibration_from_people import NOISE, synthetic
from kinecast.nodes.calibrate.walk_from_recording import walk_of_one
from kinecast.nodes.recording.file import RIG, About, RecordingWriter, Stamp

RIG4 = ring_rig(4, seed=3)
FPS = 20


@cache
def walk(seconds: float = 16.0, late_ms: float = 0.0) -> Walk:
    """A walk before ``RIG4``; the clock of cam02 is ``late_ms`` ahead."""
    clocks = {"cam02": CameraClock(round(1e6 * late_ms))} if late_ms else None
    return synthetic(RIG4, World(1, 3), seconds, 3, clocks=clocks)


def kicked(places: CameraPoses, metres: float, radians: float, seed: int = 1) -> CameraPoses:
    """Every camera moved by so much, one standard deviation an axis."""
    size = np.array([radians] * 3 + [metres] * 3 + [0.0])
    return places.moved((np.random.default_rng(seed).normal(size=(len(places), 7)) * size).ravel())


def turned(camera: Camera, degrees: float, shift_m: float = 0.0) -> Camera:
    """The camera turned about an axis askew, and shifted along another."""
    T = np.eye(4)
    T[:3, :3] = rotation(np.deg2rad(degrees) * np.array([0.6, 0.64, 0.48]))
    T[:3, 3] = shift_m * np.array([0.0, 0.6, 0.8])
    return replace(camera, cam_from_world=T @ camera.cam_from_world)


def views(
    rig: Rig, seconds: float, moves: dict[str, tuple[float, Camera]], jumps: dict[str, tuple[float, float]],
    world: World | None = None,
) -> dict[str, list[Keypoints2D]]:  # fmt: skip
    """Messages of cameras that are another from a time on, or whose stamps jump by some ms at a time."""
    scene = Scene(rig, world or World(1, 5), NOISE)
    out: dict[str, list[Keypoints2D]] = {n: [] for n in rig.names}
    for k in range(round(seconds * FPS)):
        t = round(k / FPS * 1e9)
        for camera in rig:
            since, other = moves.get(camera.name, (np.inf, camera))
            at, ms = jumps.get(camera.name, (np.inf, 0.0))
            seen = scene.observe(other if t / 1e9 >= since else camera, t)
            stamp = t + (round(ms * 1e6) if t / 1e9 >= at else 0)
            out[camera.name].append(message(camera, k, stamp, seen))
    return out


def moving(
    rig: Rig, seconds: float, moves: dict[str, tuple[float, Camera]] | None = None,
    jumps: dict[str, tuple[float, float]] | None = None,
) -> Walk:  # fmt: skip
    """The same as a walk."""
    return walk_of_one(rig, views(rig, seconds, moves or {}, jumps or {}))


def record(path: Path, rig: Rig, messages: dict[str, list[Keypoints2D]]) -> Path:
    """A recording of keypoints alone, with a rig."""
    with path.open("xb") as file:
        writer = RecordingWriter(file, About("people"), str(path))
        writer.attach(RIG, native.dumps(rig).encode())
        for name, own in messages.items():
            for k, message in enumerate(own):
                writer.record(Stamp(f"keypoints/{name}", k, message.t_capture_ns), message)
        writer.finish()
    return path
