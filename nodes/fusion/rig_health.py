"""What fusion tells of the rig: the record of ``rig_health``, a line for a person, corrections of the clocks."""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.timing.rig_watch import RigState
from kinecast.nodes.bus.messages import RigHealth

SURE_S = 0.002  # a clock less sure than this is left alone
STEP_S = 0.002  # a second: a correction never jumps, and the people do not either
REST_S = 0.0005  # nearer than this it is right
ACT_SIGMA = 2.5  # further off than this a clock is put right
ODD_PX, ODD_TIMES = 4.0, 3.0  # detectors differ by less between views, and every camera of a sound rig by like amounts


def record(state: RigState, run_index: int, cameras: tuple[str, ...]) -> RigHealth:
    """The message of a state."""
    return RigHealth(
        t_set_ns=state.t_ns,
        run_index=run_index,
        cameras=cameras,
        residual_px=state.residual_px.astype(np.float32),
        baseline_px=state.baseline_px.astype(np.float32),
        moved_px=state.moved_px.astype(np.float32),
        moved_sigma_px=state.moved_sigma_px.astype(np.float32),
        moved_since_ns=state.moved_since_ns.copy(),
        offset_ms=(1e3 * state.offset_s).astype(np.float32),
        offset_sigma_ms=(1e3 * state.offset_sigma_s).astype(np.float32),
    )


def line(health: RigHealth, wall_from_stamp_ns: int | None = None) -> str:
    """One line for a person: cameras that have moved, and one that never agreed with the others; empty where none.

    wall_from_stamp_ns: wall clock minus the clock of the stamps, None where they have none in common.
    """
    parts = []
    for n in np.flatnonzero(health.moved_since_ns):
        since = int(health.moved_since_ns[n])
        if wall_from_stamp_ns is None:
            when = f"{since / 1e9:.0f} s of the session"
        else:
            when = datetime.fromtimestamp((since + wall_from_stamp_ns) / 1e9).strftime("%H:%M")
        parts.append(f"camera {health.cameras[n]} has moved: {health.moved_px[n]:.0f} px since {when}")
    c = odd_one(health)
    if c is not None and not health.moved_since_ns[c]:
        others = float(np.nanmedian(np.delete(health.residual_px, c)))
        parts.append(
            f"camera {health.cameras[c]} does not agree with the others: {health.residual_px[c]:.0f} px, theirs "
            f"{others:.0f}: its place, lens or clock is not what the rig says"
        )
    return "; ".join(parts)


def odd_one(health: RigHealth) -> int | None:
    """The camera whose residual stands out from those of at least two others, or None."""
    residual = health.residual_px
    if np.count_nonzero(np.isfinite(residual)) < 3:
        return None
    c = int(np.nanargmax(residual))
    others = float(np.nanmedian(np.delete(residual, c)))
    return c if residual[c] > max(ODD_PX, ODD_TIMES * others) else None


class ClockSteering:
    """Moves the corrections in force towards the clocks that were found: slowly, and where those are sure.

    A clock is left alone until it is off by more than ACT_SIGMA standard deviations, and is then put right to the end:
    habits of detectors make small offsets of clocks that are right, and every correction moves the people.
    """

    def __init__(self, cameras: int) -> None:
        self._acting = np.zeros(cameras, np.bool_)

    def steered(self, offsets_ns: NDArray[np.int64], state: RigState) -> NDArray[np.int64]:
        """The corrections (C,) for the next second, from those in force and what the last state says."""
        sigma = state.offset_sigma_s
        if not (np.isfinite(state.offset_s).all() and (sigma < SURE_S).all()):
            self._acting[:] = False
            return offsets_ns
        gap = state.offset_s - offsets_ns / 1e9
        off = np.abs(gap)
        self._acting = (off > np.maximum(REST_S, ACT_SIGMA * sigma)) | (self._acting & (off > REST_S))
        step = np.where(self._acting, np.clip(gap, -STEP_S, STEP_S), 0.0)
        return offsets_ns + np.rint(step * 1e9).astype(np.int64)
