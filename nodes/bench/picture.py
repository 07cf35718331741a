"""What one picture costs a camera, and what comes of it: ways of decoding and looking, in turns on the sample clip.

A way is a word: ``bgr`` converts every picture, as this program did at first, and looks at each; ``planes`` crops from
the decoder's planes; ``planes2`` and ``planes3`` let the model look at every second or third picture, with the cameras
in turns, and follow by optical flow in between; ``…fast`` leaves out the decoder's loop filter. All ways see picture n
of a camera before any sees n + 1, so that a machine that others use too slows all of them alike. Times are of the
process's own CPU.
"""

import argparse
import itertools
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import load_rig
from kinecast.capture.clock import MonotonicClock
from kinecast.capture.decode import Converter, VideoDecoder
from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.capture.planes import Pixels, planes_of
from kinecast.engines.detect.opened_card import OpenModel
from kinecast.engines.detect.tracking_detector import load_detector
from kinecast.engines.records import Keypoints2D
from kinecast.engines.runtime.session import Arrays
from kinecast.nodes.bench import Row
from kinecast.nodes.bench.report import add_json, check_json, emit
from kinecast.nodes.bus.codec import encode
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.camera.loop import CameraCore
from kinecast.nodes.evaluate.keypoint_sigma import inside_two_sigma
from kinecast.nodes.evaluate.session_quality import measure
from kinecast.nodes.exchange.import_keypoints import FUSION, record
from kinecast.nodes.exchange.sample_clip import clip
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import About, Recording

WAYS = ("bgr", "planes", "planes2", "planes3", "planesfast", "planes2fast", "planes3fast")
STEPS = ("decode", "convert", "detect, model", "detect, flow", "networks", "encode")
_IN_ALL = ("decode", "convert", "detect, model", "detect, flow", "encode")  # networks are part of detecting


class Meter:
    """CPU nanoseconds and counts by step."""

    def __init__(self) -> None:
        self.ns: Counter[str] = Counter()
        self.times: Counter[str] = Counter()

    def add(self, step: str, since_ns: int) -> int:
        """Count what has passed since; returns now."""
        now = time.process_time_ns()
        self.ns[step] += now - since_ns
        self.times[step] += 1
        return now


class _MeteredSession:
    """A session that notes what its runs cost."""

    def __init__(self, session: Any, meter: Meter) -> None:
        self._session, self._meter = session, meter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        began = time.process_time_ns()
        out: Arrays = self._session.run(inputs)
        self._meter.add("networks", began)
        return out


@dataclass(slots=True)
class Way:
    """One way and what it has come to. views: a list of messages for every camera."""

    name: str
    meter: Meter = field(default_factory=Meter)
    views: list[list[Keypoints2D]] = field(default_factory=list)

    @property
    def planes(self) -> bool:
        """Whether crops come from the planes."""
        return self.name.startswith("planes")

    @property
    def model_every(self) -> int:
        """Pictures from look to look."""
        return next((int(c) for c in self.name if c.isdigit()), 1)

    def pictures(self, path: Path, camera: str, every: int) -> Iterator[tuple[int, int, Pixels]]:
        """(number, time in ns, picture) of each ``every``-th picture."""
        decoder = VideoDecoder(str(path), camera, decode="fast" if self.name.endswith("fast") else "exact")
        convert: Callable[[Any], Pixels] = Converter() if self.planes else ByOpenCv()
        pictures = decoder.pictures()
        while True:
            began = time.process_time_ns()
            picture = next(pictures, None)
            if picture is None:
                break
            if picture.index % every:
                continue
            began = self.meter.add("decode", began)
            made = convert(picture.decoded)
            self.meter.add("convert", began)
            yield picture.index // every, picture.t_ns, made
        decoder.close()

    def camera(self, camera: Camera, number: int, profile: str, people: int) -> "_Looker":
        """A detector of this way behind camera ``number``."""
        detector = load_detector(profile, size_px=camera.size_px, max_people=people, channels=self.planes,
                                 model_every=self.model_every, phase=number)  # fmt: skip
        detector.warm_up()
        for model in _models(detector):
            model.session = _MeteredSession(model.session, self.meter)
        return _Looker(CameraCore(camera.name, detector, camera, MonotonicClock()), self.meter, camera.name)


@dataclass(frozen=True, slots=True)
class _Looker:
    core: CameraCore
    meter: Meter
    camera: str

    def see(self, seq: int, t_ns: int, picture: Pixels) -> Keypoints2D:
        began = time.process_time_ns()
        seen: Keypoints2D = self.core.see(Frame(self.camera, seq, t_ns, 0, picture), 0).record
        flown = bool(seen.look_age_s.size) and bool((seen.look_age_s > 0).any())
        began = self.meter.add("detect, flow" if flown else "detect, model", began)
        encode(seen)
        self.meter.add("encode", began)
        return seen


def _models(detector: Any) -> list[OpenModel]:
    found: list[OpenModel] = [finder.model for finder, _ in detector._finders.values()]
    return [*found, detector._poser.model] if hasattr(detector, "_poser") else found


