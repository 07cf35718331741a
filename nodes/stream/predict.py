"""Poses carried ahead to the moment in which they are shown, by the velocities of the last frames."""

from collections import deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from kinecast.nodes.stream.frame import StreamedPerson

Float = NDArray[np.float64]
FRAMES = 4  # that a velocity is fitted to; more smooths, and lags where a motion turns
SPAN_NS = 150_000_000  # older frames say nothing of now
GONE_NS = 1_000_000_000
MOST_MS = 100.0  # farther ahead a velocity is a guess


class Predictor:
    """Remembers the last frames of everybody; ``ahead`` gives where they are ``predict_ms`` later."""

    def __init__(self, predict_ms: float) -> None:
        self.predict_ms = min(max(predict_ms, 0.0), MOST_MS)
        self._seen: dict[int, deque[tuple[int, StreamedPerson]]] = {}

    def ahead(self, t_ns: int, people: tuple[StreamedPerson, ...]) -> tuple[StreamedPerson, ...]:
        """Everybody of the frame of ``t_ns``, carried ahead; who was not seen just before stays."""
        if not self.predict_ms:
            return people
        out = []
        for person in people:
            seen = self._seen.setdefault(person.person, deque(maxlen=FRAMES))
            while seen and not 0 < t_ns - seen[0][0] < SPAN_NS:
                seen.popleft()
            seen.append((t_ns, person))
            out.append(_carried(seen, self.predict_ms * 1e-3) if len(seen) > 1 else person)
        for who in [w for w, s in self._seen.items() if not 0 <= t_ns - s[-1][0] < GONE_NS]:
            del self._seen[who]
        return tuple(out)


def _slope(seconds: Float, values: Float) -> Float:
    """Least squares: change a second of values (T, …) that end at 0 s."""
    centred = seconds - seconds.mean()
    return np.asarray(np.tensordot(centred, values - values.mean(axis=0), 1) / (centred @ centred))


def _carried(seen: "deque[tuple[int, StreamedPerson]]", ahead_s: float) -> StreamedPerson:
    now_ns, now = seen[-1]
    seconds = np.array([(t - now_ns) * 1e-9 for t, _ in seen])
    joints = _slope(seconds, np.stack([p.joints_m for _, p in seen]).astype(np.float64))
    moved = now.joints_m + np.nan_to_num(joints) * ahead_s
    if not len(now.quaternions_xyzw):
        return replace(now, joints_m=moved.astype(np.float32))
    root = _slope(seconds, np.stack([p.root_m for _, p in seen]).astype(np.float64))
    here = Rotation.from_quat(now.quaternions_xyzw)
    before = [(here.inv() * Rotation.from_quat(p.quaternions_xyzw)).as_rotvec() for _, p in seen]
    turned = here * Rotation.from_rotvec(_slope(seconds, np.stack(before)) * ahead_s)
    return replace(
        now,
        root_m=(now.root_m + root * ahead_s).astype(np.float32),
        quaternions_xyzw=turned.as_quat().astype(np.float32),
        joints_m=moved.astype(np.float32),
    )
