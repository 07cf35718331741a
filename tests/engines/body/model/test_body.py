"""The free body and the model: what the card states, skinning against its twins, keypoints as terms."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from kinecast.engines.body.make.free_rest_pose import direction
from kinecast.engines.body.model.body import BodyModel, forward, pose_joints, same_rotations
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import FOLDER, FREE, load_body
from kinecast.engines.body.model.skinning import vertex_normals
from kinecast.engines.skeleton import skeleton
from tests.engines.body import toy

# What make_free_body wrote and docs/reference/free-body.md states: recordings name these,
# so they change only when a body does.
IDS = {
    "neutral": "free-neutral-33f7750ce4930ea4",
    "male": "free-male-f3156574af5b4b39",
    "female": "free-female-2048737c1126def1",
    "light": "free-neutral-1acb6a3906cd012f",
}
SKELETONS = ("halpe26", "coco17", "body25", "h36m17", "blazepose33")


def people(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses beyond what joints allow, shapes beyond what people are: parity must hold there too."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.6, (count, 24, 3)), rng.normal(0, 1.5, (count, 10)), rng.normal(0, 1, (count, 3))


@pytest.fixture(scope="module")
def neutral() -> BodyModel:
    return load_body("neutral")


@pytest.mark.parametrize("name", FREE)
def test_committed_file_is_the_one_that_the_card_states(name: str) -> None:
    body = load_body(name)
    assert body.id == IDS[name]
    assert body.kind == "free" and body.gender == ("neutral" if name == "light" else name)
    assert (FOLDER / f"body-{name}.npz").stat().st_size < 1e6
    assert tuple(body.parents) == skeleton("smpl24").parents
    assert body.betas == 10
    assert (body.weights >= 0).all() and (body.weights > 0).sum(axis=1).max() <= 4


@pytest.mark.parametrize("name", FREE)
def test_bones_point_as_in_smpl(name: str) -> None:
    body = load_body(name)
    for j, joint in enumerate(skeleton("smpl24").joints[1:], 1):
        bone = body.J_template[j] - body.J_template[body.parents[j]]
        angle = np.degrees(np.arccos(np.clip(bone @ direction(joint) / np.linalg.norm(bone), -1, 1)))
        assert angle < 0.1, joint  # 0.1° is 0.1 mm at the shortest bone


def test_body_is_symmetric(neutral: BodyModel) -> None:
    """Left is right in the mirror: joints, and how the first shapes move them, to a hundredth of a millimetre."""
    flip = list(skeleton("smpl24").flip)
    mirror = np.array([-1.0, 1.0, 1.0])
    assert np.abs(neutral.J_template - neutral.J_template[flip] * mirror).max() < 1e-4
    assert np.abs(neutral.J_shape[:, :, 0] - neutral.J_shape[flip][:, :, 0] * mirror).max() < 5e-4


def test_stature_follows_the_first_shape(neutral: BodyModel) -> None:
    low, middle, high = (neutral.stature_m(np.array([b])) for b in (-3.0, 0.0, 3.0))
    assert (round(low, 2), round(middle, 2), round(high, 2)) == (1.39, 1.70, 2.01)
    assert load_body("female").stature_m(np.zeros(1)) < middle < load_body("male").stature_m(np.zeros(1))


def test_light_mesh_is_the_same_body(neutral: BodyModel) -> None:
    light = load_body("light")
    assert light.id != neutral.id
    assert same_rotations(neutral, light) and not same_rotations(neutral, load_body("male"))
    pose, betas, trans = people(5)
    joints, light_joints = forward(neutral, pose, betas, trans)[0], forward(light, pose, betas, trans)[0]
    # 0.02 mm a unit of β at most, summed along the longest chain of 8 bones with |β| ≈ 5
    assert np.abs(joints - light_joints).max() < 8 * 5 * 2e-5


def test_id_is_of_the_content(neutral: BodyModel) -> None:
    arrays = {f.name: getattr(neutral, f.name) for f in dataclasses.fields(neutral) if f.init}
    assert BodyModel(**arrays).id == neutral.id
    assert BodyModel(**arrays | {"name": "other", "landmarks": {}}).id == neutral.id
    moved = neutral.v_template.copy()
    moved[17, 1] += 1e-6
    assert BodyModel(**arrays | {"v_template": moved}).id != neutral.id
    with pytest.raises(ValueError, match="read-only"):
        neutral.v_template[0, 0] = 0.0


def test_rest_pose_turns_about_the_pelvis(neutral: BodyModel) -> None:
    pose = np.zeros((1, 24, 3))
    joints, vertices = forward(neutral, pose)
    assert np.abs(joints[0] - neutral.J_template).max() < 1e-12
    assert np.abs(vertices[0] - neutral.v_template).max() < 1e-6
    pose[0, 0] = [0.0, np.pi, 0.0]
    turned, _ = forward(neutral, pose, trans=np.array([[0.0, 1.0, 0.0]]))
    about = neutral.J_template[0]
    assert np.allclose(turned[0], about + (neutral.J_template - about) * [-1, 1, -1] + [0, 1, 0], atol=1e-12)


def test_fast_skinning_is_that_of_dense_weights_in_float64(neutral: BodyModel) -> None:
    pose, betas, trans = people(4)
    turned, joints, rest = pose_joints(neutral, pose, betas, trans)
    shaped = neutral.v_template + np.einsum("vdb,pb->pvd", neutral.shapedirs, betas)
    shifts = joints - np.einsum("pjab,pjb->pja", turned, rest)
    slow = np.einsum("vj,pjab,pvb->pva", neutral.weights, turned, shaped, optimize=True)
    slow += np.einsum("vj,pja->pva", neutral.weights, shifts)
    assert np.abs(forward(neutral, pose, betas, trans)[1] - slow).max() < 5e-6  # float32 at a few metres


@pytest.mark.parametrize("posedirs", [False, True])
@pytest.mark.parametrize("free", [False, True])
def test_skinning_is_that_of_smplx(free: bool, posedirs: bool, neutral: BodyModel) -> None:
    pytest.importorskip("smplx", reason="the extra smplx is not installed")
    from kinecast.nodes.bench.smplx_oracle import forward_smplx

    arrays = {f.name: getattr(neutral, f.name) for f in dataclasses.fields(neutral) if f.init}
    if not free:
        arrays |= {k: np.asarray(v, np.float32) for k, v in toy.table().items() if k in arrays}
        arrays |= {"faces": toy.table()["f"].astype(np.int32), "landmarks": {}}
    if posedirs:
        shape = (len(arrays["v_template"]), 3, 207)
        arrays["posedirs"] = np.random.default_rng(1).normal(0, 2e-3, shape).astype(np.float32)
    body = BodyModel(**arrays)
    pose, betas, trans = people(3)
    joints, vertices = forward(body, pose, betas, trans)
    other_joints, other_vertices = forward_smplx(body, pose, betas, trans)
    assert np.abs(joints - other_joints).max() < 1e-5
    assert np.abs(vertices - other_vertices).max() < 1e-5


@pytest.mark.parametrize("name", ["neutral", "female", "light"])
@pytest.mark.parametrize("skel", SKELETONS)
def test_terms_are_full_skinning(name: str, skel: str) -> None:
    body = load_body(name)
    pose, betas, trans = people(20)
    joints, vertices = forward(body, pose, betas, trans)
    turned, _, _ = pose_joints(body, pose, betas, trans)
    terms = keypoint_terms(body, skel)
    placed = terms.place(turned, joints, betas)
    assert (terms.count > 0).all()  # the free body has every joint of every skeleton
    assert np.allclose(terms.weight.sum(axis=1), 1.0, atol=1e-6)
    for k, joint in enumerate(skeleton(skel).joints):
        mark = body.landmarks.get(f"{skel}/{joint}") or body.landmarks[joint]
        full = np.einsum("v,pvd->pd", mark.weights.astype(float), vertices[:, mark.vertices].astype(float))
        full += np.einsum("j,pjd->pd", mark.joint_weights, joints[:, mark.joints])
        assert np.abs(placed[:, k] - full).max() < 5e-5, joint


def test_joints_are_keypoints_too(neutral: BodyModel) -> None:
    pose, betas, trans = people(3)
    turned, joints, _ = pose_joints(neutral, pose, betas, trans)
    assert np.allclose(keypoint_terms(neutral, "smpl24").place(turned, joints, betas), joints, atol=1e-6)


def test_landmarks_are_where_people_have_them(neutral: BodyModel) -> None:
    """Orders along the body that no person breaks, in the T-pose; x left, y up, z forward."""
    rest = keypoint_terms(neutral, "blazepose33")
    eye = np.eye(3)[None, None].repeat(24, axis=1)
    at = dict(zip(skeleton("blazepose33").joints, rest.place(eye, neutral.J_template[None])[0], strict=True))
    left = [at[f"left_{n}"] for n in ("shoulder", "elbow", "wrist", "index")]
    assert all(a[0] < b[0] for a, b in pairwise(left))
    assert at["left_thumb"][2] > at["left_index"][2] > at["left_pinky"][2]  # palms down, thumbs forward
    assert at["left_eye_inner"][0] < at["left_eye"][0] < at["left_eye_outer"][0] < at["left_ear"][0]
    assert at["left_eye"][1] > at["nose"][1] > at["left_mouth"][1] > at["left_shoulder"][1]
    assert at["left_hip"][1] > at["left_knee"][1] > at["left_ankle"][1] > at["left_heel"][1]
    assert at["left_big_toe"][2] > at["left_ankle"][2] > at["left_heel"][2]
    assert at["nose"][2] > at["left_ear"][2]
    for name in ("shoulder", "knee", "heel", "mouth", "thumb"):
        assert np.abs(at[f"left_{name}"] - at[f"right_{name}"] * [-1, 1, 1]).max() < 2e-3, name


def test_normals_point_outwards(neutral: BodyModel) -> None:
    """The volume that the surface encloses is positive and that of a person: 50 to 120 litres."""
    corners = neutral.v_template[neutral.faces].astype(float)
    volume = np.einsum("fd,fd->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert 0.050 < volume < 0.120
    normals = vertex_normals(neutral.v_template.copy(), neutral.faces.copy())
    used = np.unique(neutral.faces)
    assert np.allclose(np.linalg.norm(normals[used], axis=1), 1.0, atol=1e-4)
    assert normals[neutral.v_template[:, 1].argmax(), 1] > 0.7  # the crown looks up
