"""``kinecast evaluate views SESSION``: what lifting is worth on a real recording.

Fusion is given fewer of its views, or joints that nobody sees for a while.

All views, fused without a lifter, are the reference. For the first START_S fusion has them all, so that it knows who
is there; then it gets three, two or one of them, each choice in turn, with the lifter and without. In further runs
joints are hidden in all views for HIDDEN_S at a time. Errors are distances to the reference; who is who is told by the
identities, which the beginning has given to both. Of one view the runs begin at further times too, where the recording
is long enough (STARTS_S), and errors are told by the time since the others went (AT_S).
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from kinecast.capture.errors import KinecastError
from kinecast.engines.metrics import coverage
from kinecast.engines.records import Keypoints2D, Poses, unpack_covariance
from kinecast.engines.skeleton import direct_index, skeleton
from kinecast.nodes.evaluate import report
from kinecast.nodes.evaluate.cells import NOTHING, cell, percent, percents
from kinecast.nodes.fusion.lift_rows import LifterLike
from kinecast.nodes.fusion.lifting import open_lifter
from kinecast.nodes.fusion.set_views import SKELETON
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import FrameSetBundle, iter_frame_sets
from kinecast.nodes.reprocess.run_fusion import Change as SetChange
from kinecast.nodes.reprocess.run_fusion import FusedSet, Views, fuse_sets, fusion_settings

Float = NDArray[np.float64]
Change = Callable[[float, Views], Views]
Fuse = Callable[[Change], Iterator[FusedSet]]

START_S = 0.5
HIDDEN_S = 0.5
STARTS_S = (START_S, 2.0, 4.0)  # after which one view alone stays; the later, the better the person is known
ALONE_S = 12.5  # of one view that are looked at, of the later starts
SINCE_S = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, np.inf)  # how long ago the other views went
AT_S, ABOUT = (0.5, 1.0, 2.0, 4.0, 10.0), 1.25  # the same, from so many times earlier to so many times later
JOINTS_TO_COMPARE_PERSON = 4  # of a person-frame that is compared
HONEST = (0.199, 0.739, 0.971)
PARTS = {
    "a wrist": ("left_wrist",),
    "an ankle": ("right_ankle",),
    "an arm": ("right_elbow", "right_wrist"),
    "a leg": ("left_knee", "left_ankle", "left_heel", "left_big_toe", "left_small_toe"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """People of one set by identity: points (J, 3) and covariances (J, 3, 3), NaN where not told; which are lifted."""

    t_s: float
    points: dict[int, Float]
    covariance: dict[int, Float]
    lifted: dict[int, NDArray[np.bool_]]


@dataclass(slots=True)
class Errors:
    """What one way of fusing made of the person-frames that the reference has.

    joint_m: of each joint; measured_m: of those that are not lifted. place_m: of each person, the mean of its joints.
    pose_m: of each joint when the places are laid on one another. since_s: of each person. errors_m, covariances_m2:
    of lifted joints.
    """

    wanted: int = 0
    joint_m: list[Float] = field(default_factory=list)
    measured_m: list[Float] = field(default_factory=list)
    pose_m: list[Float] = field(default_factory=list)
    place_m: list[float] = field(default_factory=list)
    since_s: list[float] = field(default_factory=list)
    errors_m: list[Float] = field(default_factory=list)
    covariances_m2: list[Float] = field(default_factory=list)

    def add(self, reference: Frame, frame: Frame, since_s: float, joints: NDArray[np.bool_] | None = None) -> None:
        """One set. joints: (J,) those alone."""
        for identity, true in reference.points.items():
            known = np.isfinite(true[:, 0]) & (True if joints is None else joints)
            if known.sum() < (JOINTS_TO_COMPARE_PERSON if joints is None else 1):
                continue
            self.wanted += 1
            got = frame.points.get(identity)
            if got is None:
                continue
            both = known & np.isfinite(got[:, 0])
            if both.sum() < (JOINTS_TO_COMPARE_PERSON if joints is None else 1):
                continue
            e = got[both] - true[both]
            self.joint_m.append(np.linalg.norm(e, axis=1))
            self.pose_m.append(np.linalg.norm(e - e.mean(axis=0), axis=1))
            self.place_m.append(float(np.linalg.norm(e.mean(axis=0))))
            self.since_s.append(since_s)
            lifted = both & frame.lifted[identity]
            self.measured_m.append(np.linalg.norm(e, axis=1)[~lifted[both]])
            self.errors_m.append(got[lifted] - true[lifted])
            self.covariances_m2.append(frame.covariance[identity][lifted] + reference.covariance[identity][lifted])

    def join(self, other: "Errors") -> None:
        """These and the others."""
        self.wanted += other.wanted
        for name in ("joint_m", "measured_m", "pose_m", "place_m", "since_s", "errors_m", "covariances_m2"):
            getattr(self, name).extend(getattr(other, name))

    def figures(self) -> dict[str, Any]:
        """Millimetres and shares under stable keys; None where nothing was found."""
        joint = np.concatenate([np.zeros(0), *self.joint_m]) * 1e3
        pose = np.concatenate([np.zeros(0), *self.pose_m]) * 1e3
        place, since = np.array(self.place_m) * 1e3, np.array(self.since_s)
        errors = np.concatenate([np.zeros((0, 3)), *self.errors_m])
        inside, n = coverage(errors, np.concatenate([np.zeros((0, 3, 3)), *self.covariances_m2]))
        drift = {}
        for a, b in pairwise(SINCE_S):
            here = place[(since >= a) & (since < b)]
            if len(here):
                drift[f"{a:g}-{b:g} s"] = {"place_median_mm": float(np.median(here)), "n": len(here)}
        return {
            "person_frames": self.wanted,
            "there": len(self.place_m) / self.wanted if self.wanted else None,
            "joint_median_mm": _median(joint),
            "measured_median_mm": _median(np.concatenate([np.zeros(0), *self.measured_m]) * 1e3),
            "joint_mean_mm": float(joint.mean()) if len(joint) else None,
            "pose_median_mm": _median(pose),
            "place_median_mm": _median(place),
            "place_p95_mm": float(np.percentile(place, 95)) if len(place) else None,
            "inside_1_2_3_sigma": inside.tolist() if n else None,
            "lifted_joints": n,
            "since": drift,
            "at": {f"{t:g} s": told for t in AT_S if (told := self._at(t)) is not None},
        }

    def _at(self, t_s: float) -> dict[str, Any] | None:
        """Places and lifted joints about so long after the other views went; None where there are none."""
        since = np.array(self.since_s)
        rows = np.flatnonzero((since >= t_s / ABOUT) & (since < t_s * ABOUT)).tolist()
        if not rows:
            return None
        place = np.array([self.place_m[i] for i in rows]) * 1e3
        inside, n = coverage(
            np.concatenate([self.errors_m[i] for i in rows]), np.concatenate([self.covariances_m2[i] for i in rows])
        )
        return {
            "place_median_mm": float(np.median(place)),
            "place_p95_mm": float(np.percentile(place, 95)),
            "pose_median_mm": _median(np.concatenate([self.pose_m[i] for i in rows]) * 1e3),
            "inside_1_2_3_sigma": inside.tolist() if n else None,
            "n": len(rows),
        }


def _median(values: Float) -> float | None:
    return float(np.median(values)) if len(values) else None


def measure(
    recording: Recording, lift: str = "default", lifter: Callable[[], LifterLike] | None = None
) -> dict[str, Any]:
    """Everything, with a lifter beside without. KinecastError without journal, or under two views.

    lift: as in a launch file. lifter: makes another than it names.
    """
    rig = recording.rig
    settings = replace(fusion_settings(recording), body="off")
    sets = list(iter_frame_sets(recording))
    if not sets:
        raise KinecastError(f"{recording.path}: there is no journal (framesets) in it, so nothing to fuse again")
    cameras = [c for c in rig.names if any(c in s.frameset.cameras for s in sets)]
    if len(cameras) < 2:
        raise KinecastError(f"{recording.path}: {len(cameras)} cameras; there must be two to take one away")
    off, on = (
        replace(settings, lift="off"),
        replace(settings, lift=lift, lift_carried=True, lift_views=FusionNode().lift_views),
    )
    # what is asked for, which need not be what was in force when it was recorded
    make = lifter or (lambda: open_lifter(on))
    ways: dict[str, Fuse] = {
        "without": lambda change: fuse_sets(recording, off, sets=sets, change=_at(sets, change)),
        "with": lambda change: fuse_sets(recording, on, sets=sets, change=_at(sets, change), lifter=make),
    }
    reference = list(_fused(ways["without"], lambda t, v: v))
    out: dict[str, Any] = {"lifter": "", "cameras": len(cameras), "honest": list(HONEST), "views": {}, "hidden": {}}
    out["lifter"] = make().name
    for n in sorted({len(cameras), *range(1, min(4, len(cameras)))}, reverse=True):
        row = out["views"][str(n)] = {}
        for way, how in ways.items():
            whole = Errors()
            for chosen in combinations(cameras, n):
                for start_s in _starts(reference) if n == 1 and way == "with" else (START_S,):
                    whole.join(_fewer(how, reference, chosen, start_s))
            row[way] = whole.figures()
    for part, names in PARTS.items():
        out["hidden"][part] = _hidden(ways, reference, [skeleton(SKELETON).index(j) for j in names])
    return out


def _starts(reference: list[Frame]) -> tuple[float, ...]:
    """When the others may go so that one view has as long again; at least the first."""
    end_s = reference[-1].t_s
    return STARTS_S[:1] + tuple(s for s in STARTS_S[1:] if 2 * s <= end_s)


def _fewer(fuse: Fuse, reference: list[Frame], chosen: Sequence[str], start_s: float = START_S) -> Errors:
    """From ``start_s`` on only the ``chosen`` views; to the end, or where they begin later than others for ALONE_S."""
    out = Errors()
    keep: Change = lambda t, v: v if t < start_s else {c: m for c, m in v.items() if c in chosen}  # noqa: E731
    for true, frame in zip(reference, _fused(fuse, keep)):  # noqa: B905 the one that begins later ends earlier
        if start_s > START_S and true.t_s > start_s + ALONE_S:
            break
        if true.t_s >= start_s:
            out.add(true, frame, true.t_s - start_s)
    return out


def _hidden(ways: dict[str, Fuse], reference: list[Frame], joints: list[int]) -> dict[str, Any]:
    """Joints that no view gives for HIDDEN_S, then all views again for as long, and so on.

    ``carried``: without a lifter nothing is published; this is where the filter expects the joint.
    """

    def gone(t: float) -> bool:
        return t >= START_S and int((t - START_S) / HIDDEN_S) % 2 == 0

    def hide(t: float, views: Views) -> Views:
        return {c: without_joints(v, joints) for c, v in views.items()} if gone(t) else views

    which = np.zeros(len(skeleton(SKELETON)), np.bool_)
    which[joints] = True
    errors = {"without": Errors(), "carried": Errors(), "with": Errors()}
    for way, how in ways.items():
        expected: list[dict[int, Float]] = []
        for true, frame in zip(reference, _fused(how, hide, expected), strict=True):
            if gone(true.t_s):
                since = (true.t_s - START_S) % HIDDEN_S
                errors[way].add(true, frame, since, which)
                if way == "without":
                    errors["carried"].add(
                        true, replace(frame, points=expected[-1], lifted=_none(expected[-1])), since, which
                    )
    return {way: e.figures() for way, e in errors.items()}


def _none(points: dict[int, Float]) -> dict[int, NDArray[np.bool_]]:
    return {i: np.zeros(len(x), np.bool_) for i, x in points.items()}


def without_joints(view: Keypoints2D, joints: list[int]) -> Keypoints2D:
    """The view as if its detector had not found these joints of fusion's skeleton in anybody."""
    index = direct_index(view.skeleton, SKELETON)[joints]
    px, confidence = view.keypoints_px.copy(), view.confidence.copy()
    px[:, index[index >= 0]], confidence[:, index[index >= 0]] = np.nan, 0.0
    return replace(view, keypoints_px=px, confidence=confidence)