class ByOpenCv:
    """Planes packed and converted by OpenCV, as every picture was before planes were kept."""

    def __init__(self) -> None:
        self._packed = np.zeros((0, 0), np.uint8)

    def __call__(self, decoded: Any) -> NDArray[np.uint8]:
        """(H, W, 3) BGR."""
        planes = planes_of(decoded)
        if planes is None or planes.subsampling != (2, 2) or len(planes.chroma) != 2:
            raise KinecastError("the sample clip is not 4:2:0: fetch it again with `kinecast demo --fetch-only`")
        w, h = planes.size_px
        if self._packed.shape != (h * 3 // 2, w):
            self._packed = np.empty((h * 3 // 2, w), np.uint8)
        flat, start = self._packed.reshape(-1), 0
        for plane in (planes.y, *planes.chroma):
            flat[start : start + plane.size].reshape(plane.shape)[:] = plane
            start += plane.size
        return np.asarray(cv2.cvtColor(self._packed, cv2.COLOR_YUV2BGR_I420), np.uint8)


def rig_of(people: int) -> Rig:
    """The clip's rig with the sizes of its videos: two are cut to 1080 columns of the 1088 that were calibrated."""
    sample = clip(people)
    rig = load_rig(sample.calibration).subset(tuple(sample.videos))
    sizes = {name: VideoDecoder(str(path), name).size_px for name, path in sample.videos.items()}
    return replace(rig, cameras=tuple(replace(c, size_px=sizes[c.name]) for c in rig))


def look(ways: list[Way], profile: str, people: int, every: int = 1, most: int | None = None) -> Rig:
    """Every way through the clip of so many people, in turns; the rig that its cameras belong to. every: so many-th
    picture alone; most: so many of them, None: all."""
    cv2.setNumThreads(1)
    rig, sample = rig_of(people), clip(people)
    for number, camera in enumerate(rig):
        lookers = [way.camera(camera, number, profile, people + 1) for way in ways]
        rows = zip(*(w.pictures(sample.videos[camera.name], camera.name, every) for w in ways), strict=True)
        views: list[list[Keypoints2D]] = [[] for _ in ways]
        for row in itertools.islice(rows, most):
            for n, looker in enumerate(lookers):
                views[n].append(looker.see(*row[n]))
        for way, seen in zip(ways, views, strict=True):
            way.views.append(seen)
    return rig


def fused(way: Way, rig: Rig, profile: str, fps_hz: float, out: Path) -> Recording:
    """What a lossless fusion makes of the way's messages, as a recording."""
    nodes: dict[str, Any] = {c: CameraNode(source=SourceSettings(uri=c)) for c in rig.names}
    graph = Graph(Session("bench", ".", "rig.toml", "lossless"), {**nodes, FUSION: FusionNode(min_views=3)})
    reports = [SourceReport(c.name, "video", c.name, c.size_px, fps_hz, False, 0, profile) for c in rig]
    pictures = min(map(len, way.views))
    record(out, About(uuid.uuid4().hex, "bench"), rig, graph, [v[:pictures] for v in way.views], reports)
    return Recording.open(out)


def rows_of(way: Way, rig: Rig, profile: str, fps_hz: float) -> list[Row]:
    """Cost by step and accuracy of a way."""
    pictures = sum(map(len, way.views))
    rows = [
        Row(f"{way.name}: {step}", way.meter.ns[step] / way.meter.times[step] / 1e6, "CPU ms",
            note=f"× {way.meter.times[step] / pictures:.2f} a picture")
        for step in STEPS if way.meter.times[step]
    ]  # fmt: skip
    rows.append(Row(f"{way.name}: a picture", sum(way.meter.ns[s] for s in _IN_ALL) / pictures / 1e6, "CPU ms"))
    with tempfile.TemporaryDirectory() as folder:
        recording = fused(way, rig, profile, fps_hz, Path(folder) / "session.mcap")
        figures = measure(recording).plain()
        inside = inside_two_sigma(recording)
    error = figures["reprojection_px"]
    rows.append(Row(f"{way.name}: reprojection", error["median"], "px", note=f"p90 {error['p90']:.1f}"))
    rows.append(Row(f"{way.name}: bones, std/mean", 100 * figures["bones"]["std_over_mean"], "%"))
    told = f"{figures['identity_changes']} changes, {figures['left_right_flips']} exchanged sides"
    rows.append(Row(f"{way.name}: identities", figures["identities"], "", note=told))
    rows += [Row(f"{way.name}: keypoints {kind}, inside 2 σ", 100 * share, "%", note=f"of {n}; honest is 95.4")
             for kind, (share, n) in inside.items() if n]  # fmt: skip
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which ways, which models, whom."""
    parser.add_argument("way", nargs="*", help=f"of {', '.join(WAYS)}; default: {' '.join(WAYS[:4])}")
    parser.add_argument("--profile", default="lightweight", help="of the detector")
    parser.add_argument("--people", type=int, choices=(1, 2), default=1, help="the clip of one or of two people")
    parser.add_argument("--speed", type=int, choices=(1, 2, 3, 4), default=1,
                        help="so many times as fast: pictures left out")  # fmt: skip
    parser.add_argument("--pictures", type=int, help="so many of each camera; default: all")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print; KinecastError for a word that is no way, or where clip or models are not in the cache."""
    names = args.way or list(WAYS[:4])
    if unknown := [n for n in names if n not in WAYS]:
        raise KinecastError(f"no way {unknown[0]!r}; there are {', '.join(WAYS)}")
    if args.pictures is not None and args.pictures < 10:
        raise KinecastError(f"--pictures {args.pictures}: expected 10 or more")
    check_json(args)
    ways = [Way(n) for n in names]
    rig = look(ways, args.profile, args.people, args.speed, args.pictures)
    emit(args, [row for way in ways for row in rows_of(way, rig, args.profile, 60.0 / args.speed)])
    return 0
