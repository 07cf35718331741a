"""Body files: the free body that comes with Kinecast, and the user's own SMPL, SMPL-H or SMPL-X.

All are read in their published formats (``.npz``, or ``.pkl`` through :mod:`engines.body.model.body_pickle`); SMPL-H
and SMPL-X are reduced to the 24 joints: fingers are part of the hand, jaw and eyes of the head. Hands stay flat, as in
the file.
"""

import re
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded
from kinecast.engines.body.model.body import PARENTS, BodyModel, Landmark
from kinecast.engines.body.model.body_pickle import read_pickle
from kinecast.engines.body.model.landmarks import published_landmarks

FOLDER = Path(__file__).parents[2] / "artifacts"
FREE = ("neutral", "male", "female", "light")
BETAS = 10

_KEYS = ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f")
_KINDS = {24: "smpl", 52: "smplh", 55: "smplx"}
# first joint of the fingers, left hand then right; 15 joints a hand, the middle finger begins at +3
_FINGERS = {"smplh": 22, "smplx": 25}


@cache
@guarded("a body")
def load_body(name_or_path: str = "neutral", gender: str | None = None) -> BodyModel:
    """The body of that name (``neutral``, ``male``, ``female``, ``light``) or in that file.

    gender: of a file whose name does not tell it; else read from the name (``SMPL_MALE.pkl``), else neutral.
    KinecastError for a file that is missing, damaged, of another kind, of other joints, or with code in it.
    """
    if name_or_path in FREE:
        path = FOLDER / f"body-{name_or_path}.npz"
        name = name_or_path
    else:
        path = Path(name_or_path).expanduser()
        name = path.name
        if not path.is_file():
            known = ", ".join(FREE)
            raise KinecastError(f"no body file {path}: give the path of an .npz or .pkl, or one of {known}")
    table = _read(path)
    return _build(path, name, table, gender or _gender(path, table))


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK":
        return _read_npz(path)
    if head[:1] in (b"\x80", b"(", b"}"):
        return read_pickle(path)
    raise KinecastError(f"{path} is no body file: expected .npz or .pkl as published for SMPL, SMPL-H or SMPL-X")


def _read_npz(path: Path) -> dict[str, Any]:
    wanted = (*_KEYS, "posedirs", "kind", "gender")
    try:
        with np.load(path, allow_pickle=False) as file:
            # only what is needed: SMPL-X files hold pickled tables besides, which stay unread
            return {k: file[k] for k in file.files if k in wanted or k.startswith("landmark_")}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, MemoryError) as e:
        raise KinecastError(f"{path} is damaged or truncated ({e}): fetch it again from where you got it") from None


def _build(path: Path, name: str, table: Mapping[str, Any], gender: str) -> BodyModel:
    missing = [k for k in _KEYS if k not in table]
    if missing:
        raise KinecastError(f"{path} is no SMPL, SMPL-H or SMPL-X body: it has no {', '.join(missing)}")
    arrays = {k: _numbers(path, k, table[k]) for k in _KEYS}
    vertices = arrays["v_template"].shape[0] if arrays["v_template"].ndim == 2 else -1
    tree = arrays["kintree_table"]
    joints = tree.shape[-1]
    kind = _KINDS.get(joints)
    if kind is None or tree.ndim != 2:
        raise KinecastError(f"{path} has {joints} joints: expected SMPL (24), SMPL-H (52) or SMPL-X (55)")
    shapes = {
        "v_template": (vertices, 3),
        "J_regressor": (joints, vertices),
        "weights": (vertices, joints),
        "shapedirs": (vertices, 3, arrays["shapedirs"].shape[-1]),
    }
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise KinecastError(f"{path}: {key} is {arrays[key].shape}, expected {shape}; the file is damaged")
    parents = tree[0].astype(np.int64)
    parents[parents > joints] = -1  # published files write the root's parent as 2³² − 1
    if not np.array_equal(parents[:22], PARENTS[:22]) or parents.min() < -1:
        raise KinecastError(f"{path}: its joints are not in SMPL's order (parents {parents[:24].tolist()})")
    posedirs = _posedirs(path, table, vertices, joints)
    regressor, weights = arrays["J_regressor"], arrays["weights"]
    if kind != "smpl":
        regressor, weights, posedirs = _to_24(kind, regressor, weights, posedirs)
    elif "kind" in table:
        kind = str(table["kind"])
    marks = _landmarks(table) if "landmark_names" in table else published_landmarks(kind, arrays["v_template"])
    return BodyModel(
        name=name,
        gender=gender,
        kind=kind,
        v_template=arrays["v_template"].astype(np.float32),
        shapedirs=np.ascontiguousarray(arrays["shapedirs"][:, :, :BETAS], np.float32),
        posedirs=posedirs,
        J_regressor=regressor.astype(np.float32),
        weights=np.ascontiguousarray(weights, np.float32),
        parents=PARENTS.copy(),
        faces=arrays["f"].astype(np.int32),
        landmarks=marks,
    )