def _at(sets: list[FrameSetBundle], change: Change) -> SetChange:
    """A change of views by the seconds since the first set."""
    first_ns = sets[0].frameset.t_set_ns
    return lambda frameset, views: (frameset, change((frameset.t_set_ns - first_ns) / 1e9, views))


def _fused(fuse: Fuse, change: Change, expected: list[dict[int, Float]] | None = None) -> Iterator[Frame]:
    """The journal fused again with changed views; expected: takes what the filter expects after each set."""
    first_ns: int | None = None
    for fused in fuse(change):
        first_ns = fused.frameset.t_set_ns if first_ns is None else first_ns
        if expected is not None:
            expected.append(fused.core.expected)
        yield _frame((fused.frameset.t_set_ns - first_ns) / 1e9, fused.poses)


def _frame(t_s: float, poses: Poses) -> Frame:
    points = np.where(poses.derived[..., None], np.nan, poses.points_world_m.astype(np.float64))
    P, J = points.shape[:2]
    covariance = unpack_covariance(poses.covariance_m2)
    lifted = poses.lifted if poses.lifted.size else np.zeros((P, J), np.bool_)
    ids = poses.person_ids.tolist()
    return Frame(
        t_s,
        dict(zip(ids, points, strict=True)),
        dict(zip(ids, covariance, strict=True)),
        dict(zip(ids, lifted, strict=True)),
    )


