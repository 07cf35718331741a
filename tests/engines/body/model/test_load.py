"""Body files in their published formats, and every bad file refused in one line without running what is in it."""

import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import forward
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from tests.engines.body import toy


def write_npz(path: Path, table: dict[str, Any]) -> Path:
    np.savez_compressed(path, allow_pickle=True, **table)
    return path


def old_pickle(table: dict[str, Any], protocol: int = 2) -> bytes:
    """As SMPL was published: arrays in chumpy's boxes, a sparse regressor, a Python 2 protocol."""
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    ch = type("Ch", (), {"__module__": "chumpy.ch"})
    product = type("MatVecMult", (), {"__module__": "chumpy.ch"})
    select = type("Select", (), {"__module__": "chumpy.reordering"})
    modules["chumpy.ch"].Ch = ch  # type: ignore[attr-defined]
    modules["chumpy.ch"].MatVecMult = product  # type: ignore[attr-defined]
    modules["chumpy.reordering"].Select = select  # type: ignore[attr-defined]

    def boxed(array: np.ndarray) -> Any:
        box = ch()
        box.x, box._dirty_vars, box._itr = array, {"x"}, None
        return box

    shape = table["shapedirs"]
    view = select()
    view.a, view.idxs, view.preferred_shape = boxed(shape.ravel()), np.arange(shape.size), shape.shape
    joints = product()
    joints.mtx, joints.vec = scipy.sparse.csc_matrix(table["J_regressor"]), boxed(table["v_template"][:, 0])
    old = table | {
        "J": joints,
        "v_template": boxed(table["v_template"]),
        "shapedirs": view,
        "J_regressor": scipy.sparse.csc_matrix(table["J_regressor"]),
        "bs_type": "lrotmin",
        "vert_sym_idxs": np.arange(4),
    }
    sys.modules.update(modules)
    try:
        return pickle.dumps(old, protocol)
    finally:
        for name in modules:
            del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "gender"),
    [("SMPL_MALE.npz", "male"), ("basicmodel_f_lbs_10_207_0_v1.1.0.npz", "female"), ("female/model.npz", "female"),
     ("SMPL_NEUTRAL.npz", "neutral"), ("mine.npz", "neutral")],
)  # fmt: skip
def test_npz_is_read_and_its_name_tells_the_gender(tmp_path: Path, file: str, gender: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    table = toy.table(posedirs=True)
    body = load_body(str(write_npz(tmp_path / file, table)))
    assert (body.kind, body.gender) == ("smpl", gender)
    assert np.allclose(body.J_template, table["J_regressor"] @ table["v_template"], atol=1e-6)
    assert body.posedirs is not None


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_chumpy_pickle_is_the_same_body_as_its_npz(tmp_path: Path, protocol: int) -> None:
    table = toy.table(posedirs=True)
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(old_pickle(table, protocol))
    assert "chumpy" not in sys.modules
    assert load_body(str(path)).id == load_body(str(write_npz(tmp_path / "a.npz", table))).id


@pytest.mark.parametrize(("joints", "kind"), [(52, "smplh"), (55, "smplx")])
def test_bigger_bodies_are_reduced_to_24_joints(tmp_path: Path, joints: int, kind: str) -> None:
    """With fingers and face at rest the reduced body is the big one, posed by a plain reading of the paper."""
    table = toy.table(joints, betas=20, posedirs=True)
    body = load_body(str(write_npz(tmp_path / "model.npz", table | {"joint2num": np.array({"a": 1}, object)})))
    assert body.kind == kind and body.betas == 10
    assert np.allclose(body.weights.sum(axis=1), 1, atol=1e-6)
    rng = np.random.default_rng(3)
    pose = np.zeros((1, 24, 3))
    pose[:, :22] = rng.normal(0, 0.5, (1, 22, 3))
    joints_24, vertices = forward(body, pose)
    big = np.zeros((joints, 3))
    big[:22] = pose[0, :22]
    expected_joints, expected = _by_the_book(table, big)
    assert np.abs(vertices[0] - expected).max() < 1e-5
    assert np.abs(joints_24[0, :22] - expected_joints[:22]).max() < 1e-6


def _by_the_book(table: dict[str, Any], pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.spatial.transform import Rotation

    parents = toy.parents_of(len(pose))
    local = Rotation.from_rotvec(pose).as_matrix()
    rest = table["J_regressor"] @ table["v_template"]
    bent = table["v_template"] + table["posedirs"] @ (local[1:] - np.eye(3)).ravel()
    world = np.zeros((len(pose), 4, 4))
    for j, p in enumerate(parents):
        step = np.eye(4)
        step[:3, :3] = local[j]
        step[:3, 3] = rest[j] - (rest[p] if p >= 0 else 0)
        world[j] = world[p] @ step if p >= 0 else step
    shift = world[:, :3, 3] - np.einsum("jab,jb->ja", world[:, :3, :3], rest)
    moved = np.einsum("vj,jab,vb->va", table["weights"], world[:, :3, :3], bent) + table["weights"] @ shift
    return world[:, :3, 3], moved


def test_user_bodies_have_the_keypoints_that_their_joints_are(tmp_path: Path) -> None:
    body = load_body(str(write_npz(tmp_path / "a.npz", toy.table())))
    terms = keypoint_terms(body, "coco17")
    assert (terms.count > 0).sum() == 12  # the face is not known on a mesh that was never published


class _Harm:
    def __init__(self, call: Any, *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.args


@pytest.mark.parametrize("call", [os.system, eval, exec, getattr, __import__])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, call: Any) -> None:
    marker = tmp_path / "ran"
    text = f"touch {marker}" if call is os.system else f"open({str(marker)!r}, 'w')"
    path = tmp_path / "SMPL.pkl"
    path.write_bytes(pickle.dumps(toy.table() | {"v_template": _Harm(call, text)}, 2))
    with pytest.raises(KinecastError, match=r"asks for .*nothing of it was run"):
        load_body(str(path))
    assert not marker.exists()


def test_numpy_and_scipy_are_no_way_round(tmp_path: Path) -> None:
    """Functions of allowed modules that are not on the list, and allowed ones with other arguments."""
    for call, args in (
        (np.load, ("x.npy",)),
        (np.array([1.0]).__reduce__()[0], (list, (0,), b"b")),
        (scipy.sparse.load_npz, ("x.npz",)),
    ):
        path = tmp_path / f"{call.__name__}.pkl"
        path.write_bytes(pickle.dumps({"v_template": _Harm(call, *args)}, 2))
        with pytest.raises(KinecastError):
            load_body(str(path))


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    whole = write_npz(tmp_path / "whole.npz", toy.table()).read_bytes()
    old = old_pickle(toy.table())
    for suffix, content in (("npz", whole), ("pkl", old)):
        for share in (0.0, 0.01, 0.3, 0.9, 0.999):
            path = tmp_path / f"cut-{share}.{suffix}"
            path.write_bytes(content[: int(len(content) * share)])
            with pytest.raises(KinecastError):
                load_body(str(path))


def test_damaged_pickles_load_or_are_refused(tmp_path: Path) -> None:
    """Flipped bytes anywhere: no exception but the one meant for people, whatever the unpickler meets."""
    content = old_pickle(toy.table())
    rng = np.random.default_rng(0)
    refused = 0
    for i in range(300):
        damaged = bytearray(content)
        # half of them in the first kilobyte, where the instructions are
        for at in rng.integers(0, 1000 if i % 2 else len(content), 3):
            damaged[at] = rng.integers(0, 256)
        path = tmp_path / f"{i}.pkl"
        path.write_bytes(bytes(damaged))
        try:
            load_body(str(path))
        except KinecastError as e:
            refused += 1
            assert "\n" not in str(e)
    assert refused > 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kintree_table": np.stack([np.arange(16) - 1, np.arange(16)])}, "16 joints"),
        ({"kintree_table": np.stack([np.arange(24) - 1, np.arange(24)])}, "not in SMPL's order"),
        ({"posedirs": np.ones((toy.VERTICES, 3, 93))}, "posedirs"),
        ({"weights": np.ones((toy.VERTICES, 24))}, "do not add to 1"),
        ({"weights": np.ones((toy.VERTICES, 23)) / 23}, "weights"),
        ({"v_template": np.full((toy.VERTICES, 3), np.nan)}, "not finite"),
        ({"v_template": np.zeros((toy.VERTICES, 2))}, "v_template"),
        ({"f": np.full((4, 3), 60)}, "face"),
        ({"shapedirs": np.array([{"a": 1}], object)}, "damaged"),
        ({"J_regressor": None}, "damaged"),
        ({"f": np.zeros((0, 3), np.uint32)}, "faces"),
    ],
)
def test_wrong_content_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write_npz(tmp_path / "bad.npz", toy.table() | change)
    with pytest.raises(KinecastError, match=message):
        load_body(str(path))


def test_other_files_are_no_bodies(tmp_path: Path) -> None:
    cases = {"text.npz": b"hello", "poses.npz": b"", "list.pkl": pickle.dumps([1, 2]), "empty.pkl": b""}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(KinecastError):
            load_body(str(tmp_path / name))
    motion = write_npz(tmp_path / "amass.npz", {"poses": np.zeros((3, 156)), "trans": np.zeros((3, 3))})
    with pytest.raises(KinecastError, match="it has no v_template"):
        load_body(str(motion))
    with pytest.raises(KinecastError, match="no body file"):
        load_body(str(tmp_path / "missing.npz"))
    with pytest.raises(KinecastError, match="gender"):
        load_body(str(write_npz(tmp_path / "a.npz", toy.table())), "other")
