"""Which views make a set, and when it is closed."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinecast.engines.records import FrameSet, Keypoints2D
from kinecast.nodes.fusion.frame_sets import BACK_FRAMES, MOST_WAITING, SILENT_SETS, FrameSetAssembler
from kinecast.nodes.graph.records import FusionNode, Pace

MS = 1_000_000
PERIOD = 33 * MS
NAMES = ("a", "b", "c")


def view(camera: str, t_ns: int, seq: int = 0) -> Keypoints2D:
    return Keypoints2D(
        camera, seq, t_ns, (640, 480), "halpe26", np.zeros((0, 26, 2), np.float32), np.zeros((0, 26), np.float32),
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32),
    )  # fmt: skip


def assembler(pace: Pace = "lossless", names: tuple[str, ...] = NAMES, **settings: float) -> FrameSetAssembler:
    return FrameSetAssembler(names, FusionNode(**settings), pace)  # type: ignore[arg-type]


def drain(a: FrameSetAssembler, now_ns: int = 0) -> list[FrameSet]:
    out = []
    while (got := a.take(now_ns)) is not None:
        assert {n: got[1][n].frame_seq for n in got[1]} == {
            n: s for n, s in zip(got[0].cameras, got[0].frame_seqs.tolist(), strict=True) if s >= 0
        }
        out.append(got[0])
    return out


def play(a: FrameSetAssembler, streams: dict[str, Iterable[int]], order: list[str] | None = None) -> list[FrameSet]:
    """Feed whole streams in lossless pace; order: whose turn it is, by default one after the other."""
    queues = {c: list(enumerate(ts)) for c, ts in streams.items()}
    out = []
    for c in order or [c for c, q in queues.items() for _ in q]:
        if queues[c]:
            seq, t = queues[c].pop(0)
            a.add(0, view(c, t, seq))
            out += drain(a)
    for c, left in queues.items():
        for seq, t in left:
            a.add(0, view(c, t, seq))
        a.end(c)
        out += drain(a)
    assert a.finished
    return out


def said(sets: list[FrameSet]) -> list[tuple[int, str, list[int]]]:
    return [(s.t_set_ns // MS, s.reason, s.frame_seqs.tolist()) for s in sets]


def test_equal_cameras_make_complete_sets() -> None:
    got = play(assembler(), {c: [k * PERIOD + i * MS for k in range(4)] for i, c in enumerate(NAMES)})
    assert said(got) == [(33 * k, "complete", [k, k, k]) for k in range(4)]
    assert [s.seq for s in got] == [0, 1, 2, 3]


def test_a_skipped_frame_is_missed_and_not_replaced_by_its_neighbour() -> None:
    full = [k * PERIOD for k in range(5)]
    got = play(assembler(), {"a": full, "b": full, "c": [t for t in full if t != 2 * PERIOD]})
    assert [r for _, r, _ in said(got)] == ["complete", "complete", "watermark", "complete", "complete"]
    assert got[2].frame_seqs.tolist() == [2, 2, -1] and got[3].frame_seqs.tolist() == [3, 3, 2]


def test_free_running_cameras_fall_into_complete_sets() -> None:
    phases = {"a": 0, "b": 12, "c": 25}
    got = play(assembler(), {c: [k * PERIOD + p * MS for k in range(10)] for c, p in phases.items()})
    assert [s.reason for s in got] == ["complete"] * 10
    assert all(s.t_set_ns == k * PERIOD for k, s in enumerate(got))  # the oldest of the newest views


def test_a_fast_camera_does_not_wait_for_slow_ones_and_two_make_a_set() -> None:
    fast = [k * PERIOD // 2 for k in range(8)]
    got = play(assembler(), {"a": fast, "b": fast, "c": [k * PERIOD for k in range(4)]})
    assert [s.frame_seqs.tolist() for s in got] == [[k, k, k // 2 if k % 2 == 0 else -1] for k in range(8)]


def test_one_view_alone_is_no_set_while_others_live() -> None:
    a = assembler()
    got = play(a, {"a": [k * PERIOD // 2 for k in range(8)], **{c: [k * PERIOD for k in range(4)] for c in "bc"}})
    assert [s.frame_seqs.tolist() for s in got if s.reason == "complete"] == [[2 * k, k, k] for k in range(4)]
    # the last odd frame comes when the others have ended: nobody could still join it
    assert a.dropped == {"single_view/a": 3}
    assert [s.frame_seqs.tolist() for s in got if s.reason == "end"] == [[7, -1, -1]]


def test_a_camera_that_ends_is_waited_for_no_more() -> None:
    full = [k * PERIOD for k in range(6)]
    got = play(assembler(), {"a": full, "b": full, "c": full[:2]})
    assert [s.reason for s in got] == ["complete"] * 2 + ["end"] * 4


def test_nothing_is_decided_before_every_camera_has_spoken_in_lossless() -> None:
    a = assembler()
    for k in range(20):
        a.add(0, view("a", k * PERIOD, k))
        a.add(0, view("b", k * PERIOD, k))
    assert drain(a, now_ns=10**18) == [] and a.next_deadline_ns() is None
    a.end("c")
    # one frame stays: what follows it decides its period
    assert len(drain(a)) == 19


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_order_of_arrival_does_not_matter_in_lossless(data: st.DataObject) -> None:
    streams: dict[str, list[int]] = {}
    for c in NAMES:
        period = data.draw(st.sampled_from([PERIOD, PERIOD, PERIOD // 2, 40 * MS]))
        phase = data.draw(st.integers(0, 30)) * MS
        jitter = data.draw(st.lists(st.integers(-3, 3), min_size=8, max_size=8))
        lost = data.draw(st.sets(st.integers(0, 7), max_size=3))
        streams[c] = [phase + k * period + j * MS for k, j in enumerate(jitter) if k not in lost]
    turns = [c for c, ts in streams.items() for _ in ts]
    plain = play(assembler(), streams, turns)
    mixed = play(assembler(), streams, data.draw(st.permutations(turns)))
    assert said(plain) == said(mixed)
    assert [s.dropped for s in plain] == [s.dropped for s in mixed]
    # every frame is in one set, or counted
    used = sum(int((s.frame_seqs >= 0).sum()) for s in plain)
    assert used + sum(plain[-1].dropped.values() if plain else [0]) <= len(turns)
    assert all(a.t_set_ns < b.t_set_ns for a, b in pairwise(plain))


def test_realtime_closes_a_complete_set_at_once() -> None:
    a = assembler("realtime")
    for c in NAMES:
        assert drain(a, MS) == []
        a.add(MS, view(c, 0))
    got = drain(a, MS)
    assert said(got) == [(0, "complete", [0, 0, 0])] and got[0].arrivals_ns.tolist() == [MS] * 3
    assert got[0].decided_ns == MS and a.next_deadline_ns() is None


def test_realtime_waits_so_long_and_no_longer() -> None:
    a = assembler("realtime", wait_ms=40)
    a.add(5 * MS, view("a", 0))
    a.add(7 * MS, view("b", 0))
    assert a.next_deadline_ns() == 45 * MS and drain(a, 44 * MS) == []
    assert said(drain(a, 45 * MS)) == [(0, "deadline", [0, 0, -1])]
    a.add(50 * MS, view("c", 0))
    assert drain(a, 10**9) == [] and a.dropped == {"late/c": 1}


def late_camera(delay_ms: int, upto: int = 6, **settings: float) -> FrameSetAssembler:
    """Two prompt cameras and ``c``, whose views have always come ``delay_ms`` after their stamps."""
    a = assembler("realtime", **settings)
    views = [(k * PERIOD + d * MS, c, k) for k in range(upto) for c, d in (("a", 5), ("b", 5), ("c", delay_ms))]
    for now, camera, k in sorted(views):
        a.add(now, view(camera, k * PERIOD, k))
        drain(a, now)
    return a


@pytest.mark.parametrize("delay_ms", [70, 130, 300])
def test_a_camera_that_is_always_late_by_as_much_is_waited_for(delay_ms: int) -> None:
    a = late_camera(delay_ms, wait_ms=40)
    for k in range(6, 20):
        for c in ("a", "b"):
            a.add(k * PERIOD + 5 * MS, view(c, k * PERIOD, k))
        now = k * PERIOD + delay_ms * MS
        assert drain(a, now - 1) == []
        a.add(now, view("c", k * PERIOD, k))
        assert [s.frame_seqs.tolist() for s in drain(a, now)] == [[k, k, k]]
    assert a.usual_delays_ms == {"a": 5, "b": 5, "c": delay_ms}


@pytest.mark.parametrize(("delay_ms", "settings", "waited_ms"), [
    (5, {}, 40), (65, {}, 100), (65, {"wait_ms": 10}, 70), (300, {}, 335), (900, {}, 500),
    (300, {"max_wait_ms": 100}, 100), (300, {"max_wait_ms": 0}, 40), (300, {"wait_ms": 600}, 600),
])  # fmt: skip
def test_a_set_waits_for_the_usual_delay_and_wait_ms_up_to_a_bound(
    delay_ms: int, settings: dict[str, float], waited_ms: int
) -> None:
    a = assembler("realtime", **settings)
    for k in range(3):
        for c, delay in (("a", 5), ("b", 5), ("c", delay_ms)):
            a.add(k * PERIOD + delay * MS, view(c, k * PERIOD, k))
        drain(a, k * PERIOD)
    came = 3 * PERIOD + 5 * MS
    for c in ("a", "b"):
        a.add(came, view(c, 3 * PERIOD, 3))
    assert a.next_deadline_ns() == came + waited_ms * MS
    assert drain(a, came + waited_ms * MS - 1) == []
    assert said(drain(a, came + waited_ms * MS)) == [(99, "deadline", [3, 3, -1])]


def test_a_phase_is_waited_for_as_well_since_its_view_is_not_there_before_its_stamp() -> None:
    a = assembler("realtime", names=("a", "b"), wait_ms=10)
    for k in range(4):
        for c, phase in (("a", 0), ("b", 25)):
            if c == "a" or k < 3:
                a.add(k * PERIOD + (phase + 5) * MS, view(c, k * PERIOD + phase * MS, k))
        drain(a, k * PERIOD)
    assert a.next_deadline_ns() == 3 * PERIOD + (25 + 5 + 10) * MS


def test_a_few_views_that_came_very_late_are_not_how_a_camera_usually_is() -> None:
    a = assembler("realtime", names=("a",))
    for k in range(60):
        a.add(k * PERIOD + (400 if k in (20, 30) else 9) * MS, view("a", k * PERIOD, k))
    assert a.usual_delays_ms == {"a": 9}


def test_a_correction_of_a_clock_moves_the_delay_that_was_measured() -> None:
    a = late_camera(30)
    a.correct(np.array([0, 0, 12 * MS], np.int64))
    assert a.usual_delays_ms == {"a": 5, "b": 5, "c": 42}


def test_a_set_is_not_overdue_while_views_wait_to_be_read() -> None:
    a = assembler("realtime", wait_ms=40)
    for c in ("a", "b"):
        a.add(0, view(c, 0))
    assert a.take(10**9, overdue=False) is None
    a.add(10**9, view("c", 0))
    assert (got := a.take(10**9, overdue=False)) is not None and got[0].reason == "complete"


def test_realtime_does_not_wait_for_a_camera_that_has_gone_on() -> None:
    a = assembler("realtime")
    for k in range(2):
        for c in NAMES:
            a.add(0, view(c, k * PERIOD, k))
    assert len(drain(a, 0)) == 2
    a.add(0, view("c", 3 * PERIOD, 2))  # frame 2 of this camera was skipped at its source
    a.add(0, view("a", 2 * PERIOD, 2))
    a.add(0, view("b", 2 * PERIOD, 2))
    assert said(drain(a, 0)) == [(66, "watermark", [2, 2, -1])]


def test_realtime_knows_when_a_slow_camera_is_not_due() -> None:
    a = assembler("realtime")
    got: list[FrameSet] = []
    for k in range(12):
        for c in ("a", "b") if k % 2 else NAMES:
            a.add(0, view(c, k * PERIOD // 2, k))
        got += drain(a, 0)  # the clock stands still: nothing is closed by a deadline
    assert len(got) == 12 and {s.reason for s in got[4:]} == {"complete", "watermark"}


def test_a_silent_camera_costs_no_more_waiting_until_it_speaks() -> None:
    a = assembler("realtime", wait_ms=40)
    reasons = []
    now = 0
    for k in range(SILENT_SETS + 3):
        now = k * 100 * MS
        a.add(now, view("a", k * PERIOD))
        a.add(now, view("b", k * PERIOD))
        reasons += [s.reason for s in drain(a, now)] or [s.reason for s in drain(a, now + 40 * MS)]
    assert reasons == ["deadline"] * SILENT_SETS + ["watermark"] * 3
    k = SILENT_SETS + 3
    for c in NAMES:
        a.add(now, view(c, k * PERIOD))
    assert drain(a, now)[0].reason == "complete"


@pytest.mark.parametrize(("after_ms", "dropped"), [(16, {"late/c": 1}), (17, {})])
def test_up_to_half_a_period_behind_the_last_set_a_view_is_late(after_ms: int, dropped: dict[str, int]) -> None:
    a = assembler("realtime", wait_ms=40)
    for k in range(4):
        for c in NAMES if k < 3 else ("a", "b"):
            a.add(k * PERIOD, view(c, k * PERIOD, k))
        drain(a, k * PERIOD)
    assert [s.reason for s in drain(a, 3 * PERIOD + 40 * MS)] == ["deadline"]
    a.add(3 * PERIOD + 41 * MS, view("c", 3 * PERIOD + after_ms * MS, 3))
    assert a.dropped == dropped


@pytest.mark.parametrize("pace", ["lossless", "realtime"])
def test_the_same_stamp_twice_is_one_view(pace: Pace) -> None:
    a = assembler(pace)
    for c in NAMES:
        a.add(0, view(c, 0))
    a.add(0, view("a", 0, 1))
    assert a.dropped == {"non_monotonic_stamp/a": 1}


def test_a_correction_moves_what_waits_and_what_comes_next() -> None:
    a = assembler(names=("a", "b"))
    for k in range(3):
        a.add(0, view("a", k * PERIOD, k))
        a.add(0, view("b", k * PERIOD + 500 * MS, k))
    a.correct(np.array([0, 500 * MS], np.int64))
    for k in range(3, 6):
        a.add(0, view("a", k * PERIOD, k))
        a.add(0, view("b", k * PERIOD + 500 * MS, k))
    for c in "ab":
        a.end(c)
    assert said(drain(a)) == [(33 * k, "complete", [k, k]) for k in range(6)] and a.dropped == {}


def test_a_correction_moves_what_the_period_is_measured_from() -> None:
    a = assembler("realtime", names=("a", "b"))
    for c in "ab":
        a.add(0, view(c, 0, 0))
    assert len(drain(a, 0)) == 1
    a.correct(np.array([20 * MS, 20 * MS], np.int64))
    for k, phase in ((1, 0), (2, 20 * MS)):
        a.add(0, view("a", k * PERIOD, k))
        a.add(0, view("b", k * PERIOD + phase, k))
    # 20 ms apart are within 0.8 of 33 ms; of the 13 ms that the first interval looks like else, they are not
    assert said(drain(a, 0)) == [(13, "complete", [1, 1]), (46, "complete", [2, 2])]


@pytest.mark.parametrize("pace", ["lossless", "realtime"])
def test_a_stamp_that_goes_back_is_refused_and_the_others_go_on(pace: Pace) -> None:
    a = assembler(pace)
    got = []
    for k in range(6):
        for c in NAMES:
            a.add(0, view(c, k * PERIOD if not (c == "b" and k == 3) else PERIOD, k))
            got += drain(a, 0)
    got += drain(a, 10**12)
    assert a.dropped["non_monotonic_stamp/b"] == 1
    assert got[3].frame_seqs.tolist() == [3, -1, 3] and got[4].frame_seqs.tolist() == [4, 4, 4]


def test_a_clock_that_was_set_back_is_followed_in_realtime() -> None:
    a = assembler("realtime", names=("a",))
    a.add(0, view("a", 10**15))
    assert len(drain(a, 0)) == 1
    a2 = assembler("realtime", names=("a", "b"))
    a2.add(0, view("a", 10**15))  # far ahead, once
    for k in range(BACK_FRAMES + 5):
        a2.add(0, view("a", k * PERIOD, k))
        a2.add(0, view("b", k * PERIOD, k))
        drain(a2, 0)
    assert a2.dropped["non_monotonic_stamp/a"] == BACK_FRAMES
    a2.add(0, view("a", 100 * PERIOD, 100))
    a2.add(0, view("b", 100 * PERIOD, 100))
    assert drain(a2, 0)[-1].frame_seqs.tolist() == [100, 100]


def test_a_clock_was_set_back_only_where_one_stamp_after_the_other_is_old() -> None:
    a = assembler("realtime", names=("a", "b"))
    a.add(0, view("a", 20 * PERIOD, 20))
    for k in range(BACK_FRAMES - 1):
        a.add(0, view("a", k * PERIOD, k))
    a.add(0, view("a", 21 * PERIOD, 21))
    a.add(0, view("a", 10 * PERIOD, 10))
    assert a.dropped == {"non_monotonic_stamp/a": BACK_FRAMES}
    for k in (20, 21):
        a.add(0, view("b", k * PERIOD, k))
    assert [s.frame_seqs.tolist() for s in drain(a, 0)] == [[20, 20], [21, 21]]


def test_of_a_camera_that_runs_ahead_only_the_newest_frames_wait() -> None:
    a, more = assembler("realtime", names=("a", "b"), wait_ms=40), 5
    for k in range(MOST_WAITING + more):
        a.add(k * MS, view("a", k * PERIOD, k))
    assert a.dropped == {"queue_full/a": more} and a.next_deadline_ns() == (more + 40) * MS


def test_a_set_does_not_wait_for_one_more_view_of_a_fast_camera() -> None:
    a = assembler("realtime")
    for k in range(6):
        for n, phase in enumerate((0, 11, 22)):
            a.add(0, view("c", k * PERIOD + phase * MS, 3 * k + n))
            if n == 0:
                for c in "ab":
                    a.add(0, view(c, k * PERIOD, k))
                # the clock stands still: what is not closed now waits
                assert said(drain(a, 0)) == [(33 * k, "complete", [k, k, 3 * k])]
        assert drain(a, 0) == []


def test_offsets_are_taken_off_the_stamps_and_stand_in_the_journal() -> None:
    a = assembler(names=("a", "b"))
    a.offsets_ns[1] = 500 * MS
    got = play(a, {"a": [k * PERIOD for k in range(4)], "b": [k * PERIOD + 500 * MS for k in range(4)]})
    assert [s.reason for s in got] == ["complete"] * 4
    assert got[0].offsets_ns.tolist() == [0, 500 * MS]


def test_a_span_that_was_set_is_kept() -> None:
    stamps = {"a": [k * PERIOD for k in range(4)], "b": [k * PERIOD + 12 * MS for k in range(4)]}
    assert {s.reason for s in play(assembler(names=("a", "b"), max_set_span_ms=13.0), stamps)} == {"complete"}
    a = assembler(names=("a", "b"), max_set_span_ms=5.0)
    play(a, stamps)
    assert sum(a.dropped.values()) == 7  # all but the last, which nobody else could join


def test_a_camera_that_is_not_in_the_rig_is_named() -> None:
    a = assembler()
    a.add(0, view("zz", 0))
    assert a.dropped == {"not_in_rig/zz": 1}
