"""Small motion files in the layouts that training reads: one toy skeleton in a T-pose, moved by a few sines."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.model.rotations import rotvecs
from kinecast.engines.train.data.motion_formats import turn

Float = NDArray[np.float64]

# parent, ASF name, BVH name, offset from the parent in m; x to the left, y up, z ahead
SKELETON = (
    (-1, "root", "Hips", (0, 0, 0)),
    (0, "lfemur", "LeftUpLeg", (0.1, 0, 0)),
    (1, "ltibia", "LeftLeg", (0.02, -0.42, 0)),
    (2, "lfoot", "LeftFoot", (0, -0.4, 0)),
    (3, "ltoes", "LeftToeBase", (0, -0.05, 0.14)),
    (0, "rfemur", "RightUpLeg", (-0.1, 0, 0)),
    (5, "rtibia", "RightLeg", (-0.02, -0.42, 0)),
    (6, "rfoot", "RightFoot", (0, -0.4, 0)),
    (7, "rtoes", "RightToeBase", (0, -0.05, 0.14)),
    (0, "lowerback", "LowerBack", (0, 0.05, 0)),
    (9, "upperback", "Spine", (0, 0.12, 0)),
    (10, "thorax", "Spine1", (0, 0.12, 0)),
    (11, "lowerneck", "Neck", (0, 0.14, 0)),
    (12, "head", "Head", (0, 0.1, 0.02)),
    (11, "lclavicle", "LeftShoulder", (0.02, 0.1, 0)),
    (14, "lhumerus", "LeftArm", (0.15, 0, 0)),
    (15, "lradius", "LeftForeArm", (0.27, 0, 0)),
    (16, "lhand", "LeftHand", (0.24, 0, 0)),
    (17, "lfingers", "LeftFingerBase", (0.08, 0, 0)),
    (11, "rclavicle", "RightShoulder", (-0.02, 0.1, 0)),
    (19, "rhumerus", "RightArm", (-0.15, 0, 0)),
    (20, "rradius", "RightForeArm", (-0.27, 0, 0)),
    (21, "rhand", "RightHand", (-0.24, 0, 0)),
    (22, "rfingers", "RightFingerBase", (-0.08, 0, 0)),
)
PARENTS = [row[0] for row in SKELETON]
OFFSETS = np.array([row[3] for row in SKELETON], np.float64)


def angles(frames: int, seed: int = 0) -> Float:
    """(T, N, 3) smooth Euler angles in degrees, x y z, and standing upright at first."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None, None] / 60
    size = rng.uniform(0, 20, (len(SKELETON), 3))
    size[0] = (5, 60, 5)
    return np.asarray(size * np.sin(2 * np.pi * rng.uniform(0.2, 1.0, (len(SKELETON), 3)) * t))


def local(degrees: Float) -> Float:
    """(T, N, 3, 3): R = Rz Ry Rx, as both formats have it where the order of the channels is z y x."""
    x, y, z = (turn(k, degrees[..., k]) for k in range(3))
    return np.asarray(z @ y @ x)


def places(frames: int) -> Float:
    """(T, 3) of the root, metres."""
    t = np.arange(frames) / 60
    return np.stack([0.3 * np.sin(t), np.full(frames, 0.95), 0.8 * t], axis=1)


def write_bvh(path: Path, frames: int = 90, seed: int = 0, rate_hz: float = 60.0) -> Path:
    """Channels in the order z y x, centimetres."""
    lines = ["HIERARCHY"]

    def joint(i: int, depth: int) -> None:
        pad = "  " * depth
        lines.append(f"{pad}{'ROOT' if i == 0 else 'JOINT'} {SKELETON[i][2]}")
        lines.append(f"{pad}{{")
        lines.append(f"{pad}  OFFSET {' '.join(f'{v * 100:.5f}' for v in OFFSETS[i])}")
        position = "6 Xposition Yposition Zposition" if i == 0 else "3"
        lines.append(f"{pad}  CHANNELS {position} Zrotation Yrotation Xrotation")
        children = [c for c, p in enumerate(PARENTS) if p == i]
        for c in children:
            joint(c, depth + 1)
        if not children:
            lines.extend([f"{pad}  End Site", f"{pad}  {{", f"{pad}    OFFSET 0 0 0", f"{pad}  }}"])
        lines.append(f"{pad}}}")

    joint(0, 0)
    lines += ["MOTION", f"Frames: {frames}", f"Frame Time: {1 / rate_hz:.7f}"]
    order = [int(n) for n in _depth_first()]
    a, root = angles(frames, seed), places(frames) * 100
    for t in range(frames):
        numbers = [*root[t]]
        for i in order:
            numbers += [a[t, i, 2], a[t, i, 1], a[t, i, 0]]
        lines.append(" ".join(f"{v:.6f}" for v in numbers))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def _depth_first(i: int = 0) -> list[int]:
    return [i, *(n for c, p in enumerate(PARENTS) if p == i for n in _depth_first(c))]


