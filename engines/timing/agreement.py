"""How well two views agree on the scene when one is read off later than the other, for every shift: the coarse search.

The agreement of two people is the mean over joints of 1 / (1 + d²/c²), d the Sampson distance of the epipolar
constraint in standard deviations (Hartley and Zisserman, *Multiple View Geometry*, 11.4.3).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.compiled import kernel
from kinecast.engines.timing.tracks import Sampled

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SCALE = 2.5  # σ at which a joint's vote is a half
JOINTS_TO_COMPARE_SPEEDS = 4
BLOCKS = 12


def essential(rig: Rig) -> Float:
    """(C, C, 3, 3): x_b · E[a, b] · x_a = 0 for one point seen by a and b, undistorted normalised, homogeneous."""
    out = np.zeros((len(rig), len(rig), 3, 3))
    for a, first in enumerate(rig):
        for b, second in enumerate(rig):
            R = second.R @ first.R.T
            x, y, z = second.t - R @ first.t
            out[a, b] = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ R
    return out


@kernel
def sampson(E, xa, xb, sa, sb):  # type: ignore[no-untyped-def]
    """Signed distance in σ of two rays from meeting, and its derivatives by xa and xb: (r, ∂r/∂xa (2), ∂r/∂xb (2))."""
    la0 = E[0, 0] * xa[0] + E[0, 1] * xa[1] + E[0, 2]
    la1 = E[1, 0] * xa[0] + E[1, 1] * xa[1] + E[1, 2]
    la2 = E[2, 0] * xa[0] + E[2, 1] * xa[1] + E[2, 2]
    lb0 = E[0, 0] * xb[0] + E[1, 0] * xb[1] + E[2, 0]
    lb1 = E[0, 1] * xb[0] + E[1, 1] * xb[1] + E[2, 1]
    e = la0 * xb[0] + la1 * xb[1] + la2
    s = 1.0 / np.sqrt(sb * sb * (la0 * la0 + la1 * la1) + sa * sa * (lb0 * lb0 + lb1 * lb1) + 1e-30)
    return e * s, lb0 * s, lb1 * s, la0 * s, la1 * s


@kernel
def person_vote(E, xa, xb, sa, sb, c2):  # type: ignore[no-untyped-def]
    """Mean vote of the joints that both people give; NaN with fewer than JOINTS_TO_COMPARE_SPEEDS."""
    total = 0.0
    n = 0
    for j in range(len(xa)):
        if np.isfinite(sa[j]) and np.isfinite(sb[j]):
            r = sampson(E, xa[j], xb[j], sa[j], sb[j])[0]
            total += 1.0 / (1.0 + r * r / c2)
            n += 1
    return total / n if n >= JOINTS_TO_COMPARE_SPEEDS else np.nan


@kernel
def _curve(E, ax, asd, ah, bx, bsd, bh, at, shifts, c2, out):  # type: ignore[no-untyped-def]
    for n in range(len(at)):
        i = at[n]
        for m in range(len(shifts)):
            k = i + shifts[m]
            if k < 0 or k >= len(bh):
                continue
            total = 0.0
            seen = 0
            for p in range(ah.shape[1]):
                if not np.isfinite(ah[i, p]):
                    continue
                best = -1.0
                for q in range(bh.shape[1]):
                    if np.isfinite(bh[k, q]):
                        vote = person_vote(E, ax[i, p], bx[k, q], asd[i, p], bsd[k, q], c2)
                        if vote > best:
                            best = vote
                if best >= 0:
                    total += best
                    seen += 1
            if seen:
                out[n, m] = total / seen


def curve(E: Float, a: Sampled, b: Sampled, at: Int, shifts: Int) -> Float:
    """(n, S) agreement of view a at its instants ``at`` (n,) with view b read off ``shifts`` (S,) instants later.

    Both are sampled on one grid of instants. NaN where one of the two sees nobody then.
    """
    out = np.full((len(at), len(shifts)), np.nan)
    _curve(E, a.xy, a.sigma, a.height, b.xy, b.sigma, b.height, at, shifts, SCALE**2, out)
    return out


def moving(view: Sampled, share: float = 0.34, blocks: int = BLOCKS) -> Int:
    """Instants of most motion: in each of ``blocks`` equal stretches the given share, by median joint speed."""
    with np.errstate(invalid="ignore"):
        speed = np.linalg.norm(view.velocity, axis=-1) / view.height[..., None]
    known = np.isfinite(speed).sum(axis=2) >= JOINTS_TO_COMPARE_SPEEDS
    pace: Float = np.where(known, np.nanmedian(np.where(known[..., None], speed, 0.0), axis=2), -1.0).max(axis=1)
    out: list[Int] = []
    for part in np.array_split(np.arange(len(pace)), blocks):
        there = part[pace[part] >= 0]
        out.append(np.sort(there[np.argsort(-pace[there], kind="stable")[: max(1, int(share * len(part)))]]))
    return np.concatenate(out) if out else np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Agreement of every pair of C cameras for every shift.

    shifts_s: (S,) how much later b is read off than a. votes: (C, C, B, S) mean agreement in each of B stretches of
    time, count: (C, C, B, S) how many instants each stands on; both zero where a = b or nothing was seen by both.
    """

    shifts_s: Float
    votes: Float
    count: Float

    def of_camera(self, c: int, offsets_s: Float) -> tuple[Float, Float]:
        """(B, S) agreement of camera c with all others at its own offset ``offsets_s[c] + shifts_s``, and weight.

        The others stay at their offsets (C,). Shifts that the curves do not reach are NaN.
        """
        total, weight = np.zeros(self.votes.shape[2:]), np.zeros(self.votes.shape[2:])
        step = self.shifts_s[1] - self.shifts_s[0]
        for b in range(len(offsets_s)):
            if b == c:
                continue
            later = offsets_s[c] + self.shifts_s - offsets_s[b]  # c than b; votes[c, b] are those of b later than c
            for one, other, sign in ((b, c, 1.0), (c, b, -1.0)):
                index = np.rint((sign * later - self.shifts_s[0]) / step).astype(np.int64)
                there = (index >= 0) & (index < len(self.shifts_s))
                at = index[there]
                total[:, there] += (self.votes[one, other] * self.count[one, other])[:, at]
                weight[:, there] += self.count[one, other][:, at]
        mean: Float = np.full_like(total, np.nan)
        np.divide(total, weight, out=mean, where=weight > 0)
        return mean, weight


def curves(rig: Rig, views: list[Sampled], step_s: float, max_shift_s: float, most: int = 600) -> Curves:
    """All pairs of views sampled on one grid of ``step_s``; ``most`` instants of a pair are compared."""
    C, reach = len(rig), round(max_shift_s / step_s)
    shifts = np.arange(-reach, reach + 1)
    shifts_s = np.asarray(shifts * step_s, np.float64)
    E = essential(rig)
    votes, count = np.zeros((C, C, BLOCKS, len(shifts))), np.zeros((C, C, BLOCKS, len(shifts)))
    for a in range(C):
        at = moving(views[a])
        at = at[:: max(1, len(at) // most)]
        block = at * BLOCKS // max(1, len(views[a].height))
        for b in range(C):
            if a == b:
                continue
            table = curve(E[a, b], views[a], views[b], at, shifts)
            for k in range(BLOCKS):
                rows = table[block == k]
                there = np.isfinite(rows)
                count[a, b, k] = there.sum(axis=0)
                votes[a, b, k] = np.where(there, rows, 0.0).sum(axis=0) / np.maximum(count[a, b, k], 1)
    return Curves(shifts_s, votes, count)
