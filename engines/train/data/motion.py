"""Motion clips as rotations of the free body: what the pose prior and the lifter are trained on.

A source skeleton that stands in a T-pose where its rotations are zero differs from the body by the directions of its
rest bones alone, so a rotation is taken over but for the turn between the two. Roots are scaled by the length of the
legs, which makes the unit of a source irrelevant. The world of a clip is the body's: y up, metres.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.rotations import matrices
from kinecast.engines.body.prior.pose_prior import rest_directions, rest_turns
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.motion_formats import Source, read_amc, read_bvh

Float = NDArray[np.float64]

JOINTS = skeleton("smpl24")
_LEG = tuple(JOINTS.index(f"left_{j}") for j in ("hip", "knee", "ankle"))


def _pairs(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in text.split())


# the joint of a source that is each joint of ours; of the sides the left one, the right one follows from its name
ASF = _pairs(
    "pelvis=root spine1=lowerback spine2=upperback spine3=thorax neck=lowerneck head=head left_hip=lfemur "
    "left_knee=ltibia left_ankle=lfoot left_foot=ltoes left_collar=lclavicle left_shoulder=lhumerus "
    "left_elbow=lradius left_wrist=lhand left_hand=lfingers"
)
BVH = _pairs(
    "pelvis=Hips spine1=LowerBack spine2=Spine spine3=Spine1 neck=Neck head=Head left_hip=LeftUpLeg "
    "left_knee=LeftLeg left_ankle=LeftFoot left_foot=LeftToeBase left_collar=LeftShoulder "
    "left_shoulder=LeftArm left_elbow=LeftForeArm left_wrist=LeftHand left_hand=LeftFingerBase"
)
MIXAMO = BVH | _pairs("spine1=Spine spine2=Spine1 spine3=Spine2 left_hand=LeftHandMiddle1")
CC0 = _pairs(
    "pelvis=pelvis spine1=spine_01 spine2=spine_02 spine3=spine_03 neck=neck_01 head=head "
    "left_hip=thigh_l left_knee=calf_l left_ankle=foot_l left_foot=ball_l left_collar=clavicle_l "
    "left_shoulder=upperarm_l left_elbow=lowerarm_l left_wrist=hand_l left_hand=middle_01_l"
)
# what CMU's subjects mostly do
SUBJECTS = {
    "01": "climbing", "02": "various", "03": "uneven ground", "05": "dancing", "06": "basketball", "07": "walking",
    "08": "walking", "09": "running",
}  # fmt: skip
HAND_KEYED = "hand-keyed"
TABLES = (ASF, BVH, MIXAMO, CC0)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One motion, retargeted. T frames.

    name: unique, as ``held_out.toml`` lists it. action: what a table groups it under. rate_hz: frames a second.
    local: (T, 24, 3, 3) float32 rotations, each in its parent's frame, the root's in the world (y up).
    root: (T, 3) float32, place of the root in lengths of the source's leg. good: (T,) frames that are no glitch.
    """

    name: str
    action: str
    rate_hz: float
    local: NDArray[np.float32]
    root: NDArray[np.float32]
    good: NDArray[np.bool_]


def leg_m(rest: Float) -> float:
    """Length of the left leg of rest joints (24, 3), hip to ankle."""
    hip, knee, ankle = (rest[j] for j in _LEG)
    return float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))


def _right(name: str) -> str:
    if name.startswith("Left"):
        return "Right" + name[4:]
    return name[:-2] + "_r" if name.endswith("_l") else "r" + name[1:]


def joint_table(names: Sequence[str], where: str = "motion") -> NDArray[np.int64]:
    """(24,) index of the source joint of each of ours, by the naming that fits; KinecastError names what is missing.

    A joint at the end of a limb (foot, hand, head) that the source lacks is taken from the one before it.
    """
    index = {name.rpartition(":")[2]: i for i, name in enumerate(names)}
    best: tuple[int, list[str]] | None = None
    for left in TABLES:
        whole = {**left, **{"right" + k[4:]: _right(v) for k, v in left.items() if k.startswith("left")}}
        for end, before in (("foot", "ankle"), ("hand", "wrist")):
            for side in ("left", "right"):
                if whole[f"{side}_{end}"] not in index:
                    whole[f"{side}_{end}"] = whole[f"{side}_{before}"]
        missing = [whole[j] for j in JOINTS.joints if whole[j] not in index]
        if not missing:
            return np.array([index[whole[j]] for j in JOINTS.joints])
        if best is None or len(missing) < best[0]:
            best = len(missing), missing
    assert best is not None
    raise KinecastError(
        f"{where}: no skeleton that is known: it lacks {', '.join(best[1][:6])}; "
        "name the joints as CMU's ASF or BVH files do, as Mixamo does, or as Unreal's mannequin"
    )


def world_rotations(local: Float, parents: NDArray[np.int64]) -> Float:
    """(T, N, 3, 3) from local ones, parents before children."""
    out = local.copy()
    for j, p in enumerate(parents):
        if p >= 0:
            out[:, j] = out[:, p] @ local[:, j]
    return out


def rest_joints(offsets: Float, parents: NDArray[np.int64]) -> Float:
    """(N, 3) joints of a skeleton at rest, from offsets (N, 3) from each one's parent."""
    rest = offsets.astype(np.float64)
    for j, p in enumerate(parents):
        if p >= 0:
            rest[j] += rest[p]
    return rest


