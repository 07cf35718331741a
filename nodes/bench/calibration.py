"""Rigs of the synthetic world calibrated from a moved board: error against truth, by cameras and pixel noise."""

import time

import numpy as np

from kinecast.calibration.align import compare
from kinecast.calibration.board.board import parse
from kinecast.calibration.solve.extrinsics import Options, calibrate
from kinecast.engines.synth.boards import watch_board
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.bench import Row

BOARD = "charuco:6x5:120mm:90mm:DICT_5X5_50"


def run() -> list[Row]:
    """Lenses known: 4, 8 and 16 cameras at 0.1, 0.2 and 0.4 px; lenses estimated too: 4 cameras at 0.2 px."""
    rows = []
    board = parse(BOARD)
    for cameras, noise_px, known in [(c, n, True) for c in (4, 8, 16) for n in (0.1, 0.2, 0.4)] + [(4, 0.2, False)]:
        rig = ring_rig(cameras, radius_m=3.5, focal_of_width=0.8)
        walk = watch_board(rig, board, sets=80, noise_px=noise_px)
        began = time.perf_counter()
        options = Options(refine=not known, halves=False)
        result = calibrate(walk.seen, walk.sets, board, options, rig if known else None)
        seconds = time.perf_counter() - began
        assert result.rig is not None
        beside = compare(rig, result.rig)
        sd_mm = 1000 * float(np.sqrt(np.mean([c.position_sd_m**2 for c in result.cameras])))
        what = f"calibration, {cameras} cameras, {noise_px} px, lenses {'known' if known else 'estimated'}"
        rms = float(np.sqrt((beside.position_mm**2).mean()))
        turned = f"turned {beside.angle_deg.mean():.3f}°"
        note = f"predicted ± {sd_mm:.2f}; {rms / noise_px:.1f} mm a px; {turned}; {seconds:.1f} s"
        rows.append(Row(what, rms, "mm", None, note))
    return rows
