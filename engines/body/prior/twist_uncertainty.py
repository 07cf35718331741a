"""How sure a twist is that no keypoint tells: as far as motion was from the prior's guess, not as the prior believes.

Forearms and hands turn about their bones unseen: the fit takes the prior's guess, and says how wide the prior is there.
That is too narrow, for most mocap skeletons have a hinge for an elbow. So the guess is judged by motion that the prior
never saw (:mod:`engines.body.make.twist_table`). A posterior of variance v, where the prior alone says f, takes the
share v / f of its answer from the prior, and that share of the guess's error: v + (v / f)² (s² − f), s² being the mean
square error of guesses. Where keypoints tell a turn v / f is small, and nothing changes.
"""

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

# Of both sides, degrees about a joint's own axes (arms lie along x): (what the prior says when all else is known,
# RMS error of its guess). Measured with the shipped prior on held-out motion of three sources that count alike. The
# bend of the elbow about y is left as it is: keypoints tell it wherever there are any.
GUESSES_DEG = {
    "elbow": ((6.6, 21.0), (12.3, 12.3), (7.8, 21.0)),
    "wrist": ((19.3, 38.0), (9.6, 26.0), (9.6, 19.0)),
    "hand": ((8.7, 9.0), (9.7, 16.0), (13.6, 51.0)),
}


def _table() -> tuple[Float, Float]:
    """f and s² − f, (24, 3) rad²; zero excess for all joints that are not in the table."""
    joints = skeleton("smpl24")
    free, excess = np.ones((24, 3)), np.zeros((24, 3))
    for name, axes in GUESSES_DEG.items():
        f, s = np.deg2rad(np.array(axes)).T ** 2
        for side in ("left", "right"):
            free[joints.index(f"{side}_{name}")], excess[joints.index(f"{side}_{name}")] = f, s - f
    return free, excess


_FREE, _EXCESS = _table()


def inflate_twist_sd(turn_sd_rad: Float) -> Float:
    """(…, 24, 3) rad: standard deviations of a posterior as they may be told; never smaller than they were."""
    v = np.asarray(turn_sd_rad, np.float64) ** 2
    return np.asarray(np.sqrt(v + np.minimum(v / _FREE, 1.0) ** 2 * _EXCESS))