def show(scores: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    table = Table(
        "views", "lifter", "there", "joints", "triangulated", "pose", "place", "place p95", "inside 1, 2, 3 σ"
    )
    for n, row in scores["views"].items():
        for way, f in row.items():
            table.add_row(n, way, *_cells(f))
    console.print(table)
    table = Table("hidden for 0.5 s", "lifter", "joints there", "error, median", "mean", "inside 1, 2, 3 σ")
    for part, row in scores["hidden"].items():
        for way, f in row.items():
            table.add_row(
                part,
                way,
                percent(f["there"]),
                cell(f["joint_median_mm"], 1, "mm"),
                cell(f["joint_mean_mm"], 1, "mm"),
                _inside(f),
            )
    console.print(table)
    table = Table(f"one view since, lifter {scores['lifter']}", "place", "p95", "pose", "inside 1, 2, 3 σ", "of")
    for when, f in scores["views"]["1"]["with"]["at"].items():
        mm = [cell(f[k], 1, "mm") for k in ("place_median_mm", "place_p95_mm", "pose_median_mm")]
        table.add_row(when, *mm, percents(f["inside_1_2_3_sigma"]) if f["inside_1_2_3_sigma"] else NOTHING, str(f["n"]))
    console.print(table)
    console.print(f"honest is {percents(HONEST)}")


def _cells(f: dict[str, Any]) -> list[str]:
    mm = [
        cell(f[k], 1, "mm")
        for k in ("joint_median_mm", "measured_median_mm", "pose_median_mm", "place_median_mm", "place_p95_mm")
    ]
    return [percent(f["there"]), *mm, _inside(f)]


def _inside(f: dict[str, Any]) -> str:
    inside = f["inside_1_2_3_sigma"]
    return NOTHING if inside is None else f"{percents(inside)} of {f['lifted_joints']}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which recording, which lifter."""
    parser.add_argument("session", type=Path, metavar="SESSION", help="a recording of two cameras or more (.mcap)")
    parser.add_argument("--lift", default="default", metavar="NAME", help="name or file of the lifter")
    report.add_outputs(parser)


def run(args: argparse.Namespace) -> int:
    """Fusion with fewer views, with the lifter and without. 1 where nobody was there to compare."""
    report.check_outputs(args)
    scores = measure(Recording.open(args.session), args.lift)
    report.emit(args, scores, partial(show, scores))
    return 0 if scores["views"]["1"]["without"]["person_frames"] else 1
