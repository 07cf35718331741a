"""What detectors do to keypoints, as numbers that are fitted to recordings and can be drawn again.

The error of a joint, in extents of the person (the root mean square radius that :mod:`engines.virtual_camera` divides
by), is a bias that lasts, a slow part and a fast part, both heavy-tailed (Student's t), the slow one an
Ornstein–Uhlenbeck process in time. Joints drop out one by one or in bursts (an arm, a leg, a half, the whole), and left
and right are exchanged for a while. Confidence falls with the size of the error as the recordings say.
"""

import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray
from scipy.signal import lfilter

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import direct_index, skeleton

Float = NDArray[np.float64]
F32 = NDArray[np.float32]

HALPE = skeleton("halpe26")
FITTED = Path(__file__).parent / "detector_noise.toml"
_J = HALPE.index


def _group(*names: str) -> NDArray[np.int64]:
    return np.array([_J(n) for n in names])


_ARMS = [_group(f"{s}_elbow", f"{s}_wrist") for s in ("left", "right")]
_LEGS = [_group(*(f"{s}_{j}" for j in ("knee", "ankle", "big_toe", "small_toe", "heel"))) for s in ("left", "right")]
_HEAD = _group("nose", "left_eye", "right_eye", "left_ear", "right_ear", "head_top")
_SIDES = [np.array([j for j, n in enumerate(HALPE.joints) if n.startswith(s)]) for s in ("left", "right")]
_UPPER = np.concatenate([_HEAD, *_ARMS, _group("left_shoulder", "right_shoulder", "neck")])
_LOWER = np.concatenate([*_LEGS, _group("left_hip", "right_hip", "mid_hip")])
PARTS = (*_ARMS, *_LEGS, _HEAD, *_SIDES, _UPPER, _LOWER, np.arange(len(HALPE)))
_PART_SHARES = np.array([3, 3, 3, 3, 2, 1, 1, 1, 3, 2], np.float64)
_SWAPS = tuple(
    _group(*(f"{s}_{j}" for s in ("left", "right") for j in joints))
    for joints in (
        ("hip", "knee", "ankle", "big_toe", "small_toe", "heel"),
        ("shoulder", "elbow", "wrist"),
        ("hip", "knee", "ankle", "big_toe", "small_toe", "heel", "shoulder", "elbow", "wrist", "eye", "ear"),
    )
)
# what a detector's own skeleton never gives, and how often such a detector is met
DETECTORS = (("blazepose33", 0.45), ("coco17", 0.2), ("body25", 0.15), ("halpe26", 0.2))


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """joints: names of the J joints. bias, slow, fast: (J,) standard deviations per axis, in extents of the person.

    slow_s: time in which the slow part forgets itself. tails: degrees of freedom of Student's t. missing: (J,) share of
    frames that a joint is not given alone. burst_hz, burst_s: bursts of missing parts a second, and their mean length.
    swap_hz, swap_s: the same of left and right exchanged. confidence: (bins, quantiles) quantiles of the confidence at
    errors of up to ``confidence_at`` standard deviations. source: what it was fitted to.
    """

    joints: tuple[str, ...]
    bias: tuple[float, ...]
    slow: tuple[float, ...]
    fast: tuple[float, ...]
    slow_s: float
    tails: float
    missing: tuple[float, ...]
    burst_hz: float
    burst_s: float
    swap_hz: float
    swap_s: float
    confidence_at: tuple[float, ...]
    confidence: tuple[tuple[float, ...], ...]
    source: str = ""

    def save(self, path: Path) -> None:
        """Write TOML, whole."""
        atomic_write(path, tomli_w.dumps(asdict(self)))


