"""A short session of the real sample clip, with lifter and bodies: detected in this process, without a graph."""

from pathlib import Path

import pytest

from kinecast.calibration.formats import load_rig
from kinecast.capture.clock import MonotonicClock
from kinecast.capture.files import open_video
from kinecast.engines.detect.tracking_detector import load_detector
from kinecast.engines.models.cache import fault
from kinecast.engines.models.card import find_card
from kinecast.engines.records import Keypoints2D
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.camera.loop import CameraCore
from kinecast.nodes.exchange import sample_clip
from kinecast.nodes.exchange.import_keypoints import FUSION, record
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import About, Recording

PROFILE = "lightweight"
SETTINGS = FusionNode(min_views=3, body="neutral", lift="shipped")


def skip_where_it_was_not_fetched() -> None:
    """Skip the test, with a reason, where the clip or the models of the light profile are not in the cache."""
    if not (sample_clip.clip_dir() / "LICENSE").is_file():
        pytest.skip("the sample clip is not here: kinecast demo --fetch-only")
    if any(fault(find_card(name)) for name in ("pose_detection", "pose_landmark_full")):
        pytest.skip("the models of the lightweight profile are not here: kinecast models pull")


def session(path: Path, frames: int) -> Recording:
    """The first ``frames`` of the clip with one person."""
    clip = sample_clip.clip(1)
    rig = load_rig(clip.calibration)
    views: list[list[Keypoints2D]] = []
    for camera in rig:
        detector = load_detector(PROFILE, size_px=camera.size_px)
        core, source = (
            CameraCore(camera.name, detector, camera, MonotonicClock()),
            open_video(str(clip.videos[camera.name]), camera.name, epoch_ns=0, live=False, frames=frames),
        )
        views.append([])
        while (frame := source.read(10.0)) is not None:
            views[-1].append(core.see(frame, 0).record)
        source.close()
    nodes = {c: CameraNode(source=SourceSettings("video", str(clip.videos[c]))) for c in rig.names}
    graph = Graph(Session("clip", str(path.parent), "rig.toml", "lossless"), {**nodes, FUSION: SETTINGS})
    reports = [SourceReport(c.name, "video", str(clip.videos[c.name]), c.size_px, 60.0, False, 0, "") for c in rig]
    record(path, About("clip", "clip"), rig, graph, views, reports)
    return Recording.open(path)
