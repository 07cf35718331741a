"""From ``bodies`` and ``poses`` to what a stream sends: in the receiver's axes, one shape a person."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from kinecast.engines.records import BODY_FLAGS, Bodies, Poses, unpack_covariance
from kinecast.nodes.stream.frame import StreamedPerson

Float = NDArray[np.float64]
_OPEN = 1 << BODY_FLAGS.index("shape open")
_NONE = np.zeros(0, np.float32)


class People:
    """Turns messages into people of a world turned by ``turn`` (3, 3). A shape that has settled is kept."""

    def __init__(self, turn: Float) -> None:
        self._turn = turn
        self._shapes: dict[int, NDArray[np.float32]] = {}

    def of_bodies(self, bodies: Bodies) -> tuple[StreamedPerson, ...]:
        """Everybody with a body: rotations, root (its joint), joints."""
        out = []
        for p, person in enumerate(bodies.person_ids.tolist()):
            turns = Rotation.from_rotvec(bodies.rotations_rad[p].astype(np.float64))
            quaternions = turns.as_quat()
            quaternions[0] = (Rotation.from_matrix(self._turn) * turns[0]).as_quat()
            joints = bodies.joints_world_m[p] @ self._turn.T
            out.append(
                StreamedPerson(
                    person,
                    int(bodies.flags[p]),
                    self._shape(person, bodies.betas[p], int(bodies.flags[p])),
                    joints[0].astype(np.float32),
                    quaternions.astype(np.float32),
                    joints.astype(np.float32),
                    bodies.joint_sd_m[p],
                )
            )
        return tuple(out)

    def _shape(self, person: int, betas: NDArray[np.float32], flags: int) -> NDArray[np.float32]:
        if flags & _OPEN:
            return self._shapes.get(person, betas)
        return self._shapes.setdefault(person, betas)

    def of_poses(self, poses: Poses) -> tuple[StreamedPerson, ...]:
        """Everybody without bodies: joints alone, in the skeleton of the poses."""
        spread = np.trace(unpack_covariance(poses.covariance_m2), axis1=-2, axis2=-1) / 3
        sd = np.sqrt(np.maximum(spread, 0.0)).astype(np.float32)
        places = (poses.points_world_m @ self._turn.T).astype(np.float32)
        return tuple(
            StreamedPerson(i, 0, _NONE, _NONE, np.zeros((0, 4), np.float32), places[p], sd[p])
            for p, i in enumerate(poses.person_ids.tolist())
        )
