"""OpenPose's JSON files, one folder a camera, as messages. Format: OpenPose, ``doc/02_output.md``."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinecast.calibration.camera import Camera
from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded
from kinecast.engines.records import F32, Keypoints2D
from kinecast.engines.skeleton import skeleton as known_skeleton

# Numbers of ``pose_keypoints_2d``, three a joint. 78 and 51 are what RTMPose writes through Pose2Sim.
SKELETON_OF = {75: "body25", 78: "halpe26", 51: "coco17"}
OTHERS = {54: "COCO-18", 45: "MPI-15", 405: "BODY_135"}
# OpenPose adds up heat maps: a few confidences come out just over 1, and mean 1. More is not a confidence.
MOST_CONFIDENCE = 1.1
# Joints in the middle and at the sides, by which the two orders of 25 joints are told apart: right, they lie within a
# twentieth of the height of each other; taken for the other order, an elbow lies between a shoulder and a wrist.
CENTRES = {
    "body25": (("mid_hip", "left_hip", "right_hip"), ("neck", "left_shoulder", "right_shoulder")),
    "body25b": (("upper_neck", "left_shoulder", "right_shoulder"), ("nose", "left_eye", "right_eye")),
}
CLEARLY = 0.6
NOBODY: F32 = np.zeros((0, 0, 3), np.float32)
OUTSIDE_SHARE = 0.05  # of keypoints beyond the picture, from which on the pictures were of another size


@dataclass(frozen=True, slots=True)
class Folder:
    """One camera's files: frame number → path."""

    camera: str
    path: Path
    files: dict[int, Path]


def _plain(name: str) -> str:
    """A name without what tools add: ``cam_1`` and ``Cam01_json`` are the same camera."""
    bare = re.sub(r"_(json|keypoints)$", "", name.lower())
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\d+", lambda digits: str(int(digits[0])), bare))


def find_folders(root: Path, cameras: Iterable[str], given: Iterable[str] = ()) -> list[Folder]:
    """The folder of every camera of the rig, in the rig's order.

    given: ``camera`` or ``camera=folder``: those to use and no others. Without it every camera of the rig must have a
    folder below ``root`` or below ``root/pose``, called as it is (``_json`` behind it, case and signs do not count).
    Raises KinecastError naming what does not fit.
    """
    if not root.is_dir():
        raise KinecastError(f"{root}: no such folder")
    known = list(cameras)
    wanted = dict(g.partition("=")[::2] for g in given) or dict.fromkeys(known, "")
    folders = {
        d.name: d for base in (root / "pose", root) if base.is_dir() for d in sorted(base.iterdir()) if d.is_dir()
    }
    out = []
    for camera in wanted:
        if camera not in known:
            raise KinecastError(f"--cameras: the rig has no camera {camera!r}, it has {', '.join(known)}")
    for camera in (c for c in known if c in wanted):
        name = wanted[camera]
        exact = folders.get(name or camera)
        near = [d for n, d in folders.items() if _plain(n) == _plain(camera)] if not name else []
        found = exact or (near[0] if len(near) == 1 else None)
        if found is None:
            there = ", ".join(sorted(folders)) or "none"
            raise KinecastError(
                f"{root}: no folder for camera {camera!r} of the rig; there are {there}: "
                f"say --cameras {camera}=FOLDER for each, or leave it out there"
            )
        out.append(Folder(camera, found, _files(found)))
    twice = {f.path for f in out if sum(g.path == f.path for g in out) > 1}
    if twice:
        raise KinecastError(f"{twice.pop()}: taken for more than one camera; say --cameras CAMERA=FOLDER for each")
    return out


