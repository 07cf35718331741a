"""A detector with habits does what its table says, and nothing else; what lasts is a function of time."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.habits.limb_frames import HALPE, KIND, KINDS, SIDE, limb_frames, scale, view_harmonics
from kinecast.engines.habits.table import Habits, habit_names, load_habits
from kinecast.engines.synth import SampledPeople, Scene, TrueView, World, ring_rig
from kinecast.engines.synth.habitual import HabitualDetector, detector_named, detector_names
from kinecast.engines.synth.lasting_noise import lasting_noise
from kinecast.engines.synth.occlusion import own_body_hides

RIG = ring_rig(3, (1280, 720))
FLIP = np.array(HALPE.flip)
K = len(KINDS)
S = 1_000_000_000


def walker(seconds: float = 4.0, hz: float = 25.0, people: int = 1) -> SampledPeople:
    world = World(people, seed=3)
    return SampledPeople(np.stack([world.points_world(round(k * S / hz)) for k in range(int(seconds * hz))]), hz)


def still(**changes: object) -> Habits:
    """A table of no errors at all, but for what is given."""
    none, ones = (0.0,) * K, (1.0,) * K
    h = Habits(
        "toy", "halpe26", (((0.0,) * 5,) * 3,) * K, ((0.0,) * 3,) * K, none, 1.0, none, ones, none, 0.0, 1.0, 0.0, 0.3,
        none, ones, none, none, 0.0, 0.1, (0.1,), ((0.9,), (0.5,)),
    )  # fmt: skip
    return replace(h, **changes)  # type: ignore[arg-type]


def errors_m(habits: Habits, people: SampledPeople, seed: int = 0) -> np.ndarray:
    """(C, T, P, 26, 2) errors in metres at the person, for a person of the reference's size."""
    view = TrueView.of(people.points, RIG.cameras, people.t_ns)
    found = HabitualDetector(habits, seed, occlusion=False).detect(view, np.random.default_rng(1))
    shape = (len(RIG), people.points.shape[1], len(people.points), 26)
    px = found.keypoints.reshape(*shape, 2).swapaxes(1, 2)
    out = []
    for c, camera in enumerate(RIG):
        truth, depth = camera.project(people.points)
        focal = (camera.K[0, 0] + camera.K[1, 1]) / 2
        out.append((px[c] - truth) * (depth / focal / scale(people.points)[..., None])[..., None])
    return np.stack(out)


