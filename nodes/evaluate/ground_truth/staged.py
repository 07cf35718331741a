"""Recordings of motion clips before a fixed rig: fused as if cameras had sent them, with the truth inside."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.staged_sessions import SimulatedSession, messages
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.evaluate.ground_truth.truth import Truth
from kinecast.nodes.exchange.import_keypoints import FUSION, record
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import About, Recording

TRUTH, KIND = "truth.npz", "staged"


def write(staged: SimulatedSession, out: Path, seed: int) -> tuple[int, int]:
    """Write the recording of a staged session, over none; how many sets and people came out.

    The same arguments give the same messages.
    """
    rig, source = staged.rig, SourceSettings(kind="synthetic", seed=seed)
    nodes: dict[str, Any] = {n: CameraNode(camera=n, source=source) for n in rig.names}
    nodes[FUSION] = FusionNode()
    graph = Graph(Session(out.stem, "", "", "lossless"), nodes)
    reports = [
        SourceReport(c.name, KIND, f"{KIND}:{seed}", c.size_px, staged.rate_hz, False, 0, KIND) for c in rig.cameras
    ]
    about = About(f"{KIND}-{seed}", ", ".join(sorted(set(staged.actions))), made_by=KIND)
    return record(out, about, rig, graph, messages(staged, seed), reports, {TRUTH: _packed(staged)})


def truth_of(recording: Recording) -> Truth | None:
    """Everybody at the time of every frame set of a staged recording; None for any other."""
    data = recording.attachment(TRUTH)
    if data is None:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        points, rate_hz = file["points_m"].astype(np.float64), float(file["rate_hz"])
    frames, times = dict[int, dict[int, NDArray[np.float64]]](), dict[int, int]()
    for k, (_, _, poses) in enumerate(recording.messages(("poses",))):
        n = round(poses.t_set_ns * rate_hz / 1e9)
        if 0 <= n < len(points):
            frames[k], times[k] = dict(enumerate(points[n])), poses.t_set_ns
    return Truth(KIND, skeleton("halpe26").joints, frames, True, (), times)


def _packed(staged: SimulatedSession) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, points_m=staged.points.astype(np.float32), rate_hz=np.float64(staged.rate_hz))
    return file.getvalue()
