"""From ``bodies`` to meshes: which body model a message means, and where the vertices of its people are.

Rotations of one body are never given to another: the model is found by the id that the message carries.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import BodyModel, forward, same_rotations
from kinecast.engines.body.model.load import FREE, load_body
from kinecast.engines.body.model.skinning import vertex_normals
from kinecast.engines.records import BODY_FLAGS, Bodies, Meshes

F32 = NDArray[np.float32]
_DOUBTFUL = sum(1 << BODY_FLAGS.index(flag) for flag in ("residual", "unseen"))


@dataclass(frozen=True, slots=True, eq=False)
class PeopleMesh:
    """The meshes of the P people of one message, all of one body: V vertices, F faces.

    person_ids: (P,) int32. vertices_world_m and normals_world: (P, V, 3) float32. faces: (F, 3) int32.
    doubtful: (P,) bool, fits that their own flags say are not to be trusted.
    """

    person_ids: NDArray[np.int32]
    vertices_world_m: F32
    normals_world: F32
    faces: NDArray[np.int32]
    doubtful: NDArray[np.bool_]


def find_body(body_id: str, where: str = "", files: Iterable[str] = ()) -> BodyModel:
    """The body of that id: one that comes with Kinecast, or one of ``files``.

    KinecastError, which names ``where`` the id was met, for one that is not among them.
    """
    kind = body_id.partition("-")[0]
    wanted = [name for name in FREE if kind == "free"]
    for name in (*wanted, *(f for f in files if f and f not in FREE)):
        if name in FREE or Path(name).expanduser().is_file():
            model = load_body(name)
            if model.id == body_id:
                return model
    given = ", ".join(f for f in files if f and f not in FREE)
    tried = f"; {given} has another" if given else ""
    raise KinecastError(
        f"{where or 'bodies'}: they are of the body {body_id}, which is not at hand{tried}; "
        f"give the file of that body with --body FILE"
    )


def light_twin(model: BodyModel) -> BodyModel:
    """The light mesh of the same rotations and shapes where there is one, else the body itself."""
    light = load_body("light")
    return light if same_rotations(light, model) else model


class Mesher:
    """Poses the mesh of every message. files: bodies of the user's own. light: the light mesh where there is one."""

    def __init__(self, where: str = "", files: Iterable[str] = (), light: bool = True) -> None:
        self._where, self._files, self._light = where, tuple(files), light
        self._models: dict[str, BodyModel] = {}

    def model(self, body_id: str) -> BodyModel:
        """The mesh to pose for that id. KinecastError where its body is not at hand."""
        if body_id not in self._models:
            found = find_body(body_id, self._where, self._files)
            self._models[body_id] = light_twin(found) if self._light else found
        return self._models[body_id]

    def vertices(self, bodies: Bodies) -> F32:
        """(P, V, 3) float32 metres in the world."""
        model = self.model(bodies.body_id)
        if not len(bodies.person_ids):
            return np.zeros((0, len(model.v_template), 3), np.float32)
        pose, shift = bodies.rotations_rad.astype(np.float64), bodies.trans_m.astype(np.float64)
        return forward(model, pose, bodies.betas.astype(np.float64), shift)[1]

    def message(self, bodies: Bodies) -> Meshes:
        """The message ``meshes`` of these bodies; its id is that of the mesh, which may be a lighter twin's."""
        ids, vertices = bodies.person_ids, self.vertices(bodies)
        model = self.model(bodies.body_id)
        return Meshes(bodies.frameset_seq, bodies.run_index, bodies.t_set_ns, model.id, ids, vertices)

    def mesh(self, bodies: Bodies) -> PeopleMesh:
        """The meshes with what shading needs."""
        vertices, faces = self.vertices(bodies), self.model(bodies.body_id).faces
        normals = np.zeros_like(vertices)
        for p in range(len(vertices)):
            normals[p] = vertex_normals(vertices[p], faces)
        return PeopleMesh(bodies.person_ids, vertices, normals, faces, (bodies.flags & _DOUBTFUL) != 0)
