"""A lifter at its own rate, whatever the rate of the calls, for those rows alone that are asked for.

Every row that is passed is followed: its keypoints are interpolated to the network's frames and kept for HISTORY of
them. The network itself runs for the rows that *stand*, and only when an answer is wanted: the frames since the last
answer are taken as one block. That gives the numbers of one frame after the other at less work. A row that comes to
stand begins with what is kept of its past. An answer is for the time of the network's last frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.lift.records import Lifted
from kinecast.engines.lift.rows import Outputs
from kinecast.engines.virtual_camera import CONTEXT, Normalised, fill_unseen_from
from kinecast.engines.virtual_camera_kernels import normalise_rows

if TYPE_CHECKING:
    from kinecast.engines.lift.lifter import Lifter

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Key = tuple[int, str]

HISTORY = 81  # frames: all that the layers but the last dilated one reach to
MOST_BEHIND = 8  # frames in a block: the network is never further behind


@dataclass(frozen=True, slots=True, eq=False)
class OwnRateAnswer:
    """t_ns: the time that the poses are for. standing: (N,) rows that have one; the others are NaN in ``lifted``."""

    t_ns: int
    standing: Bool
    lifted: Lifted


class OwnRate:
    """The rows of one lifter, followed at its own rate. The same calls give the same numbers. One thread at a time."""

    def __init__(self, lifter: "Lifter") -> None:
        self._lifter, self._rows, self.joints = lifter, lifter.rows, lifter.joints
        self._clear()

    def _clear(self) -> None:
        for row in range(self._rows.count - 1, -1, -1):
            self._rows.leave(row)
        j = self.joints
        self._keys: tuple[Key, ...] = ()
        self._standing: list[Key] = []  # in the order of the network's rows
        self._xy, self._say = np.zeros((0, j, 2)), np.zeros((0, j))
        self._seen_ns = np.zeros(0, np.int64)
        self._frames = np.zeros(0, np.int64)  # kept of each row
        self._held = normalise_rows(self._xy, self._say)
        self._features = np.zeros((HISTORY, 0, j, 3), np.float32)
        self._context = np.zeros((HISTORY, 0, CONTEXT), np.float32)
        self._count, self._behind = 0, 0  # frames in all, and those that the network has not taken yet

    @property
    def frame_ns(self) -> int:
        """Time of the network's last frame."""
        return self._lifter.frame_ns

    def follow(
        self, t_ns: int, keys: Sequence[Key], xy: F64, confidence: F64, focal: F64, standing: Bool, answer: bool
    ) -> OwnRateAnswer | None:
        """One frame set. Arguments as of :meth:`Lifter.step`; a row that is not passed is forgotten.

        standing: (N,) rows that the network runs for. answer: whether one is wanted. None where it is not, or where no
        frame of the network has come since the last one.
        """
        if self._lifter.clock_starts_anew(t_ns):
            self._clear()
        self._align(tuple(keys))
        say = np.where(np.isfinite(xy).all(-1), confidence, 0.0)
        xy = np.where(say[..., None] > 0, xy, 0.0)
        came = self._count
        for part in self._lifter.due_frames(t_ns):
            self._frame(part, xy, say, t_ns)
        self._xy, self._say = xy, say
        self._stand([k for k, s in zip(self._keys, standing.tolist(), strict=True) if s])
        if not answer or self._count == came or not self._standing:
            if self._behind >= MOST_BEHIND:
                self._run(False)
            return None
        return self._answer(t_ns, focal)

    def _align(self, keys: tuple[Key, ...]) -> None:
        """Rows in the order of ``keys``; new ones are blank, those that are not among them are dropped."""
        if keys == self._keys:
            return
        gone = set(self._keys) - set(keys)
        self._stand([k for k in self._standing if k not in gone])
        before = {key: n for n, key in enumerate(self._keys)}
        index = np.array([before.get(key, -1) for key in keys], np.int64)
        old = index >= 0
        j, n = self.joints, len(keys)
        blank = normalise_rows(np.zeros((n, j, 2)), np.zeros((n, j)))
        for name in Normalised.__slots__:
            getattr(blank, name)[old] = getattr(self._held, name)[index[old]]
        features, context = np.zeros((HISTORY, n, j, 3), np.float32), np.zeros((HISTORY, n, CONTEXT), np.float32)
        features[:, old], context[:, old] = self._features[:, index[old]], self._context[:, index[old]]
        xy, say = np.zeros((n, j, 2)), np.zeros((n, j))
        xy[old], say[old] = self._xy[index[old]], self._say[index[old]]
        seen, frames = np.zeros(n, np.int64), np.zeros(n, np.int64)
        seen[old], frames[old] = self._seen_ns[index[old]], self._frames[index[old]]
        self._keys, self._held, self._features, self._context = keys, blank, features, context
        self._xy, self._say, self._seen_ns, self._frames = xy, say, seen, frames

    def _frame(self, part: float, xy: F64, say: F64, t_ns: int) -> None:
        """Keep the network's next frame of all rows, ``part`` of the way from the last call to this one."""
        from kinecast.engines.lift.lifter import between

        now = (xy, say) if part >= 1 else between(part, self._xy, self._say, xy, say)
        self._held = fill_unseen_from(self._held, normalise_rows(*now))
        self._seen_ns[self._held.seen] = t_ns
        at = self._count % HISTORY
        self._features[at], self._context[at] = self._held.features, self._held.context
        begun = (self._frames > 0) | self._held.seen  # a row begins where it is first seen
        self._frames = np.where(begun, np.minimum(self._frames + 1, HISTORY), 0)
        self._count, self._behind = self._count + 1, self._behind + 1

    def _past(self, rows: list[int], frames: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The last frames of these rows, oldest first."""
        at = np.arange(self._count - frames, self._count) % HISTORY
        return self._features[at[:, None], rows], self._context[at[:, None], rows]

    def _run(self, output: bool) -> Outputs | None:
        """Take the frames that the network is behind by."""
        behind, self._behind = self._behind, 0
        if not behind or not self._standing:
            return None
        index = {key: n for n, key in enumerate(self._keys)}
        return self._rows.advance_block(*self._past([index[k] for k in self._standing], behind), output)

    def _stand(self, wanted: list[Key]) -> None:
        """Have the network run for these rows; who has no frame yet has to wait for one."""
        index = {key: n for n, key in enumerate(self._keys)}
        wanted = [k for k in wanted if self._frames[index[k]] > 0]
        coming = [k for k in wanted if k not in self._standing]
        going = [k for k in self._standing if k not in wanted]
        if not coming and not going:
            return
        for key in going:
            row = self._standing.index(key)
            self._rows.leave(row)
            last = self._standing.pop()
            if row < len(self._standing):
                self._standing[row] = last
        if not coming:
            return
        # what stands already is brought up to the frame before the last, so that this one gives an answer
        last_one = min(self._behind, 1)
        self._count -= last_one
        self._behind -= last_one
        self._run(False)
        for key in coming:
            # of the frame that everybody still has to take, one that begins with it has nothing to repeat but itself
            past = int(self._frames[index[key]]) - last_one
            if past > 0:
                self._rows.enter_with_past(*self._past([index[key]], past))
            else:
                self._count += last_one
                features, context = self._past([index[key]], 1)
                self._count -= last_one
                self._rows.enter(features[0], context[0])
            self._standing.append(key)
        self._count += last_one
        self._behind += last_one

    def _answer(self, t_ns: int, focal: F64) -> OwnRateAnswer:
        index = {key: n for n, key in enumerate(self._keys)}
        rows = np.array([index[k] for k in self._standing], np.int64)
        out = self._run(True)
        assert out is not None
        n, j = len(self._keys), self.joints
        relative, sd = np.full((n, j, 3), np.nan), np.full((n, j, 3), np.nan)
        root, covariance = np.full((n, 3), np.nan), np.full((n, 3, 3), np.nan)
        age = np.full(n, -1, np.int64)
        frames = Normalised(*(getattr(self._held, name)[rows] for name in Normalised.__slots__))
        lost_s = (t_ns - self._seen_ns[rows]) / 1e9
        relative[rows], sd[rows], root[rows], covariance[rows] = self._lifter.placed(out, frames, focal[rows], lost_s)
        age[rows] = self._frames[rows] - 1
        standing = np.zeros(n, np.bool_)
        standing[rows] = True
        return OwnRateAnswer(self.frame_ns, standing, Lifted(relative, sd, root, covariance, age))
