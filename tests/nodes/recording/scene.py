"""A scene that is small enough to check by hand: four cameras on a circle, people of 26 joints walking through it."""

from pathlib import Path

import numpy as np

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import native
from kinecast.engines.records import FrameSet, Keypoints2D, Poses
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.bus.messages import End, SourceReport
from kinecast.nodes.recording.file import RIG, About, RecordingWriter, Stamp

PERIOD_NS = 16_666_667
SIZE_PX = (1280, 720)


def circle_rig(cameras: int = 4, radius_m: float = 4.0) -> Rig:
    """Cameras on a circle, 1.6 m up, that look at the point 1 m above the origin; z up."""
    made = []
    for c in range(cameras):
        a = 2 * np.pi * c / cameras + 0.3
        centre = np.array([radius_m * np.cos(a), radius_m * np.sin(a), 1.6])
        z = np.array([0.0, 0.0, 1.0]) - centre
        z /= np.linalg.norm(z)
        x = np.cross(z, [0.0, 0.0, 1.0])
        x /= np.linalg.norm(x)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([x, np.cross(z, x), z])
        pose[:3, 3] = -pose[:3, :3] @ centre
        K = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
        made.append(Camera(f"cam{c + 1}", SIZE_PX, K, np.array([-0.1, 0.02, 0, 0, 0]), pose))
    return Rig(tuple(made), "circle", "z")


# metres from the mid hip of somebody 1.75 m tall who stands with the arms a little off: x to the left, y back, z up
_OFFSETS_M = {
    "nose": (0, -0.10, 0.62), "eye": (0.03, -0.09, 0.65), "ear": (0.07, 0, 0.64), "shoulder": (0.19, 0, 0.48),
    "elbow": (0.27, 0.02, 0.20), "wrist": (0.31, -0.06, -0.04), "hip": (0.11, 0, 0), "knee": (0.12, -0.03, -0.42),
    "ankle": (0.12, 0.03, -0.84), "head_top": (0, 0, 0.80), "neck": (0, 0, 0.50), "mid_hip": (0, 0, 0),
    "big_toe": (0.11, -0.16, -0.91), "small_toe": (0.17, -0.13, -0.91), "heel": (0.12, 0.08, -0.91),
}  # fmt: skip


def body(person: int, t_s: float) -> np.ndarray:
    """(26, 3) metres, halpe26: somebody who stands stiff and is carried round a circle of 0.6 m."""
    offsets = []
    for joint in skeleton("halpe26").joints:
        side, _, rest = joint.partition("_")
        x, y, z = _OFFSETS_M[rest if side in ("left", "right") else joint]
        offsets.append((-x if side == "right" else x, y, z))
    a = 0.8 * t_s + np.pi * person
    return np.array(offsets) + np.array([0.6 * np.cos(a), 0.6 * np.sin(a), 0.95])


def keypoints(rig: Rig, camera: int, frame: int, people: int = 1, noise_px: float = 0.0) -> Keypoints2D:
    """What a perfect detector with so much noise sees, in halpe26."""
    rng = np.random.default_rng((camera, frame))
    points = np.array([body(p, frame * PERIOD_NS / 1e9) for p in range(people)]).reshape(people, 26, 3)
    px = rig.cameras[camera].project(points)[0] + rng.normal(0, noise_px or 1e-9, (people, 26, 2))
    boxes = np.concatenate([px.min(axis=1), px.max(axis=1)], axis=1)
    return Keypoints2D(
        camera=rig.names[camera],
        frame_seq=frame,
        t_capture_ns=frame * PERIOD_NS,
        size_px=SIZE_PX,
        skeleton="halpe26",
        keypoints_px=px.astype(np.float32),
        confidence=np.full((people, 26), 0.9, np.float32),
        boxes_px=boxes.astype(np.float32),
        scores=np.full(people, 0.9, np.float32),
        local_ids=np.arange(people, dtype=np.int32),
    )


def poses(rig: Rig, frame: int, people: int = 1, run_index: int = 0) -> Poses:
    """The truth as fusion would report it."""
    points = (
        np.array([body(p, frame * PERIOD_NS / 1e9) for p in range(people)]).reshape(people, 26, 3).astype(np.float32)
    )
    shape = (people, 26)
    return Poses(
        frameset_seq=frame,
        run_index=run_index,
        t_set_ns=frame * PERIOD_NS,
        skeleton="halpe26",
        cameras=rig.names,
        person_ids=np.arange(people, dtype=np.int32),
        points_world_m=points,
        covariance_m2=np.full((*shape, 6), 1e-4, np.float32),
        confidence=np.full(shape, 0.9, np.float32),
        residual_px=np.ones(shape, np.float32),
        views=np.full(shape, 15, np.uint32),
        derived=np.zeros(shape, np.bool_),
        detections=np.repeat(np.arange(people, dtype=np.int32)[:, None], len(rig), axis=1),
    )


def frameset(rig: Rig, frame: int, run_index: int = 0) -> FrameSet:
    """All cameras, complete."""
    c = len(rig)
    return FrameSet(
        frame, run_index, frame * PERIOD_NS, rig.names, np.full(c, frame), "complete", np.zeros(c, np.int64)
    )


def source(camera: str) -> SourceReport:
    """A synthetic source."""
    return SourceReport(camera, "synthetic", "scene", SIZE_PX, 60.0, False, 0, "synthetic", models={"toy": "00ff"})


def write_scene(
    path: Path, frames: int = 30, people: int = 1, flush_every: int = 7, finish: bool = True, about: About | None = None
) -> Rig:
    """Write a whole recording of the scene. finish False leaves it as a kill would, just after a flush."""
    rig = circle_rig()
    with path.open("wb") as file:
        writer = RecordingWriter(file, about or About("feed", "scene"), str(path))
        writer.attach(RIG, native.dumps(rig).encode())
        t = 0
        for name in rig.names:
            writer.record(Stamp(f"source/{name}", 0, t, t), source(name))
        for n in range(frames):
            t = n * PERIOD_NS
            for c, name in enumerate(rig.names):
                writer.record(Stamp(f"keypoints/{name}", n, t + c, t), keypoints(rig, c, n, people))
            writer.record(Stamp("framesets", n, t + 10, t), frameset(rig, n))
            writer.record(Stamp("poses", n, t + 11, t), poses(rig, n, people))
            if n % flush_every == flush_every - 1:
                writer.flush()
        for name in rig.names:
            writer.record(Stamp(f"end/{name}", 0, t + 20, t), End(name, frames, 0, "end of file"))
        writer.flush()
        if finish:
            writer.finish()
    return rig