def load_noise(path: Path = FITTED) -> NoiseModel:
    """A noise file; KinecastError where it is missing or is none."""
    try:
        table = tomllib.loads(path.read_text())
        return NoiseModel(**{f.name: _tuples(table[f.name]) for f in fields(NoiseModel)})
    except OSError as e:
        raise KinecastError(f"{path}: {e.strerror}") from None
    except (KeyError, TypeError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise KinecastError(f"{path}: no noise file ({e}); `kinecast train noise` writes one") from None


def other_detector(noise: NoiseModel) -> NoiseModel:
    """A detector of another character: jitter and outliers for bias, more that is missing, sides exchanged longer."""
    return replace(
        noise, bias=tuple(0.7 * v for v in noise.bias), slow=tuple(1.3 * v for v in noise.slow),
        fast=tuple(2.5 * v for v in noise.fast), slow_s=2.5 * noise.slow_s, tails=3.0,
        missing=tuple(2.0 * v for v in noise.missing), swap_s=2.0 * noise.swap_s, source=f"not {noise.source}",
    )  # fmt: skip


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Detections of one person in one view beside what all views made of it. T frames of HALPE-26, evenly in time.

    error: (T, 26, 2), in extents of the person, NaN where either is missing. confidence: (T, 26). given: (T, 26)
    whether the detector gave the joint, of those that it can (``can``: (26,)). swapped: (T,) whether left and right fit
    better exchanged. period_s: between frames.
    """

    error: Float
    confidence: Float
    given: NDArray[np.bool_]
    can: NDArray[np.bool_]
    swapped: NDArray[np.bool_]
    period_s: float


def noisy(
    model: NoiseModel, rng: np.random.Generator, xy: F32, extent: F32, visible: NDArray[np.bool_], rate_hz: float,
    detector: str = "",
) -> tuple[F32, F32]:  # fmt: skip
    """Detections (B, T, 26, 2) and their confidence (B, T, 26) of the projections ``xy``, in the same unit.

    extent: (B, T) of the person, in the unit of xy. visible: (B, T, 26), inside the picture and before the camera.
    detector: name of the skeleton that all of them give, ``DETECTORS`` are drawn from where it is "". A missing joint
    has confidence 0 and its coordinates mean nothing.
    """
    B, T, J = visible.shape
    harder = np.exp(rng.normal(0.0, 0.35, (B, 1, 1))).astype(np.float32)  # detectors and scenes differ
    rho = float(np.exp(-1 / (rate_hz * model.slow_s)))
    white = rng.standard_normal((2, B, T, J, 2), np.float32)
    white[0, :, 1:] *= np.sqrt(1 - rho * rho)
    slow = lfilter([1.0], [1.0, -rho], white[0], axis=1).astype(np.float32)
    spread = (model.tails / rng.chisquare(model.tails, (B, T, J))).astype(np.float32)
    stay = float(np.exp(-1 / (rate_hz * 0.15)))  # tails come in spells too: what is hidden stays so for a while
    spread = lfilter([1 - stay], [1.0, -stay], spread, axis=1, zi=stay * spread[:, :1])[0].astype(np.float32)
    tail = np.sqrt(spread)
    scale = [np.array(v, np.float32) * harder for v in (model.bias, model.slow, model.fast)]
    bias = rng.standard_normal((B, 1, J, 2), np.float32) * scale[0][..., None]
    moving = slow * scale[1][..., None] + white[1] * scale[2][..., None]
    error = bias + moving * tail[..., None]
    sd = np.sqrt(sum(s**2 for s in scale)) + 1e-6
    size = np.sqrt((error**2).sum(-1) / 2) / sd
    out = xy + error * extent[..., None, None]
    confidence = _confidence(model, rng, size, rate_hz)
    _exchange(model, rng, out, confidence, rate_hz)
    gone = ~visible | _gone(model, rng, (B, T, J), rate_hz, detector)
    confidence[gone] = 0.0
    return out, confidence


def _confidence(model: NoiseModel, rng: np.random.Generator, size: F32, rate_hz: float) -> F32:
    """(B, T, J): a quantile of its bin of error, the same for a while; each detector bends its own scale."""
    B, T, J = size.shape
    table = np.array(model.confidence, np.float32)
    stay = float(np.exp(-1 / (rate_hz * 0.5)))
    walk = rng.standard_normal((B, T, J), np.float32)
    walk[:, 1:] *= np.sqrt(1 - stay * stay)
    walk = lfilter([1.0], [1.0, -stay], walk, axis=1)
    share = 1 / (1 + np.exp(-1.702 * walk))  # the normal distribution, near enough
    bins = np.searchsorted(model.confidence_at, size).clip(0, len(table) - 1)
    column = (share * table.shape[1]).astype(np.int64).clip(0, table.shape[1] - 1)
    bend = np.exp(rng.normal(0, 0.5, (B, 1, 1)))
    out = table[bins, column] ** bend
    out[rng.random(B) < 0.1] = 1.0  # some detectors do not tell
    return np.asarray(np.clip(out, 0.02, 1.0), np.float32)


def _spells(rng: np.random.Generator, frames: int, rate_hz: float, hz: float, mean_s: float) -> list[tuple[int, int]]:
    """Beginnings and ends, in frames, of spells that begin ``hz`` times a second and last ``mean_s``.

    One in twenty lasts six times as long: somebody stands behind something.
    """
    count = rng.poisson(hz * frames / rate_hz)
    begin = rng.integers(0, frames, count)
    seconds = mean_s * np.where(rng.random(count) < 0.05, 6.0, 1.0)
    length = 1 + (rng.exponential(1.0, count) * seconds * rate_hz).astype(np.int64)
    return [(int(b), int(b + n)) for b, n in zip(begin, length, strict=True)]


def _exchange(model: NoiseModel, rng: np.random.Generator, xy: F32, confidence: F32, rate_hz: float) -> None:
    flip = np.array(HALPE.flip)
    for b in range(len(xy)):
        for begin, end in _spells(rng, xy.shape[1], rate_hz, model.swap_hz, model.swap_s):
            joints = _SWAPS[rng.integers(len(_SWAPS))]
            xy[b, begin:end, joints] = xy[b, begin:end, flip[joints]]
            confidence[b, begin:end, joints] = confidence[b, begin:end, flip[joints]]


def _gone(
    model: NoiseModel, rng: np.random.Generator, shape: tuple[int, int, int], rate_hz: float, detector: str
) -> NDArray[np.bool_]:
    B, T, _ = shape
    gone = rng.random(shape, np.float32) < np.array(model.missing, np.float32) * rng.exponential(1.0, (B, 1, 1))
    names, shares = zip(*DETECTORS, strict=True)
    each = [detector] * B if detector else [names[i] for i in rng.choice(len(names), B, p=np.array(shares))]
    for b, name in enumerate(each):
        gone[b] |= direct_index(name, "halpe26") < 0
        for begin, end in _spells(rng, T, rate_hz, model.burst_hz, model.burst_s):
            part = PARTS[rng.choice(len(PARTS), p=_PART_SHARES / _PART_SHARES.sum())]
            gone[b, begin:end, part] = True
    return np.asarray(gone)