def retarget(
    world: Float, offsets: Float, source: NDArray[np.int64], table: NDArray[np.int64], directions: Float
) -> Float:
    """Local rotations (T, 24, 3, 3) of our body. world: (T, N, 3, 3) of the source, offsets (N, 3) its rest bones and
    source (N,) their parents. directions: (24, 3) of the body's rest bones.
    """
    turn = rest_turns(directions, rest_directions(rest_joints(offsets, source)[table]))
    ours = world[:, table] @ turn
    parents = np.array(JOINTS.parents)
    local = ours.copy()
    local[:, 1:] = np.swapaxes(ours[:, parents[1:]], -1, -2) @ ours[:, 1:]
    return np.asarray(local)


def clip_of(source: Source, directions: Float, rate_hz: float, action: str | None = None) -> Clip:
    """Retarget at most ``rate_hz`` frames a second of a source: every n-th of its frames."""
    table = joint_table(source.names, source.name)
    step = max(int(source.rate_hz / rate_hz + 0.01), 1)
    world = world_rotations(source.local[::step], source.parents)
    rest = rest_joints(source.offsets, source.parents)[table]
    local = retarget(world, source.offsets, source.parents, table, directions)
    return Clip(
        source.name,
        action or source.name.rpartition("/")[0].rpartition("/")[2] or "motion",
        source.rate_hz / step,
        local.astype(np.float32),
        (source.root[::step] / leg_m(rest)).astype(np.float32),
        source.good[::step],
    )


def _unpacked(path: Path) -> dict[str, Any]:
    """Everything of an archive: numpy's own reader unpacks an array anew each time that it is asked for it."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file.items())


def _expmap(path: Path) -> Iterator[tuple[Source, str]]:
    """CMU clips as rotation vectors, row-vector convention: ``R_i = exp(rotvec_i) @ R_parent``."""
    d = _unpacked(path)
    names, parents = tuple(str(n) for n in d["names"]), d["parent"].astype(np.int64)
    start = 0
    for clip, length in zip(d["clip"], d["length"], strict=True):
        rows = slice(start, start + int(length))
        start += int(length)
        # row vectors there, columns here: transposed, so the rotation vectors turn the other way
        local = matrices(-d["rotvec_1e4"][rows].astype(np.float64).reshape(int(length), -1, 3) / 1e4)
        root = d["positions_mm"][rows, 0] / 1e3
        good = np.ones(int(length), bool)
        source = Source(str(clip), names, parents, d["offset_m"], float(d["fps"]), local, root, good)
        yield source, str(clip).split("/")[1]


def _columns(path: Path, label: str) -> Iterator[tuple[Source, str]]:
    """Clips in column-vector convention: ``G_j = G_parent · exp(rv_j)``; those of ``_expmap`` are left out."""
    d = _unpacked(path)
    names, parents = tuple(str(n) for n in d["joints"]), d["parents"].astype(np.int64)
    bad = d["glitch"] if "glitch" in d else np.zeros(len(d["positions_mm"]), bool)
    for i, clip in enumerate(d["clip_names"]):
        if "in_cmu_expmap" in d and d["in_cmu_expmap"][i]:
            continue
        rows = slice(int(d["clip_start"][i]), int(d["clip_start"][i] + d["clip_len"][i]))
        rotvec = d["rotvec_1e4"][rows].astype(np.float64)
        local = matrices(rotvec.reshape(len(rotvec), -1, 3) / 1e4)
        root, offsets = d["positions_mm"][rows, 0] / 1e3, d["offsets_mm"][d["clip_skel"][i]] / 1e3
        rate_hz = float(d["clip_fps"][i])
        action = SUBJECTS.get(str(clip).split("_")[1], "motion") if label == "cmu" else HAND_KEYED
        yield Source(f"{label}/{clip}", names, parents, offsets, rate_hz, local, root, ~bad[rows]), action


_ARCHIVES = (
    ("cmu_motion.npz", _expmap),
    ("motion_cmu_s01_09.npz", lambda path: _columns(path, "cmu")),
    ("motion_cc0_humanoid.npz", lambda path: _columns(path, "cc0")),
)


def read_clips(folder: Path, directions: Float, rate_hz: float) -> Iterator[Clip]:
    """Every clip under a folder, at up to ``rate_hz``: the three archives above, ``.bvh``, and ``.asf`` with ``.amc``.

    Files are named by their path below the folder, without its ending. An ``.amc`` is read with the ``.asf`` beside it
    that its name begins with, or the only one there. KinecastError for a folder without motion or a damaged file.
    """
    if not folder.is_dir():
        raise KinecastError(f"{folder}: no such folder of motion")
    count = 0
    for name, reader in _ARCHIVES:
        for path in sorted(folder.rglob(name)):
            for source, action in reader(path):
                count += 1
                yield clip_of(source, directions, rate_hz, action)
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".bvh", ".amc")):
        label = path.relative_to(folder).with_suffix("").as_posix()
        source = read_bvh(path, label) if path.suffix.lower() == ".bvh" else read_amc(path, label)
        count += 1
        yield clip_of(source, directions, rate_hz)
    if not count:
        raise KinecastError(
            f"{folder}: no motion in it: expected .bvh, .asf with .amc, or the archives that the docs name"
        )
