"""What it costs to turn records into bytes and back."""

from functools import partial

import numpy as np

from kinecast.engines.records import Keypoints2D, Poses
from kinecast.nodes.bench import Row, median_us
from kinecast.nodes.bus.codec import decode, encode


def sample_keypoints(people: int = 6, joints: int = 26) -> Keypoints2D:
    """One view of so many people, as a camera node sends it."""
    rng = np.random.default_rng(0)
    return Keypoints2D(
        camera="cam1",
        frame_seq=1,
        t_capture_ns=1,
        size_px=(1920, 1080),
        skeleton="halpe26",
        keypoints_px=rng.uniform(0, 1000, (people, joints, 2)).astype(np.float32),
        confidence=rng.uniform(0, 1, (people, joints)).astype(np.float32),
        boxes_px=np.zeros((people, 4), np.float32),
        scores=np.ones(people, np.float32),
        local_ids=np.arange(people, dtype=np.int32),
    )


def sample_poses(people: int = 6, joints: int = 26, cameras: int = 8) -> Poses:
    """So many people as fusion sends them."""
    rng = np.random.default_rng(0)
    return Poses(
        frameset_seq=1,
        run_index=0,
        t_set_ns=1,
        skeleton="halpe26",
        cameras=tuple(f"cam{c}" for c in range(cameras)),
        person_ids=np.arange(people, dtype=np.int32),
        points_world_m=rng.normal(size=(people, joints, 3)).astype(np.float32),
        covariance_m2=np.zeros((people, joints, 6), np.float32),
        confidence=np.ones((people, joints), np.float32),
        residual_px=np.ones((people, joints), np.float32),
        views=np.ones((people, joints), np.uint32),
        derived=np.zeros((people, joints), np.bool_),
        detections=np.zeros((people, cameras), np.int32),
    )


def run() -> list[Row]:
    """Encode and decode, six people of 26 joints."""
    rows = []
    samples = {"keypoints, 6 people": sample_keypoints(), "poses, 6 people, 8 cameras": sample_poses()}
    for name, record in samples.items():
        data = encode(record)
        cls: type[object] = type(record)
        rows.append(Row(f"codec: encode {name}", median_us(partial(encode, record)), "µs", note=f"{len(data)} B"))
        rows.append(Row(f"codec: decode {name}", median_us(partial(decode, cls, data)), "µs"))
    return rows
