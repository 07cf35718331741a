"""Footage by words: a folder, or videos and addresses of cameras, which are filmed into a folder for a while."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from kinecast.calibration.footage import VIDEOS
from kinecast.capture.clock import Clock, MonotonicClock
from kinecast.capture.errors import KinecastError
from kinecast.capture.images import SUFFIXES as PHOTOS
from kinecast.capture.source import Source, SourceStalled
from kinecast.capture.urls import file_of, is_remote_file, is_url, redacted
from kinecast.nodes.calibrate.live import Eye, Running, kept, open_all
from kinecast.nodes.graph.records import SourceSettings

FILM_S = 30.0
WAIT_S = 0.25


def film_seconds(value: float | None) -> float:
    """``--duration``, or the default. KinecastError where it is not from 0.5 to 3600."""
    if value is not None and not 0.5 <= value <= 3600:
        raise KinecastError("--duration is from 0.5 to 3600 seconds")
    return FILM_S if value is None else value


@contextmanager
def gathered(words: Sequence[str], duration_s: float | None = None) -> Iterator[Path]:
    """A folder of footage, a video of each camera: the folder that is named, or one with what ``words`` name.

    A word is a video file, the address of one on a web server, or of a camera (rtsp://, http://), each with ``NAME=``
    before it or not. Cameras are filmed all at once for ``duration_s`` seconds (by default 30), with a common clock in
    ``timestamps.csv``; files on web servers are read to their end, or for that long. The folder is gone afterwards.
    KinecastError where something is not there, or cameras and files stand side by side.
    """
    if not names_videos(words):
        yield Path(words[0])
        return
    if folders := [w for w in words if Path(w).is_dir()]:
        raise KinecastError(f"{folders[0]} is a folder: give one folder, or videos and addresses, not both")
    seconds = film_seconds(duration_s)
    eyes = eyes_of_words(words)
    live = [e.name for e in eyes if e.live]
    if live and len(live) < len(eyes):
        raise KinecastError(
            f"{live[0]} is filmed now and others are files: they have no common clock; film all, or give files only"
        )
    with tempfile.TemporaryDirectory(prefix="kinecast-footage-") as made:
        folder = Path(made)
        remote = [e for e in eyes if is_url(e.settings.uri)]
        for eye in eyes:
            if eye not in remote:
                path = Path(eye.settings.uri).resolve()
                (folder / f"{eye.name}{path.suffix}").symlink_to(path)
        if remote:
            film(remote, folder, seconds if live or duration_s is not None else None)
        yield folder


def film(eyes: list[Eye], folder: Path, seconds: float | None) -> str:
    """Keep the videos of all cameras for so many seconds of each, with ``timestamps.csv`` where they are live.

    seconds: None: to the end. What was kept is returned in words; KinecastError where a camera cannot be opened.
    """
    clock, running = MonotonicClock(), Running()
    try:
        open_all(eyes, running, folder / "film")
        with ThreadPoolExecutor(len(eyes)) as pool:
            done = [pool.submit(_drain, s, seconds, clock) for s in running.sources.values()]
            for one in done:
                one.result()
    finally:
        running.close()
    said = kept(folder / "film", running) if any(e.live for e in eyes) else ""
    for path in (folder / "film").iterdir():
        if path.suffix != ".txt":
            path.rename(folder / path.name)
    return said


def _drain(source: Source, seconds: float | None, clock: Clock) -> None:
    """Read until the end, or for so long; a camera that gives nothing does not keep the others waiting."""
    first_ns, began_ns = None, clock.now_ns()
    while seconds is None or clock.now_ns() - began_ns < 2e9 * seconds:
        try:
            frame = source.read(WAIT_S)
        except SourceStalled:
            continue
        if frame is None:
            return
        first_ns = frame.t_capture_ns if first_ns is None else first_ns
        if seconds is not None and frame.t_capture_ns - first_ns >= seconds * 1e9:
            return


def names_videos(words: Sequence[str]) -> bool:
    """Whether words mean videos and cameras: more than one, or one that is neither a folder nor a launch file."""
    return len(words) > 1 or (not Path(words[0]).is_dir() and _names_video(words[0]))


def _names_video(word: str) -> bool:
    """Whether a word means a video or a camera and no folder that is missing."""
    where = word.partition("=")[2] if _named(word) else word
    return is_url(where) or Path(where).suffix.lower() in VIDEOS


def _named(word: str) -> bool:
    name, sign, rest = word.partition("=")
    return bool(sign and rest) and not is_url(word) and "/" not in name and not Path(word).exists()


def eyes_of_words(words: Sequence[str]) -> list[Eye]:
    """A camera for each word, as ``gathered`` says."""
    eyes: list[Eye] = []
    for n, word in enumerate(words):
        name, where = word.split("=", 1) if _named(word) else ("", word)
        where = file_of(where) or where
        if is_url(where):
            live = not is_remote_file(where)
            settings = SourceSettings("stream" if live else "video", where, record="copy" if live else "encode")
            eyes.append(Eye(name or _name_of(where, n), settings, live))
        elif not Path(where).is_file():
            raise KinecastError(f"there is no video {redacted(where)}")
        elif Path(where).suffix.lower() in PHOTOS:
            raise KinecastError(f"{where} is a photo: put the photos of each camera into a folder and give that")
        else:
            eyes.append(Eye(name or Path(where).stem, SourceSettings("video", where), False))
    twice = [e.name for i, e in enumerate(eyes) if e.name in [x.name for x in eyes[:i]]]
    if twice:
        raise KinecastError(f"two cameras are called {twice[0]}: give names, as cam01=ADDRESS")
    return eyes


def _name_of(url: str, n: int) -> str:
    """The file's name without its ending; of a camera ``cam01`` … by its place, since addresses are all alike."""
    stem = Path(urlsplit(url).path).stem
    return stem if is_remote_file(url) else f"cam{n + 1:02d}"
