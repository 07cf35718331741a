"""How well the bodies of a session fit, in figures: beside what the free triangulation of the same people does."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.habits import habit_shifts, places
from kinecast.engines.body.model.body import pose_joints
from kinecast.engines.body.model.keypoints import KeypointTerms, keypoint_terms
from kinecast.engines.metrics import bone_stability, limb_joints, reprojection
from kinecast.engines.observations import keypoints_of
from kinecast.engines.records import BODY_FLAGS, Bodies, Poses
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.evaluate.cells import cell, rounded
from kinecast.nodes.fusion.meshes import Mesher
from kinecast.nodes.recording.frame_sets import FrameSetBundle

Float = NDArray[np.float64]
_LIMBS = [(f"{side}_{a}", f"{side}_{b}") for side in ("left", "right")
          for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))]  # fmt: skip


def limb_views(joined: FrameSetBundle, poses: Poses) -> list[list[tuple[str, Float]]]:
    """For each person camera and the twelve raw limb keypoints (12, 2), NaN where none, of every view that saw it."""
    px, _, known = keypoints_of(poses, joined.keypoints)
    limbs = np.array(limb_joints(poses.skeleton))
    return [
        [(camera, px[p, c, limbs]) for c, camera in enumerate(poses.cameras) if known[p, c]] for p in range(len(px))
    ]


@dataclass(slots=True)
class BodyFigures:
    """Collected set by set. body_px, free_px: errors of the same keypoints by the body and by triangulation.

    betas: of every frame. limb_ratio: (8,) triangulated limbs over those of the body's keypoints, a frame and person.
    poses: person-frames that fusion gave; bodies: those of them with a body. missing: why a body could not be posed.
    """

    mesher: Mesher
    ids: set[str] = field(default_factory=set)
    poses: int = 0
    bodies: int = 0
    body_px: list[Float] = field(default_factory=list)
    free_px: list[Float] = field(default_factory=list)
    joints: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict)
    stature_m: dict[int, list[float]] = field(default_factory=dict)
    betas: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict)
    limb_ratio: list[Float] = field(default_factory=list)
    flags: Counter[str] = field(default_factory=Counter)
    solve_ns: list[int] = field(default_factory=list)
    missing: str = ""
    _terms: dict[tuple[str, str], KeypointTerms] = field(default_factory=dict)

    def add(self, joined: FrameSetBundle, rig: Rig) -> None:
        """Count one frame set."""
        poses, bodies = joined.poses, joined.bodies
        self.poses += len(poses.person_ids) if poses is not None else 0
        if bodies is None:
            return
        self.ids.add(bodies.body_id)
        if bodies.step_ns.get("body") and len(bodies.person_ids):
            self.solve_ns.append(bodies.step_ns["body"])
        rows = {} if poses is None else {int(i): n for n, i in enumerate(poses.person_ids)}
        for b, person in enumerate(bodies.person_ids.tolist()):
            self.bodies += person in rows
            self.joints.setdefault(person, []).append(bodies.joints_world_m[b])
            self.flags.update(name for i, name in enumerate(BODY_FLAGS) if int(bodies.flags[b]) >> i & 1)
        try:
            self._shapes(bodies)
            if poses is not None:
                self._compare(joined, poses, bodies, rows, rig)
        except KinecastError as e:
            self.missing = str(e)

    def _shapes(self, bodies: Bodies) -> None:
        model = self.mesher.model(bodies.body_id)
        for b, person in enumerate(bodies.person_ids.tolist()):
            self.stature_m.setdefault(person, []).append(model.stature_m(bodies.betas[b].astype(np.float64)))
            self.betas.setdefault(person, []).append(bodies.betas[b])

    def _compare(self, joined: FrameSetBundle, poses: Poses, bodies: Bodies, rows: dict[int, int], rig: Rig) -> None:
        if not len(bodies.person_ids):
            return
        points = self._keypoints(bodies, poses.skeleton)
        limbs, views = np.array(limb_joints(poses.skeleton)), limb_views(joined, poses)
        for b, person in enumerate(bodies.person_ids.tolist()):
            if person not in rows:
                continue
            p = rows[person]
            free = np.where(poses.derived[p, :, None], np.nan, poses.points_world_m[p]).astype(np.float64)
            self.limb_ratio.append(_limbs(free, poses.skeleton) / _limbs(points[b], poses.skeleton))
            for camera, seen in views[p]:
                errors = [np.linalg.norm(rig[camera].project(x[limbs])[0] - seen, axis=1) for x in (points[b], free)]
                both = np.isfinite(errors).all(axis=0)
                self.body_px.append(errors[0][both])
                self.free_px.append(errors[1][both])

    def _keypoints(self, bodies: Bodies, name: str) -> Float:
        """(P, J, 3) m in the world, where the detector takes keypoints of the skeleton ``name`` on the bodies to be."""
        model, key = self.mesher.model(bodies.body_id), (bodies.body_id, name)
        if key not in self._terms:
            self._terms[key] = keypoint_terms(model, name)
        betas = bodies.betas.astype(np.float64)
        turned, joints, _ = pose_joints(
            model, bodies.rotations_rad.astype(np.float64), betas, bodies.trans_m.astype(np.float64)
        )
        points = self._terms[key].place(turned, joints, betas)
        names = skeleton(name).joints
        if bodies.habits_m.shape[1] == len(places(names)):
            points += habit_shifts(names, bodies.habits_m.astype(np.float64), turned)
        return points

    def plain(self) -> dict[str, Any] | None:
        """The figures under their documented keys, None where the session has no bodies."""
        if not self.ids:
            return None
        body, free = (reprojection(np.concatenate(e) if e else np.zeros(0)) for e in (self.body_px, self.free_px))
        index = skeleton("smpl24").index
        pairs = [(index(a), index(b)) for a, b in _LIMBS]
        bones = [bone_stability(np.stack(j), pairs) for j in self.joints.values() if len(j) > 1]
        weight = sum(b.n for b in bones)
        spread = sum(b.std_over_mean * b.n for b in bones)
        return {
            "id": " ".join(sorted(self.ids)),
            "person_frames": self.bodies,
            "share": rounded(self.bodies / self.poses if self.poses else math.nan, 4),
            "reprojection_px": {
                "median": rounded(body.median, 2),
                "mean": rounded(body.mean, 2),
                "p90": rounded(body.p90, 2),
                "keypoints": body.n,
                "free_median": rounded(free.median, 2),
                "ratio": rounded(body.median / free.median if free.median > 0 else math.nan, 3),
            },
            "stature_m": {str(i): rounded(float(np.median(v)), 3) for i, v in sorted(self.stature_m.items())},
            "beta_most": rounded(max((float(np.abs(v).max()) for v in self.betas.values()), default=math.nan), 2),
            "limbs_of_triangulated": [rounded(float(v), 3) for v in _median(self.limb_ratio)],
            "bones": {"std_over_mean": rounded(spread / weight if weight else math.nan, 4)},
            "flags": {name: self.flags[name] for name in BODY_FLAGS if self.flags[name]},
            "ms_per_set": {q: rounded(float(np.percentile(self.solve_ns, n)) / 1e6 if self.solve_ns else math.nan, 2)
                           for q, n in (("p50", 50), ("p95", 95))},
            "missing": self.missing,
        }  # fmt: skip


def rows(plain: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures of :meth:`BodyFigures.plain` for a person to read: label and words."""
    r = plain["reprojection_px"]
    out = [("bodies", f"of {cell(100 * (plain['share'] or 0), 1)} % of the person-frames, {plain['id']}")]
    if plain["missing"]:
        out.append(("", plain["missing"]))
    if r["ratio"] is not None:
        out.append(
            (
                "body reprojection",
                f"median {cell(r['median'], 1)} px, {cell(r['ratio'], 2)} × that of triangulation "
                f"({cell(r['free_median'], 1)} px), over the same keypoints",
            )
        )
    tall = ", ".join(f"{cell(v, 2)} m (id {i})" for i, v in plain["stature_m"].items())
    out.append(("body stature", f"{tall}; limb bones std/mean {cell(_hundred(plain), 2)} %"))
    most = max((abs(v - 1) for v in plain["limbs_of_triangulated"] if v is not None), default=math.nan)
    out.append(
        (
            "body shape",
            f"betas within ± {cell(plain['beta_most'], 1)}; limbs to {cell(100 * most, 1)} % of triangulated ones",
        )
    )
    frames = plain["person_frames"]
    told = ", ".join(f"{name} {n} of {frames}" for name, n in plain["flags"].items())
    out.append(("body flags", told or "none"))
    if plain["ms_per_set"]["p50"] is not None:
        out.append(("latency bodies", f"p50 {plain['ms_per_set']['p50']} ms, p95 {plain['ms_per_set']['p95']} ms"))
    return out


def _limbs(points: Float, name: str) -> Float:
    """(8,) lengths of the limbs of points (J, 3)."""
    index = skeleton(name).index
    return np.array([np.linalg.norm(points[index(a)] - points[index(b)]) for a, b in _LIMBS])


def _median(rows: list[Float]) -> Float:
    """Of what is finite, NaN where nothing is."""
    each = np.stack(rows) if rows else np.full((1, len(_LIMBS)), np.nan)
    some = np.isfinite(each).any(axis=0)
    return np.array([np.nanmedian(column) if ok else np.nan for column, ok in zip(each.T, some, strict=True)])


def _hundred(plain: dict[str, Any]) -> float | None:
    value = plain["bones"]["std_over_mean"]
    return None if value is None else 100 * float(value)
