"""Errors that last, at any time and in any order: stationary normal noise with a memory, as a function of time.

Whoever asks for a time gets the same number, whatever was asked for before, so camera processes need not know each
other and an hour need not be held in memory.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

STEP_NS = 20_000_000  # noise is held for so long: half a frame of the slowest camera
BLOCK = 2048  # steps that are drawn together, 41 s: what came before the last block is forgotten
LONGEST_S = 8.0  # memory beyond which the beginning of a block would show


@lru_cache(maxsize=256)
def _white(key: tuple[int, ...], block: int, channels: int) -> Float:
    return np.random.default_rng((*key, block + (1 << 31))).standard_normal((BLOCK, channels))


@lru_cache(maxsize=256)
def _block(key: tuple[int, ...], block: int, tau_s: tuple[float, ...]) -> Float:
    """(BLOCK, N) float64 of unit variance, channel by channel with its own memory."""
    from scipy.signal import lfilter  # most of what the imports of a camera's process took, and few need it

    white = np.concatenate([_white(key, block - 1, len(tau_s)), _white(key, block, len(tau_s))])
    taus = np.minimum(np.array(tau_s), LONGEST_S)
    out = np.empty((BLOCK, len(tau_s)))
    for tau in np.unique(taus):
        rho = float(np.exp(-STEP_NS / 1e9 / tau)) if tau > 0 else 0.0
        which = np.flatnonzero(taus == tau)
        gain = np.sqrt(1 - rho * rho)
        out[:, which] = lfilter([gain], [1.0, -rho], white[:, which], axis=0)[BLOCK:]
    out.flags.writeable = False
    return out


def lasting_noise(key: tuple[int, ...], t_ns: NDArray[np.int64], tau_s: tuple[float, ...]) -> Float:
    """(T, N) normal numbers of variance 1 at times t_ns (T,), correlated as exp(−Δt / tau_s) in each of N channels.

    key: whose they are; other keys are independent. tau_s: (N,) seconds, 0 for white.
    """
    step = np.round(np.asarray(t_ns) / STEP_NS).astype(np.int64)
    block, row = np.divmod(step, BLOCK)
    out = np.empty((len(step), len(tau_s)))
    for b in np.unique(block):
        at = block == b
        out[at] = _block(key, int(b), tau_s)[row[at]]
    return out
