"""How well a session went, in figures: from the recording alone, under keys that stay (docs/reference/summary.md).

Reprojection is over the raw 2D keypoints of every view that fusion gave to the person, also of the views that
triangulation then left out of a joint; the share of joint-frames that have a 3D joint at all is quoted with it.
"""

import importlib.metadata
import math
import platform
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from kinecast.calibration.camera import Rig
from kinecast.capture.version import kinecast_version
from kinecast.engines.metrics import bone_stability, limb_joints, reprojection
from kinecast.engines.records import Keypoints2D, Poses
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.bus.messages import End, SourceReport
from kinecast.nodes.evaluate.body_quality import BodyFigures, limb_views
from kinecast.nodes.evaluate.body_quality import rows as body_rows
from kinecast.nodes.evaluate.cells import cell, percent, rounded
from kinecast.nodes.fusion.meshes import Mesher
from kinecast.nodes.recording.body_meshes import mesher_of
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import FrameSetBundle, iter_frame_sets

LIBRARIES = ("numpy", "opencv-python", "av", "onnxruntime", "openvino", "numba")
STEPS = ("capture→grab", "grab→detect", "detect→publish", "publish→arrival", "arrival→set closed",
         "set closed→solved", "solved→published", "total")  # fmt: skip
KEYS = ("grab", "detect", "publish", "arrival", "close", "solve", "pose_publish", "total")
SAME_PERSON_M = 0.5  # between neighbouring frame sets nobody moves further than this


@dataclass(slots=True)
class CameraFigures:
    """frames: pictures whose keypoints are recorded. skipped: lost at the source or on the way. used: fused.

    first and last: numbers of the frames in their source, which counts those that it lost. origin: the first number
    that counts, where what came before it is left out of the measurement, else 0.
    """

    frames: int = 0
    skipped: int = 0
    used: int = 0
    first: int = -1
    last: int = -1
    origin: int = 0

    def take(self, seq: int) -> None:
        """Count one recorded frame."""
        self.frames += 1
        self.first = seq if self.first < 0 else min(self.first, seq)
        self.last = max(self.last, seq)

    @property
    def before_start(self) -> int:
        """Frames that a source with a clock of its own had given before the node was ready."""
        return 0 if self.origin else max(0, self.first)

    @property
    def missing(self) -> int:
        """Numbers that do not appear among the frames: they were lost, whether somebody reported it or not."""
        return max(0, self.last + 1 - (self.origin or self.first) - self.frames) if self.frames else 0

    @property
    def unused(self) -> int:
        """Frames whose keypoints are in no frame set."""
        return max(0, self.frames - self.used)

    @property
    def dropped(self) -> int:
        """Everything that was filmed and is in no pose."""
        return self.before_start + self.skipped + self.unused


