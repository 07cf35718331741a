"""``kinecast dataset habits SESSION… -o TABLE.toml``: what a detector does wrong all the time, from recordings.

Everybody who was fused gets a body whose shape is held, fitted to all views; what the views say against it, in the axes
of the limbs, are the habits. They are taken off the keypoints, shape and body are fitted again, and so on: the cost of
habits, shape and pose goes down together, each under its own prior. One detector at a time.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.solver import SHAPE_LIMIT
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.habits.limb_frames import HALPE, KIND
from kinecast.engines.habits.table import Habits
from kinecast.engines.observations import keypoints_of
from kinecast.engines.skeleton import direct_index
from kinecast.engines.synth.habits_fit import LEAST_CONFIDENCE, Watched, fit_habits, fit_offsets
from kinecast.nodes.fusion.bodies import BodyStage
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import iter_frame_sets

Float = NDArray[np.float64]

FEWEST_FRAMES, FEWEST_VIEWS, FEWEST_JOINTS = 40, 2, 6
ROUNDS = 4
SIGMA_M = 0.02  # of a keypoint, for the fit of the bodies
BONE_SD_M = 0.012  # what habits leave of a bone's length
_J = HALPE.index
BONES = tuple(
    (_J(a), _J(b))
    for a, b in (
        ("left_hip", "right_hip"), ("left_shoulder", "right_shoulder"), ("left_ear", "right_ear"),
        ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
        *((f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (
            ("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"), ("ankle", "big_toe"),
            ("heel", "big_toe"),
        )),
    )
)  # fmt: skip


@dataclass(slots=True)
class _Person:
    """Somebody of one session as the detectors gave him. points: what was fused of him, T times (26, 3)."""

    t_ns: list[int] = field(default_factory=list)
    px: list[Float] = field(default_factory=list)
    confidence: list[Float] = field(default_factory=list)
    points: list[Float] = field(default_factory=list)


def habits_of(
    recordings: Sequence[Path], detector: str, source: str, body: str = "neutral", tell: Callable[[str], None] = print
) -> Habits:
    """Fit a table; KinecastError where nobody was fused for long enough or the recordings are of several detectors."""
    given = [one for path in recordings for one in _people(path, body)]
    if len({one.skeleton for one in given}) > 1:
        raise KinecastError("these recordings are of several skeletons, so of several detectors: one at a time")
    if not given:
        raise KinecastError(f"nobody was fused for {FEWEST_FRAMES} frames in {FEWEST_VIEWS} views: `kinecast replay`")
    offsets, watched = None, []
    for turn in range(ROUNDS):
        watched = [fitted for one in given if (fitted := one.fitted(offsets)) is not None]
        if not watched:
            break
        offsets = fit_offsets(watched)
        left = np.concatenate([np.abs(w.error_m[np.isfinite(w.error_m)]) for w in watched])
        tell(f"round {turn + 1}: {len(watched)} people, median error {1000 * float(np.median(left)):.1f} mm")
    for one in given:
        tell(one.told())
    if not watched:
        raise KinecastError("no body of a plausible shape fits anybody: is the rig right?")
    return fit_habits(watched, detector, given[0].skeleton, source)


class _Given:
    """One person of a session, and the body that is fitted to him."""

    def __init__(self, name: str, person: _Person, rig: Rig, given: str, body: str) -> None:
        self.name, self.rig, self.skeleton = name, rig, given
        self.gives = direct_index(given, "halpe26") >= 0
        self.t_ns = np.array(person.t_ns)
        self.px, self.confidence = np.array(person.px), np.array(person.confidence)
        self.fused = np.array(person.points)
        self.stage = BodyStage(rig, rig.names, body)
        self.betas = np.zeros(self.stage.body.betas)
        self.before: Watched | None = None

    def told(self) -> str:
        """A line about the shape."""
        stature = self.stage.body.stature_m(self.betas)
        return (
            f"{self.name}: {len(self.t_ns)} frames, stature {stature:.2f} m, betas {np.round(self.betas, 1).tolist()}"
        )

    def fitted(self, offsets: Float | None) -> Watched | None:
        """The body of all frames, the habits taken off first; None where the fit never holds."""
        px, points = self.px.copy(), self.fused
        if offsets is not None and self.before is not None:
            w = self.before
            shift = np.einsum("tcjda,jah,tcjh->tcjd", w.slopes[0], offsets[KIND], w.harmonics) * w.slopes[1][..., None]
            px -= np.where(np.isfinite(shift), shift, 0.0)
            points = self._without(offsets, w)
        self.betas = _shape(self.stage.body, points)
        if np.abs(self.betas).max() > SHAPE_LIMIT:
            return None  # bones that no plausible body has: somebody half seen, or made of two
        solver = self.stage.fresh_solver(self.betas)
        xy = np.stack([c.undistort(px[:, i]) for i, c in enumerate(self.rig)], axis=1)
        out = np.full((len(px), len(HALPE), 3), np.nan)
        for k, t in enumerate(self.t_ns.tolist()):
            depth = self._depth(points[k])
            weight = np.where(np.isfinite(xy[k]).all(axis=-1), (self.confidence[k] / (SIGMA_M / depth)) ** 2, 0.0)
            weight[self.confidence[k] < LEAST_CONFIDENCE] = 0.0
            fit = solver.fit(t, 0, xy[k], np.nan_to_num(weight), start=points[k])
            if fit is not None and fit.explained > 0.6:
                out[k] = fit.points
        ok = np.isfinite(out).all(axis=(1, 2))
        if ok.sum() < FEWEST_FRAMES:
            return None
        full = Watched(self.t_ns / 1e9, _filled(out, ok), tuple(self.rig), self.px, self.confidence, self.gives)
        self.before = full
        return Watched(self.t_ns[ok] / 1e9, out[ok], tuple(self.rig), self.px[ok], self.confidence[ok], self.gives)

    def _depth(self, points: Float) -> Float:
        """(C, 1) how far away somebody is from each camera."""
        middle = np.nanmedian(points, axis=0)
        return np.array([[max(float((c.R @ middle + c.t)[2]), 0.3)] for c in self.rig])

    def _without(self, offsets: Float, w: Watched) -> Float:
        """The fused points less what all views have in common of the habits."""
        common = np.einsum("tjab,jb->tja", w.frames, offsets[KIND, :, 0]) * w.size[:, None, None]
        return np.asarray(self.fused - np.where(np.isfinite(common), common, 0.0))


def _filled(points: Float, ok: NDArray[np.bool_]) -> Float:
    """Frames without a fit have that of the nearest with one."""
    rows = np.flatnonzero(ok)
    nearest = rows[np.abs(np.arange(len(points))[:, None] - rows).argmin(axis=1)]
    return np.asarray(points[nearest])


def _shape(body: BodyModel, points: Float) -> Float:
    """Betas (B,) of the most plausible body with the median bones of points (T, 26, 3)."""
    terms = keypoint_terms(body, "halpe26")

    def lengths(betas: Float) -> Float:
        joints = (body.J_template + np.einsum("jdb,b->jd", body.J_shape, betas))[None]
        at = terms.place(np.tile(np.eye(3), (1, 24, 1, 1)), joints, betas)[0]
        return np.array([np.linalg.norm(at[a] - at[b]) for a, b in BONES])

    bones = [np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in BONES]
    met = np.array([np.median(b[np.isfinite(b)]) if np.isfinite(b).any() else np.nan for b in bones])
    ok = np.isfinite(met)
    betas = np.zeros(body.betas)
    for _ in range(4):
        now = lengths(betas)
        slope = np.stack([(lengths(betas + 1e-3 * unit) - now) / 1e-3 for unit in np.eye(body.betas)], axis=1)[ok]
        left = (met - now)[ok] + slope @ betas
        betas = np.linalg.solve(np.eye(body.betas) + slope.T @ slope / BONE_SD_M**2, slope.T @ left / BONE_SD_M**2)
    return np.asarray(betas)


def _people(path: Path, body: str) -> list[_Given]:
    """Everybody who was fused in a recording for long enough."""
    recording = Recording.open(path)
    people: dict[int, _Person] = defaultdict(_Person)
    cameras: tuple[str, ...] = ()
    given = ""
    for joined in iter_frame_sets(recording):
        poses = joined.poses
        if poses is None or poses.skeleton != "halpe26":
            continue
        cameras = cameras or tuple(n for n in recording.rig.names if n in poses.cameras)
        for view in joined.keypoints.values():
            given = view.skeleton
        px, confidence, known = keypoints_of(poses, joined.keypoints, cameras)
        for p, person in enumerate(poses.person_ids.tolist()):
            points = np.where(poses.derived[p, :, None], np.nan, poses.points_world_m[p].astype(np.float64))
            if known[p].sum() < FEWEST_VIEWS or np.isfinite(points).all(axis=-1).sum() < FEWEST_JOINTS:
                continue
            row = people[person]
            row.t_ns.append(poses.t_set_ns)
            row.px.append(px[p])
            row.confidence.append(confidence[p])
            row.points.append(points)
    rig = recording.rig.subset(cameras) if cameras else recording.rig
    return [
        _Given(f"{path.stem} person {i}", row, rig, given, body)
        for i, row in sorted(people.items())
        if len(row.t_ns) >= FEWEST_FRAMES
    ]
