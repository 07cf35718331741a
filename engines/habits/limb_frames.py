"""The axes of every joint's limb, from the joints alone: what a detector's habit is told in.

A habit is an offset that goes with the limb: a hip that lies too high, a nose before the face. Its three axes are

    ahead    away from the belly; of a limb: what ahead becomes when the hanging limb is swung to where it is
    outward  away from the middle of the body: to the left of a left joint, to the right of a right one
    up       along the limb towards the trunk; of the trunk, from the hips to the shoulders

so that left and right joints have one habit, and a mirror image of a person has the mirror image of the habits. The
twist of a limb about itself cannot be seen in joints; these axes turn with the trunk instead. The face has axes of its
own (ears and nose), and so have heels and toes (the way a foot points).
"""

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

HALPE = skeleton("halpe26")
KINDS = (
    "nose", "eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "head_top", "neck", "mid_hip",
    "big_toe", "small_toe", "heel",
)  # fmt: skip
KIND = np.array([KINDS.index(n.removeprefix("left_").removeprefix("right_")) for n in HALPE.joints])
SIDE = np.array([1.0 if n.startswith("left_") else -1.0 if n.startswith("right_") else 0.0 for n in HALPE.joints])
FACE = ("nose", "eye", "ear", "head_top")
HARMONICS = 5
_FACE = [j for j in range(len(HALPE)) if KINDS[KIND[j]] in FACE]
_J = HALPE.index
SIDES = ("left", "right")
_SWINGS = [
    (_J(f"{s}_{joint}"), _J(f"{s}_{above}"))
    for s in SIDES
    for joint, above in (("elbow", "shoulder"), ("wrist", "elbow"), ("knee", "hip"), ("ankle", "knee"))
]
_LIMB, _ABOVE = (list(column) for column in zip(*_SWINGS, strict=True))
_ANKLES, _TOES = ([_J(f"{s}_{j}") for s in SIDES] for j in ("ankle", "big_toe"))
# trunk, thigh and shank over the stature (Drillis and Contini 1966): see engines.synth.body
SPAN_OF_STATURE = 0.288 + 0.245 + 0.246
REFERENCE_M = 1.70  # the stature that metres of a habit are told for


def limb_frames(points: Float) -> Float:
    """(…, 26, 3, 3) the axes ahead, outward and up of each HALPE-26 joint as columns, for points (…, 26, 3) in metres.

    Those of right joints are a mirror image (determinant −1). NaN where the joints that tell them are missing.
    """
    out = np.empty((*points.shape, 3))
    trunk = _trunk(points)
    out[...] = trunk[..., None, :, :]
    _face(points, out, trunk)
    limbs = points[..., _LIMB, :] - points[..., _ABOVE, :]
    out[..., _LIMB, :, :] = _swung(trunk[..., None, :, :], -trunk[..., None, :, 2], limbs)
    shanks = out[..., _ANKLES, :, :]
    feet = _swung(shanks, shanks[..., 0], points[..., _TOES, :] - points[..., _ANKLES, :])
    feet = np.where(np.isfinite(feet).all(axis=(-1, -2), keepdims=True), feet, shanks)  # toeless: as the shank goes
    for joint in ("big_toe", "small_toe", "heel"):
        out[..., [_J(f"{s}_{joint}") for s in SIDES], :, :] = feet
    out[..., 1] *= np.where(SIDE < 0, -1.0, 1.0)[:, None]
    return out


def scale(points: Float) -> Float:
    """(…,) how large somebody is beside a person of ``REFERENCE_M``: trunk, thighs and shanks of points (…, 26, 3)."""

    def apart(a: Float, b: Float) -> Float:
        return np.asarray(np.linalg.norm(a - b, axis=-1))

    def middle(joint: str) -> Float:
        return np.asarray((points[..., _J(f"left_{joint}"), :] + points[..., _J(f"right_{joint}"), :]) / 2)

    legs = [
        apart(points[..., _J(f"{s}_{a}"), :], points[..., _J(f"{s}_{b}"), :])
        for s in ("left", "right")
        for a, b in (("hip", "knee"), ("knee", "ankle"))
    ]
    span: Float = apart(middle("shoulder"), middle("hip")) + sum(legs) / 2
    return span / (SPAN_OF_STATURE * REFERENCE_M)


def view_harmonics(direction: Float) -> Float:
    """(…, 5) what a habit may depend on of the direction (…, 3), in the limb's axes, in which the camera lies.

    1, then cos and sin of the azimuth about the limb and of twice the azimuth, each less the nearer the camera lies to
    the limb's axis, where there is no azimuth.
    """
    a, o = direction[..., 0], direction[..., 1]
    return np.stack([np.ones_like(a), a, o, a * a - o * o, 2 * a * o], axis=-1)


def allowed_offsets() -> Float:
    """(15, 3, 5) 1 or 0: a joint of the middle is off to a side only as far as the camera is."""
    out = np.ones((len(KINDS), 3, HARMONICS))
    for k in range(len(KINDS)):
        if SIDE[k == KIND][0] == 0:
            out[k, 1] = [0, 0, 1, 0, 1]
            out[k, 0::2] = [1, 1, 0, 1, 0]
    return out


def _unit(v: Float) -> Float:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(v / np.sqrt((v * v).sum(axis=-1, keepdims=True)))


def _cross(a: Float, b: Float) -> Float:
    x = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
    y = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    z = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return np.stack([x, y, z], axis=-1)


def _axes(left: Float, up: Float) -> Float:
    """Columns ahead, left, up; ``up`` is kept, ``left`` made square to it."""
    up = _unit(up)
    left = _unit(left - (left * up).sum(axis=-1, keepdims=True) * up)
    return np.stack([_cross(left, up), left, up], axis=-1)


def _trunk(points: Float) -> Float:
    sides = [[points[..., _J(f"{s}_{j}"), :] for s in ("left", "right")] for j in ("shoulder", "hip")]
    (ls, rs), (lh, rh) = sides
    return _axes(ls + lh - rs - rh, ls + rs - lh - rh)


def _face(points: Float, out: Float, trunk: Float) -> None:
    ears = [points[..., _J(f"{s}_ear"), :] for s in ("left", "right")]
    left = _unit(ears[0] - ears[1])
    ahead = points[..., _J("nose"), :] - (ears[0] + ears[1]) / 2
    ahead = _unit(ahead - (ahead * left).sum(axis=-1, keepdims=True) * left)
    face = np.stack([ahead, left, _cross(ahead, left)], axis=-1)
    face = np.where(np.isfinite(face).all(axis=(-1, -2), keepdims=True), face, trunk)
    out[..., _FACE, :, :] = face[..., None, :, :]


def _swung(frame: Float, a: Float, b: Float) -> Float:
    """The frame (…, 3, 3) turned by the shortest rotation from direction a to b (…, 3)."""
    a, b = _unit(a), _unit(b)
    v = _cross(a, b)
    c = (a * b).sum(axis=-1)
    K = np.zeros((*c.shape, 3, 3))
    K[..., 0, 1], K[..., 0, 2], K[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    K -= np.swapaxes(K, -1, -2)
    with np.errstate(invalid="ignore"):
        turn = np.eye(3) + K + np.einsum("...ij,...jk->...ik", K, K) / np.maximum(1 + c, 1e-3)[..., None, None]
    return np.asarray(np.einsum("...ij,...jk->...ik", turn, frame))
