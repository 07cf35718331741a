"""A lifter that looks up the truth of the synthetic world and errs as a network does: slowly, and in all joints alike.

The errors are Gauss–Markov processes of a stated size and duration, from seeds that belong to the row: a test double
with the lifter's own ``step``, so that fusion can be held to the noise that was put in.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.engines.lift.own_rate import OwnRateAnswer
from kinecast.engines.lift.records import Lifted
from kinecast.engines.synth import World

Float = NDArray[np.float64]
ROOT = 19
FRAME_NS = 31_333_333  # of 30 Hz, less the jitter that a lifter forgives


class Oracle:
    """Errors of the joints: sd_m (3,) along the camera's axes; of the logarithm of the root's depth: depth_sd.

    tau_s: how long both last. Half of a joint's variance is common to all joints of the body.
    """

    skeleton = "halpe26"
    name = "oracle-1"

    def __init__(
        self,
        rig: Rig,
        world: World,
        sd_m: tuple[float, float, float] = (0.02, 0.02, 0.05),
        depth_sd: float = 0.06,
        tau_s: float = 1.0,
        seed: int = 0,
    ) -> None:
        self._rig, self._world, self._sd, self._depth_sd = rig, world, np.array(sd_m), depth_sd
        self._tau_s, self._seed = tau_s, seed
        self._state: dict[tuple[int, str], tuple[int, Float, Float, float, np.random.Generator]] = {}
        self.steps: list[tuple[int, tuple[tuple[int, str], ...]]] = []
        self.forgotten: list[tuple[int, str]] = []
        self._frame_ns: int | None = None

    def step(self, t_ns: int, keys: Sequence[tuple[int, str]], xy: Float, confidence: Float, focal: Float) -> Lifted:
        """The truth of whoever is nearest to what the row sees, and its errors."""
        self.steps.append((t_ns, tuple(keys)))
        X = self._world.points_world(t_ns)
        N, J = confidence.shape
        out = Lifted(
            np.full((N, J, 3), np.nan), np.full((N, J, 3), np.nan), np.full((N, 3), np.nan),
            np.full((N, 3, 3), np.nan), np.zeros(N, np.int64),
        )  # fmt: skip
        relative, sd, root, covariance = (
            np.array(getattr(out, n)) for n in ("relative_m", "relative_sd_m", "root_m", "root_covariance_m2")
        )
        for n, key in enumerate(keys):
            joint, common, depth = self._errors(t_ns, key, J)
            if not (confidence[n] > 0).any():
                continue
            camera = self._rig[key[1]]
            local = X @ camera.R.T + camera.t
            seen = local[..., :2] / local[..., 2:]
            who = int(np.nanargmin(np.nanmedian(np.linalg.norm(seen - xy[n], axis=-1), axis=1)))
            body = local[who] - local[who, ROOT]
            relative[n] = body + self._sd * np.sqrt(0.5) * (joint + common)
            relative[n, ROOT] = 0.0
            sd[n] = self._sd
            z = local[who, ROOT, 2] * np.exp(self._depth_sd * depth)
            ray = local[who, ROOT] / local[who, ROOT, 2]
            root[n] = z * ray
            covariance[n] = np.diag([0.01**2] * 3) + (self._depth_sd * z) ** 2 * np.outer(ray, ray)
        return Lifted(relative, sd, root, covariance, np.zeros(N, np.int64))

    def own_rate(self) -> "Oracle":
        """Itself: it has no rows to begin anew."""
        return self

    def follow(
        self, t_ns: int, keys: Sequence[tuple[int, str]], xy: Float, confidence: Float, focal: Float,
        standing: NDArray[np.bool_], answer: bool,
    ) -> OwnRateAnswer | None:  # fmt: skip
        """At 30 Hz, as ``OwnRate.follow``: the truth of the rows that stand, and its errors."""
        if self._frame_ns is not None and 0 <= t_ns - self._frame_ns < FRAME_NS:
            return None
        self._frame_ns = t_ns
        if not answer or not standing.any():
            return None
        at = np.flatnonzero(standing)
        said = self.step(t_ns, [keys[n] for n in at], xy[at], confidence[at], focal[at])
        whole = []
        for name in Lifted.__slots__:
            value = getattr(said, name)
            all_rows = np.full((len(keys), *value.shape[1:]), np.nan if value.dtype == np.float64 else -1, value.dtype)
            all_rows[at] = value
            whole.append(all_rows)
        return OwnRateAnswer(t_ns, standing.copy(), Lifted(*whole))

    def forget(self, keys: Sequence[tuple[int, str]]) -> None:
        """Noted, so that a test can look."""
        self.forgotten += keys
        for key in keys:
            self._state.pop(key, None)

    def _errors(self, t_ns: int, key: tuple[int, str], joints: int) -> tuple[Float, Float, float]:
        """Of each joint (J, 3), of all (3,), of the depth: each of variance 1."""
        if key not in self._state:
            rng = np.random.default_rng((self._seed, key[0], crc32(key[1].encode())))
            self._state[key] = t_ns, rng.normal(size=(joints, 3)), rng.normal(size=3), float(rng.normal()), rng
        then_ns, joint, common, depth, rng = self._state[key]
        keep = float(np.exp(-(t_ns - then_ns) / 1e9 / self._tau_s))
        new = np.sqrt(1 - keep * keep)
        joint = keep * joint + new * rng.normal(size=(joints, 3))
        common = keep * common + new * rng.normal(size=3)
        depth = keep * depth + new * float(rng.normal())
        self._state[key] = t_ns, joint, common, depth, rng
        return joint, common, depth
