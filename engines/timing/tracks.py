"""One camera's people as tracks through a whole recording, read off at any instant, in undistorted coordinates.

Between and around frames a joint is read off by a local straight line: weighted least squares over the frames within
``HALF_S`` of the instant (Cleveland 1979), with robust weights. The window lies evenly about the instant, so that the
noise of the place and that of the velocity are uncorrelated, and it smooths the same in every view, so that it moves
none of them in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera, Rig
from kinecast.capture.compiled import kernel
from kinecast.engines.observations import camera_arrays, undistort_detections
from kinecast.engines.records import Keypoints2D

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SIGMA_PX, SIGMA_OF_HEIGHT = 1.0, 0.007  # of a confident keypoint, as in triangulation: 12 mm of 1.7 m
HALF_S = 0.12  # a walking step takes 0.5 s; seven frames at 30 Hz carry a line through noise
LEAST_FRAMES = 3  # in the window, and on both sides of the instant
LOST_S = 0.25  # a track may miss so much and go on
NEAR = 0.35  # of a person's height that the same person moves between two frames, at most


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """N detections of one camera in K tracks.

    t_s: (N,) stamps in seconds since the origin, by track, then time. start: (K + 1,) first detection of each track.
    xy: (N, J, 2) undistorted normalised coordinates, NaN where missing. sigma: (N, J) standard deviation in the same
    units, inf where missing. height: (N,) of the person in the picture. frames_s: (F,) stamps of all frames.
    """

    t_s: Float
    start: Int
    xy: Float
    sigma: Float
    height: Float
    frames_s: Float

    def __len__(self) -> int:
        return len(self.start) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """The people of one camera at T instants, S of them at most.

    xy (T, S, J, 2), velocity (T, S, J, 2) per second, sigma (T, S, J); NaN, and sigma inf, where there is nothing.
    height: (T, S), NaN where there is nobody.
    """

    xy: Float
    velocity: Float
    sigma: Float
    height: Float


def tracks(views: Sequence[Keypoints2D], camera: Camera, origin_ns: int, skeleton: str = "halpe26") -> Tracks:
    """Link one camera's messages, in the order of their stamps, into tracks; times count from ``origin_ns``."""
    arrays = camera_arrays(Rig((camera,)))
    fitting = [v for v in views if camera.fits(v.size_px)]
    found = [undistort_detections(arrays, [v], skeleton) for v in fitting]
    frames_s = np.array([(v.t_capture_ns - origin_ns) / 1e9 for v in fitting])
    joints = found[0].xy.shape[1] if found else 1
    xy = np.concatenate([f.xy for f in found]) if found else np.zeros((0, joints, 2))
    confidence = np.concatenate([f.confidence for f in found]) if found else np.zeros((0, joints))
    frame = np.repeat(np.arange(len(found)), [len(f) for f in found])
    with np.errstate(invalid="ignore"):
        tall = np.fmax.reduce(xy[..., 1], axis=1, initial=-np.inf) - np.fmin.reduce(xy[..., 1], axis=1, initial=np.inf)
    keep = np.isfinite(tall) & (tall > 0)
    xy, confidence, frame, tall = xy[keep], confidence[keep], frame[keep], tall[keep]
    who, many = _link(xy, tall, frame, frames_s[frame] if len(frame) else np.zeros(0))
    order = np.lexsort((frame, who))
    sigma = np.hypot(SIGMA_PX / arrays.focal_px[0], SIGMA_OF_HEIGHT * tall)[:, None]
    with np.errstate(divide="ignore"):
        scaled_sigma = np.where(confidence > 0, sigma / confidence, np.inf)
    start = np.searchsorted(who[order], np.arange(many + 1))
    times = frames_s[frame[order]] if len(frame) else np.zeros(0)
    return Tracks(times, start, xy[order], scaled_sigma[order], tall[order], frames_s)


@kernel
def _gap(a, b):  # type: ignore[no-untyped-def]
    """Median distance of the joints that both people (J, 2) give; inf with fewer than four."""
    buffer = np.empty(len(a))
    n = 0
    for j in range(len(a)):
        d = np.hypot(a[j, 0] - b[j, 0], a[j, 1] - b[j, 1])
        if np.isfinite(d):
            buffer[n] = d
            n += 1
    return np.median(buffer[:n]) if n >= 4 else np.inf


