"""What the lifter hands on: a measurement for each person in each view."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """Lifted poses, N rows, one for each (person, view), in the order of the call.

    relative_m: (N, J, 3) float64, joints minus root, metres, in the axes of the row's camera; NaN where nothing was
    ever seen. relative_sd_m: (N, J, 3) float64, one σ along each axis of the camera. root_m: (N, 3) float64, the root
    (middle of the hips) in the camera frame, metres; NaN where depth could not be told. root_covariance_m2: (N, 3, 3)
    float64, long along the ray. age: (N,) int64, model frames since the row was born; -1 where it is not yet born.
    """

    relative_m: F64
    relative_sd_m: F64
    root_m: F64
    root_covariance_m2: F64
    age: NDArray[np.int64]

    def __post_init__(self) -> None:
        for each in fields(self):
            getattr(self, each.name).flags.writeable = False