def write_asf_amc(folder: Path, frames: int = 90, seed: int = 0) -> Path:
    """CMU's way: bones that have a direction, a length and a frame of their own; inches over 0.45."""
    unit = 0.45 / 0.0254
    rng = np.random.default_rng(9)
    own = rng.uniform(-90, 90, (len(SKELETON), 3))  # each bone's own axes
    own[0] = 0
    children = {i: [c for c, p in enumerate(PARENTS) if p == i] for i in range(len(SKELETON))}
    bones, order = [], []
    # a bone of an ASF ends where its children begin: a joint with several children needs a bone to each of them
    names = {0: "root"}
    asf_parent: dict[str, str] = {}
    for i in range(1, len(SKELETON)):
        between = SKELETON[i][1] + "_to"
        bones.append((between, OFFSETS[i], np.zeros(3), False))
        asf_parent[between] = names[PARENTS[i]]
        names[i] = SKELETON[i][1]
        bones.append((names[i], np.zeros(3), own[i], True))
        asf_parent[names[i]] = between
    del children
    for parent in ["root", *(b[0] for b in bones)]:
        line = [c for c, p in asf_parent.items() if p == parent]
        if line:
            order.append(" ".join([parent, *line]))
    text = [":version 1.10", ":name toy", ":units", "  mass 1.0", "  length 0.45", "  angle deg",
            ":root", "  order TX TY TZ RX RY RZ", "  axis XYZ", "  position 0 0 0", "  orientation 0 0 0",
            ":bonedata"]  # fmt: skip
    for number, (name, vector, axis, moves) in enumerate(bones):
        length = float(np.linalg.norm(vector))
        unit_vector = vector / length if length else np.array([0.0, 1.0, 0.0])
        text += ["  begin", f"    id {number + 1}", f"    name {name}",
                 "    direction " + " ".join(f"{v:.8f}" for v in unit_vector), f"    length {length * unit:.8f}",
                 "    axis " + " ".join(f"{v:.8f}" for v in axis) + " XYZ"]  # fmt: skip
        text += ["    dof rx ry rz", "    limits (-180 180)"] if moves else []
        text.append("  end")
    text += [":hierarchy", "  begin", *(f"    {line}" for line in order), "  end"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "07.asf").write_text("\n".join(text) + "\n")
    R, root = local(angles(frames, seed)), places(frames) * unit
    lines = ["#!OML:ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    axes = local(own)  # R = Rz Ry Rx of the bone's own frame
    for t in range(frames):
        lines.append(str(t + 1))
        for i, name in names.items():
            inner = axes[i].T @ R[t, i] @ axes[i]
            told = " ".join(f"{v:.7f}" for v in _euler(inner))
            lines.append(f"{name} {' '.join(f'{v:.7f}' for v in root[t])} {told}" if i == 0 else f"{name} {told}")
    path = folder / "07_01.amc"
    path.write_text("\n".join(lines) + "\n")
    return path


def _euler(R: Float) -> tuple[float, float, float]:
    """x y z of R = Rz Ry Rx, degrees."""
    y = -np.arcsin(np.clip(R[2, 0], -1, 1))
    return tuple(np.rad2deg([np.arctan2(R[2, 1], R[2, 2]), y, np.arctan2(R[1, 0], R[0, 0])]).tolist())


def write_expmap(path: Path, frames: int = 90, seed: int = 0) -> Path:
    """The layout of ``cmu_motion.npz``: row vectors, so the rotation vectors are of the transposed matrices."""
    rotvec = -rotvecs(local(angles(frames, seed)))
    path.parent.mkdir(parents=True, exist_ok=True)
    positions = np.zeros((frames, len(SKELETON), 3), np.int16)
    positions[:, 0] = np.round(places(frames) * 1e3)
    np.savez(
        path, rotvec_1e4=np.round(rotvec.reshape(frames, -1) * 1e4).astype(np.int16), positions_mm=positions,
        offset_m=OFFSETS, parent=np.array(PARENTS), names=np.array([row[1] for row in SKELETON]),
        clip=np.array(["train/walking/walking_1"]), length=np.array([frames]), fps=np.array(60),
    )  # fmt: skip
    return path


def write_columns(path: Path, frames: int = 90, seed: int = 0) -> Path:
    """The layout of ``motion_cmu_s01_09.npz``, with a glitch in the middle and a clip that the other archive has."""
    rotvec = np.round(rotvecs(local(angles(frames, seed))).reshape(frames, -1) * 1e4).astype(np.int16)
    positions = np.zeros((frames, len(SKELETON), 3), np.int16)
    positions[:, 0] = np.round(places(frames) * 1e3)
    glitch = np.zeros(2 * frames, bool)
    glitch[frames // 2] = True
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path, rotvec_1e4=np.tile(rotvec, (2, 1)), positions_mm=np.tile(positions, (2, 1, 1)),
        offsets_mm=(OFFSETS * 1e3).astype(np.float32)[None], parents=np.array(PARENTS, np.int16),
        joints=np.array([row[2] for row in SKELETON]), clip_names=np.array(["cmu_02_01", "cmu_02_02"]),
        clip_start=np.array([0, frames]), clip_len=np.array([frames] * 2), clip_fps=np.array([60.0] * 2, np.float32),
        clip_skel=np.array([0, 0]), glitch=glitch, in_cmu_expmap=np.array([False, True]),
    )  # fmt: skip
    return path
