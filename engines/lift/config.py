"""What a lifter is made of, as data: stored beside the weights, read by training and by run time."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from kinecast.engines.skeleton import SKELETONS

# filter widths by receptive field; the single frame keeps the depth of the longest one, as in the paper's ablation
WIDTHS = {1: (1, 1, 1, 1, 1), 27: (3, 3, 3), 81: (3, 3, 3, 3), 243: (3, 3, 3, 3, 3)}


@dataclass(frozen=True, slots=True)
class LifterConfig:
    """Sizes and switches of a lifter.

    skeleton: of the joints in and out. rate_hz: frames a second that it was trained at. widths: width of the filters,
    odd, first to last. causal: whether an output stands for the last frame of its window, not for the middle one.
    confidence: whether (x, y, confidence) goes in, not (x, y). variance: whether log-variances come out, one for each
    joint and axis. trajectory_channels, gamma_hidden, projector_hidden: sizes of the trajectory model, of RootNet's
    correction and of the projector, 0 where there is none. correction_steps: of the self-correction.
    """

    skeleton: str = "halpe26"
    rate_hz: float = 30.0
    widths: tuple[int, ...] = WIDTHS[243]
    causal: bool = True
    channels: int = 512
    dropout: float = 0.25
    confidence: bool = True
    variance: bool = True
    trajectory_channels: int = 256
    gamma_hidden: int = 256
    projector_hidden: int = 512
    correction_steps: int = 3

    def __post_init__(self) -> None:
        if self.skeleton not in SKELETONS:
            raise ValueError(f"skeleton {self.skeleton!r} is not one of {', '.join(SKELETONS)}")
        if "mid_hip" not in SKELETONS[self.skeleton].joints:
            raise ValueError(f"skeleton {self.skeleton!r} has no mid_hip that could be the root")
        if not self.widths or any(w < 1 or w % 2 == 0 for w in self.widths):
            raise ValueError(f"widths {self.widths} are not all odd")
        sizes = (self.trajectory_channels, self.gamma_hidden, self.projector_hidden, self.correction_steps)
        if self.channels < 1 or min(sizes) < 0 or not 0 <= self.dropout < 1 or not self.rate_hz > 0:
            raise ValueError("a size, a rate or the dropout is out of range")

    @property
    def joints(self) -> int:
        return len(SKELETONS[self.skeleton].joints)

    @property
    def root(self) -> int:
        """Index of the joint that the others are relative to."""
        return SKELETONS[self.skeleton].joints.index("mid_hip")

    @property
    def receptive_field(self) -> int:
        return math.prod(self.widths)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"widths": list(self.widths)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LifterConfig":
        """The inverse of :meth:`to_dict`; raises ValueError or TypeError where it is none of ours."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}")
        return cls(**(values | {"widths": tuple(values["widths"])}))
