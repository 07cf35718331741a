"""The rest pose: SMPL's T-pose, bone by bone in the same directions, so that rotations mean nearly the same.

Every bone of the source turns by one constant rotation, found at the mean shape, so that the posed vertices stay linear
in the shape. Torso joints may be placed along the spine: their places are found by least squares from anatomical
anchors with the directions held; arms, legs and feet are turned until theirs hold.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.rigid import rotation
from kinecast.engines.body.make.free_anny import Source
from kinecast.engines.skeleton import skeleton

Float = NDArray[np.float64]

# Offsets of each joint from its parent in SMPL's neutral template, metres, the two sides averaged; the right side is
# the mirror image. Widely printed (robot descriptions carry them); only directions and priors of length are used.
SMPL_OFFSETS = {
    "left_hip": (0.0686, -0.0910, -0.0056), "left_knee": (0.0363, -0.3789, -0.0067),
    "left_ankle": (-0.0147, -0.3982, -0.0430), "left_foot": (0.0259, -0.0520, 0.1213),
    "spine1": (0.0, 0.1090, -0.0267), "spine2": (0.0, 0.1352, 0.0011), "spine3": (0.0, 0.0529, 0.0254),
    "neck": (0.0, 0.2139, -0.0429), "head": (0.0, 0.0650, 0.0513), "left_collar": (0.0803, 0.1203, -0.0364),
    "left_shoulder": (0.0935, 0.0315, -0.0090), "left_elbow": (0.2567, -0.0131, -0.0244),
    "left_wrist": (0.2523, 0.0084, -0.0034), "left_hand": (0.0843, -0.0072, -0.0126),
}  # fmt: skip
PELVIS = (0.0, -0.2200, 0.0280)  # where SMPL's template has it

TABLE = skeleton("smpl24")
MIRROR = np.array([-1.0, 1.0, 1.0])
CLAVICLE_RAISE_RAD = np.deg2rad(10.0)  # arms at shoulder height lift the clavicles; SMPL's template shows about this


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """The posed source at the mean shape: vertices (V, 3), basis (K, V, 3) and joints (24, 3).

    heads: (N, 3) posed heads of the bones.
    """

    vertices: Float
    basis: Float
    joints: Float
    heads: Float


def direction(joint: str) -> Float:
    """Unit vector from the parent joint to this one in SMPL's template, either side."""
    left = joint.replace("right_", "left_")
    v = np.array(SMPL_OFFSETS[left]) * (MIRROR if left != joint else 1.0)
    return np.asarray(v / np.linalg.norm(v), np.float64)


def rest_pose(source: Source) -> Rest:
    """The mean of the source's people in SMPL's T-pose, with joints that point as SMPL's do."""
    mean = source.people.mean(axis=0)
    heads = source.heads + np.tensordot(mean, source.heads_basis, 1)
    vertices = source.vertices + np.tensordot(mean, source.basis, 1)
    turns, joints = _turns(source, heads, vertices)
    posed, posed_heads = _pose(source, turns, vertices, heads)
    basis = np.stack([_pose(source, turns, v, h)[0] for v, h in zip(source.basis, source.heads_basis, strict=True)])
    return Rest(posed, basis, joints, posed_heads)


def _pose(source: Source, turns: Float, vertices: Float, heads: Float) -> tuple[Float, Float]:
    """Linear in (vertices, heads) together: skinning with one rotation a bone."""
    placed = np.zeros_like(heads)
    for b, p in enumerate(source.parents):
        placed[b] = heads[b] if p < 0 else placed[p] + turns[p] @ (heads[b] - heads[p])
    shift = placed - np.einsum("bij,bj->bi", turns, heads)
    per_vertex = np.einsum("vb,bij->vij", source.weights, turns)
    return np.einsum("vij,vj->vi", per_vertex, vertices) + source.weights @ shift, placed


