"""From residuals of real detections to a :class:`~engines.train.data.detector_noise.NoiseModel`."""

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.train.data.detector_noise import HALPE, Float, NoiseModel, Residuals

# what clips of seconds cannot show is not taken to be rarer than this
FEWEST_BURSTS_HZ, FEWEST_SWAPS_HZ, FEWEST_MISSING = 0.12, 0.03, 0.004
BURST_S, SWAP_S = 0.35, 0.12
AT = (0.4, 0.8, 1.2, 1.8, 3.0)
QUANTILES = 10
FAST_SHARE = 0.9  # at least a tenth of what moves is new in every frame
CLIP = 8.0  # errors are cut at this many median deviations: one outlier does not make a variance
# joints that no recording gave are as bad as these
_STAND_IN = {
    "head_top": ("left_ear", "right_ear"), "neck": ("left_shoulder", "right_shoulder"),
    "mid_hip": ("left_hip", "right_hip"), "left_small_toe": ("left_big_toe",), "right_small_toe": ("right_big_toe",),
    "left_big_toe": ("left_ankle",), "right_big_toe": ("right_ankle",), "left_heel": ("left_ankle",),
    "right_heel": ("right_ankle",),
}  # fmt: skip


def fit_noise(found: list[Residuals], source: str) -> NoiseModel:
    """Fit the noise model; KinecastError where there are fewer than 200 person-frames. Sides are taken together."""
    frames = sum(int(np.isfinite(r.error).any(axis=(1, 2)).sum()) for r in found)
    if frames < 200:
        raise KinecastError(f"{frames} person-frames with a fused pose are too few to fit noise to: record 200 or more")
    bias2, slow2, fast2, n, rhos, moving = _parts(found)
    size = np.concatenate([np.abs(m).ravel() for m in moving])
    kurtosis = float(np.nanmean(size**4) / np.nanmean(size**2) ** 2)
    tails = float(np.clip(4 + 6 / max(kurtosis - 3, 0.1), 3.0, 30.0))
    shrink = np.sqrt((tails - 2) / tails)  # Student's t of that many degrees has a variance above 1
    bias, slow, fast = (_filled(np.sqrt(v), n) for v in (bias2, slow2, fast2))
    given = np.concatenate([r.given for r in found])
    can = np.concatenate([np.broadcast_to(r.can, r.given.shape) for r in found])
    missing = np.where(can.any(0), 1 - (given & can).sum(0) / np.maximum(can.sum(0), 1), 0.0)
    seconds = sum(len(r.given) * r.period_s for r in found)
    bursts = sum(_runs(((~r.given) & r.can).sum(1) >= 2) for r in found)
    swaps = sum(_runs(r.swapped) for r in found)
    total = np.sqrt(bias**2 + slow**2 + fast**2)
    flat = _flip(missing)
    return NoiseModel(
        joints=HALPE.joints,
        bias=_rounded(bias), slow=_rounded(slow * shrink), fast=_rounded(fast * shrink),
        slow_s=round(float(np.clip(np.median(rhos), 0.05, 1.0)), 4),
        tails=round(tails, 3),
        missing=_rounded(np.clip(flat, FEWEST_MISSING, 0.3)),
        burst_hz=round(max(bursts / seconds, FEWEST_BURSTS_HZ), 4), burst_s=BURST_S,
        swap_hz=round(max(swaps / seconds, FEWEST_SWAPS_HZ), 4), swap_s=SWAP_S,
        confidence_at=AT,
        confidence=_confidence(found, total),
        source=f"{source}: {frames} person-frames",
    )  # fmt: skip


def _parts(found: list[Residuals]) -> tuple[Float, Float, Float, Float, list[float], list[Float]]:
    """Variances (26,) of the lasting, slow and fast part, frames (26,), memories in s, and what moves, in its sd."""
    J = len(HALPE)
    bias2, c0, c1, c2, n, tracks = (np.zeros(J) for _ in range(6))
    moving, rhos = [], []
    for r in found:
        e = np.where(r.swapped[:, None, None], np.nan, r.error)
        seen = np.isfinite(e).all(-1)
        enough = seen.sum(0) >= 10
        e[:, ~enough] = np.nan
        if not enough.any():
            continue
        middle = np.zeros((J, 2))
        middle[enough] = np.nanmedian(e[:, enough], axis=0)
        off = e - middle
        width = np.full(J, np.nan)
        width[enough] = 1.4826 * np.nanmedian(np.abs(off[:, enough]), axis=(0, 2))
        limit = CLIP * width[None, :, None]
        moving.append((off / np.maximum(width, 1e-4)[None, :, None])[seen & enough])
        off = np.clip(off, -limit, limit)
        bias2 += np.where(enough, (middle**2).mean(-1), 0)
        tracks += enough
        lag = max(1, round(1 / 30 / r.period_s))  # one frame at 30 Hz
        for k, total in ((0, c0), (lag, c1), (2 * lag, c2)):
            product = (off[k:] * off[: max(len(off) - k, 0)]).mean(-1)
            both = np.isfinite(product)
            total += np.where(both, product, 0).sum(0) / np.maximum(both.sum(0), 1) * seen.sum(0)
        n += seen.sum(0) * enough
    some = np.maximum(n, 1)
    c0, c1, c2 = (_flip(v / some) for v in (c0, c1, c2))
    rho = np.clip(np.median((c2 / np.maximum(c1, 1e-9))[n > 0]), 0.3, 0.97)
    rhos.append(float(-1 / 30 / np.log(rho)))
    slow2 = np.clip(c1 / rho, 0, FAST_SHARE * c0)
    return _flip(bias2 / np.maximum(tracks, 1)), slow2, c0 - slow2, n, rhos, moving


def _flip(values: Float) -> Float:
    """Left and right alike."""
    return np.asarray((values + values[list(HALPE.flip)]) / 2)


def _filled(values: Float, n: Float) -> Float:
    out = values.copy()
    for joint, instead in _STAND_IN.items():
        j = HALPE.index(joint)
        if not n[j]:
            out[j] = np.mean([out[HALPE.index(i)] for i in instead])
    return out


def _runs(flags: NDArray[np.bool_]) -> int:
    return int((flags[1:] & ~flags[:-1]).sum() + flags[0]) if len(flags) else 0


def _confidence(found: list[Residuals], total: Float) -> tuple[tuple[float, ...], ...]:
    size, confidences = [], []
    for r in found:
        e = np.sqrt((r.error**2).sum(-1) / 2) / np.maximum(total, 1e-4)
        ok = np.isfinite(e) & r.given
        size.append(e[ok])
        confidences.append(r.confidence[ok])
    e, c = np.concatenate(size), np.concatenate(confidences)
    rows: list[tuple[float, ...]] = []
    steps = (np.arange(QUANTILES) + 0.5) / QUANTILES
    for low, high in zip((0.0, *AT), (*AT, np.inf), strict=True):
        inside = c[(e >= low) & (e < high)]
        last = rows[-1] if rows else (1.0,) * QUANTILES
        rows.append(_rounded(np.quantile(inside, steps)) if len(inside) >= 20 else last)
    return tuple(rows)


def _rounded(values: Float) -> tuple[float, ...]:
    return tuple(round(float(v), 5) for v in values)
