"""SimCC: a joint as two classifications, one over the columns and one over the rows (RTMPose and its like).

Source: Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022;
Jiang et al., "RTMPose", 2023. The score is the lower of the two peaks, as in MMPose.
"""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def decode_simcc(simcc_x: F32, simcc_y: F32, split_ratio: float) -> tuple[F32, F32]:
    """xy (N, J, 2), pixels of the input with (0, 0) the centre of the first, and confidence (N, J) in [0, 1].

    simcc_x: (N, J, width × split_ratio), simcc_y likewise. NaN and 0 where both peaks are not above zero.
    """
    x, y = simcc_x.argmax(2), simcc_y.argmax(2)
    peak = np.minimum(simcc_x.max(2), simcc_y.max(2))
    xy = np.stack([x, y], 2).astype(np.float32) / np.float32(split_ratio)
    xy[peak <= 0] = np.nan
    return xy, np.clip(peak, 0, 1).astype(np.float32)