@dataclass(slots=True)
class Figures:
    """Collected by :func:`measure`. errors_px: of every compared keypoint. latencies_ns: by step. body: of bodies."""

    cameras: dict[str, CameraFigures] = field(default_factory=dict)
    sources: dict[str, SourceReport] = field(default_factory=dict)
    sets: int = 0
    people_by_set: Counter[int] = field(default_factory=Counter)
    tracks: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict)
    identity_changes: int = 0
    swaps: int = 0
    errors_px: list[NDArray[np.float64]] = field(default_factory=list)
    keypoints: int = 0
    joint_frames: int = 0
    views: int = 0
    latencies_ns: dict[str, list[int]] = field(default_factory=lambda: {k: [] for k in KEYS})
    published_ns: list[int] = field(default_factory=list)
    set_times_ns: list[int] = field(default_factory=list)
    body: BodyFigures = field(default_factory=lambda: BodyFigures(Mesher()))

    @property
    def people(self) -> int:
        """How many people most frame sets show."""
        return self.people_by_set.most_common(1)[0][0] if self.people_by_set else 0

    @property
    def live(self) -> bool:
        """Whether stamps and arrivals are on one clock."""
        return any(s.live for s in self.sources.values())

    def plain(self) -> dict[str, Any]:
        """The figures under their documented keys, ready for JSON; what could not be measured is None."""
        error = reprojection(np.concatenate(self.errors_px) if self.errors_px else np.zeros(0))
        expected = self.people * self.sets * len(limb_joints())
        bones = [bone_stability(np.stack(t)) for t in self.tracks.values() if len(t) > 1]
        weight = sum(b.n for b in bones if math.isfinite(b.std_over_mean))
        spread = sum(b.std_over_mean * b.n for b in bones if math.isfinite(b.std_over_mean))
        wall_s = (self.published_ns[-1] - self.published_ns[0]) / 1e9 if len(self.published_ns) > 1 else 0.0
        steps = np.diff(np.array(sorted(set(self.set_times_ns)), np.int64))
        models: dict[str, str] = {}
        runtime: dict[str, str] = {}
        for report in self.sources.values():
            models |= report.models
            runtime |= report.runtime
        return {
            "cameras": {
                name: {
                    "frames": c.frames,
                    "dropped": c.dropped,
                    "before_start": c.before_start,
                    "skipped_at_source": c.skipped,
                    "unused": c.unused,
                }
                for name, c in self.cameras.items()
            },
            "frame_sets": self.sets,
            "people": self.people,
            "identities": len(self.tracks),
            "identity_changes": self.identity_changes,
            "left_right_flips": self.swaps,
            "reprojection_px": {
                "median": rounded(error.median, 2),
                "mean": rounded(error.mean, 2),
                "p90": rounded(error.p90, 2),
                "kept": rounded(min(1.0, self.joint_frames / expected) if expected else math.nan, 4),
                "keypoints": error.n,
                "keypoints_kept": rounded(error.n / self.keypoints if self.keypoints else math.nan, 4),
                "views_per_person": rounded(self.views / max(1, sum(map(len, self.tracks.values()))), 2),
            },
            "bones": {"std_over_mean": rounded(spread / weight if weight else math.nan, 4)},
            "body": self.body.plain(),
            "latency_ms": {
                key: {"p50": _percentile(values, 50), "p95": _percentile(values, 95)}
                for key, values in self.latencies_ns.items()
                if values
            },
            "latency_from": "capture" if self.live else "grab",
            "fps": rounded((len(self.published_ns) - 1) / wall_s if wall_s > 0 else math.nan, 2),
            "rate_hz": rounded(1e9 / float(np.median(steps)) if len(steps) else math.nan, 3),
            "profile": " ".join(sorted({s.profile for s in self.sources.values()})),
            "runtime": runtime,
            "models": models,
            "versions": versions(),
        }


def _percentile(values_ns: list[int], q: float) -> float | None:
    return rounded(float(np.percentile(values_ns, q)) / 1e6, 2) if values_ns else None


