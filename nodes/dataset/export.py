"""Data sets in the forms of others' trainers: SPIN's npz and VideoPose3D's; ``engines.train.data.published`` reads
both.

SPIN (Kolotouros et al., *Learning to Reconstruct 3D Human Pose and Shape via Model-fitting in the Loop*, 2019): one row
a person, picture and view; pictures are named, not written. VideoPose3D (Pavllo et al. 2019): runs of frames at 50 Hz
by subject and action, metres and pixels. Only what every gate let through is written. Where a detector gave nothing,
or has no such joint, VideoPose3D's pixels, which have no confidence, are those of the fitted body.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import load_rig
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.capture.folder_lock import folder_lock
from kinecast.engines.body.model.body import BodyModel, pose_joints
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import matrices, rotvecs
from kinecast.engines.skeleton import direct_index, skeleton
from kinecast.engines.train.data.shards import SKELETON, Manifest, Session, Shard, ShardFile, load_manifest, read_shard

Float = NDArray[np.float64]

BOX_PX, MARGIN = 200.0, 1.2  # a scale of 1 is 200 px, and boxes are so much larger than the person
RATE_HZ, LEAST_S = 50.0, 0.5  # of Human3.6M, which VideoPose3D takes for granted; shorter runs are left out
# SPIN's 24 joints in HALPE-26, and those that only H36M has (thorax, spine, jaw; the jaw is H36M's nose)
SPIN_HALPE = {
    0: "right_ankle", 1: "right_knee", 2: "right_hip", 3: "left_hip", 4: "left_knee", 5: "left_ankle",
    6: "right_wrist", 7: "right_elbow", 8: "right_shoulder", 9: "left_shoulder", 10: "left_elbow", 11: "left_wrist",
    12: "neck", 13: "head_top", 14: "mid_hip", 19: "nose", 20: "left_eye", 21: "right_eye", 22: "left_ear",
    23: "right_ear",
}  # fmt: skip
SPIN_H36M = {15: "neck", 16: "spine", 17: "nose"}


def export(folder: Path, kind: str, split: str, body: str = "neutral") -> list[Path]:
    """Write the split of a data set as ``spin`` or ``videopose3d`` below ``folder/exports``; returns the files.

    They are listed in the manifest, so that forgetting a session deletes them. body: what the data set was built with.
    Raises KinecastError where that is another body, or no frame is left.
    """
    manifest, model = load_manifest(folder), load_body(body)
    if model.id != manifest.body_id:
        raise KinecastError(f"{folder}: a data set of body {manifest.body_id}, not {model.id}; give that body")
    writers: dict[str, Callable[[Path, str, BodyModel, _Source], list[Path]]] = {
        "spin": _spin, "videopose3d": _videopose,
    }  # fmt: skip
    with folder_lock(folder, "changing the data set"):
        manifest = load_manifest(folder)
        source = _Source(folder, manifest, split)
        files = writers[kind](folder / "exports", split, model, source)
        for file in files:
            manifest.exports[file.relative_to(folder).as_posix()] = sorted(source.used)
        manifest.save(folder)
    return files


class _Source:
    """The shards of a split with their rigs, one at a time; used: keys of the sessions that gave something."""

    def __init__(self, folder: Path, manifest: Manifest, split: str) -> None:
        self._folder, self._manifest, self._split = folder, manifest, split
        self.used: set[str] = set()

    def __iter__(self) -> Iterator[tuple[Session, ShardFile, Shard, Rig]]:
        for key, session in sorted(self._manifest.sessions.items()):
            rig = load_rig(self._folder / session.rig)
            for file in session.shards:
                if file.split == self._split and file.accepted:
                    self.used.add(key)
                    yield session, file, read_shard(self._folder / file.file), rig.subset(session.cameras)


def _h36m(model: BodyModel, shard: Shard) -> Float:
    """(N, 17, 3) the body's joints as Human3.6M has them, world metres."""
    betas = shard.betas.astype(np.float64)
    pose, trans = shard.rotations_rad.astype(np.float64), shard.trans_m.astype(np.float64)
    turned, joints, _ = pose_joints(model, pose, np.tile(betas, (len(pose), 1)), trans)
    return keypoint_terms(model, "h36m17").place(turned, joints, betas)