def test_every_shipped_table_is_read_and_written_again(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert "blazepose-heavy" in habit_names() and detector_names()[0] == "white"
    for name in habit_names():
        h = load_habits(name)
        assert h.detector == name and h.source and h.untold
        h.save(tmp_path / f"{name}.toml")
        assert load_habits(tmp_path / f"{name}.toml") == h


def test_a_table_that_is_none_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(KinecastError, match="known are"):
        detector_named("eagle")
    (tmp_path / "a.toml").write_text("detector = 'a'\n")
    with pytest.raises(KinecastError, match="no table of habits"):
        load_habits(tmp_path / "a.toml")
    with pytest.raises(KinecastError, match=r"slow_m is \(2,\)"):
        still(slow_m=(0.1, 0.1))


def test_lasting_noise_is_a_function_of_time() -> None:
    """Whatever is asked for first; of variance 1 and of the memory that was asked for."""
    tau = (0.0, 0.4, 2.0)
    t = np.arange(0, 2000 * S, 40_000_000)
    whole = lasting_noise((1, 2), t, tau)
    some = np.random.default_rng(0).permutation(len(t))[:40]
    assert all(np.array_equal(lasting_noise((1, 2), t[k : k + 1], tau)[0], whole[k]) for k in some)
    assert not np.array_equal(lasting_noise((1, 3), t[:9], tau), whole[:9])
    for i, memory in enumerate(tau):
        n = 2000 / max(memory, 0.04)  # independent numbers in it
        assert abs(whole[:, i].var() - 1) < 5 * np.sqrt(2 / n)
        for lag in (5, 25):
            met = (whole[lag:, i] * whole[:-lag, i]).mean()
            assert abs(met - (np.exp(-lag * 0.04 / memory) if memory else 0.0)) < 5 / np.sqrt(n)


def test_axes_go_with_the_body_and_a_mirror_image_has_mirrored_habits() -> None:
    points = walker().points[::10, 0]
    frames = limb_frames(points)
    assert np.allclose(np.einsum("tjab,tjac->tjbc", frames, frames), np.eye(3), atol=1e-9)
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
    assert np.allclose(limb_frames(points @ turn.T + [1, 2, 3]), turn @ frames, atol=1e-9)
    mirror = np.diag([1.0, -1.0, 1.0])
    mirrored = limb_frames((points @ mirror)[:, FLIP])
    assert np.allclose(mirrored[:, SIDE != 0], (mirror @ frames[:, FLIP])[:, SIDE != 0], atol=1e-9)


def test_what_lasts_is_the_offset_of_the_table_in_every_view() -> None:
    """Without noise, an error is the projection of the offset, worked out here joint by joint."""
    rng = np.random.default_rng(4)
    offset = rng.normal(0, 0.02, (K, 3, 5))
    people = walker(0.4)
    met = errors_m(still(offset_m=tuple(tuple(map(tuple, o)) for o in offset)), people)
    points = people.points
    frames, size = limb_frames(points), scale(points)
    for c, camera in enumerate(RIG):
        truth, depth = camera.project(points)
        for j in range(26):
            h_axes = frames[:, 0, j]
            to = camera.centre_world - points[:, 0, j]
            to /= np.linalg.norm(to, axis=1, keepdims=True)
            local = np.einsum("ah,th->ta", offset[KIND[j]], view_harmonics(np.einsum("tab,ta->tb", h_axes, to)))
            if SIDE[j] == 0:
                continue
            moved = points[:, 0, j] + size[:, :1] * np.einsum("tab,tb->ta", h_axes, local)
            expected = (camera.project(moved)[0] - truth[:, 0, j]) * (depth[:, 0, j] / size[:, 0])[:, None]
            expected /= (camera.K[0, 0] + camera.K[1, 1]) / 2
            given = np.isfinite(met[c, :, 0, j]).all(axis=-1)
            assert np.allclose(met[c, given, 0, j], expected[given], atol=1e-9)


def test_a_joint_of_the_middle_has_no_side() -> None:
    offsets = HabitualDetector(still(offset_m=(((0.01,) * 5,) * 3,) * K)).offsets_m(1)[0]
    nose = HALPE.index("nose")
    assert offsets[nose, 1].tolist() == [0, 0, 0.01, 0, 0.01]
    assert offsets[nose, 0].tolist() == [0.01, 0.01, 0, 0.01, 0]


def test_slow_fast_and_tails_are_those_of_the_table() -> None:
    """Of 5 minutes of somebody who stands: n independent numbers tell a deviation to 1/√(2n), heavy tails less well."""
    points = np.repeat(walker(0.04).points, 25 * 300, axis=0)
    people = SampledPeople(points, 25.0)
    slow, fast, tau, tails = 0.02, 0.01, 0.6, 0.4
    e = errors_m(still(slow_m=(slow,) * K, slow_s=(tau,) * K, fast_m=(fast,) * K, tails=tails), people, seed=5)
    e = e[:, :, 0, [j for j in range(26) if np.isfinite(e[:, :, 0, j]).all()]]
    assert e.shape[2] > 15
    assert e.var() == pytest.approx(slow**2 + fast**2, rel=0.08)
    lag = round(tau * 25)
    # neighbours share the tail while its 0.3 s last: the mean of their product is a little above exp(−1) of slow²
    spell = np.exp(tails**2 * (np.exp(-tau / 0.3) - 1))
    assert (e[:, lag:] * e[:, :-lag]).mean() == pytest.approx(slow**2 * np.exp(-1) * spell, rel=0.15)
    kurtosis = (e**4).mean() / e.var() ** 2
    assert kurtosis == pytest.approx(3 * np.exp(4 * tails**2), rel=0.25)


def test_frame_by_frame_lasts_as_by_the_block() -> None:
    h = still(slow_m=(0.03,) * K, view_m=(0.01,) * K, offset_sd_m=((0.01,) * 3,) * K, common_m=0.01, tails=0.3)
    people = walker(1.0, people=2)
    scene = Scene(RIG, people, HabitualDetector(h, seed=2, tracked=True))
    px, _ = scene.sequence(people.t_ns, np.random.default_rng(0))
    for k in (24, 3, 17):
        for c, camera in enumerate(RIG):
            seen = scene.observe(camera, int(people.t_ns[k]))
            for row, p in enumerate(seen.local_ids.tolist()):
                assert np.allclose(seen.keypoints_px[row], px[k, c, p], atol=2e-3, equal_nan=True)  # float32 of pixels


def test_a_hidden_joint_is_put_on_the_other_side() -> None:
    """From the side the far hip is hidden: there it is the near one's."""
    people = walker(2.0)
    always = still(hidden_other=(1.0,) * K)
    view = TrueView.of(people.points, RIG.cameras, people.t_ns)
    found = HabitualDetector(always).detect(view, np.random.default_rng(0))
    moved = 0
    for c, camera in enumerate(RIG):
        truth = camera.project(people.points[:, 0])[0]
        hidden = own_body_hides(people.points[:, 0], camera.centre_world)
        expected = np.where(hidden[..., None], truth[:, FLIP], truth)
        given = np.isfinite(found.keypoints[c]).all(axis=-1)
        assert np.allclose(found.keypoints[c][given], expected[given], atol=1e-6)
        assert (found.confidence[c][given & hidden & (SIDE != 0)] == 0.5).all()  # it errs by more than 0.1 m, they say
        moved += int((hidden & given & (SIDE != 0)).sum())
    assert moved > 50


def test_a_body_hides_its_own_far_side() -> None:
    world = World(1, seed=3)
    points = world.points_world(2 * S)[0]
    left = points[HALPE.index("left_hip")] - points[HALPE.index("right_hip")]
    middle = points[HALPE.index("mid_hip")]
    for sign, near, far in ((1, "left_hip", "right_hip"), (-1, "right_hip", "left_hip")):
        hidden = own_body_hides(points, middle + sign * 20 * left)
        assert hidden[HALPE.index(far)] and not hidden[HALPE.index(near)]
    ahead = np.cross(left, [0, 0, 1.0])
    face = [HALPE.index(n) for n in ("nose", "left_eye", "right_eye")]
    assert own_body_hides(points, middle - 20 * ahead + [0, 0, 0.7])[face].all()
    assert not own_body_hides(points, middle + 20 * ahead + [0, 0, 0.7])[face].any()


def test_pixels_alone_have_no_limbs() -> None:
    with pytest.raises(KinecastError, match="limbs in the world"):
        HabitualDetector(still()).detect(TrueView(np.zeros((1, 1, 26, 2)), np.ones((1, 1, 26), bool)), None)  # type: ignore[arg-type]
