"""Bodies with the future known: the shape from the whole sequence, every pose between the one before and the one after.

Forward with the live solver, which leaves a shape; forward again with that shape held; then sweeps back and forth in
which each frame is fitted between its neighbours (block descent on the joint cost of all frames). Feet keep the
contacts that the live pass found.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.body.solve import FORGET_NS, BodySolver, Fit

Float = NDArray[np.float64]

SWEEPS = 2  # back, forth: a third moves joints by less than 0.1 mm


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One person at one time. xy: (C, K, 2), w: (C, K), start: (K, 3), as for :meth:`BodySolver.fit`."""

    t_ns: int
    xy: Float
    w: Float
    start: Float


def fit_sequence(solver: Callable[[Float | None], BodySolver], frames: list[Frame]) -> list[Fit | None]:
    """The bodies of one person in all frames, in order of time; None where nothing was ever seen.

    solver: makes a fresh solver with the betas held (B,), or not (None).
    """
    live = solver(None)
    shape: Float | None = None
    for frame in frames:
        fit = live.fit(frame.t_ns, 0, frame.xy, frame.w, start=frame.start)
        shape = fit.betas if fit is not None else shape
    if shape is None:
        return [None] * len(frames)
    held = solver(shape)
    fits = [held.fit(f.t_ns, 0, f.xy, f.w, start=f.start) for f in frames]
    for sweep in range(SWEEPS):
        order = range(len(frames)) if sweep % 2 else range(len(frames) - 1, -1, -1)
        for i in order:
            here = fits[i]
            if here is None:
                continue
            near: list[tuple[int, Fit]] = []
            for k in (i - 1, i + 1):
                if 0 <= k < len(frames) and abs(frames[k].t_ns - frames[i].t_ns) <= FORGET_NS:
                    other = fits[k]
                    if other is not None:
                        near.append((frames[k].t_ns, other))
            fits[i] = held.between(frames[i].t_ns, here, frames[i].xy, frames[i].w, near)
    return fits
