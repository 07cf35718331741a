"""Lifted poses in fusion, with a lifter of stated errors: nobody is lost in one view, no joint made up in silence."""

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.metrics import coverage
from kinecast.engines.records import FrameSet, Keypoints2D, Poses, unpack_covariance
from kinecast.engines.synth import Noise, World, messages, ring_rig
from kinecast.nodes.bench import replay as session
from kinecast.nodes.bus.messages import End
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.lift_rows import DRIFT_MPS, FRESH_NS
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.replay import replay
from kinecast.nodes.reprocess.run_fusion import launched
from tests.engines.lift.toy_lifter import write
from tests.nodes.fusion.scene import START_S, Edit, nobody, only
from tests.nodes.oracle import Oracle

RIG = ring_rig(4)
SIGMA_PX, FOCAL_PX, DISTANCE_M = 3.0, 960.0, 5.0  # of the noise, of the rig, and of the middle of the room
NOISE = Noise(SIGMA_PX)
WRIST, ANKLE = 9, 16
ODD = 0.005  # share of joints in four views whose noise (1 in 2000 is beyond 3.5 σ) leaves fewer than two in agreement


def hide(joint: int, but: str = "") -> Edit:
    """From START_S on no camera gives the joint, ``but`` one."""

    def edit(t: float, v: Keypoints2D) -> Keypoints2D:
        if t < START_S or v.camera == but:
            return v
        px, confidence = v.keypoints_px.copy(), v.confidence.copy()
        px[:, joint], confidence[:, joint] = np.nan, 0.0
        return replace(v, keypoints_px=px, confidence=confidence)

    return edit


class Run:
    """A walk through fusion. e_m (N, J, 3), covariance_m2 (N, J, 3, 3), lifted, t_s: of all published person-frames."""

    def __init__(
        self,
        edit: Edit = lambda t, v: v,
        *,
        people: int = 1,
        frames: int = 90,
        fps: float = 30.0,
        noise: Noise = NOISE,
        lift: bool = True,
        settings: FusionNode = FusionNode(),  # noqa: B008
        seed: int = 3,
        **errors: float,
    ) -> None:
        self.world = World(people=people, seed=seed)
        self.oracle = Oracle(RIG, self.world, **errors)  # type: ignore[arg-type]
        self.core = FusionCore(RIG, settings, lifter=self.oracle if lift else None)
        outs = []
        for v in messages(self.world, RIG, frames=frames, fps_hz=fps, noise=noise):
            outs += self.core.handle(0, f"keypoints/{v.camera}", edit(v.t_capture_ns / 1e9, v))
        for name in RIG.names:
            outs += self.core.handle(0, f"end/{name}", End(name, 0, 0, ""))
        self.poses: list[Poses] = [o.record for o in outs if o.topic == "poses"]
        self.sets: list[FrameSet] = [o.record for o in outs if o.topic == "framesets"]
        self.bodies = [o.record for o in outs if o.topic == "bodies"]
        e, covariance, lifted, t = [], [], [], []
        for p in self.poses:
            p.check()
            X = self.world.points_world(p.t_set_ns)
            for n in range(len(p.person_ids)):
                d = p.points_world_m[n].astype(float) - X
                e.append(d[int(np.nanargmin(np.nanmedian(np.linalg.norm(d, axis=-1), axis=1)))])
                covariance.append(unpack_covariance(p.covariance_m2[n]))
                lifted.append(p.lifted[n] if p.lifted.size else np.zeros(X.shape[1], np.bool_))
                t.append(p.t_set_ns / 1e9)
        self.e_m, self.covariance_m2 = np.array(e), np.array(covariance)
        self.lifted, self.t_s = np.array(lifted), np.array(t)

    def after(self, begin_s: float, end_s: float = np.inf) -> np.ndarray:
        """(N,) which person-frames lie so long after START_S."""
        return (self.t_s >= START_S + begin_s) & (self.t_s < START_S + end_s)

    def place_m(self, which: np.ndarray) -> float:
        """Root mean square of how far whole people are off."""
        return float(np.sqrt((np.nanmean(self.e_m[which], axis=1) ** 2).sum(axis=-1).mean()))