def _turns(source: Source, heads: Float, vertices: Float) -> tuple[Float, Float]:
    """(N, 3, 3) rotation of every bone, and (24, 3) joints."""
    fixed: dict[int, Float] = {}
    for side, sign in (("L", 1.0), ("R", -1.0)):
        fixed[source.bone(f"clavicle.{side}")] = rotation(np.array([0.0, 0.0, sign * CLAVICLE_RAISE_RAD]))
    at = {name: heads[source.bone(name)] for name in source.bones}
    right = _placed(source, fixed, heads, "upperarm01.R") * MIRROR
    joints = _torso(at, 0.5 * (_placed(source, fixed, heads, "upperarm01.L") + right))
    for side, word, sign in (("L", "left", 1.0), ("R", "right", -1.0)):
        bones = [f"{b}.{side}" for b in ("upperarm01", "lowerarm01", "wrist")]
        knuckles = np.mean([at[f"finger{i}-1.{side}"] for i in (2, 3, 4, 5)], axis=0)
        ends = [at[bones[1]], at[bones[2]], knuckles]
        _limb(source, fixed, heads, joints, bones, ends, [f"{word}_{j}" for j in ("elbow", "wrist", "hand")])
        _face_palm_down(source, fixed, heads, side, sign)
        # MakeHuman's shin begins 2 cm above the knee that annotators mark
        ends = [source.landmarks[f"{word}_knee"] @ vertices, at[f"foot.{side}"]]
        bones = [f"{b}.{side}" for b in ("upperleg01", "lowerleg01")]
        _limb(source, fixed, heads, joints, bones, ends, [f"{word}_{j}" for j in ("knee", "ankle")])
        _foot(source, fixed, heads, joints, side, word)
    return _inherit(source, fixed), np.stack([joints[name] for name in TABLE.joints])


def _inherit(source: Source, fixed: dict[int, Float]) -> Float:
    turns = np.zeros((len(source.bones), 3, 3))
    for b, p in enumerate(source.parents):
        turns[b] = fixed[b] if b in fixed else (turns[p] if p >= 0 else np.eye(3))
    return turns


def _placed(source: Source, fixed: dict[int, Float], heads: Float, bone: str, point: Float | None = None) -> Float:
    """Where the head of a bone (or a point that moves with the bone) stands after the rotations fixed so far."""
    turns = _inherit(source, fixed)
    b = source.bone(bone)
    here = turns[b] @ (point - heads[b]) if point is not None else np.zeros(3)
    while (p := source.parents[b]) >= 0:
        here = here + turns[p] @ (heads[b] - heads[p])
        b = p
    return np.asarray(heads[b] + here, np.float64)


def _torso(at: dict[str, Float], shoulder: Float) -> dict[str, Float]:
    """Joints of the torso, hips and shoulders: directions are SMPL's, lengths and the pelvis' place are solved.

    Anchors and how far a joint may be from each, metres. MakeHuman's thigh bones start at the trochanters; the hip
    joints are a quarter nearer to the middle (Bell's regression: 0.36 of the distance of the iliac spines).
    """
    hip = 0.5 * (at["upperleg01.L"] + at["upperleg02.L"]) * np.array([0.78, 1.0, 1.0])
    anchors = {
        "left_hip": (hip, 0.004), "left_shoulder": (shoulder, 0.004), "neck": (at["neck01"], 0.01),
        "head": (0.5 * (at["neck03"] + at["head"]), 0.01), "spine2": (0.6 * at["spine02"] + 0.4 * at["spine01"], 0.02),
    }  # fmt: skip
    chain = ["left_hip", "spine1", "spine2", "spine3", "neck", "head", "left_collar", "left_shoulder"]
    index = {name: i for i, name in enumerate(chain)}
    rows, values = [], []
    for name, (place, sd) in anchors.items():
        for axis in range(3):
            row = np.zeros(len(chain) + 2)
            j = name
            while j != "pelvis":
                row[index[j]] += direction(j)[axis]
                j = TABLE.joints[TABLE.parents[TABLE.index(j)]]
            if axis > 0:
                row[len(chain) + axis - 1] = 1.0  # the pelvis' own height and depth; it is in the middle
            rows.append(row / sd)
            values.append(place[axis] / sd)
    for name, i in index.items():
        row = np.zeros(len(chain) + 2)
        row[i] = 1 / 0.02
        rows.append(row)
        values.append(np.linalg.norm(SMPL_OFFSETS[name]) / 0.02)
    solved = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    out = {"pelvis": np.array([0.0, solved[-2], solved[-1]])}
    for name in chain:
        out[name] = out[TABLE.joints[TABLE.parents[TABLE.index(name)]]] + solved[index[name]] * direction(name)
    return out | {n.replace("left_", "right_"): p * MIRROR for n, p in out.items() if n.startswith("left_")}


