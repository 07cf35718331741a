"""What is wrong with a detector all the time: numbers that are fitted to recordings, and can be acted out again.

A habit is a 3D offset of a joint in the axes of its limb (:mod:`engines.habits.limb_frames`) that depends on where the
camera stands. Round it the detector errs slowly and fast, both with heavy tails, more where it cannot see the joint;
then it also says where the *other* side's joint is. All lengths are metres for a person of ``limb_frames.REFERENCE_M``
and grow with the person.

``kinecast dataset habits`` fits a table. Those that are shipped lie in ``engines/artifacts/habits``; they are numbers,
hold no picture and no person, and come under the licence of this project.
"""

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.engines.habits.limb_frames import HARMONICS, KINDS

Float = NDArray[np.float64]

SHIPPED = Path(__file__).parent.parent / "artifacts" / "habits"


@dataclass(frozen=True, slots=True)
class Habits:
    """A detector's habits. skeleton: of its keypoints. K kinds of joints (``limb_frames.KINDS``), left and right alike.

    offset_m: K × 3 × 5, ahead, outward and up, by ``limb_frames.view_harmonics``; the first harmonic is what all views
    have in common. offset_sd_m: K × 3, by which the common offset differs from person to person and scene to scene.
    view_m, view_s: K and one memory, error in the picture per axis that lasts as long as somebody stands or turns.
    slow_m, slow_s: K, error in the picture per axis, and its memory. fast_m: K, new in every frame. common_m, common_s:
    of all joints of a person in a view together. tails, tails_s: standard deviation of the logarithm of what slow and
    fast are multiplied with, and its memory. missing: K, share of frames without the joint; 1: it is never given.
    hidden_slow: K, what slow is multiplied with where the joint is behind the own body. hidden_other: K, share of the
    time in which a hidden joint is put where the other side's is. hidden_missing: K. swap_hz, swap_s: how often left
    and right of the whole person are exchanged, and for how long.
    confidence: bins × quantiles of the confidence at errors of up to ``confidence_at_m`` metres, and beyond.
    source: what it was fitted to. untold: what that could not tell.
    """

    detector: str
    skeleton: str
    offset_m: tuple[tuple[tuple[float, ...], ...], ...]
    offset_sd_m: tuple[tuple[float, ...], ...]
    view_m: tuple[float, ...]
    view_s: float
    slow_m: tuple[float, ...]
    slow_s: tuple[float, ...]
    fast_m: tuple[float, ...]
    common_m: float
    common_s: float
    tails: float
    tails_s: float
    missing: tuple[float, ...]
    hidden_slow: tuple[float, ...]
    hidden_other: tuple[float, ...]
    hidden_missing: tuple[float, ...]
    swap_hz: float
    swap_s: float
    confidence_at_m: tuple[float, ...]
    confidence: tuple[tuple[float, ...], ...]
    source: str = ""
    untold: str = ""
    kinds: tuple[str, ...] = KINDS

    def __post_init__(self) -> None:
        k = len(KINDS)
        shapes = {
            "offset_m": (k, 3, HARMONICS), "offset_sd_m": (k, 3), "view_m": (k,), "slow_m": (k,), "slow_s": (k,),
            "fast_m": (k,), "missing": (k,), "hidden_slow": (k,), "hidden_other": (k,), "hidden_missing": (k,),
        }  # fmt: skip
        for name, shape in shapes.items():
            have = np.shape(getattr(self, name))
            if have != shape:
                raise KinecastError(f"habits of {self.detector}: {name} is {have}, expected {shape}")
        if self.kinds != KINDS:
            raise KinecastError(f"habits of {self.detector}: kinds are {', '.join(self.kinds)}, not {', '.join(KINDS)}")
        if len(self.confidence) != len(self.confidence_at_m) + 1:
            raise KinecastError(f"habits of {self.detector}: confidence has one row more than confidence_at_m")

    def save(self, path: Path) -> None:
        """Write TOML, whole."""
        atomic_write(path, tomli_w.dumps(asdict(self)))


def load_habits(name: str | Path) -> Habits:
    """The shipped table of a detector, or the one at a path that ends in .toml; KinecastError where there is none."""
    path = Path(name) if str(name).endswith(".toml") else SHIPPED / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text())
        return Habits(**{f.name: _tuples(table[f.name]) for f in fields(Habits)})
    except OSError:
        raise KinecastError(
            f"there are no habits of a detector {str(name)!r}: known are {', '.join(habit_names())}"
        ) from None
    except (KeyError, TypeError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise KinecastError(f"{path}: no table of habits ({e}); `kinecast dataset habits` writes one") from None


def habit_names() -> list[str]:
    """Detectors whose habits are shipped."""
    return sorted(p.stem for p in SHIPPED.glob("*.toml"))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