def test_without_a_lifter_nobody_is_published_by_one_view() -> None:
    run = Run(only("cam01"), lift=False)
    assert run.after(0).sum() == 0 and run.sets[-1].lifter == ""
    assert all(p.lifted.shape == (0, 0) for p in run.poses)


@pytest.mark.parametrize("fps", [25.0, 30.0, 120.0])
def test_a_person_in_one_view_stays_in_the_room(fps: float) -> None:
    run = Run(only("cam01"), frames=round(3 * fps), fps=fps)
    late = run.after(0)
    assert late.sum() >= 0.97 * 2 * fps and {i for p in run.poses for i in p.person_ids.tolist()} == {1}
    assert run.lifted[late].all() and run.lifted[~late].mean() < ODD
    # the depth is 6 % off (1 σ) in the long run; the walk goes up to 1.6 m to either side
    assert run.place_m(late) < 2 * 0.06 * (DISTANCE_M + 1.6)
    # across the rays there is the noise of the keypoints alone: joints lie where the view sees them
    camera = RIG["cam01"]
    for p in run.poses[-10:]:
        assert (p.views[0] == 1).mean() > 0.9 and (p.detections[0] >= 0).tolist() == [True, False, False, False]
        px = camera.project(p.points_world_m[0])[0] - camera.project(run.world.points_world(p.t_set_ns)[0])[0]
        assert np.median(np.linalg.norm(px, axis=-1)) < 1.18 * SIGMA_PX * 1.5


def test_the_history_of_a_person_counts_for_as_long_as_it_is_better() -> None:
    errors = [Run(only(c), frames=60, depth_sd=0.1) for c in RIG.names]
    early = np.sqrt(np.mean([r.place_m(r.after(0, 0.15)) ** 2 for r in errors]))
    late = np.sqrt(np.mean([r.place_m(r.after(0.7)) ** 2 for r in errors]))
    # 10 % of 5 m would be 0.5 m at once; what was learnt of it stays, but for what comes with sides and poses
    assert early < 0.2 * 0.1 * DISTANCE_M and early < late < 0.3 * 0.1 * DISTANCE_M


def test_what_is_lifted_is_as_sure_as_it_says() -> None:
    runs = [Run(only(c), people=2, frames=75, seed=s) for c in RIG.names[:3] for s in (3, 5)]
    e = np.concatenate([r.e_m[r.lifted] for r in runs])
    inside, n = coverage(e, np.concatenate([r.covariance_m2[r.lifted] for r in runs]))
    assert n > 10_000
    # 12 people for two seconds, whose errors last for one: two dozen independent draws of the depth
    np.testing.assert_allclose(inside, [0.199, 0.739, 0.971], atol=0.12)


def test_the_identity_outlasts_a_second_in_one_view() -> None:
    run = Run(only("cam02", until_s=2.0), people=2, frames=80)
    assert {i for p in run.poses for i in p.person_ids.tolist()} == {1, 2}
    back = run.after(1.1)  # a tenth of a second after all views are back
    assert run.lifted[back].mean() < ODD
    assert run.place_m(back) < 0.01  # of two dozen joints, each a keypoint's noise (1.5 cm)


EVERY_VIEW = FusionNode(lift_views=None)


@pytest.mark.parametrize("settings", [EVERY_VIEW, FusionNode()])
def test_a_joint_nobody_sees_follows_the_lifted_poses(settings: FusionNode) -> None:
    run = Run(hide(WRIST), frames=90, settings=settings, sd_m=(0.02, 0.02, 0.05))  # type: ignore[arg-type]
    late = run.after(0)
    assert run.lifted[late][:, WRIST].mean() > 0.97 and np.delete(run.lifted, WRIST, axis=1).mean() < ODD
    assert all(p.views[0, WRIST] == 0 and np.isnan(p.residual_px[0, WRIST]) for p in run.poses[-20:])
    error = np.linalg.norm(run.e_m[late][:, WRIST], axis=-1)
    # σ of the sum of the squares over three axes of one view, which four views together are better than; where one is
    # lifted, beside how far a joint moves until the next pose
    old_s = 0.0 if settings is EVERY_VIEW else FRESH_NS / 1e9
    assert np.sqrt((error**2).mean()) < np.hypot(np.linalg.norm([0.02, 0.02, 0.05]), 3**0.5 * DRIFT_MPS * old_s)
    inside, _ = coverage(run.e_m[late][:, WRIST], run.covariance_m2[late][:, WRIST])
    assert inside[1] > 0.5 and inside[2] > 0.85  # one joint of one person for two seconds
    without = Run(hide(WRIST), lift=False)
    assert np.isnan(without.e_m[without.after(0.1)][:, WRIST]).all()