@kernel
def _link(xy, height, frame, t_s):  # type: ignore[no-untyped-def]
    """(N,) number of each detection's track, and how many there are; nearest first, frame by frame."""
    n = len(frame)
    who = np.full(n, -1, np.int64)
    last = np.empty(n, np.int64)  # detection at the end of each track
    many = 0
    first = 0
    while first < n:
        end = first
        while end < n and frame[end] == frame[first]:
            end += 1
        live = 0
        rows = np.empty(many, np.int64)
        for k in range(many):
            if t_s[first] - t_s[last[k]] <= LOST_S:
                rows[live] = k
                live += 1
        cost = np.full((live, end - first), np.inf)
        for i in range(live):
            before = last[rows[i]]
            for d in range(end - first):
                gap = _gap(xy[before], xy[first + d]) / max(height[before], height[first + d])
                if gap < NEAR:
                    cost[i, d] = gap
        while cost.size and np.isfinite(cost.min()):
            at = int(np.argmin(cost))
            i, d = at // cost.shape[1], at % cost.shape[1]
            who[first + d] = rows[i]
            last[rows[i]] = first + d
            cost[i] = np.inf
            cost[:, d] = np.inf
        for d in range(first, end):
            if who[d] < 0:
                who[d] = many
                last[many] = d
                many += 1
        first = end
    return who, many


@kernel
def _line(t_s, xy, sigma, joint, a, b, t, height, out_xy, out_v):  # type: ignore[no-untyped-def]
    """Robust local line through joint ``joint`` of detections a … b at t; returns its sigma, inf where it has none."""
    x0 = np.zeros(2)
    v0 = np.zeros(2)
    noise = np.inf
    for step in range(4):
        s0 = s1 = s2 = p0 = p1 = q0 = q1 = var = 0.0
        n = before = after = 0
        for i in range(a, b):
            if not np.isfinite(sigma[i, joint]):
                continue
            u = t_s[i] - t
            k = 1.0 - (u / HALF_S) ** 2
            w = k / sigma[i, joint] ** 2
            if step:
                dx, dy = xy[i, joint, 0] - x0[0] - v0[0] * u, xy[i, joint, 1] - x0[1] - v0[1] * u
                c = 0.2 * height if step == 1 else 3.5 * sigma[i, joint]
                g = 1.0 / (1.0 + (dx * dx + dy * dy) / (c * c))
                w *= g * g
                if step == 3 and g < 0.25:  # beyond 1.7 times the scale: no support of the line
                    continue
            n += 1
            before += u <= 0
            after += u >= 0
            s0 += w
            s1 += w * u
            s2 += w * u * u
            p0 += w * xy[i, joint, 0]
            p1 += w * xy[i, joint, 1]
            q0 += w * u * xy[i, joint, 0]
            q1 += w * u * xy[i, joint, 1]
            var += w * k
        det = s0 * s2 - s1 * s1
        if n < LEAST_FRAMES or before == 0 or after == 0 or not det > 1e-9 * s0 * s2:
            return np.inf
        x0[0], x0[1] = (s2 * p0 - s1 * q0) / det, (s2 * p1 - s1 * q1) / det
        v0[0], v0[1] = (s0 * q0 - s1 * p0) / det, (s0 * q1 - s1 * p1) / det
        noise = np.sqrt(var) / s0
    out_xy[:] = x0
    out_v[:] = v0
    return noise


@kernel
def _sample(times, t_s, start, xy, sigma, height, out_xy, out_v, out_sigma, out_height):  # type: ignore[no-untyped-def]
    for k in range(len(start) - 1):
        first, end = start[k], start[k + 1]
        a = b = first
        for n in range(len(times)):
            t = times[n]
            while a < end and t_s[a] <= t - HALF_S:
                a += 1
            while b < end and t_s[b] < t + HALF_S:
                b += 1
            if b - a < LEAST_FRAMES or t < t_s[first] or t > t_s[end - 1]:
                continue
            slot = 0
            while slot < out_height.shape[1] and np.isfinite(out_height[n, slot]):
                slot += 1
            if slot == out_height.shape[1]:
                continue
            tall = np.median(height[a:b])
            out_height[n, slot] = tall
            for j in range(xy.shape[1]):
                out_sigma[n, slot, j] = _line(t_s, xy, sigma, j, a, b, t, tall, out_xy[n, slot, j], out_v[n, slot, j])


def sample(view: Tracks, times_s: Float, people: int = 8) -> Sampled:
    """Everybody whom the camera sees at ``times_s`` (T,), which ascend, on the camera's own clock."""
    joints = view.xy.shape[1]
    shape = (len(times_s), people, joints)
    out = Sampled(
        np.full((*shape, 2), np.nan), np.full((*shape, 2), np.nan), np.full(shape, np.inf), np.full(shape[:2], np.nan)
    )
    _sample(
        times_s, view.t_s, view.start, view.xy, view.sigma, view.height, out.xy, out.velocity, out.sigma, out.height
    )
    return out
