"""A recording made harder."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinecast.engines.records import Keypoints2D
from kinecast.engines.synth import Noise, World, messages, ring_rig
from kinecast.nodes.cli.main import main
from kinecast.nodes.evaluate.perturbed import resampled, variants
from tests.nodes.evaluate.scene import record

PERIOD_NS = 1_000_000_000 // 30


def views(frames: int = 10) -> dict[str, list[Keypoints2D]]:
    rig = ring_rig(3)
    out: dict[str, list[Keypoints2D]] = {c: [] for c in rig.names}
    for v in messages(World(people=2), rig, frames=frames, noise=Noise(0.5)):
        out[v.camera].append(v)
    return out


def by_place(v: Keypoints2D) -> np.ndarray:
    """(P, J, 2), people from left to right: their order is random in every view."""
    return v.keypoints_px[np.argsort(np.nanmean(v.keypoints_px[..., 0], axis=1))]


def test_half_a_period_later_is_half_way_to_the_next() -> None:
    one = views()["cam01"]
    for sign in (1, -1):
        moved = resampled(one, sign * PERIOD_NS // 2)
        for k in range(1, 9):
            assert moved[k].t_capture_ns == one[k].t_capture_ns + sign * PERIOD_NS // 2
            want = (by_place(one[k]) + by_place(one[k + sign])) / 2
            np.testing.assert_allclose(by_place(moved[k]), want, atol=0.01)
    last = resampled(one, PERIOD_NS // 2)[-1]
    np.testing.assert_array_equal(last.keypoints_px, one[-1].keypoints_px)


def test_nobody_is_moved_towards_somebody_else() -> None:
    a, b = views()["cam01"][:2]
    far = b.keypoints_px + np.float32(400)
    stranger = Keypoints2D(
        b.camera, b.frame_seq, b.t_capture_ns, b.size_px, b.skeleton, far, b.confidence, b.boxes_px, b.scores,
        b.local_ids,
    )  # fmt: skip
    np.testing.assert_array_equal(resampled([a, stranger], PERIOD_NS // 2)[0].keypoints_px, a.keypoints_px)


def test_all_variants_are_there_and_stamps_say_so_or_do_not() -> None:
    given = views()
    all_of = {v.name: v.views for v in variants(given)}
    names = list(all_of)
    assert names[:5] == ["as recorded", "every second frame", "without cam01", "without cam02", "without cam03"]
    assert [v.frame_seq for v in all_of["every second frame"]["cam02"]] == [0, 2, 4, 6, 8]
    assert set(all_of["without cam02"]) == {"cam01", "cam03"}
    told, silent = all_of[names[5]], all_of[names[6]]
    for c, views_of in given.items():
        shift = told[c][0].t_capture_ns - views_of[0].t_capture_ns
        assert 0 < abs(shift) <= 20_000_000
        assert [v.t_capture_ns for v in silent[c]] == [v.t_capture_ns for v in views_of]
        np.testing.assert_array_equal(told[c][3].keypoints_px, silent[c][3].keypoints_px)


def test_the_command_prints_them_beside_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(record(tmp_path / "r.mcap", 3, Noise(2.0)))
    assert main(["evaluate", "truth", file, file, "--variants", "--json", "-"]) == 0
    scores = json.loads(capsys.readouterr().out)["variants"]
    assert len(scores) == 7
    assert scores["as recorded"]["errors"]["mpjpe"]["mm"] == pytest.approx(0.0, abs=0.01)  # the same fusion again
    assert 0 < scores["without cam01"]["errors"]["mpjpe"]["mm"] < 60
