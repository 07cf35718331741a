"""The head as one rigid thing: its top, and an ear that is hidden, from whatever of it is seen.

A template of a head is laid on the ears, eyes and nose that were measured, by least squares over rotations (Horn 1987,
unit quaternions). The neck belongs to it softly, as it bends; the trunk's axis and the line of the shoulders say where
a head mostly looks. They decide what the face leaves open, and with a nose alone that is much. Heads of adults differ
by 5 % and a child's of six years by 12 %, so the template has one size.

Sources: ANSUR II (Gordon et al. 2014): bitragion breadth 14.3 cm, tragion to the tip of the nose 12.5 cm, to the eye
9.5 cm; de Leva 1996 for the shoulders below it (0.790 and 0.925 of the stature). The top: 12.9 cm above the tragions is
the highest point of a skull (ANSUR), but who labels pictures puts it lower: 3 to 11 cm above them in Shelf's truth. It
is taken between, and its deviation says so.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel

# metres from the middle of the tragions: to the left, up, forward; neck, nose, ears, eyes of ``JointRoles``
ROLES = np.array([0, 3, 8, 9, 10, 11], np.int64)
EARS = 2
TEMPLATE_M = np.array([
    [0.0, -0.20, -0.03], [0.0, -0.012, 0.102],
    [0.0715, 0.0, 0.0], [-0.0715, 0.0, 0.0], [0.031, 0.02, 0.082], [-0.031, 0.02, 0.082],
])  # fmt: skip
TOP_M = np.array([0.0, 0.105, 0.0])
# how far each lies off the template: how a neck bends, and where detectors put points of a face
OWN_SD_M = np.array([0.05, 0.015, 0.015, 0.015, 0.015, 0.015])
# how far a head is turned from the trunk: its up from the trunk's, its left from the shoulders'
BENT_SD, TURNED_SD = 0.5, 0.8
TOP_SD_M = 0.025
MAX_SD_M = 0.15  # a place less sure than this is none


@kernel
def _quaternion_into(S, q):  # type: ignore[no-untyped-def]
    """q ← the unit quaternion (w, x, y, z) of the rotation that fits S = Σ w · template · measuredᵀ best."""
    N, P = np.empty((4, 4)), np.empty((4, 4))
    N[0, 0], N[1, 1] = S[0, 0] + S[1, 1] + S[2, 2], S[0, 0] - S[1, 1] - S[2, 2]
    N[2, 2], N[3, 3] = S[1, 1] - S[0, 0] - S[2, 2], S[2, 2] - S[0, 0] - S[1, 1]
    N[0, 1], N[0, 2], N[0, 3] = S[1, 2] - S[2, 1], S[2, 0] - S[0, 2], S[0, 1] - S[1, 0]
    N[1, 2], N[1, 3], N[2, 3] = S[0, 1] + S[1, 0], S[2, 0] + S[0, 2], S[1, 2] + S[2, 1]
    size = 0.0
    for i in range(4):
        for k in range(i):
            N[i, k] = N[k, i]
        for k in range(4):
            size += N[i, k] * N[i, k]
    size = math.sqrt(size)
    for i in range(4):
        N[i, i] += size
    # its largest eigenvector, by squaring: the same on every machine, as no library's solver is
    for _ in range(14):
        trace = 0.0
        for i in range(4):
            for k in range(4):
                P[i, k] = 0.0
                for m in range(4):
                    P[i, k] += N[i, m] * N[m, k]
            trace += P[i, i]
        for i in range(4):
            for k in range(4):
                N[i, k] = P[i, k] / trace
    best = 0
    for i in range(1, 4):
        if N[i, i] > N[best, best]:
            best = i
    for i in range(4):
        q[i] = N[i, best] / math.sqrt(N[best, best])


@kernel
def _inverse_into(A, out):  # type: ignore[no-untyped-def]
    """out ← A⁻¹ of a symmetric (3, 3); False where A is singular."""
    a, b, c = A[0, 0], A[0, 1], A[0, 2]
    e, f, i = A[1, 1], A[1, 2], A[2, 2]
    det = a * (e * i - f * f) - b * (b * i - c * f) + c * (b * f - c * e)
    if det <= 1e-9 * ((a + e + i) / 3) ** 3:
        return False
    out[0, 0], out[1, 1], out[2, 2] = (e * i - f * f) / det, (a * i - c * c) / det, (a * e - b * b) / det
    out[0, 1], out[0, 2], out[1, 2] = (c * f - b * i) / det, (b * f - c * e) / det, (b * c - a * f) / det
    out[1, 0], out[2, 0], out[2, 1] = out[0, 1], out[0, 2], out[1, 2]
    return True


@kernel
def _towards(x, a, b, sd, axis, S, A):  # type: ignore[no-untyped-def]
    """Add to S and A that the head's axis points from joint b to joint a, to sd in rad."""
    if not (math.isfinite(x[a, 0]) and math.isfinite(x[b, 0])):
        return
    length = math.sqrt((x[a, 0] - x[b, 0]) ** 2 + (x[a, 1] - x[b, 1]) ** 2 + (x[a, 2] - x[b, 2]) ** 2)
    if length < 0.1:
        return
    for i in range(3):
        u = (x[a, i] - x[b, i]) / length
        S[axis, i] += u / (sd * sd)
        A[i, i] += 1 / (sd * sd)
        for k in range(3):
            A[i, k] -= u * (x[a, k] - x[b, k]) / length / (sd * sd)


