"""The clock model of streams, with driven clocks: what it believes, what it doubts, and how late its stamps are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.stream_clock import StreamClock

MS, SECOND = 1_000_000, 1_000_000_000
START = 50 * SECOND
Times = NDArray[np.int64]


def stamps_of(own: Times, arrivals: Times, clock: StreamClock | None = None) -> Times:
    """Stamps of pictures that are decoded as they come."""
    clock = clock or StreamClock()
    out = []
    for o, a in zip(own.tolist(), arrivals.tolist(), strict=True):
        clock.hear(o, None, a)
        out.append(clock.stamp(o, a))
    return np.array(out)


def film(rate_hz: float, seconds: float) -> Times:
    """Capture times of a camera, in our clock."""
    return (START + np.arange(round(rate_hz * seconds)) * SECOND / rate_hz).astype(np.int64)


def network(count: int, seed: int = 1, least_ms: float = 2.0, mean_ms: float = 8.0) -> Times:
    """Delays: never less than the least, exponential above it."""
    return ((least_ms + np.random.default_rng(seed).exponential(mean_ms, count)) * MS).astype(np.int64)


def test_arrival_jitter_is_taken_out_of_the_stamps() -> None:
    own = np.arange(200) * 33_333_333
    delay = network(200)
    delay[10] = 2_000_000  # from here on one packet came with the least delay
    arrivals = own + 5 * SECOND + delay
    stamps = stamps_of(own, arrivals)
    assert (np.diff(stamps) > 0).all()
    assert (stamps <= arrivals).all()
    assert (np.diff(stamps[10:]) == 33_333_333).all()


def test_a_clock_that_drifts_is_followed() -> None:
    own = np.arange(3000) * 33_333_333  # 100 s
    arrivals = own + own // 20_000 + 1_000_000  # 50 ppm, delay constant
    lag = arrivals - stamps_of(own, arrivals)
    assert lag.max() <= 10_100_000_000 // 20_000  # the window of ten seconds, and a frame, at 50 ppm


@pytest.mark.parametrize("rate_hz", [3, 5, 10, 12, 15, 20, 24, 30, 50, 60])
def test_times_that_count_25_pictures_a_second_whatever_comes(rate_hz: int) -> None:
    taken = film(rate_hz, 30)
    arrivals = taken + network(len(taken), least_ms=2, mean_ms=2)
    clock = StreamClock()
    lag = stamps_of(np.arange(len(taken)) * 40 * MS, arrivals, clock) - taken
    late = lag[taken > START + SECOND]
    # a frame, and the jitter of 2 ms in the mean, the worst of hundreds
    assert np.abs(late).max() <= SECOND / rate_hz + 20 * MS
    if abs(rate_hz / 25 - 1) > 0.11:
        assert clock.basis.startswith("arrival"), clock.basis


@pytest.mark.parametrize("percent", [-4.0, -1.0, -0.2, 0.2, 1.0, 4.0])
def test_a_clock_of_a_slightly_other_rate_is_put_right(percent: float) -> None:
    taken = film(30, 60)
    own = ((taken - START) * (1 - percent / 100)).astype(np.int64)
    arrivals = taken + network(len(taken))
    clock = StreamClock()
    lag = stamps_of(own, arrivals, clock) - taken
    assert np.abs(lag[taken > START + SECOND] - 2 * MS).max() <= SECOND / 30 + 30 * MS
    settled = lag[taken > START + 20 * SECOND]
    assert clock.basis.startswith("stream time"), clock.basis
    assert settled.std() < network(len(taken)).std() / 1.5  # the jitter is mostly out of them


@pytest.mark.parametrize("jump_s", [-3600.0, -5.0, -0.5, 0.5, 5.0, 3600.0])
def test_a_clock_that_jumps_costs_at_most_a_moment(jump_s: float) -> None:
    taken = film(30, 20)
    own = taken - START + 10_000 * SECOND
    own[300:] += round(jump_s * SECOND)
    lag = stamps_of(own, taken + network(len(taken))) - taken
    assert lag[30:].min() >= 0
    assert lag[30:].max() <= SECOND / 30 + 60 * MS  # one of 600 packets is 50 ms late
    assert np.median(lag[330:]) < 10 * MS


def test_a_clock_that_is_set_while_nothing_comes_is_found_out() -> None:
    taken = np.concatenate([film(30, 12), film(30, 12) + 20 * SECOND])
    own = taken - START + 100 * SECOND
    own[360:] -= 3 * SECOND  # eight seconds of silence, of which the stream's clock tells five
    lag = stamps_of(own, taken + network(len(taken))) - taken
    later = taken > START + 23 * SECOND  # doubted after two seconds at most
    assert np.abs(lag[later]).max() <= SECOND / 30 + 60 * MS


def test_a_stalled_network_does_not_shake_a_clock_that_was_right() -> None:
    taken = film(30, 20)
    arrivals = taken + network(len(taken))
    held = (taken > START + 12 * SECOND) & (taken < START + 13.5 * SECOND)
    arrivals[held] = START + round(13.5 * SECOND) + np.arange(held.sum()) * 100_000  # all at once
    clock = StreamClock()
    lag = stamps_of(taken - START, arrivals, clock) - taken
    assert clock.restarts == 0
    assert np.abs(lag[taken > START + SECOND]).max() < 10 * MS


def test_what_was_sent_before_and_comes_at_once_spoils_nothing() -> None:
    taken = film(30, 10)
    arrivals = taken + network(len(taken))
    arrivals[:45] = np.maximum(arrivals[:45], arrivals[45] + np.arange(45) * 200_000)  # the group of pictures so far
    lag = stamps_of(taken - START, arrivals) - taken
    assert np.abs(lag[taken > taken[45] + SECOND]).max() < 15 * MS


def test_without_times_the_stamp_is_the_arrival() -> None:
    clock = StreamClock()
    assert [clock.stamp(None, a) for a in (10, 20, 20, 35)] == [10, 20, 21, 35]
    assert clock.basis == "arrival (the stream gives no times)"


def test_times_that_stand_still_are_not_believed() -> None:
    taken = film(30, 5)
    clock = StreamClock()
    assert (stamps_of(np.full(len(taken), 7), taken, clock)[1:] == taken[1:]).all()
    assert "stand still" in clock.basis


def test_a_first_packet_without_a_time_spoils_nothing() -> None:
    taken = film(30, 12)
    arrivals = taken + network(len(taken))
    clock = StreamClock()
    clock.hear(None, None, int(arrivals[0]))
    assert clock.stamp(None, int(arrivals[0])) == arrivals[0]
    lag = stamps_of((taken - START)[1:], arrivals[1:], clock) - taken[1:]
    assert lag[30:].max() < 10 * MS


def test_pictures_sent_out_of_order_are_stamped_by_the_earliest() -> None:
    taken = film(30, 10)
    clock, lag = StreamClock(), []
    for k in range(0, len(taken) - 3, 3):  # P3 B1 B2: both B wait for the P that is sent first
        sent = int(taken[k + 2]) + 5 * MS
        for n, shown in enumerate((k + 2, k, k + 1)):
            clock.hear(int(taken[shown]) - START, int(taken[k + n]) - START - 2 * 33_333_333, sent + n * MS)
        lag += [clock.stamp(int(taken[k + n]) - START, sent + 2 * MS) - int(taken[k + n]) for n in range(3)]
    assert max(lag[30:]) <= 5 * MS
