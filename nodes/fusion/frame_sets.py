"""Frame sets: which views belong together, and when to stop waiting for one. Pure: it is told the time.

The earliest view that waits is the anchor. A view of another camera joins it within the span, by default 0.8 of the
anchor camera's frame period: free-running cameras of one rate then fall into complete sets whatever their phases, a
synchronised camera that skipped a frame is not joined to its neighbour's next, and a fast camera does not wait for a
slow one. The set stands for the time of its anchor, the oldest of its newest views.

``lossless`` closes a set only when every camera has shown what follows or has ended, so the order of arrival does not
matter. ``realtime`` closes it when nobody is awaited any more, or ``wait_ms`` after the last awaited view was due: each
camera's usual delay from stamp to arrival is measured, so that one that decodes B pictures, or a busy machine, makes
sets wait for longer, by ``max_wait_ms`` after the anchor arrived at most.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.refusals import Code, cause
from kinecast.engines.records import FrameSet, Keypoints2D
from kinecast.nodes.graph.records import FusionNode, Pace

SPAN = 0.8  # of a period: synchronised stamps may jitter by a fifth of a frame, free phases must leave a gap of as much
DEFAULT_PERIOD_NS = 33_333_333  # of a camera that has shown one frame
PERIODS = 9  # frame intervals that a camera's period is the median of
SILENT_SETS = 5  # a camera that was waited for in vain so often is waited for no more until it speaks again
BACK_FRAMES = 10  # so many stamps in a row behind an older one: the camera's clock was set back (realtime)
MOST_WAITING = 64  # frames of one camera (realtime)
DELAYS = 90  # frames of a camera that its usual delay is told from
USUAL = 0.95  # of them came no later than that
MOST_CAUSES = (
    256  # of drops: they are in every frame set, and the names of cameras that are not fused come from outside
)


@dataclass(slots=True)
class _View:
    t_ns: int  # corrected
    arrival_ns: int
    record: Keypoints2D


@dataclass(slots=True)
class _Camera:
    waiting: deque[_View] = field(default_factory=deque)
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=PERIODS))
    newest_ns: int | None = None  # newest stamp taken in
    used_ns: int | None = None  # newest stamp that left ``waiting``
    ended: bool = False
    missed: int = 0
    back: int = 0
    delays: deque[int] = field(default_factory=lambda: deque(maxlen=DELAYS))  # arrival − stamp, ns

    @property
    def usual_delay_ns(self) -> int:
        """From stamp to arrival, of all but the latest twentieth of its last frames; at least one has arrived."""
        return sorted(self.delays)[math.ceil(USUAL * len(self.delays)) - 1]

    def next_ns(self, from_ns: int, until_ns: int) -> int:
        """Stamp of its next view if that falls into a set from ``from_ns`` to ``until_ns``: whole periods later."""
        assert self.newest_ns is not None
        period_ns = max(1, self.period_ns())
        periods = max(1, round((from_ns - self.newest_ns) / period_ns))
        return min(self.newest_ns + periods * period_ns, until_ns)

    def period_ns(self) -> int:
        """Median interval up to the frame after the one that waits first; the same however much more has arrived."""
        seen = list(self.intervals)
        if len(self.waiting) > 1:
            seen.append(self.waiting[1].t_ns - self.waiting[0].t_ns)
        return int(np.median(seen)) if seen else DEFAULT_PERIOD_NS

    def pop(self) -> _View:
        view = self.waiting.popleft()
        if self.used_ns is not None:
            self.intervals.append(view.t_ns - self.used_ns)
        self.used_ns = view.t_ns
        return view


class FrameSetAssembler:
    """Views in, closed frame sets out; everything that is not used is counted in ``dropped``, by cause and camera.

    offsets_ns: (C,) clock correction of each camera, subtracted from its stamps; ``correct`` changes it between sets.
    """

    def __init__(
        self, cameras: tuple[str, ...], settings: FusionNode, pace: Pace = "lossless", run_index: int = 0
    ) -> None:
        self.names = cameras
        self.dropped: dict[str, int] = {}
        self.offsets_ns = np.zeros(len(cameras), np.int64)
        self._cameras = {name: _Camera() for name in cameras}
        self._lossless = pace == "lossless"
        self._wait_ns = int(settings.wait_ms * 1e6)
        self._max_wait_ns = max(self._wait_ns, int(settings.max_wait_ms * 1e6))
        self._span_ns = None if settings.max_set_span_ms is None else int(settings.max_set_span_ms * 1e6)
        self._run_index, self._seq = run_index, 0
        self._last_set_ns: int | None = None

    @property
    def usual_delays_ms(self) -> dict[str, float]:
        """Camera → from stamp to arrival, of those that have given a view."""
        return {name: c.usual_delay_ns / 1e6 for name, c in self._cameras.items() if c.delays}

    @property
    def finished(self) -> bool:
        """Whether every camera has ended and nothing waits."""
        return all(c.ended and not c.waiting for c in self._cameras.values())

    def add(self, arrival_ns: int, record: Keypoints2D) -> None:
        """Take in a view that arrived at ``arrival_ns``."""
        camera = self._cameras.get(record.camera)
        if camera is None:
            self._drop("not_in_rig", record.camera if len(self.dropped) < MOST_CAUSES else "others")
            return
        t_ns = record.t_capture_ns - int(self.offsets_ns[self.names.index(record.camera)])
        if camera.newest_ns is not None and t_ns <= camera.newest_ns:
            camera.back += 1
            self._drop("non_monotonic_stamp", record.camera)
            if not self._lossless and camera.back >= BACK_FRAMES:
                camera.waiting.clear()
                camera.newest_ns, camera.used_ns, camera.back = t_ns, None, 0
                camera.delays.clear()
            return
        camera.newest_ns, camera.back, camera.missed = t_ns, 0, 0
        camera.delays.append(arrival_ns - t_ns)
        if not self._lossless:
            # so near the last set, or behind it, there is no set left that it could help
            near_ns = camera.period_ns() // 2 if camera.intervals else 1
            if self._last_set_ns is not None and t_ns < self._last_set_ns + near_ns:
                self._drop("late", record.camera)
                if camera.used_ns is not None:
                    camera.intervals.append(t_ns - camera.used_ns)
                camera.used_ns = t_ns
                return
            if len(camera.waiting) >= MOST_WAITING:
                camera.waiting.popleft()
                self._drop("queue_full", record.camera)
        camera.waiting.append(_View(t_ns, arrival_ns, record))

    def correct(self, offsets_ns: NDArray[np.int64]) -> None:
        """Put clock corrections (C,) into force, for the views that wait as well: the sets do not depend on when."""
        for name, moved in zip(self.names, (offsets_ns - self.offsets_ns).tolist(), strict=True):
            camera = self._cameras[name]
            for view in camera.waiting:
                view.t_ns -= moved
            camera.delays = deque((d + moved for d in camera.delays), DELAYS)
            camera.newest_ns = None if camera.newest_ns is None else camera.newest_ns - moved
            camera.used_ns = None if camera.used_ns is None else camera.used_ns - moved
        self.offsets_ns[:] = offsets_ns

    def end(self, camera: str) -> None:
        """The camera gives no more."""
        self._cameras[camera].ended = True

    def take(self, now_ns: int, overdue: bool = True) -> tuple[FrameSet, dict[str, Keypoints2D]] | None:
        """The next set that is closed by ``now_ns``, or None. Call until None.

        overdue: close sets whose time is up as well; false where views that may belong to them are still to be read.
        """
        while (heads := self._heads()) and (reason := self._closed(heads, now_ns, overdue)):
            anchor_ns, until_ns = self._window(heads)
            chosen = {name: self._cameras[name].pop() for name, view in heads.items() if view.t_ns <= until_ns}
            for name, camera in self._cameras.items():
                if name not in chosen and not camera.waiting and not camera.ended:
                    camera.missed += 1
            others = [n for n, c in self._cameras.items() if n not in chosen and self._alive(c)]
            if len(chosen) == 1 and others:
                self._drop(
                    "single_view", next(iter(chosen))
                )  # one view makes no point, and the others are about to come
                continue
            return self._close(chosen, anchor_ns, reason, now_ns)
        return None

    def next_deadline_ns(self) -> int | None:
        """When ``take`` must be called again though nothing arrives."""
        heads = self._heads()
        return None if self._lossless or not heads else self._deadline_ns(heads)

    def _heads(self) -> dict[str, _View]:
        return {name: c.waiting[0] for name, c in self._cameras.items() if c.waiting}

    def _alive(self, camera: _Camera) -> bool:
        return bool(camera.waiting) or not (camera.ended or (not self._lossless and camera.missed >= SILENT_SETS))

    def _window(self, heads: dict[str, _View]) -> tuple[int, int]:
        """Time of the anchor, and the last time that joins it."""
        name = min(heads, key=lambda n: heads[n].t_ns)
        span = self._cameras[name].period_ns() * SPAN if self._span_ns is None else self._span_ns
        return heads[name].t_ns, heads[name].t_ns + int(span)

    def _deadline_ns(self, heads: dict[str, _View]) -> int:
        """When the first set is closed without those that are still awaited (realtime)."""
        from_ns, until_ns = self._window(heads)
        arrival_ns = min(heads.values(), key=lambda v: v.t_ns).arrival_ns
        due_ns = arrival_ns
        for camera in self._cameras.values():
            if self._awaited(camera, heads) and camera.newest_ns is not None and camera.delays:
                due_ns = max(due_ns, camera.next_ns(from_ns, until_ns) + camera.usual_delay_ns)
        return min(due_ns + self._wait_ns, arrival_ns + self._max_wait_ns)

    def _closed(self, heads: dict[str, _View], now_ns: int, overdue: bool) -> str:
        """Why the first set is closed; empty while it is not."""
        if self._lossless:
            # one frame more of each camera than the set needs: its period must not depend on what happened to arrive
            if any(not c.ended and len(c.waiting) < 2 for c in self._cameras.values()):
                return ""
            awaited = False
        else:
            awaited = any(self._awaited(c, heads) for c in self._cameras.values())
            if awaited and (not overdue or now_ns < self._deadline_ns(heads)):
                return ""
        until_ns = self._window(heads)[1]
        missing = [c for n, c in self._cameras.items() if n not in heads or heads[n].t_ns > until_ns]
        if not missing:
            return "complete"
        if awaited:
            return "deadline"
        return "end" if all(c.ended and not c.waiting for c in missing) else "watermark"

    def _awaited(self, camera: _Camera, heads: dict[str, _View]) -> bool:
        """Whether the camera may still give a view of the first set (realtime)."""
        if camera.waiting or not self._alive(camera):
            return False
        if camera.newest_ns is None:
            return True
        return camera.newest_ns + camera.period_ns() <= self._window(heads)[1]

    def _close(
        self, chosen: dict[str, _View], anchor_ns: int, reason: str, now_ns: int
    ) -> tuple[FrameSet, dict[str, Keypoints2D]]:
        views = [chosen.get(name) for name in self.names]
        frameset = FrameSet(
            seq=self._seq,
            run_index=self._run_index,
            t_set_ns=anchor_ns,
            cameras=self.names,
            frame_seqs=np.array([-1 if v is None else v.record.frame_seq for v in views], np.int64),
            reason=reason,
            offsets_ns=self.offsets_ns.copy(),
            dropped=dict(self.dropped),
            arrivals_ns=np.array([0 if v is None else v.arrival_ns for v in views], np.int64),
            decided_ns=now_ns,
        )
        self._seq += 1
        self._last_set_ns = anchor_ns
        return frameset, {name: view.record for name, view in chosen.items()}

    def _drop(self, code: Code, camera: str) -> None:
        key = cause(code, camera)
        self.dropped[key] = self.dropped.get(key, 0) + 1
