"""Readers of published layouts. No file of theirs is unpickled without a guard, and no code in one is ever run.

VideoPose3D: ``data_3d_h36m.npz`` (world metres, 32 or 17 joints, 50 Hz), ``data_3d_humaneva15.npz`` (15 joints, 60 Hz),
each with a ``data_2d_…npz`` of px by subject, action and camera. MPI-INF-3DHP: ``annot.mat`` of a sequence (mm in each
camera, px). SPIN: npz of single pictures with ``part`` and ``S``. Cameras that a layout lacks are solved for from its
own pairs of 2D and 3D.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.capture.safe_pickle import read_numbers
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.published.labelled import Labelled, place_root, solve_camera

Float = NDArray[np.float64]

# Human3.6M's 32 joints → the 17 that move, in VideoPose3D's order
_H36M_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
_RATES = {"h36m": 50.0, "humaneva": 60.0}
# MPI-INF-3DHP's 28 joints → the 17, by what they are
_MPI_28 = (4, 23, 24, 25, 18, 19, 20, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16)
_MPI_SLOW = ("S1/Seq1", "S2/Seq1")  # published at 25 Hz, the others at 50 Hz
# SPIN's 24 joints → the 17
_SPIN_24 = (14, 2, 1, 0, 3, 4, 5, 16, 15, 17, 13, 9, 10, 11, 8, 7, 6)
_SPIN_FOCAL, _SPIN_CROP = 5000.0, 200.0  # px of a crop of 224, and what a scale of 1 is


def read_labelled(paths: Sequence[Path]) -> list[Labelled]:
    """Everything in files of the layouts above; ``data_2d_…`` and ``data_3d_…`` belong together. KinecastError."""
    out: list[Labelled] = []
    three: dict[str, tuple[Path, dict[str, Any]]] = {}
    two: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in paths:
        if path.suffix.lower() == ".mat":
            out += _mpi(path)
            continue
        names = _names(path)
        if "positions_3d" in names:
            three[_which(path)] = path, _table(path, "positions_3d")
        elif "positions_2d" in names:
            two[_which(path)] = path, _table(path, "positions_2d")
        elif {"part", "S"} <= names:
            out += _spin(path)
        else:
            raise KinecastError(f"{path}: none of the layouts that are read; it holds {', '.join(sorted(names))}")
    for which in three.keys() | two.keys():
        if which not in three or which not in two:
            raise KinecastError(f"{which}: data_2d and data_3d are both needed, and one of them is missing")
        out += _videopose(which, *three[which], *two[which])
    return out


def _names(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as file:
            return {n.removesuffix(".npy") for n in file.namelist()}
    except (OSError, zipfile.BadZipFile) as e:
        raise KinecastError(f"{path}: no npz that can be read ({e})") from None


def _which(path: Path) -> str:
    for name in _RATES:
        if name in path.stem.lower():
            return name
    raise KinecastError(f"{path}: its name says neither h36m nor humaneva, so its joints are not known")


def _table(path: Path, key: str) -> dict[str, Any]:
    """The nested table that numpy pickled into an npz, read by an unpickler that knows arrays and tables alone."""
    try:
        with zipfile.ZipFile(path) as file, file.open(f"{key}.npy") as member:
            version = npy.read_magic(member)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(member)
            if shape != () or not dtype.hasobject:
                raise ValueError("not a table")
            found = read_numbers(member.read(), path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as e:
        raise KinecastError(f"{path}: {key} cannot be read ({e})") from None
    value = found.item() if isinstance(found, np.ndarray) and found.shape == () else found
    if not isinstance(value, dict):
        raise KinecastError(f"{path}: {key} is no table of subjects")
    return value


def _videopose(which: str, path3: Path, three: dict[str, Any], path2: Path, two: dict[str, Any]) -> list[Labelled]:
    """By subject: cameras from all its actions together, then every action in every camera."""
    name = "h36m17" if which == "h36m" else "humaneva15"
    joints = len(skeleton(name))
    out: list[Labelled] = []
    for subject in sorted(set(three) & set(two)):
        pairs: dict[int, list[tuple[str, Float, Float]]] = {}
        for action in sorted(set(three[subject]) & set(two[subject])):
            world = np.asarray(three[subject][action], np.float64)
            if world.ndim == 3 and world.shape[1] == 32:
                world = world[:, _H36M_32]
            for camera, annotations in enumerate(two[subject][action]):
                px = np.asarray(annotations, np.float64)[..., :2]
                frames = min(len(px), len(world))
                if world.shape[1:] != (joints, 3) or px.shape[1:] != (joints, 2):
                    raise KinecastError(
                        f"{path2}: {subject} {action}: joints are {px.shape[1:]}, {world.shape[1:]} in {path3.name}, "
                        f"expected {joints} of {name}; take keypoints of that skeleton"
                    )
                pairs.setdefault(camera, []).append((action, world[:frames], px[:frames]))
        for camera, parts in pairs.items():
            X = np.concatenate([world.reshape(-1, 3) for _, world, _ in parts])
            x = np.concatenate([px.reshape(-1, 2) for _, _, px in parts])
            K, R, t = solve_camera(X, x, f"{path2}: {subject} camera {camera}")
            for action, world, px in parts:
                cam: Float = world @ R.T + t
                seen = np.asarray(np.isfinite(px).all(-1))
                xy: Float = (np.where(seen[..., None], px, K[:2, 2]) - K[:2, 2]) / [K[0, 0], K[1, 1]]
                out.append(
                    Labelled(
                        f"{which}/{subject}/{action}/{camera}", action.split(" ")[0], name, _RATES[which],
                        cam.astype(np.float32), xy.astype(np.float32), seen.astype(np.float32), float(K[0, 0]),
                    )
                )  # fmt: skip
    return out


def _mpi(path: Path) -> list[Labelled]:
    """One sequence of MPI-INF-3DHP: a person in up to 14 cameras."""
    import scipy.io

    try:
        annotations = scipy.io.loadmat(path)
        annot2, annot3 = (np.ravel(annotations[k]) for k in ("annot2", "annot3"))
    except (OSError, KeyError, ValueError, NotImplementedError) as e:
        raise KinecastError(f"{path}: no annotations of MPI-INF-3DHP ({e})") from None
    sequence = "/".join(path.parts[-3:-1])
    out = []
    for camera, (px, mm) in enumerate(zip(annot2, annot3, strict=True)):
        if not np.size(px):
            continue
        if px.shape[1] != 56 or mm.shape != (len(px), 84):
            raise KinecastError(f"{path}: camera {camera} has {px.shape} and {mm.shape}, expected 28 joints a frame")
        x = px.reshape(len(px), 28, 2)[:, _MPI_28].astype(np.float64)
        cam = mm.reshape(len(mm), 28, 3)[:, _MPI_28].astype(np.float64) / 1e3
        xy, focal, rate_hz = np.empty_like(x), 0.0, 25.0 if sequence in _MPI_SLOW else 50.0
        for k in range(2):  # x = f X / Z + c for all: two numbers from thousands
            ratio = (cam[..., k] / cam[..., 2]).ravel()
            f, c = np.linalg.lstsq(np.stack([ratio, np.ones_like(ratio)], 1), x[..., k].ravel(), rcond=None)[0]
            xy[..., k], focal = (x[..., k] - c) / f, float(f)
        out.append(
            Labelled(
                f"mpi/{sequence}/{camera}", sequence.rpartition("/")[2], "h36m17", rate_hz,
                cam.astype(np.float32), xy.astype(np.float32), np.ones(x.shape[:2], np.float32), focal,
            )
        )  # fmt: skip
    return out


def _spin(path: Path) -> list[Labelled]:
    """Single pictures; SPIN's assumed focal length, and the root where the joints then project onto the keypoints."""
    try:
        with np.load(path, allow_pickle=False) as file:
            part, S, scale, centre = (file[k].astype(np.float64) for k in ("part", "S", "scale", "center"))
    except (OSError, KeyError, ValueError) as e:
        raise KinecastError(f"{path}: no npz as SPIN prepares them ({e})") from None
    if part.shape[1:] != (24, 3) or S.shape[1:2] != (24,) or len(S) != len(part):
        raise KinecastError(f"{path}: part is {part.shape} and S {S.shape}, expected 24 joints")
    out = []
    for i in range(len(part)):
        joints = S[i, _SPIN_24, :3]
        given = S[i, _SPIN_24, 3] > 0 if S.shape[2] > 3 else np.ones(17, bool)
        focal = _SPIN_FOCAL * scale[i] * _SPIN_CROP / 224
        seen = part[i, _SPIN_24, 2]
        xy = (part[i, _SPIN_24, :2] - centre[i]) / focal
        relative = np.where(given[:, None], joints - joints[0], np.nan)
        root = place_root(relative[None], xy[None], seen[None])
        if not np.isfinite(root).all() or root[0, 2] <= 0.3:
            continue
        out.append(
            Labelled(
                f"spin/{path.stem}/{i}", path.stem, "h36m17", 0.0, (relative + root)[None].astype(np.float32),
                xy[None].astype(np.float32), np.clip(seen, 0, 1)[None].astype(np.float32), float(focal),
            )
        )  # fmt: skip
    return out
