"""A body's skeleton and keypoints as the arrays that the kernels take."""

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.kernels import Bones
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import KeypointTerms

Int = NDArray[np.int64]


def bones_of(body: BodyModel, terms: KeypointTerms) -> Bones:
    """The arrays of a body's skeleton and keypoints that the kernels take."""
    parents = np.ascontiguousarray(body.parents, np.int64)
    movers, n_movers, under = movers_of(parents, terms.joint, terms.count)
    return Bones(
        parents,
        np.ascontiguousarray(body.J_template),
        np.ascontiguousarray(body.J_shape),
        terms.joint.copy(),
        terms.weight.copy(),
        terms.offset.copy(),
        terms.offset_shape.copy(),
        terms.count.copy(),
        movers,
        n_movers,
        under,
    )


def movers_of(parents: Int, joint: Int, terms: Int) -> tuple[Int, Int, Int]:
    """movers (K, A), n_movers (K,) and under (K, A, M) of keypoints on joints (K, M), see :class:`~.kernels.Bones`."""
    K, M = joint.shape
    moved = [[_chain(parents, int(joint[k, m])) for m in range(terms[k])] for k in range(K)]
    movers = [sorted({a for chain in chains for a in chain}) for chains in moved]
    most = max(len(m) for m in movers)
    index, under = np.zeros((K, most), np.int64), np.zeros((K, most, M), np.int64)
    for k in range(K):
        index[k, : len(movers[k])] = movers[k]
        for m, chain in enumerate(moved[k]):
            under[k, : len(movers[k]), m] = [a in chain for a in movers[k]]
    return index, np.array([len(m) for m in movers], np.int64), under


def _chain(parents: Int, joint: int) -> set[int]:
    out = set()
    while joint >= 0:
        out.add(joint)
        joint = int(parents[joint])
    return out
