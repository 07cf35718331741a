"""What a calibration is made from: a folder of videos or photos, when they were taken, and which belong together."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.board.detect import BoardDetector, BoardView, Image
from kinecast.calibration.camera import Float
from kinecast.capture.decode import Converter, VideoDecoder
from kinecast.capture.errors import KinecastError
from kinecast.capture.exif import orientation
from kinecast.capture.images import SUFFIXES as PHOTOS
from kinecast.capture.images import natural_key
from kinecast.capture.progress import Progress

VIDEOS = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".mts"}
MAX_CAMERAS = 64
CAMERA_COLUMNS = ("cam_id", "camera", "cam", "port", "name")
TIME_COLUMNS = {"frame_time": 1e9, "time": 1e9, "t_s": 1e9, "timestamp": 1e9, "t_ms": 1e6, "t_ns": 1.0}


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """The pictures of one camera: one video, or photos. stamps_ns: (n,) when each was taken; None for photos."""

    name: str
    paths: tuple[Path, ...]
    video: bool
    stamps_ns: NDArray[np.int64] | None = None

    @property
    def orientation(self) -> int:
        """Of photos: the Exif orientation that most of them have. All are turned by it, as a lens is in one place of
        its sensor however the camera was held. Of a video 1: its decoder turns it.
        """
        if self.video:
            return 1
        found = [orientation(p) for p in self.paths]
        return max(sorted(set(found)), key=found.count)

    @property
    def held_otherwise(self) -> int:
        """How many photos were taken with the camera held otherwise than for most."""
        return 0 if self.video else sum(orientation(p) != self.orientation for p in self.paths)


@dataclass(frozen=True, slots=True, eq=False)
class FrameSets:
    """Pictures that were taken together: frame (S, C), −1 where a camera has none; stamp_ns (S, C), 0 there."""

    frame: NDArray[np.int64]
    stamp_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def t_s(self) -> Float:
        """(S,) mean time of each set since the first."""
        first = self.stamp_ns[self.frame >= 0].min()
        total = np.where(self.frame >= 0, self.stamp_ns - first, 0).sum(axis=1)
        return np.asarray(total / np.maximum((self.frame >= 0).sum(axis=1), 1) / 1e9)

    @property
    def lag_s(self) -> Float:
        """(S, C) how much later than its set each picture was taken; 0 where there is none."""
        first = self.stamp_ns[self.frame >= 0].min()
        return np.asarray(np.where(self.frame >= 0, (self.stamp_ns - first) / 1e9 - self.t_s[:, None], 0.0))


def camera_names(stems: Sequence[str]) -> list[str]:
    """Names of cameras from those of their files: words that all share are dropped, as int_cam01_img → cam01.

    They stay where nothing but a number would be left.
    """
    words = [re.split(r"[_\-. ]+", s) for s in stems]
    shared = set(words[0]).intersection(*words[1:]) if len(words) > 1 else set()
    short = ["_".join(w for w in ws if w not in shared) for ws in words]
    if len(set(short)) < len(stems) or any(not s or s.isdigit() for s in short):
        return list(stems)
    return short


def find_footage(folder: Path, cameras: Sequence[str] = (), photo_each: bool = False) -> tuple[Footage, ...]:
    """What stands in a folder, a camera each: videos; else folders of photos; else photos of one camera.

    photo_each: photos in the folder itself are one of each camera. cameras: only these, by name. KinecastError where
    there is nothing, or a name is not there.
    """
    if not folder.is_dir():
        raise KinecastError(f"there is no folder {folder}: give the folder that holds the videos, one of each camera")
    inside = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural_key)
    videos = [p for p in inside if p.suffix.lower() in VIDEOS and p.is_file()]
    photos = [p for p in inside if p.suffix.lower() in PHOTOS and p.is_file()]
    folders = [(p, _photos(p)) for p in inside if p.is_dir()]
    folders = [(p, found) for p, found in folders if found]
    if videos:
        groups: list[tuple[str, tuple[Path, ...], bool]] = [(p.stem, (p,), True) for p in videos]
    elif folders:
        groups = [(p.name, tuple(found), False) for p, found in folders]
    elif photos and photo_each:
        groups = [(p.stem, (p,), False) for p in photos]
    elif photos:
        groups = [(folder.name, tuple(photos), False)]
    else:
        raise KinecastError(f"{folder} holds no video ({' '.join(sorted(VIDEOS))}) and no folder of photos")
    if len(groups) > MAX_CAMERAS:
        raise KinecastError(f"{folder} holds {len(groups)} cameras, more than {MAX_CAMERAS}: is it the right folder?")
    names = camera_names([g[0] for g in groups])
    found = tuple(Footage(n, paths, video) for n, (_, paths, video) in zip(names, groups, strict=True))
    if len(set(names)) < len(names):
        raise KinecastError(f"{folder}: two files make the same camera name ({', '.join(names)}): rename one")
    missing = [c for c in cameras if c not in names]
    if missing:
        raise KinecastError(f"{folder} has no camera {missing[0]!r}; it has {', '.join(names)}")
    return tuple(f for f in found if not cameras or f.name in cameras)


def _photos(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in PHOTOS and p.is_file()), key=natural_key)


def video_stamps_ns(footage: Footage) -> NDArray[np.int64]:
    """(n,) times of the pictures of a video by its container, from its first; only the first is decoded."""
    decoder = VideoDecoder(str(footage.paths[0]), footage.name)
    try:
        return decoder.stamps_ns()
    finally:
        decoder.close()


def read_timestamps(path: Path, cameras: Sequence[Footage]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """``timestamps.csv``: for each camera its stamps in ns, frame by frame, and the set that each frame belongs to.

    Columns: a camera (``cam_id``, ``camera``, ``port`` …: its name, or the number at the end of it), a time
    (``frame_time`` in s, ``t_ns`` …) and, if given, ``sync_index``; −1 stands for no set. Rows of one camera are its
    frames in order of time.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise KinecastError(f"cannot read {path}: {e}") from None
    head = list(rows[0]) if rows else []
    who = next((c for c in CAMERA_COLUMNS if c in head), None)
    when = next((c for c in TIME_COLUMNS if c in head), None)
    if who is None or when is None:
        raise KinecastError(
            f"{path}: it needs a column of cameras ({', '.join(CAMERA_COLUMNS)}) and one of times "
            f"({', '.join(TIME_COLUMNS)}); it has {', '.join(head) or 'nothing'}"
        )
    stamps, sets = [], []
    for footage in cameras:
        mine = [r for r in rows if _same_camera(r[who], footage.name)]
        if not mine:
            raise KinecastError(f"{path}: no row for camera {footage.name!r} in column {who}")
        try:
            scale = TIME_COLUMNS[when]
            times = [round(float(r[when]) * scale) if scale != 1 else int(r[when]) for r in mine]
            index = [int(float(r["sync_index"])) if r.get("sync_index") not in (None, "") else -1 for r in mine]
        except (ValueError, TypeError, OverflowError):
            raise KinecastError(f"{path}: camera {footage.name}: a time or a sync_index is no number") from None
        order = np.argsort(np.array(times), kind="stable")
        stamps.append(np.array(times, dtype=np.int64)[order])
        sets.append(np.array(index, dtype=np.int64)[order])
    return stamps, sets


