"""What calibration from people is given: joints of people in every camera at common instants, and what joints mean."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Roles:
    """What the J joints are, by index.

    names: of all. bones: (a, b, share of the stature) of rigid segments. feet: joints of the feet, each with its height
    above the floor, as a share of the stature, when the foot stands. legs: (hip, ankle), left and right. used: joints
    that the bundle takes; those of the face are seen from one side only.
    """

    names: tuple[str, ...]
    bones: tuple[tuple[int, int, float], ...]
    feet: tuple[tuple[int, float], ...]
    legs: tuple[tuple[int, int], ...]
    used: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """N rows, each one person at one instant, as C cameras saw them; J joints.

    t_s: (N,) ascending within a person; person: (N,) int64. xy: (N, C, J, 2) undistorted normalised, NaN where missing.
    velocity: (N, C, J, 2) per second. sigma: (N, C, J) standard deviation of xy, inf where missing. focal_px: (C,), by
    which residuals are told in pixels. cameras: C names.
    """

    cameras: tuple[str, ...]
    t_s: Float
    person: Int
    xy: Float
    velocity: Float
    sigma: Float
    focal_px: Float
    roles: Roles

    def __len__(self) -> int:
        return len(self.t_s)

    @property
    def span_s(self) -> float:
        """Seconds from the first row to the last."""
        return float(np.ptp(self.t_s)) if len(self) else 0.0

    def rows(self, keep: NDArray[np.bool_]) -> "Walk":
        """Only the rows where ``keep`` (N,) is set."""
        return replace(
            self, t_s=self.t_s[keep], person=self.person[keep], xy=self.xy[keep], velocity=self.velocity[keep],
            sigma=self.sigma[keep],
        )  # fmt: skip

    def of_cameras(self, index: Int) -> "Walk":
        """Only the cameras of ``index``, in that order; one camera may come twice."""
        return replace(
            self, cameras=tuple(self.cameras[i] for i in index), xy=self.xy[:, index],
            velocity=self.velocity[:, index], sigma=self.sigma[:, index], focal_px=self.focal_px[index],
        )  # fmt: skip

    def halves(self) -> tuple["Walk", "Walk"]:
        """The first and the second half of the time."""
        middle = float(np.median(self.t_s)) if len(self) else 0.0
        return self.rows(self.t_s < middle), self.rows(self.t_s >= middle)

    def stretches(self, count: int = 12) -> Int:
        """(N,) number of the stretch of time, 0 … count − 1, with equally many rows in each."""
        order = np.argsort(self.t_s, kind="stable")
        out = np.zeros(len(self), np.int64)
        out[order] = np.arange(len(self)) * count // max(1, len(self))
        return out

    def seen(self) -> NDArray[np.bool_]:
        """(N, C, J) where a joint of those used is given."""
        there = np.isfinite(self.sigma) & np.isfinite(self.xy).all(axis=-1)
        use = np.zeros(self.sigma.shape[2], bool)
        use[list(self.roles.used)] = True
        return np.asarray(there & use, bool)