def _limb(
    source: Source, fixed: dict[int, Float], heads: Float, joints: dict[str, Float],
    bones: list[str], ends: list[Float], names: list[str],
) -> None:  # fmt: skip
    """Turn each bone about its head until its end lies in SMPL's direction from the joint before; sets ``joints``."""
    for bone, end, name in zip(bones, ends, names, strict=True):
        b = source.bone(bone)
        fixed[b] = _inherit(source, fixed)[source.parents[b]]
        pivot = _placed(source, fixed, heads, bone)
        now = _placed(source, fixed, heads, bone, end)
        start, d = joints[TABLE.joints[TABLE.parents[TABLE.index(name)]]], direction(name)
        # |start + s d − pivot| = |now − pivot|, the root that points along d
        gap = start - pivot
        along = gap @ d
        s = -along + np.sqrt(along**2 - gap @ gap + (now - pivot) @ (now - pivot))
        joints[name] = start + s * d
        fixed[b] = align(now - pivot, joints[name] - pivot) @ fixed[b]


def _face_palm_down(source: Source, fixed: dict[int, Float], heads: Float, side: str, sign: float) -> None:
    """Twist the arm about its own axis until the index finger lies in front of the little one, as in SMPL's T-pose.

    The twist grows along the arm as pronation does: none at the shoulder, half below the elbow, all at the wrist.
    """
    index, little = (_placed(source, fixed, heads, f"finger{i}-1.{side}") for i in (2, 5))
    axis = np.array([sign, 0.0, 0.0])
    across = index - little
    twist = np.arctan2(across @ np.cross(axis, [0.0, 0.0, 1.0]), across[2])
    for bone, share in ((f"lowerarm02.{side}", 0.5), (f"wrist.{side}", 1.0)):
        b = source.bone(bone)
        turns = _inherit(source, fixed)
        fixed[b] = rotation(-share * twist * axis) @ turns[b]


def _foot(
    source: Source, fixed: dict[int, Float], heads: Float, joints: dict[str, Float], side: str, word: str
) -> None:
    """The sole stays flat as it was modelled; the foot turns about the vertical to SMPL's direction outwards."""
    b = source.bone(f"foot.{side}")
    toes = np.mean([heads[source.bone(f"toe{i}-1.{side}")] for i in (1, 2, 3, 4)], axis=0) - heads[b]
    d = direction(f"{word}_foot")
    yaw = np.arctan2(d[0], d[2]) - np.arctan2(toes[0], toes[2])
    fixed[b] = rotation(np.array([0.0, yaw, 0.0]))
    # a little behind the roots of the toes, where the joint is 2 cm above the sole
    joints[f"{word}_foot"] = joints[f"{word}_ankle"] + d * 0.85 * np.hypot(toes[0], toes[2]) / np.hypot(d[0], d[2])


def align(u: Float, v: Float) -> Float:
    """(3, 3) smallest rotation that takes the direction of u to that of v."""
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    k = np.cross(u, v)
    m = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    return np.asarray(np.eye(3) + m + m @ m / (1 + u @ v), np.float64)
