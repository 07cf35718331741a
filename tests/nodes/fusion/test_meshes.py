"""The body of a message is found by its id, or it is refused; never another one."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import forward
from kinecast.engines.body.model.load import FOLDER, load_body
from kinecast.engines.records import BODY_FLAGS, Bodies
from kinecast.nodes.fusion.meshes import Mesher, find_body, light_twin


def bodies(name: str = "neutral", people: int = 1, flags: int = 0, seq: int = 0, t_ns: int = 0) -> Bodies:
    """People in a T-pose side by side, upright in a world whose z points up, the first one over its origin."""
    model = load_body(name)
    turn = np.zeros((people, 24, 3), np.float32)
    turn[:, 0] = (np.pi / 2, 0, 0)  # y up to z up
    if not people:
        return _nobody(bodies(name))
    trans = np.array([[0.0, 0.22 + 0.9 * p, 0.95] for p in range(people)], np.float32).reshape(people, 3)
    betas = np.zeros((people, 10), np.float32)
    joints, _ = forward(model, turn.astype(np.float64), betas.astype(np.float64), trans.astype(np.float64))
    plain = np.zeros(people, np.float32)
    return Bodies(
        seq, 0, t_ns, model.id, model.gender, np.arange(1, people + 1, dtype=np.int32), betas, turn, trans,
        joints.astype(np.float32), np.full((people, 24), 0.01, np.float32), np.full((people, 24, 3), 0.1, np.float32),
        plain, plain + 1, np.full(people, flags, np.uint32), np.zeros((people, 2), np.bool_),
    )  # fmt: skip


def _nobody(said: Bodies) -> Bodies:
    arrays = {f.name: getattr(said, f.name) for f in fields(said) if isinstance(getattr(said, f.name), np.ndarray)}
    return replace(said, **{name: value[:0] for name, value in arrays.items()})


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
