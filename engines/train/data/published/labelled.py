"""A person in one camera with 2D and 3D, whatever data set it is from; and batches of such."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import rq
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.pinhole_views import PinholeView
from kinecast.engines.train.data.random_cameras import VirtualCameras
from kinecast.engines.train.data.synthetic_batches import Batch, batch_of

Float = NDArray[np.float64]
F32 = NDArray[np.float32]
TRIALS = 100  # with a tenth of outliers 28 of them are free of any
MOST_PAIRS = 4000  # a camera is solved for from so many pairs at most


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """T frames of one person in one camera, J joints of ``skeleton``.

    name: ``data set/subject/action/camera``, as a list of held-out clips knows it. points_cam: (T, J, 3) metres in the
    camera's axes, NaN where missing. xy: (T, J, 2) keypoints on the plane z = 1, lens taken out; confidence: (T, J), 0
    where missing. focal_px: of the camera. rate_hz: frames a second; 0 for single pictures.
    """

    name: str
    action: str
    skeleton: str
    rate_hz: float
    points_cam: F32
    xy: F32
    confidence: F32
    focal_px: float


def solve_camera(points_world: Float, px: Float, where: str) -> tuple[Float, Float, Float]:
    """K (3, 3), R (3, 3) and t (3,), cam_from_world, of a camera that sees points (N, 3) m at px (N, 2); no lens.

    For data sets that come without their cameras: linear (Abdel-Aziz and Karara 1971) from the random dozen of pairs
    that most others agree with, then robust least squares. KinecastError where the points do not tell a camera.
    """
    ok = np.isfinite(points_world).all(-1) & np.isfinite(px).all(-1)
    X, x = points_world[ok], px[ok]
    if len(X) > MOST_PAIRS:
        keep = np.linspace(0, len(X) - 1, MOST_PAIRS).astype(int)
        X, x = X[keep], x[keep]
    if len(X) < 50 or np.linalg.svd(X - X.mean(0), compute_uv=False)[-1] < 1e-3 * np.sqrt(len(X)):
        raise KinecastError(f"{where}: {len(X)} pairs of points, or all in a plane, do not tell the camera")
    rng = np.random.default_rng(0)
    best, start = np.inf, np.zeros(10)
    for _ in range(TRIALS):
        some = rng.choice(len(X), 12, replace=False)
        K, R, t = _linear(X[some], x[some])
        guess = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2], *Rotation.from_matrix(R).as_rotvec(), *t])
        median = float(np.median(np.linalg.norm(_off(guess, X, x), axis=1)))
        if median < best:
            best, start = median, guess
    found = least_squares(
        lambda p: _off(p, X, x).ravel(), start, loss="soft_l1", f_scale=max(best, 0.01), x_scale="jac"
    )
    fx, fy, cx, cy, *rest = found.x
    if not np.isfinite(found.x).all() or min(fx, fy) <= 0:
        raise KinecastError(f"{where}: 2D and 3D do not belong to one camera")
    R = np.asarray(Rotation.from_rotvec(rest[:3]).as_matrix(), np.float64)
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), R, np.array(rest[3:])


def _off(camera: Float, X: Float, x: Float) -> Float:
    """(N, 2) px between the projections and x. camera: fx fy cx cy, rotation vector, t."""
    cam = X @ Rotation.from_rotvec(camera[4:7]).as_matrix().T + camera[7:]
    out: Float = cam[:, :2] / np.where(np.abs(cam[:, 2:]) < 1e-6, 1e-6, cam[:, 2:]) * camera[:2] + camera[2:4] - x
    return out


def _linear(X: Float, x: Float) -> tuple[Float, Float, Float]:
    middle, spread = X.mean(0), X.std()
    centre, width = x.mean(0), x.std()
    A, a = (X - middle) / spread, (x - centre) / width
    h = np.concatenate([A, np.ones((len(A), 1))], 1)
    zero = np.zeros_like(h)
    rows = np.concatenate(
        [np.concatenate([h, zero, -a[:, :1] * h], 1), np.concatenate([zero, h, -a[:, 1:] * h], 1)]
    )  # fmt: skip
    P = np.linalg.svd(rows, full_matrices=False)[2][-1].reshape(3, 4)
    P = np.array([[width, 0, centre[0]], [0, width, centre[1]], [0, 0, 1]]) @ P
    P = P @ np.block([[np.eye(3) / spread, (-middle / spread)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])
    P = P * np.sign(np.linalg.det(P[:, :3]))  # so that what is seen is before the camera
    K, R = rq(P[:, :3])
    signs = np.diag(np.sign(np.diag(K)))
    K, R = K @ signs, signs @ R
    return K / K[2, 2], R, np.linalg.solve(K, P[:, 3])


def place_root(relative_m: Float, xy: Float, confidence: Float) -> Float:
    """(T, 3) root that brings relative joints (T, J, 3) onto keypoints (T, J, 2): least squares, linear in the root."""
    out = np.full((len(relative_m), 3), np.nan)
    for t in range(len(out)):
        ok = (confidence[t] > 0) & np.isfinite(relative_m[t]).all(-1)
        if ok.sum() < 4:
            continue
        X, u = relative_m[t, ok], xy[t, ok]
        rows = np.zeros((2 * len(X), 3))
        rows[0::2, 0] = rows[1::2, 1] = 1
        rows[0::2, 2], rows[1::2, 2] = -u[:, 0], -u[:, 1]
        want = (u * X[:, 2:] - X[:, :2]).ravel()
        out[t] = np.linalg.lstsq(rows, want, rcond=None)[0]
    return out


class LabelledSampler:
    """Batches of crops by number, as :class:`~engines.train.data.synthetic_batches.Sampler` gives them; flipped for
    half of them."""

    def __init__(
        self, sequences: Sequence[Labelled], name: str, size: int, frames: int, rate_hz: float, seed: int
    ) -> None:
        """name: of the skeleton that is trained; the sequences have all of its joints."""
        wrong = sorted({s.skeleton for s in sequences} - {name})
        if wrong or not sequences:
            raise KinecastError(f"training {name} on data of {', '.join(wrong) or 'no sequence'}: choose --skeleton")
        self.sequences = [_at_rate(s, rate_hz) for s in sequences]
        self.size, self.frames, self.rate_hz, self.seed = size, frames, rate_hz, seed
        self.skeleton = skeleton(name)
        length = np.array([len(s.xy) for s in self.sequences], np.float64)
        self.share, self.seconds = length / length.sum(), float(length.sum()) / rate_hz

    def batch(self, step: int, rank: int = 0) -> Batch:
        """The batch of a step on one of the machines; what is beyond the end of a sequence has weight 0."""
        rng = np.random.default_rng((self.seed, step, rank))
        which = rng.choice(len(self.sequences), self.size, p=self.share)
        cam = np.zeros((self.size, self.frames, len(self.skeleton), 3), np.float32)
        xy, confidence = np.zeros_like(cam[..., :2]), np.zeros_like(cam[..., 0])
        inside = np.zeros((self.size, self.frames), np.float32)
        focal = np.zeros(self.size)
        for b, i in enumerate(which):
            s = self.sequences[int(i)]
            start = int(rng.integers(0, max(len(s.xy) - self.frames, 0) + 1))
            index = np.minimum(start + np.arange(self.frames), len(s.xy) - 1)
            cam[b], xy[b], confidence[b] = s.points_cam[index], s.xy[index], s.confidence[index]
            inside[b, : len(s.xy) - start] = 1
            focal[b] = s.focal_px
        flip = rng.random(self.size) < 0.5
        sides, mirror = list(self.skeleton.flip), np.array([-1, 1, 1], np.float32)
        cam[flip] = cam[flip][:, :, sides] * mirror
        xy[flip] = xy[flip][:, :, sides] * mirror[:2]
        confidence[flip] = confidence[flip][:, :, sides]
        whole = np.isfinite(cam).all((-1, -2))  # the losses have no holes: a frame with a joint missing does not count
        cam = np.nan_to_num(cam)
        eye, none = np.tile(np.eye(3), (self.size, 1, 1)), np.zeros((self.size, 3))
        view = PinholeView(cam, VirtualCameras(eye, none, focal, np.ones((self.size, 2))), which)
        true = (cam[..., :2] / np.maximum(cam[..., 2:], 0.3)).astype(np.float32)
        batch = batch_of(view, xy, confidence, true, self.rate_hz, self.skeleton.index("mid_hip"))
        batch.weight[:] *= inside * whole
        return batch


def _at_rate(s: Labelled, rate_hz: float) -> Labelled:
    """Resampled linearly in time; single pictures stay as they are."""
    if s.rate_hz <= 0 or abs(s.rate_hz - rate_hz) < 1e-3 or len(s.xy) < 2:
        return s
    at = np.arange(0, len(s.xy) - 1, s.rate_hz / rate_hz)
    low = at.astype(np.int64)
    part = (at - low).astype(np.float32)[:, None, None]

    def between(a: F32) -> F32:
        return np.asarray(a[low] * (1 - part) + a[low + 1] * part, np.float32)

    both = np.minimum(s.confidence[low], s.confidence[low + 1])
    return Labelled(
        s.name, s.action, s.skeleton, rate_hz, between(s.points_cam), between(s.xy), both, s.focal_px
    )  # fmt: skip
