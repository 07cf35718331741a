"""Damaged files and messages: each is read or refused in one line, soon, and nothing else comes out.

KINECAST_ATTACK=N makes N times as many (40: some 10,000 files and 80,000 messages).
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.calibration.board.board import load_board, parse, save_board
from kinecast.calibration.formats import load_rig, save_rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.models.card import read_card
from kinecast.engines.records import FrameSet, Keypoints2D, Poses
from kinecast.engines.synth.rigs import ring_rig
from kinecast.engines.train.data.motion_formats import read_bvh
from kinecast.nodes.bus.codec import CodecError, decode, encode
from kinecast.nodes.bus.messages import CommonRate, Health, PreviewWish
from kinecast.nodes.evaluate.ground_truth import truth_of
from kinecast.nodes.exchange.marker_files import read_markers
from kinecast.nodes.exchange.openpose import read_people
from kinecast.nodes.graph import launch_file
from tests.attack.mutate import mutants

TIMES = int(os.environ.get("KINECAST_ATTACK", "1"))
FILES, MESSAGES, SOON_S = 25 * TIMES, 400 * TIMES, 20.0

BVH = """HIERARCHY
ROOT Hips
{
 OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
 JOINT Spine
 {
  OFFSET 0 10 0
  CHANNELS 3 Zrotation Xrotation Yrotation
  End Site
  {
   OFFSET 0 10 0
  }
 }
}
MOTION
Frames: 2
Frame Time: 0.033
0 90 0 0 0 0 1 2 3
0 91 0 0 5 0 1 2 3
"""
TRC = (
    "PathFileType\t4\t(X/Y/Z)\ta.trc\nDataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\t"
    "OrigDataStartFrame\tOrigNumFrames\n60\t60\t2\t2\tm\t60\t1\t2\nFrame#\tTime\tNose\t\t\tNeck\t\t\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n\n1\t0.0\t0\t1\t0\t0\t1.2\t0\n2\t0.016\t0\t1\t0\t0\t1.2\t0\n"
)
LAUNCH = """version: 1
session: {pace: lossless, out: out, name: a}
nodes:
  cam01: {kind: camera, source: {kind: synthetic, frames: 5}, detector: {profile: synthetic}}
  cam02: {kind: camera, source: {kind: video, uri: a.mp4}, restart: {cap: 3}}
  fusion: {kind: fusion, min_views: 2}
  recorder: {kind: recorder}
"""
OPENPOSE = json.dumps({"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [1.5, 2.5, 0.5] * 25}]})
TRUTH = json.dumps([{"0": [[0.1, 0.2, 0.3, 1.0]] * 15}, {}])
CARD = (Path(launch_file.__file__).parents[2] / "engines/cards/movenet_multipose_256.toml").read_text(encoding="utf-8")


def rigs(folder: Path) -> dict[str, bytes]:
    out = {}
    for format, suffix in (("rig", "toml"), ("opencv", "yml"), ("caliscope", "toml"), ("freemocap", "toml")):
        path = folder / f"{format}.{suffix}"
        try:
            save_rig(ring_rig(3, (320, 240)), path, format)
        except KinecastError:
            continue  # a format that is read and not written
        out[path.name] = path.read_bytes()
    return out


def attack(name: str, good: bytes, read: Callable[[Path], Any], folder: Path, seed: int) -> Counter[str]:
    """The verdicts over all mutants; anything but a refusal in one line fails, and so does one that takes long."""
    done: Counter[str] = Counter()
    for n, bad in enumerate(mutants(good, FILES, seed)):
        path = folder / name
        path.write_bytes(bad)
        began = time.process_time()
        try:
            read(path)
            done["read"] += 1
        except KinecastError as e:
            assert len(str(e).splitlines()) == 1 and len(str(e)) < 2000, (name, n, str(e)[:500])
            done["refused"] += 1
        except OSError:
            done["refused"] += 1
        assert time.process_time() - began < SOON_S, (name, n)
    return done


CASES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "launch.yaml": (LAUNCH, launch_file.load),
    "card.toml": (CARD, read_card),
    "a.bvh": (BVH, read_bvh),
    "a.trc": (TRC, read_markers),
    "a_keypoints.json": (OPENPOSE, read_people),
    "ground_truth.json": (TRUTH, truth_of),
}


@pytest.mark.parametrize("name", CASES)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    text, read = CASES[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    read(path)  # whole, it is read
    done = attack(name, text.encode(), read, tmp_path, 1)
    assert done["refused"] > 0 and done.total() == FILES


def test_damaged_boards_are_read_or_refused(tmp_path: Path) -> None:
    save_board(parse("charuco:5x7:30mm:22mm:DICT_4X4_50"), tmp_path / "board.toml")
    good = (tmp_path / "board.toml").read_bytes()
    load_board(tmp_path / "board.toml")
    assert attack("board.toml", good, load_board, tmp_path, 1)["refused"] > 0


def test_damaged_rigs_are_read_or_refused(tmp_path: Path) -> None:
    whole = rigs(tmp_path)
    assert len(whole) >= 2
    for seed, (name, data) in enumerate(whole.items()):
        load_rig(tmp_path / name)
        assert attack(name, data, load_rig, tmp_path, seed)["refused"] > 0


def messages() -> list[Any]:
    n = np.zeros
    return [
        Keypoints2D("cam1", 1, 2, (320, 240), "halpe26", n((2, 26, 2), np.float32), n((2, 26), np.float32),
                    n((2, 4), np.float32), n(2, np.float32), n(2, np.int32)),
        FrameSet(1, 0, 5, ("a", "b"), n(2, np.int64), "complete", n(2, np.int64)),
        Health("cam1", "camera", 7, "running", 5, drops={"gap": 1}),
        CommonRate(12.0, 5, 60.0, "slow"),
        PreviewWish(5, 480, 5.0),
    ]  # fmt: skip


def test_damaged_messages_are_decoded_or_refused() -> None:
    for seed, record in enumerate(messages()):
        data, done = encode(record), Counter[str]()
        for bad in mutants(data, MESSAGES, seed):
            try:
                decode(type(record), bad)
                done["decoded"] += 1
            except CodecError as e:
                assert len(str(e)) < 2000
                done["refused"] += 1
        assert done["refused"] > MESSAGES / 4, (type(record).__name__, done)


def test_messages_of_another_kind_are_refused_or_fit() -> None:
    every = [encode(m) for m in messages()]
    for cls in (Keypoints2D, FrameSet, Poses, Health, CommonRate, PreviewWish):
        refused = 0
        for data in every:
            try:
                decode(cls, data)
            except CodecError:
                refused += 1
        assert refused >= len(every) - 1, cls.__name__
