"""A small world for the drawing tests: two cameras, one or two standing people, exact keypoints, a recording of it."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import save_rig
from kinecast.engines.records import Bodies, FrameSet, Keypoints2D, Poses
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.bus.messages import End, SourceReport
from kinecast.nodes.recording.file import RIG, About, RecordingWriter, Stamp
from kinecast.nodes.viewer.scene import look_at

BODY = skeleton("halpe26")
SIZE = (160, 120)
HEIGHTS = {"ankle": 0.1, "heel": 0.05, "toe": 0.05, "knee": 0.5, "hip": 0.95, "wrist": 0.9, "elbow": 1.15,
           "shoulder": 1.45, "neck": 1.5, "nose": 1.6, "eye": 1.65, "ear": 1.65, "head_top": 1.8}  # fmt: skip
UP = np.array([0.0, 0.0, 1.0])
MS = 1_000_000


def rig() -> Rig:
    """Two cameras 3 m away, at right angles, looking at a point 1 m above the origin; z up."""
    eyes = {"cam1": np.array([3.0, 0.0, 1.4]), "cam2": np.array([0.0, 3.0, 1.4])}
    target = np.array([0.0, 0.0, 1.0])
    cameras = []
    for name, eye in eyes.items():
        view = look_at(eye, target, UP, SIZE, 110.0)
        cameras.append(Camera(name, SIZE, view.K, np.array([0.05, -0.02, 0.0, 0.0, 0.0]), view.cam_from_world))
    return Rig(tuple(cameras))


def person(x_m: float = 0.0) -> np.ndarray:
    """(26, 3) joints of somebody who stands at (x, 0) and looks along +x."""
    out = np.zeros((len(BODY), 3), np.float32)
    for j, name in enumerate(BODY.joints):
        height = next(h for word, h in HEIGHTS.items() if word in name)
        side = 0.2 if name.startswith("left_") else -0.2 if name.startswith("right_") else 0.0
        out[j] = (x_m, side, height)
    return out


def poses(seq: int, people: dict[int, np.ndarray], t_ns: int = 0, rows: np.ndarray | None = None) -> Poses:
    """Poses of these people by identity, everything measured and sure."""
    p, j = len(people), len(BODY)
    points = np.stack(list(people.values())).astype(np.float32) if people else np.zeros((0, j, 3), np.float32)
    return Poses(
        seq, 0, t_ns, "halpe26", ("cam1", "cam2"), np.array(list(people), np.int32).reshape(p), points,
        np.zeros((p, j, 6), np.float32), np.ones((p, j), np.float32), np.zeros((p, j), np.float32),
        np.full((p, j), 3, np.uint32), np.zeros((p, j), bool),
        np.tile(np.arange(p, dtype=np.int32)[:, None], (1, 2)) if rows is None else rows,
        t_solved_ns=10**9 + seq * 50 * MS + 13 * MS,
    )  # fmt: skip


def keypoints(camera: Camera, seq: int, t_ns: int, people: list[np.ndarray], off_px: float = 0.0) -> Keypoints2D:
    """What an exact detector sees, every joint moved by ``off_px`` along x."""
    px = np.stack([camera.project(x)[0] for x in people]).astype(np.float32) + np.float32([off_px, 0])
    n, j = px.shape[:2]
    grab = 10**9 + seq * 50 * MS
    return Keypoints2D(
        camera.name, seq, t_ns, camera.size_px, "halpe26", px, np.ones((n, j), np.float32),
        np.concatenate([px.min(1), px.max(1)], 1), np.ones(n, np.float32), np.arange(n, dtype=np.int32),
        t_grab_ns=grab, t_detect_ns=grab + 8 * MS,
    )  # fmt: skip


def grey(k: int) -> int:
    """Level of the k-th picture of a test video."""
    return 20 + 20 * k


def video(path: Path, frames: int, fps: int = 20, first: int = 0) -> None:
    """A video whose k-th picture is plain grey(first + k)."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=fps)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for k in range(frames):
            image = np.full((SIZE[1], SIZE[0], 3), grey(first + k), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        file.mux(stream.encode(None))


def reopened(camera: str, folder: Path, frames: int, openings: int) -> list[SourceReport]:
    """The videos of a stream that was opened so often, each with its part of the frames, and their reports."""
    reports, part = [], -(-frames // openings)
    for n in range(openings):
        stem = camera if n == 0 else f"{camera}.{n}"
        numbers = range(frames)[n * part : (n + 1) * part]
        video(folder / f"{stem}.mkv", len(numbers), first=numbers[0])
        sidecar = folder / f"{stem}.times.txt"
        sidecar.write_text("".join(f"{k} {k * 50 * MS}\n" for k in numbers))
        file = str(folder / f"{stem}.mkv")
        reports.append(
            SourceReport(camera, "stream", "rtsp://a/b", SIZE, 20.0, True, 0, "toy", file, str(sidecar), {"toy": "ab"})
        )
    return reports


def record(
    folder: Path,
    frames: list[dict[int, np.ndarray]],
    *,
    videos: bool = True,
    off_px: float = 0.0,
    every: int = 1,
    first: int = 0,
    skipped: int = 0,
    bodies: Callable[[int, int], Bodies] | None = None,
    openings: int = 0,
) -> Path:
    """A recording at 20 Hz of these people, set by set. bodies: those of a set, by its number and time.

    openings: the cameras are streams that were opened so often; 0: each is a file.

    every: only each n-th set, from ``first`` on. skipped: as the sources say it at their end.
    """
    world = rig()
    save_rig(world, folder / "rig.toml")
    path = folder / "session.mcap"
    sequences: dict[str, int] = {}
    with path.open("wb") as stream:
        writer = RecordingWriter(stream, About("r", "test"))
        writer.attach(RIG, (folder / "rig.toml").read_bytes())

        def put(topic: str, message: object, t_ns: int) -> None:
            sequences[topic] = sequences.get(topic, -1) + 1
            writer.record(Stamp(topic, sequences[topic], t_ns, t_ns), message)

        for camera in world if openings else ():
            for report in reopened(camera.name, folder, len(frames), openings):
                put(f"source/{camera.name}", report, 0)
        for camera in world if not openings else ():
            file = folder / f"{camera.name}.mp4"
            if videos:
                video(file, len(frames))
            report = SourceReport(
                camera.name, "video", str(file), SIZE, 20.0, False, 0, "toy", video=str(file), models={"toy": "ab"}
            )
            put(f"source/{camera.name}", report, 0)
        for k, people in list(enumerate(frames))[first::every]:
            t_ns, grab = k * 50 * MS, 10**9 + k * 50 * MS
            for camera in world:
                seen = keypoints(camera, k, t_ns, list(people.values()), off_px)
                put(f"keypoints/{camera.name}", seen, grab + 9 * MS)
            frameset = FrameSet(
                k, 0, t_ns, world.names, np.full(2, k, np.int64), "complete", np.zeros(2, np.int64),
                arrivals_ns=np.full(2, grab + 10 * MS, np.int64), decided_ns=grab + 11 * MS,
            )  # fmt: skip
            put("framesets", frameset, grab + 12 * MS)
            put("poses", poses(k, people, t_ns), grab + 14 * MS)
            if bodies is not None:
                put("bodies", bodies(k, t_ns), grab + 15 * MS)
        for camera in world:
            put(f"end/{camera.name}", End(camera.name, len(frames), skipped, "end"), 10**10)
        writer.finish()
    return path