def _numbers(path: Path, key: str, value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.ndim < 2:
        raise KinecastError(f"{path}: {key} is no table of numbers ({array.dtype}, {array.shape}); the file is damaged")
    return array


def _posedirs(path: Path, table: Mapping[str, Any], vertices: int, joints: int) -> NDArray[np.float32] | None:
    """(V, 3, 9 (joints − 1)) or None where there are none, or only zeros."""
    if "posedirs" not in table:
        return None
    dirs = _numbers(path, "posedirs", table["posedirs"])
    expected = (vertices, 3, 9 * (joints - 1))
    if dirs.shape != expected:
        raise KinecastError(f"{path}: posedirs is {dirs.shape}, expected {expected}; STAR and others are not read")
    return np.ascontiguousarray(dirs, np.float32) if dirs.any() else None


def _to_24(
    kind: str, regressor: NDArray[Any], weights: NDArray[Any], posedirs: NDArray[np.float32] | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32] | None]:
    """Fingers into the hand, whose joint is the root of the middle finger; jaw and eyes into the head."""
    first = _FINGERS[kind]
    rows = [*range(22), first + 3, first + 18]
    merged = np.zeros((len(weights), 24))
    merged[:, :22] = weights[:, :22]
    merged[:, 15] += weights[:, 22:first].sum(axis=1)
    merged[:, 22] = weights[:, first : first + 15].sum(axis=1)
    merged[:, 23] = weights[:, first + 15 :].sum(axis=1)
    if posedirs is not None:
        # joints 1 to 21 are the same; what fingers and face add is left out with them
        posedirs = np.concatenate([posedirs[:, :, : 9 * 21], np.zeros((len(weights), 3, 18), np.float32)], axis=2)
    return regressor[rows], merged, posedirs


def _landmarks(table: Mapping[str, Any]) -> dict[str, Landmark]:
    """Landmarks as the free body's files hold them: names, and (row, index, weight) of vertices and of joints."""
    out = {}
    row, joint_row = table["landmark_row"], table["landmark_joint_row"]
    for i, name in enumerate(table["landmark_names"].tolist()):
        at, joint_at = row == i, joint_row == i
        out[name] = Landmark(
            table["landmark_vertex"][at].astype(np.int32),
            table["landmark_weight"][at].astype(np.float32),
            table["landmark_joint"][joint_at].astype(np.int32),
            table["landmark_joint_weight"][joint_at].astype(np.float32),
        )
    return out


def _gender(path: Path, table: Mapping[str, Any]) -> str:
    """From the file, else from its name or folder, as published: SMPL_MALE, basicmodel_f_lbs…, smplh/male/model.npz."""
    gender = str(table["gender"]) if "gender" in table else ""
    if gender in ("neutral", "male", "female"):
        return gender
    for text in (path.stem.lower(), path.parent.name.lower()):
        words = set(re.split(r"[^a-z]+", text))
        for gender in ("female", "male", "neutral"):
            if {gender, gender[0]} & words:
                return gender
    return "neutral"
