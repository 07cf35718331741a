"""Rigs from a moved board in the synthetic world: errors by a formula of the noise, and each bad input its sentence."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinecast.calibration.align import compare
from kinecast.calibration.board.board import parse
from kinecast.calibration.board.detect import BoardDetector
from kinecast.calibration.camera import Rig
from kinecast.calibration.footage import BoardSightings, FrameSets, find_footage, frame_sets, look
from kinecast.calibration.solve.extrinsics import Options, calibrate
from kinecast.calibration.solve.intrinsics import fit_lens
from kinecast.calibration.solve.result import to_json
from kinecast.calibration.solve.world import from_board
from kinecast.capture.errors import KinecastError
from kinecast.engines.synth.boards import BoardWalk, watch_board
from kinecast.engines.synth.rigs import ring_rig

BOARD = parse("charuco:6x5:120mm:90mm:DICT_5X5_50")
QUICK = Options(refine=False, halves=False)
NOISE_PX = 0.2


def world(cameras: int = 3, sets: int = 60, **kwargs: object) -> tuple[Rig, BoardWalk]:
    rig = ring_rig(cameras, (1280, 720), radius_m=3.5, focal_of_width=0.8)
    return rig, watch_board(rig, BOARD, sets=sets, noise_px=NOISE_PX, **kwargs)  # type: ignore[arg-type]


def tolerance_mm(rig: Rig, walk: BoardWalk, noise_px: float) -> float:
    """What a camera's place may be off by: noise of a corner ÷ focal length × distance gives the error of a board's
    place across the view; along it, and by its tilt, that is larger by distance ÷ board size; means over the views
    that two neighbours share make it smaller by their root. Four such σ."""
    distance, size = 3.5, 0.5
    shared = min(len(s.views) for s in walk.seen) / 4
    corner = noise_px / rig.cameras[0].K[0, 0] * distance
    return 4 * 1000 * corner * (distance / size) / np.sqrt(max(shared, 1.0))


@pytest.mark.parametrize("cameras", [4, 8])
def test_places_are_as_good_as_the_noise_allows(cameras: int) -> None:
    rig, walk = world(cameras)
    result = calibrate(walk.seen, walk.sets, BOARD, QUICK, given=rig)
    assert result.rig is not None and result.lengths is not None
    beside = compare(rig, result.rig)
    assert beside.position_mm.max() < tolerance_mm(rig, walk, NOISE_PX)
    assert 0.7 * NOISE_PX < result.scale_px < 1.1 * NOISE_PX
    assert abs(result.lengths.scale - 1) < 0.002 and result.rival is None
    sd_mm = [1000 * c.position_sd_m for c in result.cameras]
    assert beside.position_mm.max() < 4 * max(sd_mm)
    table = json.loads(to_json(result))
    assert len(table["cameras"]) == cameras and table["cameras"][0]["offset_s"] == 0.0


def test_a_late_camera_is_found_and_named() -> None:
    rig, walk = world(3, sets=80, fps_hz=8.0, late_s=(0.0, 0.06, 0.0))
    result = calibrate(walk.seen, walk.sets, BOARD, QUICK, given=rig)
    late = np.array([c.offset_s for c in result.cameras])
    assert late[1] - late[0] == pytest.approx(0.06, abs=0.006)
    assert result.rival is not None and any("ms" in w and "stamps" in w for w in result.warnings)


def test_videos_that_did_not_start_together_are_noticed() -> None:
    rig, walk = world(4, sets=160)
    late = [replace(v, frame=v.frame - 7) for v in walk.seen[1].views if v.frame >= 7]
    seen = (walk.seen[0], replace(walk.seen[1], views=tuple(late)), *walk.seen[2:])
    result = calibrate(seen, walk.sets, BOARD, QUICK, given=rig)
    assert any("not synchronised" in w and "7 frame sets" in w for w in result.warnings)
    assert result.rig is not None and compare(rig, result.rig).position_mm.max() < 3 * tolerance_mm(rig, walk, NOISE_PX)


def test_a_camera_without_overlap_is_named_with_what_to_film() -> None:
    rig, walk = world(3)
    last = replace(walk.seen[2], views=tuple(replace(v, frame=v.frame + 100) for v in walk.seen[2].views))
    frame = np.concatenate([walk.sets.frame, walk.sets.frame + 100])
    sets = FrameSets(frame, frame * 250_000_000)
    with pytest.raises(KinecastError, match=r"cam03 never saw the board together.*film the board.*--cameras"):
        calibrate((*walk.seen[:2], last), sets, BOARD, QUICK, given=rig)


def test_cameras_that_never_meet_are_linked_through_others() -> None:
    rig, walk = world(4, sets=80)
    of = [{v.frame for v in s.views} for s in walk.seen]
    # cameras 1 and 3 never in the same frame set
    third = tuple(v for v in walk.seen[2].views if v.frame not in of[0])
    seen = (*walk.seen[:2], replace(walk.seen[2], views=third), walk.seen[3])
    result = calibrate(seen, walk.sets, BOARD, QUICK, given=rig)
    assert next(k for k in result.links if (k.a, k.b) == ("cam01", "cam03")).shared == 0
    assert result.rig is not None and compare(rig, result.rig).position_mm.max() < 3 * tolerance_mm(rig, walk, NOISE_PX)


def test_no_board_and_three_frames_are_told() -> None:
    rig, walk = world(3)
    blind = BoardSightings("cam03", (), 40, (1280, 720))
    with pytest.raises(KinecastError, match=r"camera cam03: the board .* in none of 40 pictures.*--guess"):
        calibrate((*walk.seen[:2], blind), walk.sets, BOARD, QUICK, given=rig)
    few = FrameSets(walk.sets.frame[:3], walk.sets.stamp_ns[:3])
    with pytest.raises(KinecastError, match=r"film|least"):
        calibrate(walk.seen, few, BOARD, QUICK, given=rig)
    with pytest.raises(KinecastError, match="20 are good"):
        fit_lens(walk.seen[0].views[:2], BOARD, (1280, 720), "cam01")


def test_a_lens_of_another_size_is_refused() -> None:
    rig, walk = world(3)
    wide = Rig(tuple(replace(c, size_px=(1920, 1080)) for c in rig))
    with pytest.raises(KinecastError, match="the given lens is for 1920×1080"):
        calibrate(walk.seen, walk.sets, BOARD, QUICK, given=wide)


def test_mixed_sizes_are_told(tmp_path: Path) -> None:
    for n, size in enumerate([(320, 240), (320, 240), (240, 320)]):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.zeros((size[1], size[0]), np.uint8))
    with pytest.raises(KinecastError, match="picture 2 is 240×320, those before it 320×240"):
        look(find_footage(tmp_path)[0], BoardDetector(BOARD))


def test_a_wrong_square_shows_in_a_known_distance_alone() -> None:
    rig, walk = world(4)
    small = replace(BOARD, square_m=0.060, marker_m=0.045)
    result = calibrate(walk.seen, walk.sets, small, QUICK, given=rig)
    assert result.rig is not None and result.lengths is not None
    assert abs(result.lengths.scale - 1) < 0.002  # the pictures agree with the wrong ruler
    assert compare(rig, result.rig, scaled=True).scale == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("up", ["y", "z"])
def test_the_floor_board_makes_the_world(up: str) -> None:
    rig, walk = world(3)
    turned = walk.world_from_board[0].copy()
    turned[:3, :3] = np.diag([1.0, -1, -1])  # flat, seen from above: its z points down
    turned[:3, 3] = [0.2, 0.1, 0.0]
    placed = from_board(rig, turned, BOARD, up)  # type: ignore[arg-type]
    heights = [float(c.centre_world @ placed.up_world) for c in placed]
    assert heights == pytest.approx([float(c.centre_world[2]) for c in rig], abs=1e-9)


def test_frames_of_different_rates_are_matched_by_time() -> None:
    fast, slow = np.arange(0, 100) * 16_666_667, np.arange(0, 50) * 33_333_333
    sets = frame_sets([fast, slow])
    assert len(sets) == 50 and np.abs(sets.lag_s).max() < 0.009
    assert (sets.frame[:, 0] == 2 * np.arange(50)).all()
