"""The same keypoints made harder, each fused again and scored beside the same truth; printed without a threshold.

Every second frame dropped; one camera removed, each in turn; each camera's keypoints resampled as if its shutter were
a constant up to ±20 ms off, once with stamps that say so and once with stamps that do not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from kinecast.capture.errors import KinecastError
from kinecast.engines.records import FrameSet, Keypoints2D
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.bus.messages import End
from kinecast.nodes.evaluate.ground_truth import Truth
from kinecast.nodes.evaluate.result import Result, number_of, pair, result_frame
from kinecast.nodes.evaluate.scores import score
from kinecast.nodes.fusion.set_views import SKELETON
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.run_fusion import fuse_views, fusion_settings

SHIFT_MS = 20.0
SEED = 1
SAME_OF_HEIGHT = 0.15  # two detections of neighbouring frames whose joints differ by less (median) are one person

Views = Mapping[str, list[Keypoints2D]]


@dataclass(frozen=True, slots=True)
class Variant:
    """name, and the views of every camera that is left, in the order of their frames."""

    name: str
    views: Views


def variants(views: Views) -> Iterator[Variant]:
    """All variants of a recording's views, themselves first."""
    yield Variant("as recorded", views)
    yield Variant("every second frame", {c: [v for v in vs if v.frame_seq % 2 == 0] for c, vs in views.items()})
    if len(views) > 2:
        for camera in views:
            yield Variant(f"without {camera}", {c: vs for c, vs in views.items() if c != camera})
    rng = np.random.default_rng(SEED)
    shifts = {c: round(1e6 * rng.uniform(-SHIFT_MS, SHIFT_MS)) for c in views}
    told = {c: resampled(vs, shifts[c]) for c, vs in views.items()}
    yield Variant(f"shutters ±{SHIFT_MS:g} ms apart, stamps say so", told)
    silent = {
        c: [replace(v, t_capture_ns=old.t_capture_ns) for v, old in zip(vs, views[c], strict=True)]
        for c, vs in told.items()
    }
    yield Variant(f"shutters ±{SHIFT_MS:g} ms apart, stamps do not", silent)


def resampled(views: list[Keypoints2D], shift_ns: int) -> list[Keypoints2D]:
    """One camera's views as of ``shift_ns`` later: every keypoint moved along to the same person's in the next view.

    Or the one before, where the shift is negative. Who has no like in the neighbour stays; the stamps move too.
    """
    out = []
    for k, view in enumerate(views):
        n = k + 1 if shift_ns > 0 else k - 1
        px = view.keypoints_px
        if shift_ns and 0 <= n < len(views) and views[n].t_capture_ns != view.t_capture_ns:
            px = _moved(view, views[n], shift_ns / (views[n].t_capture_ns - view.t_capture_ns))
        out.append(replace(view, keypoints_px=px, t_capture_ns=view.t_capture_ns + shift_ns))
    return out


def _moved(view: Keypoints2D, other: Keypoints2D, share: float) -> NDArray[np.float32]:
    """Keypoints of ``view`` moved by ``share`` of the way to those of ``other`` that are the same person's."""
    px = view.keypoints_px.copy()
    if not len(px) or not len(other.keypoints_px):
        return px
    both = (view.confidence[:, None] > 0) & (other.confidence[None] > 0)
    gap = np.where(both, np.linalg.norm(px[:, None] - other.keypoints_px[None], axis=-1), np.nan)
    tall = np.maximum(view.boxes_px[:, 3] - view.boxes_px[:, 1], 1.0)
    enough = both.sum(axis=-1) >= 4
    cost = np.full(gap.shape[:2], SAME_OF_HEIGHT)
    cost[enough] = np.nanmedian(gap[enough], axis=-1) / np.broadcast_to(tall[:, None], cost.shape)[enough]
    cost = np.minimum(cost, SAME_OF_HEIGHT)
    for a, b in zip(*linear_sum_assignment(cost), strict=True):
        if cost[a, b] < SAME_OF_HEIGHT:
            step = share * (other.keypoints_px[b] - px[a])
            # a keypoint that jumped is no motion
            near = both[a, b] & (gap[a, b] < 2 * SAME_OF_HEIGHT * tall[a])
            px[a] = np.where(near[:, None], px[a] + step, px[a])
    return px


def fuse(recording: Recording, settings: FusionNode, views: Views) -> Result:
    """The views through a lossless fusion."""
    names = tuple(c for c in recording.rig.names if c in views)
    everything = sorted((v for c in names for v in views[c]), key=lambda v: (v.t_capture_ns, v.camera))
    messages: list[Keypoints2D | End] = [*everything, *(End(c, 0, 0, "last frame") for c in names)]
    # nothing is asked of a body
    fused = fuse_views(recording, replace(settings, body="off"), messages, names)
    frames, number = [], None
    for o in (o for _, outs in fused for o in outs):
        if isinstance(o.record, FrameSet):
            number = number_of(o.record)
        elif o.topic == "poses":
            frames.append(result_frame(o.record, number))
    return Result(recording.path, skeleton(SKELETON).joints, tuple(frames))


def measure(recording: Recording, truth: Truth, **how: Any) -> list[tuple[str, dict[str, Any]]]:
    """Every variant's name and scores. how: what :func:`nodes.evaluate.result.pair` takes. KinecastError without
    keypoints."""
    views: dict[str, list[Keypoints2D]] = {}
    for _, _, record in recording.messages(("keypoints",)):
        views.setdefault(record.camera, []).append(record)
    if len(views) < 2:
        raise KinecastError(f"{recording.path}: keypoints of {len(views)} cameras; there is nothing to fuse again")
    settings = fusion_settings(recording)
    kept = {c: views[c] for c in recording.rig.names if c in views and (not settings.cameras or c in settings.cameras)}
    out = []
    for v in variants(kept):
        result = fuse(recording, settings, v.views)
        out.append((v.name, score(result, truth, pair(result, truth, **how))))
    return out


def show(measured: list[tuple[str, dict[str, Any]]], console: Console) -> None:
    """Print one line a variant."""
    table = Table("variant", "person-frames", "PCP", "MPJPE", "missed", "switches", "identities", title="Made harder")
    for name, s in measured:
        pcp = f"{s['pcp']['average']:.2f}" if "pcp" in s else "–"
        error, who = s["errors"]["mpjpe"], s["identity"]
        table.add_row(
            name, str(who["truth"]), pcp, f"{error['mm']:.1f} mm", str(who["missed"]), str(who["switches"]),
            str(s["tracks"]["identities"]),
        )  # fmt: skip
    console.print(table)