def _spin(folder: Path, split: str, model: BodyModel, source: _Source) -> list[Path]:
    halpe, h36m = skeleton(SKELETON), skeleton("h36m17")
    rows: dict[str, list[Any]] = {
        k: [] for k in ("imgname", "center", "scale", "part", "pose", "shape", "S", "openpose")
    }
    to25 = direct_index(SKELETON, "body25")
    for session, _, shard, rig in source:
        points, more = shard.body_points_m.astype(np.float64), _h36m(model, shard)
        for c, camera in enumerate(rig):
            R, t = camera.cam_from_world[:3, :3], camera.cam_from_world[:3, 3]
            for i in np.flatnonzero((shard.refused == 0) & ((shard.confidence[:, c] > 0).sum(axis=1) >= 8)):
                px, sure = shard.keypoints_px[i, c], shard.confidence[i, c]
                low, high = np.nanmin(px[sure > 0], axis=0), np.nanmax(px[sure > 0], axis=0)
                both = np.concatenate([np.nan_to_num(px), sure[:, None]], axis=1)
                part, S = np.zeros((24, 3)), np.zeros((24, 4))
                for k, name in SPIN_HALPE.items():
                    j = halpe.index(name)
                    part[k], S[k] = both[j], [*(R @ points[i, j] + t), 1.0]
                    S[k, 3] = float(np.isfinite(S[k]).all())  # a body may lack a landmark
                for k, name in SPIN_H36M.items():
                    S[k] = [*(R @ more[i, h36m.index(name)] + t), 1.0]
                openpose = np.where((to25 >= 0)[:, None], both[to25], 0.0)
                pose = shard.rotations_rad[i].astype(np.float64)
                pose[0] = rotvecs(R @ matrices(pose[0]))  # SPIN's root is turned in the camera
                name = f"{session.key}/{camera.name}/{shard.frame_seqs[i, c]:08d}.jpg"
                values = (name, (low + high) / 2, MARGIN * (high - low).max() / BOX_PX, part, pose.ravel(),
                          shard.betas[:10], np.nan_to_num(S), openpose)  # fmt: skip
                for key, value in zip(rows, values, strict=True):
                    rows[key].append(value)
    if not rows["imgname"]:
        raise KinecastError(f"no frame of the split {split!r} got through the gates: nothing to write")
    path = folder / f"spin_{split}.npz"
    arrays = {k: np.array(v, dtype=np.str_ if k == "imgname" else np.float32) for k, v in rows.items()}
    with atomic_path(path, overwrite=True) as file:
        np.savez_compressed(file, **arrays, body_id=np.array(model.id))  # type: ignore[arg-type]
    return [path]


def _videopose(folder: Path, split: str, model: BodyModel, source: _Source) -> list[Path]:
    index = direct_index(SKELETON, "h36m17").copy()
    h36m = skeleton("h36m17")
    index[[h36m.index(n) for n in ("neck", "nose", "head_top", "spine")]] = -1  # others by the same name
    three: dict[str, dict[str, Any]] = {}
    two: dict[str, dict[str, Any]] = {}
    for session, shard_file, shard, rig in source:
        world = _h36m(model, shard)
        views = []
        for c, camera in enumerate(rig):
            seen = np.where((index >= 0)[:, None], shard.keypoints_px[:, c, index], np.nan)
            views.append(np.where(np.isfinite(seen), seen, camera.project(world)[0]))
        subject = f"S{session.key}p{shard_file.person}"
        t_s = shard.t_ns / 1e9
        ok = (shard.refused == 0) & np.isfinite(np.stack(views)).all(axis=(0, 2, 3))
        part = Path(shard_file.file).stem.rpartition("-")[2]
        for n, (a, b) in enumerate(_runs(t_s, ok)):
            at = np.arange(t_s[a], t_s[b - 1], 1 / RATE_HZ)
            action = f"run{part}-{n}"
            three.setdefault(subject, {})[action] = _resampled(world[a:b], t_s[a:b], at)
            two.setdefault(subject, {})[action] = [_resampled(v[a:b], t_s[a:b], at) for v in views]
    if not three:
        raise KinecastError(f"no run of {LEAST_S} s of the split {split!r} got through the gates: nothing to write")
    left = [j for j, name in enumerate(h36m.joints) if name.startswith("left")]
    metadata = {"layout_name": "h36m", "num_joints": 17, "keypoints_symmetry": [left, [h36m.flip[j] for j in left]]}
    contents: list[dict[str, Any]] = [{"positions_3d": three}, {"positions_2d": two, "metadata": metadata}]
    files = [folder / f"data_3d_h36m_{split}.npz", folder / f"data_2d_h36m_{split}.npz"]
    for path, tables in zip(files, contents, strict=True):
        with atomic_path(path, overwrite=True) as file:
            np.savez_compressed(file, **{k: np.array(v, dtype=object) for k, v in tables.items()})  # type: ignore[arg-type]
    return files


def _runs(t_s: Float, ok: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pieces [a, b) of frames that are all accepted and follow each other without a gap."""
    if len(t_s) < 2:
        return []
    usual = float(np.median(np.diff(t_s)))
    breaks = np.flatnonzero(~ok[1:] | ~ok[:-1] | (np.diff(t_s) > 1.5 * usual)) + 1
    ends = [0, *breaks.tolist(), len(t_s)]
    return [(a, b) for a, b in pairwise(ends) if ok[a:b].all() and b - a > 1 and t_s[b - 1] - t_s[a] >= LEAST_S]


def _resampled(x: Float, t_s: Float, at: Float) -> NDArray[np.float32]:
    """x (N, J, D) at other times, linearly."""
    flat = x.reshape(len(x), -1)
    out = np.stack([np.interp(at, t_s, column) for column in flat.T], axis=1)
    return out.reshape(len(at), *x.shape[1:]).astype(np.float32)