def test_a_joint_that_one_view_sees_lies_on_its_ray() -> None:
    run = Run(hide(ANKLE, but="cam03"))
    bit = 1 << RIG.names.index("cam03")
    last = run.poses[-20:]
    assert np.mean([p.views[0, ANKLE] == bit for p in last]) > 0.9
    camera = RIG["cam03"]
    px = [camera.project(p.points_world_m[0, ANKLE] - 0.0)[0] for p in last]
    true = [camera.project(run.world.points_world(p.t_set_ns)[0, ANKLE])[0] for p in last]
    assert np.median(np.linalg.norm(np.subtract(px, true), axis=-1)) < 1.18 * SIGMA_PX * 1.5


def test_triangulated_joints_are_left_as_they_are() -> None:
    on, off = Run(people=2, frames=45), Run(people=2, frames=45, lift=False)
    for a, b in zip(on.poses, off.poses, strict=True):
        assert a.lifted.mean() < 0.05
        np.testing.assert_allclose(a.points_world_m[~a.lifted], b.points_world_m[~a.lifted], atol=1e-5)
    hard = Noise(3.0, outliers=0.10, missing=0.15)
    on, off = Run(people=2, noise=hard), Run(people=2, noise=hard, lift=False)
    measured = ~on.lifted & np.isfinite(on.e_m[..., 0])
    better = np.linalg.norm(on.e_m[measured], axis=-1)
    before = np.linalg.norm(off.e_m[np.isfinite(off.e_m[..., 0])], axis=-1)
    assert np.median(better) < 1.02 * np.median(before) and np.mean(better) < 1.02 * np.mean(before)
    assert on.lifted.any()  # joints that fewer than two views gave


def test_taps_advance_in_every_view_and_end_with_the_track() -> None:
    run = Run(only("cam01"), frames=60, settings=EVERY_VIEW)
    met: set[tuple[int, str]] = set()
    for _, keys in run.oracle.steps:
        assert met <= set(keys)  # nobody left: who was ever seen goes on
        met |= set(keys)
    assert met == {(0, c) for c in RIG.names}
    brief = replace(EVERY_VIEW, occlusion_s=0.5)
    gone = Run(lambda t, v: nobody(v) if t > 0.5 else v, frames=75, settings=brief)
    assert sorted(gone.oracle.forgotten) == sorted(met)


def test_few_views_are_lifted_and_those_that_are_needed() -> None:
    """Of a person whom all four views see one is lifted, fifteen times a second; of one whom one sees, that one."""
    run = Run(frames=60, fps=60.0)
    late = [keys for t, keys in run.oracle.steps if t > 0.5e9]
    assert {len(keys) for keys in late} == {1} and len(late) < 0.6 * 15
    alone = Run(only("cam03"), frames=90)
    last = [keys for t, keys in alone.oracle.steps if t > (START_S + 0.1) * 1e9]
    assert all((0, "cam03") in keys for keys in last) and len(last) >= 0.9 * (3 - START_S - 0.1) * 30


def test_between_two_frames_of_the_lifter_a_pose_is_less_sure() -> None:
    """The wrist that nobody sees: what is stated grows with the age of the pose that it is taken from."""
    run = Run(hide(WRIST), frames=180, fps=60.0, sd_m=(0.02, 0.02, 0.05))  # type: ignore[arg-type]
    late = run.after(0.3)
    assert run.lifted[late][:, WRIST].all()
    inside, _ = coverage(run.e_m[late][:, WRIST], run.covariance_m2[late][:, WRIST])
    assert inside[1] > 0.5 and inside[2] > 0.85  # as at the lifter's own rate


