"""What training reads: shards of recorded people, and the manifest that lists them. No images.

A data set is a folder: ``manifest.json``, ``rigs/`` and ``shards/SESSION/``, one npz for some minutes of one person.
Readers take one shard at a time, so that memory does not grow with the number of sessions.
"""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.atomic_write import atomic_path, atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.capture.refusals import Code, currently

F32 = NDArray[np.float32]

FORMAT, VERSION = "kinecast dataset", 1
MANIFEST = "manifest.json"
SKELETON = "halpe26"
AGAIN = "take it away and build the data set again: sessions that are whole are kept"
# why a person-frame is no ground truth: bit i of Shard.refused; measured by nodes.dataset.gates
REASONS: tuple[Code, ...] = ("views", "residual", "other_views", "bones", "joint_limits", "speed", "unseen", "shape")


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """N frames of one person, C cameras, 26 keypoints, B betas; metres in the world of the rig, pixels as recorded.

    t_ns: (N,) int64. frame_seqs: (N, C) int64, −1 where a camera had none. keypoints_px: (N, C, 26, 2), NaN where
    missing, with confidence (N, C, 26). points_m: (N, 26, 3) as fusion had them, NaN where missing. rotations_rad:
    (N, 24, 3), trans_m (N, 3), betas (B,), joints_m (N, 24, 3), joint_sd_m (N, 24): the body fitted to all views.
    body_points_m: (N, 26, 3) its keypoints. residual_px, explained, other_px, apart_m: (N,) quality, see
    ``nodes.dataset.gates``; NaN where not judged. refused: (N,) uint16, bit i is ``REASONS[i]``, 0 is ground truth.
    """

    t_ns: NDArray[np.int64]
    frame_seqs: NDArray[np.int64]
    keypoints_px: F32
    confidence: F32
    points_m: F32
    rotations_rad: F32
    trans_m: F32
    betas: F32
    joints_m: F32
    joint_sd_m: F32
    body_points_m: F32
    residual_px: F32
    explained: F32
    other_px: F32
    apart_m: F32
    refused: NDArray[np.uint16]

    def check(self, where: str) -> None:
        """Raise KinecastError where shapes or types are not as told."""
        n, c = self.frame_seqs.shape if self.frame_seqs.ndim == 2 else (-1, -1)
        shapes = {
            "t_ns": (n,), "frame_seqs": (n, c), "keypoints_px": (n, c, 26, 2), "confidence": (n, c, 26),
            "points_m": (n, 26, 3), "rotations_rad": (n, 24, 3), "trans_m": (n, 3), "betas": self.betas.shape[:1],
            "joints_m": (n, 24, 3), "joint_sd_m": (n, 24), "body_points_m": (n, 26, 3), "residual_px": (n,),
            "explained": (n,), "other_px": (n,), "apart_m": (n,), "refused": (n,),
        }  # fmt: skip
        kinds = {"t_ns": np.int64, "frame_seqs": np.int64, "refused": np.uint16}
        for name, shape in shapes.items():
            value, kind = getattr(self, name), kinds.get(name, np.float32)
            if value.shape != shape or value.dtype != kind:
                raise KinecastError(
                    f"{where}: {name} is {value.shape} {value.dtype}, expected {shape} {np.dtype(kind)}; build it again"
                )
        for name in ("rotations_rad", "trans_m", "betas", "joints_m", "confidence"):
            if not np.isfinite(getattr(self, name)).all():
                raise KinecastError(f"{where}: {name} holds a number that is not finite; build it again")


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A shard in the manifest. split: train, validate or test. accepted: frames that no gate refused."""

    file: str
    sha256: str
    bytes: int
    person: int
    split: str
    frames: int
    accepted: int


@dataclass(frozen=True, slots=True)
class Session:
    """A recording in the manifest. key: of what was seen, so that a copy has the same. name: of its file.

    recording, session: what the recording says of itself. cameras, rig: names, and the file of the rig in the data set.
    models: of the detectors, as the recording has them. refused: person-frames by reason, one may have several. sketch:
    some of the hashes that the key is made of: sessions that have one in common are of the same frames.
    """

    key: str
    name: str
    recording: str
    session: str
    cameras: tuple[str, ...]
    rig: str
    models: str
    kinecast: str
    split: str
    shards: tuple[ShardFile, ...]
    refused: dict[str, int]
    notes: tuple[str, ...] = ()
    sketch: tuple[str, ...] = ()


@dataclass(slots=True)
class Manifest:
    """What a data set is. body_id: of all fits in it. recipe: how it was made (gates, splits). sessions: by key.

    exports: files that were written from it, each with the keys of its sessions.
    """

    body_id: str
    recipe: dict[str, Any]
    skeleton: str = SKELETON
    sessions: dict[str, Session] = field(default_factory=dict)
    exports: dict[str, list[str]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it whole; equal sets give equal bytes."""
        table = {"format": FORMAT, "version": VERSION, **asdict(self)}
        atomic_write(folder / MANIFEST, json.dumps(table, indent=1, sort_keys=True) + "\n")


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a data set; KinecastError where there is none, or one of another version or kind.

    A file that has not changed is parsed once: that of ten thousand sessions takes half a second.
    """
    path = folder / MANIFEST
    try:
        now = path.stat()
    except FileNotFoundError:
        raise KinecastError(f"{folder}: no data set here (no {MANIFEST}); `kinecast dataset build` makes one") from None
    except OSError as e:
        raise KinecastError(f"{path}: no readable manifest ({e}); {AGAIN}") from None
    manifest = _parsed(path.absolute(), (now.st_ino, now.st_mtime_ns, now.st_size))
    exports = {file: list(keys) for file, keys in manifest.exports.items()}
    return replace(manifest, recipe=dict(manifest.recipe), sessions=dict(manifest.sessions), exports=exports)


@lru_cache(maxsize=4)
def _parsed(path: Path, _: tuple[int, ...]) -> Manifest:
    try:
        table = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise KinecastError(f"{path}: no readable manifest ({e}); {AGAIN}") from None
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise KinecastError(f"{path}: no manifest of a data set of Kinecast's")
    if table.get("version") != VERSION:
        raise KinecastError(
            f"{path}: version {table.get('version')}, but this Kinecast reads version {VERSION}; "
            "build the data set again into another folder"
        )
    try:
        if table["skeleton"] != SKELETON:
            raise KinecastError(f"{path}: keypoints of {table['skeleton']}, expected {SKELETON}")
        sessions = {key: session_of(told) for key, told in table["sessions"].items()}
        exports = {_inside(file, "exports"): list(keys) for file, keys in table["exports"].items()}
        if wrong := [key for key, session in sessions.items() if session.key != key]:
            raise ValueError(f"session {wrong[0]} is told as another")
        return Manifest(str(table["body_id"]), dict(table["recipe"]), table["skeleton"], sessions, exports)
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise KinecastError(f"{path}: the manifest lacks or mistakes {e}; {AGAIN}") from None


def session_of(table: dict[str, Any]) -> Session:
    """A session from its JSON. Raises KeyError, TypeError or ValueError where it is not whole, or is elsewhere."""
    shards = tuple(ShardFile(**s) for s in table["shards"])
    named = {f.name for f in fields(Session)}
    lists = ("cameras", "notes", "sketch")
    kept: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in table.items() if k in named}
    kept["shards"] = shards
    if isinstance(kept.get("refused"), dict):
        kept["refused"] = currently(kept["refused"])
    session = Session(**kept)
    if not re.fullmatch("[0-9a-f]{16}", session.key):  # a folder of that name is deleted when it is forgotten
        raise ValueError(f"the key {session.key!r}")
    _inside(session.rig, "rigs")
    for shard in shards:
        _inside(shard.file, f"shards/{session.key}")
        if not all(isinstance(n, int) for n in (shard.bytes, shard.person, shard.frames, shard.accepted)):
            raise ValueError(f"the numbers of {shard.file}")
    if not all(isinstance(n, int) for n in session.refused.values()):
        raise ValueError(f"what was refused of {session.key}")
    return session


def _inside(file: str, folder: str) -> str:
    """``file``, or ValueError where it does not lie right in ``folder`` of the data set: it is read and deleted."""
    path = PurePosixPath(file)
    if path.as_posix() != file or path.parent.as_posix() != folder or path.name == "..":
        raise ValueError(f"the file {file!r}, which is not in {folder}/")
    return file


def write_shard(path: Path, shard: Shard) -> tuple[str, int]:
    """Write it whole, over an earlier one; returns (sha256, bytes). Equal shards give equal bytes."""
    shard.check(str(path))
    with atomic_path(path, overwrite=True) as file:
        # numpy's own savez stamps the time of day into the archive
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for f in fields(shard):
                with archive.open(zipfile.ZipInfo(f"{f.name}.npy", (1980, 1, 1, 0, 0, 0)), "w") as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(getattr(shard, f.name)), allow_pickle=False)
        file.flush()
        size = file.tell()
    return sha256_of(path), size


def read_shard(path: Path) -> Shard:
    """A shard; KinecastError where it is missing, cut short, or of another kind."""
    try:
        with np.load(path, allow_pickle=False) as file:
            shard = Shard(**{f.name: file[f.name] for f in fields(Shard)})
    except FileNotFoundError:
        raise KinecastError(f"{path}: this shard is missing; run `kinecast dataset build` again") from None
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise KinecastError(f"{path}: cut short or no shard ({e}); run `kinecast dataset build` again") from None
    shard.check(str(path))
    return shard


def iterate(folder: Path, split: str = "train") -> Iterator[tuple[Session, ShardFile, Shard]]:
    """The shards of a split, one at a time, in the order of the manifest."""
    manifest = load_manifest(folder)
    for _, session in sorted(manifest.sessions.items()):
        for file in session.shards:
            if file.split == split:
                yield session, file, read_shard(folder / file.file)


def sha256_of(path: Path) -> str:
    """Of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
