"""Faces that cannot be: what two views alone made of the nose, an eye or an ear may lie far from the rest of the head.

No two of nose, eyes and ears are further apart than MOST_M in anybody. Where two are, the joint that most others
contradict is not seen, of several the one that is less sure; nothing is moved.
"""

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel
from kinecast.engines.skeleton import skeleton
from kinecast.engines.triangulate.solve import Solution

# ear to nose is 14.4 cm and ear to ear 14.3 cm (ANSUR II, see engines.estimate.implied_joints); 3 σ of two keypoints of
# 1 cm
MOST_M = 0.19
_PARTS = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


def face_joints(name: str) -> NDArray[np.int64]:
    """Indices of nose, eyes and ears in a skeleton; those that it has."""
    s = skeleton(name)
    return np.array([s.index(p) for p in _PARTS if p in s.joints], np.int64)


@kernel
def _reject_implausible(points, covariance, face, most2, out):  # type: ignore[no-untyped-def]
    n = len(face)
    for p in range(points.shape[0]):
        for _ in range(n):
            worst, against, worst_m2 = -1, 0, 0.0
            for i in range(n):
                a = face[i]
                if out[p, a] or not np.isfinite(points[p, a, 0]):
                    continue
                far = 0
                for k in range(n):
                    b = face[k]
                    if k == i or out[p, b] or not np.isfinite(points[p, b, 0]):
                        continue
                    d2 = 0.0
                    for x in range(3):
                        d2 += (points[p, a, x] - points[p, b, x]) ** 2
                    far += d2 > most2
                trace = covariance[p, a, 0, 0] + covariance[p, a, 1, 1] + covariance[p, a, 2, 2]
                if far > against or (far == against and far > 0 and trace > worst_m2):
                    worst, against, worst_m2 = a, far, trace
            if worst < 0:
                break
            out[p, worst] = True


def reject_implausible_face(solution: Solution, face: NDArray[np.int64]) -> int:
    """Take back in place the joints of a face that cannot be where they are; returns how many."""
    out = np.zeros(solution.points_world_m.shape[:2], np.bool_)
    _reject_implausible(solution.points_world_m, solution.covariance_m2, face, MOST_M**2, out)
    n = int(np.count_nonzero(out))
    if n:
        solution.points_world_m[out] = np.nan
        solution.covariance_m2[out] = np.nan
        solution.residual_px[out] = np.nan
        solution.confidence[out] = 0.0
        solution.views[out] = 0
        everywhere = np.broadcast_to(out[:, None], solution.chi2.shape)
        solution.chi2[everywhere] = 0.0
        solution.freedom[everywhere] = 0.0
    return n