def _same_camera(word: str | None, name: str) -> bool:
    if word is None:
        return False
    digits = re.search(r"(\d+)$", name)
    return word.strip() == name or bool(digits and word.strip().isdigit() and int(word) == int(digits[1]))


def frame_sets(
    stamps_ns: Sequence[NDArray[np.int64]], sets: Sequence[NDArray[np.int64]] | None = None, most: int | None = None
) -> FrameSets:
    """Which pictures belong together: by their set where one is given, else the nearest in time.

    By time: the slowest camera leads, and of every other the nearest picture within half of that camera's interval
    joins. most: thinned out evenly to so many sets.
    """
    cameras = len(stamps_ns)
    if sets is not None and all(len(s) and (s >= 0).all() for s in sets):
        numbers = np.unique(np.concatenate(list(sets)))
        frame = np.full((len(numbers), cameras), -1, dtype=np.int64)
        for c, own in enumerate(sets):
            frame[np.searchsorted(numbers, own), c] = np.arange(len(own))
    else:
        lead = int(np.argmin([_rate(s) for s in stamps_ns]))
        frame = np.full((len(stamps_ns[lead]), cameras), -1, dtype=np.int64)
        for c, own in enumerate(stamps_ns):
            near = np.clip(np.searchsorted(own, stamps_ns[lead]), 1, max(len(own) - 1, 1))
            before = np.minimum(near - 1, len(own) - 1)
            near = np.minimum(near, len(own) - 1)
            closer = np.abs(own[before] - stamps_ns[lead]) <= np.abs(own[near] - stamps_ns[lead])
            best = np.where(closer, before, near)
            interval = float(np.median(np.diff(own))) if len(own) > 1 else np.inf
            close = np.abs(own[best] - stamps_ns[lead]) <= interval / 2 + 1e6
            frame[close, c] = best[close]
    if most is not None and len(frame) > most:
        frame = frame[np.unique(np.linspace(0, len(frame) - 1, most).round().astype(int))]
    stamp = np.zeros_like(frame)
    for c, own in enumerate(stamps_ns):
        there = frame[:, c] >= 0
        stamp[there, c] = own[np.minimum(frame[there, c], len(own) - 1)]
    return FrameSets(frame, stamp)