@pytest.mark.parametrize("part", ["lift_one_view", "lift_hidden"])
def test_parts_are_switched_off_one_by_one(part: str) -> None:
    settings = FusionNode(**{part: False})  # type: ignore[arg-type]
    one, hidden = Run(only("cam01"), settings=settings), Run(hide(WRIST), settings=settings)
    assert (one.after(0).sum() > 0) == (part != "lift_one_view")
    assert hidden.lifted.any() == (part != "lift_hidden")


def test_a_stranger_in_one_view_is_not_born() -> None:
    run = Run(lambda t, v: v if v.camera == "cam01" else nobody(v))
    assert not any(len(p.person_ids) for p in run.poses)


def test_bodies_of_people_in_one_view() -> None:
    run = Run(only("cam01"), frames=40, settings=FusionNode(body="neutral"))
    assert len(run.bodies) == len(run.poses)
    for b in run.bodies:
        b.check()
        assert np.isfinite(b.joints_world_m).all()


def test_the_journal_repeats_lifted_poses_bit_for_bit() -> None:
    hard = Noise(3.0, outliers=0.1, missing=0.2, missed_people=0.4, swaps=0.1)
    run = Run(people=2, frames=60, noise=hard)
    views = {(v.camera, v.frame_seq): v for v in messages(run.world, RIG, frames=60, noise=hard)}
    again = FusionCore(RIG, FusionNode(), lifter=Oracle(RIG, run.world))
    assert any(p.lifted.any() for p in run.poses)
    for p, s in zip(run.poses, run.sets, strict=True):
        assert s.lifter == "oracle-1"
        chosen = {c: views[c, int(n)] for c, n in zip(s.cameras, s.frame_seqs, strict=True) if n >= 0}
        q = again.step(s, chosen)
        for f in fields(Poses):
            if not f.metadata.get("volatile"):
                assert np.array_equal(getattr(p, f.name), getattr(q, f.name), equal_nan=f.name not in (
                    "skeleton", "cameras", "refused", "filtered")), f.name  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small lifter with random weights: what it says is nonsense, and the same every time."""
    return write(tmp_path_factory.mktemp("lift") / "toy.safetensors")


@pytest.mark.parametrize("fps", [25.0, 50.0, 120.0])
def test_the_real_lifter_runs_at_any_rate_in_fusion(weights: Path, fps: float) -> None:
    core = FusionCore(RIG, FusionNode(lift=str(weights)))
    outs = []
    for v in messages(World(people=2, seed=3), RIG, frames=round(1.5 * fps), fps_hz=fps, noise=Noise(3.0, missing=0.3)):
        outs += core.handle(0, f"keypoints/{v.camera}", only("cam01")(v.t_capture_ns / 1e9, v))
    poses = [o.record for o in outs if o.topic == "poses"]
    assert len(poses) >= 1.5 * fps - 2 and any(p.lifted.any() for p in poses)
    for p in poses:
        p.check()
        there = p.confidence > 0
        assert (np.isfinite(p.points_world_m[..., 0]) == there).all()
        assert np.isfinite(p.covariance_m2[there]).all()


def test_a_recording_is_replayed_with_its_lifter_or_refused_by_name(weights: Path, tmp_path: Path) -> None:
    lift = FusionNode(lift=str(weights))
    hard = Noise(3.0, missing=0.3, missed_people=0.3)
    recording = Recording.open(session.record(tmp_path / "r.mcap", 3, 2, 40, 30.0, hard, fusion=lift))
    assert any(p.lifted.any() for _, _, p in recording.messages(("poses",)))
    assert replay(recording).identical
    off = replay(recording, overrides=["nodes.fusion.lift=off"])
    assert not off.same_graph and not off.identical
    before = next(s.lifter for _, _, s in recording.messages(("framesets",)))
    write(weights, channels=32)
    with pytest.raises(KinecastError, match=before.replace("(", ".").replace(")", ".")):
        replay(recording)


def test_recordings_from_before_are_fused_as_they_were(tmp_path: Path) -> None:
    recording = Recording.open(session.record(tmp_path / "r.mcap", 3, 1, 3, 30.0, Noise(1.0), fusion=FusionNode()))
    lines = [x for x in recording.launch_text.splitlines() if "lift_carried" not in x and "lift_views" not in x]
    before = SimpleNamespace(launch_text="\n".join(lines), path=recording.path)
    for told, keys in ((recording, {}), (before, {"lift_carried": False, "lift_views": None})):
        graph, fusion = launched(told)  # type: ignore[arg-type]
        assert graph.nodes[fusion] == FusionNode(cameras=graph.nodes[fusion].cameras, **keys)  # type: ignore
    graph, fusion = launched(before, [f"nodes.{fusion}.lift_carried=true"])  # type: ignore[arg-type]
    assert graph.nodes[fusion].lift_carried  # type: ignore[union-attr]
    assert graph.nodes[fusion].lift_views is None  # type: ignore[union-attr]


def test_hidden_joints_are_carried_on_where_the_lifter_knows_nothing() -> None:
    """A lifter that is 0.4 m off, and says so, takes a hidden wrist nowhere: half a second of a walk moves it less."""
    vague = (0.4, 0.4, 0.4)
    by = [
        Run(hide(WRIST), frames=45, settings=FusionNode(lift_carried=c), sd_m=vague)  # type: ignore[arg-type]
        for c in (True, False)
    ]
    rms = [float(np.sqrt((r.e_m[r.after(0)][:, WRIST] ** 2).sum(axis=-1).mean())) for r in by]
    assert rms[0] < 0.15 and rms[0] < rms[1]


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="nothing"):
        FusionCore(RIG, FusionNode(lift=str(tmp_path / "nothing.safetensors")))


def test_lifted_is_of_the_poses_shape_or_empty() -> None:
    pose = Run(frames=5).poses[-1]
    replace(pose, lifted=np.zeros((0, 0), np.bool_)).check()
    with pytest.raises(ValueError, match="lifted"):
        replace(pose, lifted=np.zeros((1, 3), np.bool_)).check()


def replaced(from_s: float, lag_s: float, ids: tuple[int, int], missing_s: float = 0.0) -> Edit:
    """One view alone from START_S on; from ``from_s`` it sees somebody who is where the person was ``lag_s`` ago.

    Before, for ``missing_s``, it sees nobody. ids: local ids before and after.
    """
    past: list[Keypoints2D] = []

    def edit(t: float, v: Keypoints2D) -> Keypoints2D:
        if v.camera != "cam01":
            return only("cam01")(t, v)
        past.append(v)
        if from_s - missing_s <= t < from_s:
            return nobody(v)
        if t >= from_s:
            before = next(p for p in reversed(past) if v.t_capture_ns - p.t_capture_ns >= lag_s * 1e9)
            v = replace(before, frame_seq=v.frame_seq, t_capture_ns=v.t_capture_ns)
        ids_now = np.full(len(v.scores), ids[1] if t >= from_s else ids[0], np.int32)
        return replace(v, local_ids=ids_now)

    return edit


def published_after(run: Run, t_s: float) -> int:
    return int((run.t_s >= t_s).sum())


def test_a_view_that_sees_somebody_elsewhere_keeps_nobody() -> None:
    """Who is where a walker was 0.3 s ago is near enough to be associated (28 cm in the mean), not to be believed."""
    kept, refused = (Run(replaced(1.5, lag, (4, 4)), frames=75) for lag in (0.0, 0.3))
    assert published_after(kept, 1.5) > 0.95 * 30
    assert published_after(refused, 1.55) == 0


def test_a_local_id_that_changed_must_fit_better() -> None:
    """Who is where a walker was 0.07 s ago is about 8 cm away: believed under the same local id, not under another."""
    same, other = (Run(replaced(1.6, 0.07, (4, name), missing_s=0.1), frames=75) for name in (4, 5))
    assert published_after(same, 1.6) > published_after(other, 1.6)