def _files(folder: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in sorted(folder.glob("*.json")):
        match = re.search(r"(\d+)(_keypoints)?$", path.stem)
        if match is None:
            raise KinecastError(f"{path}: there is no frame number at the end of its name")
        frame = int(match[1])
        if frame in files:
            raise KinecastError(f"{path}: frame {frame} is there twice, also as {files[frame].name}")
        files[frame] = path
    if not files:
        raise KinecastError(f"{folder}: there are no .json files in it")
    return files


@dataclass(frozen=True, slots=True)
class Loaded:
    """The files of a folder, read and checked. people: of every frame, (N, J, 3) float32, x y confidence.

    skeleton: as the number of joints tells, "" where nobody is in any file.
    """

    folder: Folder
    people: dict[int, F32]
    skeleton: str


def load_folder(folder: Folder, camera: Camera, frames: range) -> Loaded:
    """Read the files of every number in ``frames``; where there is no file there is nobody.

    Raises KinecastError naming file and reason for the first one that is not OpenPose's, is of a skeleton that is not
    known or of another than the files before, or has keypoints that cannot be pixels of this camera's pictures.
    """
    skeleton = ""
    seen = outside = 0
    greatest = 0.0
    all_people: dict[int, F32] = {}
    size = np.array(camera.size_px)
    for frame in frames:
        path = folder.files.get(frame)
        people, name = (NOBODY, "") if path is None else read_people(path)
        if name and skeleton and name != skeleton:
            raise KinecastError(f"{path}: {name} keypoints, but {skeleton} in the files before: one skeleton a folder")
        skeleton = skeleton or name
        there = people[people[..., 2] > 0][:, :2]
        seen += len(there)
        outside += int(((there < -0.02 * size) | (there > 1.02 * size)).any(1).sum())
        greatest = max(greatest, float(there.max(initial=0)))
        all_people[frame] = people
    if seen and greatest <= 1.0:
        raise KinecastError(f"{folder.path}: coordinates from 0 to 1; run OpenPose with --keypoint_scale 0 for pixels")
    if outside > OUTSIDE_SHARE * seen:
        raise KinecastError(
            f"{folder.path}: {outside} of {seen} keypoints lie outside the {camera.size_px[0]}×{camera.size_px[1]} "
            f"pictures of camera {camera.name!r}: the rig is of another camera or another size"
        )
    return Loaded(folder, all_people, skeleton)


def decide_skeleton(loaded: Iterable[Loaded], given: str | None = None) -> str:
    """The skeleton of all folders. BODY_25 and BODY_25B both have 25 joints: ``given``, or what the people look like.

    Raises KinecastError where folders differ, ``given`` has another number of joints, or the people do not tell.
    """
    named = {f.skeleton: f.folder.path for f in loaded if f.skeleton}
    if len(named) > 1:
        said = ", ".join(f"{path} has {name}" for name, path in named.items())
        raise KinecastError(f"{said}: one import has one skeleton")
    found = next(iter(named), "")
    if given is not None:
        if found and len(known_skeleton(given)) != len(known_skeleton(found)):
            raise KinecastError(f"--skeleton {given}: the files have {len(known_skeleton(found))} joints, as {found}")
        return given
    if found != "body25":
        return found or "body25"  # nobody in any file
    people = [p for f in loaded for frame in f.people.values() for p in frame]
    errors = {name: odd_centres(people, name) for name in CENTRES}
    best, other = sorted(errors, key=lambda name: errors[name])
    if not errors[best] < CLEARLY * errors[other]:
        path = next(iter(named.values()))
        raise KinecastError(f"{path}: 25 joints, in the order of BODY_25 or BODY_25B: say --skeleton body25 or body25b")
    return best


def odd_centres(people: list[F32], name: str) -> float:
    """How far joints in the middle of the body lie from the middle of those at its sides, median, in body heights.

    Small where ``name`` is the order of the joints. NaN where too little is seen to say.
    """
    joints = known_skeleton(name)
    odd = []
    for middle, left, right in CENTRES[name]:
        m, a, b = (np.array([p[joints.index(j)] for p in people]).reshape(-1, 3) for j in (middle, left, right))
        ok = (m[:, 2] > 0) & (a[:, 2] > 0) & (b[:, 2] > 0)
        heights = np.array([np.ptp(p[p[:, 2] > 0, 1]) for p in people])
        ok &= heights > 0
        if ok.any():
            odd.append(np.median(np.linalg.norm(m[ok, :2] - (a[ok, :2] + b[ok, :2]) / 2, axis=1) / heights[ok]))
    return float(np.mean(odd)) if odd else float("nan")


def messages(loaded: Loaded, camera: Camera, skeleton: str, period_ns: int) -> list[Keypoints2D]:
    """A message for every frame; t_capture_ns: number × period."""
    joints = len(known_skeleton(skeleton))
    return [
        _message(camera, frame, period_ns, skeleton, people if len(people) else None, joints)
        for frame, people in loaded.people.items()
    ]


def _message(camera: Camera, frame: int, period_ns: int, skeleton: str, people: F32 | None, joints: int) -> Keypoints2D:
    if people is None:
        people = np.zeros((0, joints, 3), np.float32)
    confidence = np.minimum(people[..., 2], np.float32(1.0))
    missing = confidence <= 0
    px = np.where(missing[..., None], np.float32(np.nan), people[..., :2])
    boxes = np.zeros((len(people), 4), np.float32)
    scores = np.zeros(len(people), np.float32)
    for n in range(len(people)):
        there = px[n][~missing[n]]
        boxes[n] = [*there.min(axis=0), *there.max(axis=0)]
        scores[n] = confidence[n][~missing[n]].mean()
    return Keypoints2D(
        camera=camera.name,
        frame_seq=frame,
        t_capture_ns=frame * period_ns,
        size_px=camera.size_px,
        skeleton=skeleton,
        keypoints_px=px,
        confidence=confidence,
        boxes_px=boxes,
        scores=scores,
        local_ids=np.full(len(people), -1, np.int32),
    )


@guarded("OpenPose's JSON")
def read_people(path: Path) -> tuple[F32, str]:
    """(N, J, 3) float32 of one file, x y confidence, people without any keypoint left out; and their skeleton.

    The skeleton is "" where there is nobody. Raises KinecastError naming file and reason.
    """
    try:
        told = json.loads(path.read_bytes())
    except OSError as e:
        raise KinecastError(f"{path}: {e.strerror}") from None
    except (ValueError, RecursionError) as e:
        raise KinecastError(f"{path}: not JSON: {e}") from None
    people = told.get("people") if isinstance(told, dict) else None
    if not isinstance(people, list):
        raise KinecastError(f"{path}: not a file of OpenPose: it has no list 'people'")
    rows: list[F32] = []
    length = 0
    for n, person in enumerate(people):
        numbers = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
        if numbers == []:
            continue  # a person of face or hands alone
        row, many = _row(path, n, numbers)
        if length and many != length:
            raise KinecastError(f"{path}: person {n} has {many} numbers, the others {length}")
        length = many
        if (row[:, 2] > 0).any():
            rows.append(row)
    skeleton = SKELETON_OF.get(length, "")
    return (np.stack(rows) if rows else NOBODY), skeleton


def _row(path: Path, n: int, numbers: Any) -> tuple[F32, int]:
    if not isinstance(numbers, list):
        raise KinecastError(f"{path}: person {n} has no list 'pose_keypoints_2d'")
    if len(numbers) not in SKELETON_OF:
        name = OTHERS.get(len(numbers), "an unknown skeleton")
        raise KinecastError(
            f"{path}: person {n} has {len(numbers)} numbers, which is {name}; known are "
            f"{', '.join(f'{s} ({k})' for k, s in SKELETON_OF.items())}: run OpenPose with --model_pose BODY_25"
        )
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers):
        raise KinecastError(f"{path}: person {n} has a keypoint that is not a number")
    row = np.array(numbers, np.float64).reshape(-1, 3)
    if not np.isfinite(row).all() or np.abs(row).max() > 1e6:
        raise KinecastError(f"{path}: person {n} has a keypoint that is not finite")
    if row[:, 2].min() < 0 or row[:, 2].max() > MOST_CONFIDENCE:
        raise KinecastError(f"{path}: person {n} has a confidence outside 0 … 1")
    return row.astype(np.float32), len(numbers)
