"""Compiled loops of :mod:`engines.estimate.occlusion` over people and joints. Of T tracks and J joints."""

import math

import numpy as np

from kinecast.capture.compiled import kernel
from kinecast.engines.fixed import nearest_rotation

LEAST_TURNED = 3  # joints of a trunk whose turn can be told


@kernel
def snapshot(x, seen, t_s, when, shot):  # type: ignore[no-untyped-def]
    """Of every joint seen (T, J) keep the time and x (T, J, 6) of all that are seen with it: shot (T, J, J, 6)."""
    T, J = seen.shape
    for p in range(T):
        for j in range(J):
            if not seen[p, j]:
                continue
            when[p, j] = t_s
            for k in range(J):
                for i in range(6):
                    shot[p, j, k, i] = x[p, k, i] if seen[p, k] else np.nan


@kernel
def _turn(x, seen, shot, trunk, R):  # type: ignore[no-untyped-def]
    """R (3, 3): how the trunk has turned since (Kabsch 1976); as it was where too little of it is seen."""
    R[:] = np.eye(3)
    now, then, n = np.zeros(3), np.zeros(3), 0
    for k in trunk:
        if seen[k] and math.isfinite(shot[k, 0]):
            now += x[k, :3]
            then += shot[k, :3]
            n += 1
    if n < LEAST_TURNED:
        return
    now /= n
    then /= n
    M = np.zeros((3, 3))
    for k in trunk:
        if seen[k] and math.isfinite(shot[k, 0]):
            for a in range(3):
                for b in range(3):
                    M[a, b] += (x[k, a] - now[a]) * (shot[k, b] - then[b])
    nearest_rotation(M, R)


@kernel
def evidence(x, P, seen, want, shot, lifted, rank, trunk, cell_of, base, on_var, terms, cell):  # type: ignore[no-untyped-def]
    """What tells where wanted joints (T, J) are: base (T, J, 3), its variance (T, J), terms (T, J, 3, 3), cell (T, J).

    x (T, J, 6), P (T, J, 6, 6): states of the joints that are seen. lifted: (T, J, 3) less a root, along the axes of
    the world. rank: (J, J) how good one joint is to hang another on, 0: not at all; the trunk's middle comes last.
    base: where a joint is that has not moved beside what it hangs on. terms: what may be added to it, in shares:
    velocity then, m/s; the turn of the trunk since; the lifted pose. cell: which table, −1 where nothing is known.
    """
    T, J = want.shape
    R = np.eye(3)
    now, then, lifted_sum, speed = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    ranks = cell_of.shape[1] - 1
    for p in range(T):
        for j in range(J):
            cell[p, j] = -1
            if not want[p, j] or not math.isfinite(shot[p, j, j, 0]):
                continue
            s = shot[p, j]
            on, least, which = -1, np.inf, ranks + 1
            for k in range(J):
                r = rank[j, k]
                if r == 0 or r > which or not seen[p, k] or not math.isfinite(s[k, 0]):
                    continue
                d = (s[j, 0] - s[k, 0]) ** 2 + (s[j, 1] - s[k, 1]) ** 2 + (s[j, 2] - s[k, 2]) ** 2
                if r < which or d < least:
                    on, least, which = k, d, r
            now[:], then[:], lifted_sum[:], speed[:] = 0.0, 0.0, 0.0, 0.0
            n, var = 0, 0.0
            for k in trunk if on < 0 else np.array([on]):
                if k != j and seen[p, k] and math.isfinite(s[k, 0]):
                    now += x[p, k, :3]
                    then += s[k, :3]
                    speed += s[k, 3:]
                    lifted_sum += lifted[p, k]
                    var += (P[p, k, 0, 0] + P[p, k, 1, 1] + P[p, k, 2, 2]) / 3
                    n += 1
            if n == 0:
                continue
            cell[p, j] = cell_of[j, which - 1 if on >= 0 else ranks]
            _turn(x[p], seen[p], s, trunk, R)
            on_var[p, j] = var / (n * n)
            for i in range(3):
                off = s[j, i] - then[i] / n
                base[p, j, i] = now[i] / n + off
                terms[p, j, 0, i] = s[j, 3 + i] - speed[i] / n
                terms[p, j, 1, i] = -off
                for a in range(3):
                    terms[p, j, 1, i] += R[i, a] * (s[j, a] - then[a] / n)
                terms[p, j, 2, i] = lifted[p, j, i] - lifted_sum[i] / n - off