def versions() -> dict[str, str]:
    """Of Kinecast, Python and the libraries that decide what comes out."""
    out = {"kinecast": kinecast_version(), "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out


def measure(recording: Recording, since_ns: int | None = None) -> Figures:
    """Read a recording once, its small topics twice, and measure what was captured from ``since_ns`` on."""
    figures = Figures(body=BodyFigures(mesher_of(recording)))
    before_ns = 0 if since_ns is None else since_ns
    already: dict[str, int] = {}  # lost before
    rig = recording.rig
    figures.cameras = {name: CameraFigures() for name in rig.names}
    skipped: dict[str, dict[int, int]] = {}
    for _, stamp, record in recording.messages(("source", "end", "keypoints")):
        if isinstance(record, SourceReport):
            figures.sources[record.camera] = record
        elif isinstance(record, Keypoints2D):
            if record.t_capture_ns < before_ns:
                already[record.camera] = record.skipped
                figures.cameras.setdefault(record.camera, CameraFigures()).origin = record.frame_seq + 1
                continue
            figures.cameras.setdefault(record.camera, CameraFigures()).take(record.frame_seq)
            skipped.setdefault(record.camera, {})[stamp.incarnation] = record.skipped
        elif isinstance(record, End) and record.node in figures.cameras:
            lives = skipped.setdefault(record.node, {})
            lives[stamp.incarnation] = max(lives.get(stamp.incarnation, 0), record.skipped)
    for name, camera in figures.cameras.items():
        camera.skipped = max(sum(skipped.get(name, {}).values()) - already.get(name, 0), camera.missing)
    before: Poses | None = None
    for joined in iter_frame_sets(recording):
        if joined.frameset.t_set_ns < before_ns:
            continue
        figures.sets += 1
        figures.set_times_ns.append(joined.frameset.t_set_ns)
        for used in joined.expected_frames():
            figures.cameras.setdefault(used, CameraFigures()).used += 1
        _latencies(figures, joined)
        figures.body.add(joined, rig)
        if joined.poses is not None:
            figures.people_by_set[len(joined.poses.person_ids)] += 1
            _accuracy(figures, joined, joined.poses, rig)
            _continuity(figures, before, joined.poses)
            before = joined.poses
    return figures


def _latencies(figures: Figures, joined: FrameSetBundle) -> None:
    """Durations of one set. Each step is counted on its own: those of a view for every view, the others once a set."""
    out, live = figures.latencies_ns, figures.live
    starts: list[int] = []
    arrivals = dict(zip(joined.frameset.cameras, joined.frameset.arrivals_ns.tolist(), strict=False))
    for camera, keypoints in joined.keypoints.items():
        published = joined.keypoint_stamps[camera].t_publish_ns
        if not keypoints.t_grab_ns:
            continue
        if live:
            out["grab"].append(keypoints.t_grab_ns - keypoints.t_capture_ns)
        starts.append(keypoints.t_capture_ns if live else keypoints.t_grab_ns)
        out["detect"].append(keypoints.t_detect_ns - keypoints.t_grab_ns)
        out["publish"].append(published - keypoints.t_detect_ns)
        if arrivals.get(camera):
            out["arrival"].append(arrivals[camera] - published)
    last, decided = max(arrivals.values(), default=0), joined.frameset.decided_ns
    if last and decided:
        out["close"].append(decided - last)
    poses, stamp = joined.poses, joined.poses_stamp
    if poses is None or stamp is None or not poses.t_solved_ns:
        return
    if decided:
        out["solve"].append(poses.t_solved_ns - decided)
    if stamp.t_publish_ns:
        out["pose_publish"].append(stamp.t_publish_ns - poses.t_solved_ns)
        figures.published_ns.append(stamp.t_publish_ns)
        if starts:
            out["total"].append(stamp.t_publish_ns - min(starts))


def _accuracy(figures: Figures, joined: FrameSetBundle, poses: Poses, rig: Rig) -> None:
    limbs, views = np.array(limb_joints(poses.skeleton)), limb_views(joined, poses)
    for p, person in enumerate(poses.person_ids.tolist()):
        told = poses.derived[p] | poses.lifted[p] if poses.lifted.size else poses.derived[p]
        points = np.where(told[:, None], np.nan, poses.points_world_m[p])  # what two views or more measured
        figures.tracks.setdefault(person, []).append(points.astype(np.float32))
        figures.joint_frames += int(np.isfinite(points[limbs]).all(axis=1).sum())
        for camera, seen in views[p]:
            figures.views += 1
            error = np.linalg.norm(rig[camera].project(points[limbs])[0] - seen, axis=1)
            figures.keypoints += int(np.isfinite(seen).all(axis=1).sum())
            figures.errors_px.append(error[np.isfinite(error)])


def _middle(points: NDArray[np.float32], limbs: NDArray[np.int64]) -> NDArray[np.float64]:
    seen = points[limbs][np.isfinite(points[limbs]).all(axis=1)]
    return np.asarray(seen.mean(axis=0) if len(seen) else np.full(3, np.nan), np.float64)


def _continuity(figures: Figures, before: Poses | None, now: Poses) -> None:
    """Identities that changed while somebody stood there, and limbs whose sides changed from one set to the next."""
    if before is None:
        return
    limbs = np.array(limb_joints(now.skeleton))
    old = {int(i): before.points_world_m[p] for p, i in enumerate(before.person_ids)}
    middles = {i: _middle(x, limbs) for i, x in old.items()}
    for p, person in enumerate(now.person_ids.tolist()):
        points = now.points_world_m[p]
        here = _middle(points, limbs)
        near = {i: float(np.linalg.norm(m - here)) for i, m in middles.items() if np.isfinite(m - here).all()}
        if not near:
            continue
        nearest = min(near, key=lambda i: near[i])
        known = person in near and near[person] < SAME_PERSON_M
        if not known and near[nearest] < SAME_PERSON_M and nearest != person:
            figures.identity_changes += 1
        elif known and nearest != person and near[person] > 2 * near[nearest] and near[nearest] < SAME_PERSON_M / 5:
            figures.identity_changes += 1  # two people who are both still there have taken each other's number
        if person in old:
            figures.swaps += _flips(old[person], points, now.skeleton)


def _flips(before: NDArray[np.float32], now: NDArray[np.float32], name: str) -> int:
    """Pairs of left and right joints, 5 cm apart or more, that moved less if their names are exchanged."""
    body = skeleton(name)
    count = 0
    for left in limb_joints(name):
        right = body.flip[left]
        if not body.joints[left].startswith("left_"):
            continue
        a, b, c, d = (x.astype(np.float64) for x in (before[left], before[right], now[left], now[right]))
        if not np.isfinite([a, b, c, d]).all() or min(np.linalg.norm(a - b), np.linalg.norm(c - d)) < 0.05:
            continue
        same = np.linalg.norm(c - a) + np.linalg.norm(d - b)
        count += bool(np.linalg.norm(c - b) + np.linalg.norm(d - a) < 0.7 * same)
    return count


def table(figures: Figures) -> Table:
    """The figures for a person to read."""
    plain = figures.plain()
    out = Table(title="session", title_justify="left", show_header=False, box=None, pad_edge=False)
    out.add_column(style="bold")
    out.add_column()
    for name, c in plain["cameras"].items():
        early = f" ({c['before_start']} before the node was ready)" if c["before_start"] else ""
        out.add_row(name, f"{c['frames']} frames, {c['dropped']} dropped{early}")
    out.add_row("people", f"{plain['people']}, identities {plain['identities']}, changes {plain['identity_changes']}")
    r = plain["reprojection_px"]
    out.add_row(
        "reprojection",
        f"median {cell(r['median'])} px, mean {cell(r['mean'])} px, p90 {cell(r['p90'])} px, over "
        f"{percent(r['kept'])} of the joint-frames ({len(limb_joints())} limb joints, original pixels)",
    )
    out.add_row("bones", f"std/mean {percent(plain['bones']['std_over_mean'])}")
    for row in body_rows(plain["body"]) if plain["body"] else ():
        out.add_row(*row)
    for key, label in zip(KEYS, STEPS, strict=True):
        if key in plain["latency_ms"]:
            step = plain["latency_ms"][key]
            label = f"{label} (from {plain['latency_from']})" if key == "total" else label
            out.add_row(f"latency {label}", f"p50 {cell(step['p50'])} ms, p95 {cell(step['p95'])} ms")
    out.add_row("speed", f"{cell(plain['fps'])} frame sets/s, of a clip at {cell(plain['rate_hz'])} Hz")
    for model, bound in sorted(plain["runtime"].items()):
        out.add_row("runtime", f"{model}: {bound}")
    return out