@kernel
def lay_head(x, C, roles, index, template, own_sd, bent_sd, turned_sd, rotation, origin, turn_covariance):  # type: ignore[no-untyped-def]
    """Lay the template on the joints x (J, 3) with covariances C (J, 3, 3) of one person.

    roles: of :class:`.implied_joints.JointRoles`; index: those of a head among them. rotation (3, 3), world from head,
    origin (2, 3): the middle of what was laid, in the head and in the world, and turn_covariance (3, 3) rad² are
    filled. Returns 1 / m² of what tells its place, 0 where it cannot be laid.
    """
    total = 0.0
    w, q, S, A = np.zeros(len(index)), np.empty(4), np.zeros((3, 3)), np.zeros((3, 3))
    origin[:] = 0.0
    for r in range(len(index)):
        j = index[r]
        if math.isfinite(x[j, 0]) and math.isfinite(C[j, 0, 0]):
            w[r] = 1 / ((C[j, 0, 0] + C[j, 1, 1] + C[j, 2, 2]) / 3 + own_sd[r] ** 2)
            total += w[r]
            for i in range(3):
                origin[0, i] += w[r] * template[r, i]
                origin[1, i] += w[r] * x[j, i]
    if total == 0.0:
        return 0.0
    for i in range(3):
        origin[0, i] /= total
        origin[1, i] /= total
    _towards(x, roles[0], roles[1], bent_sd, 1, S, A)
    _towards(x, roles[4], roles[5], turned_sd, 0, S, A)
    for r in range(len(index)):
        if w[r] > 0:
            for i in range(3):
                for k in range(3):
                    S[i, k] += w[r] * (template[r, i] - origin[0, i]) * (x[index[r], k] - origin[1, k])
    _quaternion_into(S, q)
    s, u, v, t = q[0], q[1], q[2], q[3]
    rotation[0, 0], rotation[0, 1], rotation[0, 2] = (
        s * s + u * u - v * v - t * t,
        2 * (u * v - s * t),
        2 * (u * t + s * v),
    )
    rotation[1, 0], rotation[1, 1], rotation[1, 2] = (
        2 * (u * v + s * t),
        s * s - u * u + v * v - t * t,
        2 * (v * t - s * u),
    )
    rotation[2, 0], rotation[2, 1], rotation[2, 2] = (
        2 * (u * t - s * v),
        2 * (v * t + s * u),
        s * s - u * u - v * v + t * t,
    )
    for r in range(len(index)):
        if w[r] > 0:
            square = 0.0
            arm = np.zeros(3)
            for i in range(3):
                for k in range(3):
                    arm[i] += rotation[i, k] * (template[r, k] - origin[0, k])
                square += arm[i] * arm[i]
            for i in range(3):
                A[i, i] += w[r] * square
                for k in range(3):
                    A[i, k] -= w[r] * arm[i] * arm[k]
    return total if _inverse_into(A, turn_covariance) else 0.0


@kernel
def place_on_head(point, own_sd, rotation, origin, turn_covariance, total, x, C):  # type: ignore[no-untyped-def]
    """x (3,) ← the world place of a point (3,) of the template, C (3, 3) ← its covariance; returns its mean sd."""
    arm, cross = np.zeros(3), np.zeros((3, 3))
    for i in range(3):
        for k in range(3):
            arm[i] += rotation[i, k] * (point[k] - origin[0, k])
        x[i] = origin[1, i] + arm[i]
    cross[0, 1], cross[0, 2], cross[1, 2] = -arm[2], arm[1], -arm[0]
    cross[1, 0], cross[2, 0], cross[2, 1] = arm[2], -arm[1], arm[0]
    trace = 0.0
    for i in range(3):
        for k in range(3):
            C[i, k] = 1 / total + own_sd * own_sd if i == k else 0.0
            for m in range(3):
                for n in range(3):
                    C[i, k] += cross[i, m] * turn_covariance[m, n] * cross[k, n]
        trace += C[i, i]
    return math.sqrt(trace / 3)


def head_rows(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The joints of a head among the indices of ``JointRoles``, as the template has them."""
    return np.ascontiguousarray(index[ROLES])
