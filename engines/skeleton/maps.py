"""Maps between skeletons: a joint of the same name is the same joint; what is implied is derived later, in 3D."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.skeleton.tables import skeleton


@cache
def direct_index(source: str, target: str) -> NDArray[np.int64]:
    """(J_target,) index of each target joint in the source skeleton, -1 where the source does not have it."""
    have = {name: i for i, name in enumerate(skeleton(source).joints)}
    index = np.array([have.get(name, -1) for name in skeleton(target).joints], np.int64)
    index.flags.writeable = False
    return index