def _rate(stamps_ns: NDArray[np.int64]) -> float:
    return (len(stamps_ns) - 1) / max(float(stamps_ns[-1] - stamps_ns[0]), 1.0) if len(stamps_ns) > 1 else 0.0


# what Exif's orientations ask for: mirrored first, then turned
_MIRRORED = (2, 4, 5, 7)
_TURNS = {
    3: cv2.ROTATE_180, 4: cv2.ROTATE_180, 5: cv2.ROTATE_90_COUNTERCLOCKWISE, 6: cv2.ROTATE_90_CLOCKWISE,
    7: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE,
}  # fmt: skip


def _oriented(image: Image, orientation: int) -> Image:
    if orientation in _MIRRORED:
        image = np.asarray(cv2.flip(image, 1), dtype=np.uint8)
    if orientation in _TURNS:
        image = np.asarray(cv2.rotate(image, _TURNS[orientation]), dtype=np.uint8)
    return image


def pictures(footage: Footage, wanted: set[int] | None = None) -> Iterator[tuple[int, int, Image]]:
    """(number, time in ns, BGR picture) of one camera's pictures; ``wanted``: only these numbers are converted."""
    if not footage.video:
        usual = footage.orientation
        for n, path in enumerate(footage.paths):
            if wanted is not None and n not in wanted:
                continue
            image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if image is None:
                raise KinecastError(f"camera {footage.name}: cannot read the picture {path}: remove it or make it anew")
            yield n, 0, _oriented(np.asarray(image, dtype=np.uint8), usual)
        return
    decoder, convert = VideoDecoder(str(footage.paths[0]), footage.name), Converter()
    stamps, last = footage.stamps_ns, max(wanted) if wanted else None
    try:
        for picture in decoder.pictures():
            if last is not None and picture.index > last:
                return
            if wanted is None or picture.index in wanted:
                known = stamps is not None and picture.index < len(stamps)
                t_ns = int(stamps[picture.index]) if stamps is not None and known else picture.t_ns
                yield picture.index, t_ns, convert.bgr(picture.decoded)
    finally:
        decoder.close()


@dataclass(frozen=True, slots=True, eq=False)
class BoardSightings:
    """What one camera saw: the views of the board, how many pictures were looked at, and their size (W, H).

    doubled: pictures that show markers twice, which are no views: corners of two boards are mixed in them.
    """

    name: str
    views: tuple[BoardView, ...]
    looked: int
    size_px: tuple[int, int]
    sample: Image | None = None
    doubled: int = 0

    @property
    def two_boards(self) -> bool:
        """Whether that is more than chance."""
        return self.doubled > max(1, 0.05 * (len(self.views) + self.doubled))

    @property
    def by_frame(self) -> dict[int, BoardView]:
        """Views by the number of their picture."""
        return {v.frame: v for v in self.views}


def look(
    footage: Footage, detector: BoardDetector, wanted: set[int] | None = None, progress: Progress | None = None
) -> BoardSightings:
    """Look for the board in the pictures of one camera. KinecastError where their sizes are mixed, or there is none."""
    views, looked, size, sample, doubled = [], 0, None, None, 0
    total = len(wanted) if wanted is not None else len(footage.paths)
    for number, t_ns, image in pictures(footage, wanted):
        h, w = image.shape[:2]
        if size is not None and size != (w, h):
            raise KinecastError(
                f"camera {footage.name}: picture {number} is {w}×{h}, those before it {size[0]}×{size[1]}: "
                "a calibration holds for one size; keep pictures of one size and one orientation only"
            )
        size, looked = (w, h), looked + 1
        view = detector(image, number, t_ns)
        doubled += detector.doubled
        if view is not None and not detector.doubled:
            views.append(view)
        if looked == max(total // 2, 1):
            sample = image
        if progress is not None:
            progress(footage.name, looked, total)
    if size is None:
        raise KinecastError(f"camera {footage.name}: no picture in {footage.paths[0]} can be read: make it anew")
    return BoardSightings(footage.name, tuple(views), looked, size, sample, doubled)
