"""The body of a message is found by its id, or it is refused; never another one."""

from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import FOLDER, load_body
from kinecast.engines.records import BODY_FLAGS
from kinecast.nodes.fusion.meshes import Mesher, find_body, light_twin
from tests.nodes.fusion.toys import bodies


@pytest.mark.parametrize("name", ["neutral", "male", "female", "light"])
def test_a_body_is_found_by_its_id(name: str) -> None:
    assert find_body(load_body(name).id) is load_body(name)


def test_another_body_is_refused_with_what_to_do(tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    own.write_bytes((FOLDER / "body-male.npz").read_bytes())
    for wrong in ("smpl-male-0123456789abcdef", "free-neutral-0123456789abcdef"):
        with pytest.raises(KinecastError, match=rf"session.mcap: .*{wrong}.*--body"):
            find_body(wrong, "session.mcap", (str(own),))


def test_the_light_mesh_stands_for_its_own_rotations_only() -> None:
    assert light_twin(load_body("neutral")) is load_body("light")
    assert light_twin(load_body("male")) is load_body("male")


def test_light_and_full_mesh_lie_on_each_other() -> None:
    said = bodies()
    light, full = (Mesher(light=flag).vertices(said)[0] for flag in (True, False))
    assert len(light) < len(full)
    far = np.linalg.norm(light[:, None] - full[None], axis=-1).min(axis=1)
    assert np.median(far) < 0.006 and far.max() < 0.03  # to the nearest vertex: edges of the full mesh are 1–4 cm long


def test_normals_point_outward_and_doubt_is_passed_on() -> None:
    mesh = Mesher().mesh(bodies(people=2, flags=1 << BODY_FLAGS.index("residual")))
    assert mesh.doubtful.all()
    middle = mesh.vertices_world_m.mean(axis=1, keepdims=True)
    torso = np.abs(mesh.vertices_world_m - middle)[..., 2] < 0.2
    outward = ((mesh.vertices_world_m - middle) * mesh.normals_world)[..., :2].sum(axis=-1)
    assert (outward[torso] > 0).mean() > 0.9
    np.testing.assert_allclose(np.linalg.norm(mesh.normals_world, axis=-1), 1, atol=1e-5)
    assert len(Mesher().mesh(bodies(people=0)).vertices_world_m) == 0
