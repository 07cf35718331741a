"""Whole sequences: the batch against the kernels and finite differences, what it gains, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.foot_contact import POINTS
from kinecast.engines.body.fit.kernels import PersonKeypoints, data_into, keypoints_into, pose_into, shape_into
from kinecast.engines.body.fit.solver import ROBUST_SIGMA, BodySolver, Fit
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.rotations import matrices, rotvecs
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.body.sequence import fit_sequence as offline
from kinecast.engines.body.sequence import solver as sequence
from kinecast.engines.body.sequence.fit_sequence import Frame, fit_sequence
from kinecast.engines.body.sequence.foot_contacts import detect_foot_contacts
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import WhiteNoise, ring_rig
from kinecast.engines.synth.moving_body import BodyMotion, body_motion, moving_body, observe_body

torch = pytest.importorskip("torch")
from kinecast.engines.body.sequence.solver import SequenceSettings, SequenceSolver, Stretch, _Time  # noqa: E402
from kinecast.engines.body.sequence.torch_rotations import exp, log, right_inverse  # noqa: E402

SIGMA_PX, FRAMES = 4.0, 60
RIG = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)
CAMERAS = camera_arrays(RIG)
BODY = load_body()
TERMS = keypoint_terms(BODY, "halpe26")
PRIOR = retargeted(load_prior(), BODY).arrays
TOES = [skeleton("halpe26").index(n) for n in POINTS]


def solver(shape: np.ndarray | None = None) -> BodySolver:
    return BodySolver(BODY, "halpe26", CAMERAS, PRIOR, RIG.up_world, shape)


def frames_of(motion: BodyMotion) -> list[Frame]:
    px, confidence = observe_body(RIG, motion.points, WhiteNoise(SIGMA_PX, 0.05, 0.15))
    xy = np.stack([camera.undistort(px[:, c]) for c, camera in enumerate(RIG)], axis=1)
    w = confidence * (CAMERAS.focal_px[:, None] / SIGMA_PX) ** 2
    return [Frame(round(i * 1e9 / 30), xy[i], w[i], np.full((26, 3), np.nan)) for i in range(len(xy))]


@pytest.fixture(scope="module")
def walk() -> BodyMotion:
    return moving_body(BODY, TERMS, FRAMES, seed=5)


@pytest.fixture(scope="module")
def fitted(walk: BodyMotion) -> list[Fit]:
    return [f for f in fit_sequence(solver, CAMERAS, frames_of(walk), "cpu") if f is not None]


def stretch_of(motion: BodyMotion, n: int) -> Stretch:
    frames = frames_of(motion)[:n]
    w = np.stack([np.where(np.isfinite(f.xy).all(axis=-1), f.w, 0.0) for f in frames])
    xy = np.where(w[..., None] > 0, np.stack([f.xy for f in frames]), 0.0)
    X, info = motion.points[:n] + 0.01, np.zeros((n, 26, 3, 3))
    X[:, 0] = 0.0
    info[:, TOES] = np.eye(3) / 0.01**2
    return Stretch(np.arange(n) / 30.0, CAMERAS.P, xy, w, X, info, 0.5)


def test_rotations_are_those_of_the_kernels() -> None:
    v = np.random.default_rng(0).normal(size=(200, 3))
    v *= (np.linspace(0, np.pi - 1e-6, 200) / np.linalg.norm(v, axis=1))[:, None]
    R = exp(torch.tensor(v)).numpy()
    assert np.abs(R - matrices(v)).max() < 1e-12
    assert np.abs(log(torch.tensor(R)).numpy() - rotvecs(R)).max() < 1e-8
    small = 1e-6 * np.random.default_rng(1).normal(size=(200, 3))
    moved = log(torch.tensor(R @ matrices(small))).numpy() - log(torch.tensor(R)).numpy()
    told = (right_inverse(torch.tensor(v)).numpy() @ small[..., None])[..., 0]
    assert np.abs(moved - told)[:190].max() < 1e-9  # near half a turn the logarithm jumps


def test_the_batch_is_the_kernel_frame_by_frame(walk: BodyMotion) -> None:
    s, seen = solver(), stretch_of(walk, 5)
    batch = SequenceSolver(s.bones, PRIOR, "cpu")
    state = batch.state(
        seen, walk.rotations[:5], walk.trans[:5], walk.betas, SequenceSettings(ROBUST_SIGMA**2, np.ones(5), 1)
    )
    rest, offset = np.empty((24, 3)), np.empty(s.bones.offset.shape)
    shape_into(s.bones, walk.betas, rest, offset)
    G, p, x = np.empty((24, 3, 3)), np.empty((24, 3)), np.empty((26, 3))
    M, g = np.empty((26, 3, 3)), np.empty((26, 3))
    for i in range(5):
        pose_into(s.bones.parents, rest, walk.rotations[i], walk.trans[i], G, p)
        keypoints_into(s.bones, offset, G, p, x)
        data_into(PersonKeypoints(seen.P, seen.xy[i], seen.w[i], seen.X[i], seen.info[i]), x, ROBUST_SIGMA**2, M, g)
        assert np.abs(state.x[i].numpy() - x).max() < 1e-12
        assert np.abs(state.M[i].numpy() - M).max() < 1e-9 * np.abs(M).max()
        assert np.abs(state.g[i].numpy() - g).max() < 1e-9 * np.abs(g).max()


def test_the_gradient_is_that_of_the_cost(walk: BodyMotion) -> None:
    seen, rng = stretch_of(walk, 6), np.random.default_rng(2)
    rules = SequenceSettings(ROBUST_SIGMA**2, np.full(6, 0.2), 1)
    batch = SequenceSolver(solver().bones, PRIOR, "cpu")
    R = walk.rotations[:6] @ matrices(0.1 * rng.normal(size=(6, 24, 3)))
    at = batch.state(seen, R, walk.trans[:6], walk.betas, rules)
    half = batch.gradient(at, seen, rules).numpy()
    for _ in range(5):
        step = rng.normal(size=half.shape)
        e = 1e-6
        cost = [
            batch.state(
                seen, R @ matrices(k * step[:, :-3].reshape(6, 24, 3)), walk.trans[:6] + k * step[:, -3:], walk.betas,
                rules,
            ).cost
            for k in (e, -e)
        ]  # fmt: skip
        assert (cost[0] - cost[1]) / (2 * e) == pytest.approx(2 * (half * step).sum(), rel=2e-4)


@pytest.mark.parametrize("gap_s", [0.5, 0.01])  # with what time says, and without
def test_a_step_of_the_band_is_that_of_the_gradients(
    walk: BodyMotion, gap_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, rng = replace(stretch_of(walk, 12), gap_s=gap_s), np.random.default_rng(4)
    rules = SequenceSettings(ROBUST_SIGMA**2, rng.uniform(0.1, 1.0, 12), 1)
    batch = SequenceSolver(solver().bones, PRIOR, "cpu")
    R = walk.rotations[:12] @ matrices(0.5 * rng.normal(size=(12, 24, 3)))  # some beyond a limit
    at = batch.state(seen, R, walk.trans[:12], walk.betas, rules)
    assert bool((at.over != 0).any()) and (at.smoothness is not None) == (gap_s == 0.5)
    time, prior = _Time(seen.t_s, seen.gap_s, rules, batch.device), torch.tensor(rules.prior)
    monkeypatch.setattr(sequence, "GRADIENTS", 4000)
    monkeypatch.setattr(sequence, "LEFT", 1e-12)
    slow, fast = batch._step(at, time, prior, 1e-4), batch._exact(at, time, prior, 1e-4)
    assert fast is not None
    assert float((slow - fast).abs().max()) < 1e-7 * float(slow.abs().max())


def test_a_sequence_on_the_gradients_path_is_the_same_fit(
    walk: BodyMotion, fitted: list[Fit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SequenceSolver, "_exact", SequenceSolver._step)
    slow = [f for f in fit_sequence(solver, CAMERAS, frames_of(walk), "cpu") if f is not None]
    apart = np.linalg.norm(np.stack([f.joints for f in slow]) - np.stack([f.joints for f in fitted]), axis=-1)
    off = [np.linalg.norm(np.stack([f.joints for f in fits]) - walk.joints, axis=-1).mean() for fits in (slow, fitted)]
    # both end where a step gains little: a tenth of the error itself, and neither is nearer to the truth
    assert apart.mean() < 0.1 * off[0] and off[1] == pytest.approx(off[0], rel=0.03)


def test_lean_fits_are_the_same_bodies_without_saying_how_sure(walk: BodyMotion) -> None:
    frames = frames_of(walk)[:30]
    lean, told = (fit_sequence(solver, CAMERAS, frames, "cpu", walk.betas, False, sure) for sure in (False, True))
    for a, b in zip(lean, told, strict=True):
        assert a is not None and b is not None and np.array_equal(a.joints, b.joints)
        assert np.isfinite(a.joint_sd_m).all() and not np.array_equal(a.joint_sd_m, b.joint_sd_m)


def test_time_takes_any_rate_and_gaps() -> None:
    rules = SequenceSettings(1.0, np.ones(5), 1)
    t_s = np.array([0.0, 0.02, 0.06, 0.07, 2.0])
    time = _Time(t_s, 0.5, rules, torch.device("cpu"))
    spin = np.array([0.3, -0.2, 0.5])
    R = matrices(t_s[:, None, None] * spin[None, None]).repeat(2, axis=1)
    steady, _ = time.at(torch.tensor(R), torch.tensor(t_s[:, None] * spin))
    assert float(steady) < 1e-15  # an even turn and an even pace cost nothing, however the frames lie
    jump = R.copy()
    jump[4] = matrices(np.ones(3))
    across, _ = time.at(torch.tensor(jump), torch.tensor(t_s[:, None] * spin))
    assert float(across) < 1e-15  # and nothing is known across a gap


def test_it_is_smoother_and_nearer_than_live(walk: BodyMotion, fitted: list[Fit]) -> None:
    live, s = [], solver()
    for f in frames_of(walk):
        fit = s.fit(f.t_ns, 0, f.xy, f.w)
        assert fit is not None
        live.append(fit)

    def joints(fits: list[Fit]) -> np.ndarray:
        return np.stack([f.joints for f in fits])

    def jerk(x: np.ndarray) -> float:
        return float(np.linalg.norm(np.diff(x, 3, axis=0), axis=-1).mean())

    error = [np.linalg.norm(joints(fits) - walk.joints, axis=-1).mean() for fits in (live, fitted)]
    # white noise: the smoother has some frames on either side, the filter a few behind it
    assert error[1] < 0.85 * error[0]
    assert jerk(joints(fitted)) < 0.5 * jerk(joints(live))
    stated = np.sqrt(3 * np.mean([f.joint_sd_m**2 for f in fitted]))
    met = np.sqrt(np.mean((joints(fitted) - walk.joints) ** 2) * 3)
    assert 0.5 < stated / met < 2.0


def test_a_known_shape_is_held(walk: BodyMotion) -> None:
    fits = fit_sequence(solver, CAMERAS, frames_of(walk)[:12], "cpu", walk.betas)
    for f in fits:
        assert f is not None and np.array_equal(f.betas, walk.betas)


def test_parts_join_where_they_meet(walk: BodyMotion, fitted: list[Fit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "FRAMES", 25)
    monkeypatch.setattr(offline, "MARGIN", 12)
    parts = [f for f in fit_sequence(solver, CAMERAS, frames_of(walk), "cpu") if f is not None]
    apart = np.abs(np.stack([f.joints for f in parts]) - np.stack([f.joints for f in fitted]))
    # as far apart as an end of the search: a tenth of the noise of a joint
    assert np.median(apart) < 5e-4 and apart.max() < 0.1 * SIGMA_PX * 4.0 / CAMERAS.focal_px.mean() * 10


def test_feet_are_held_where_they_rest_at_any_height(walk: BodyMotion) -> None:
    rng, n = np.random.default_rng(3), 60
    t_s = np.arange(n) / 30
    points = np.zeros((n, 26, 3))
    points[:, TOES[0]] = [0.3, 0.2, 0.45]
    points[30:, TOES[0], 0] += 1.5 * (t_s[30:] - t_s[29])  # and then it leaves
    noisy = points + rng.normal(0, 0.006, points.shape)
    info = np.tile(np.eye(3) / 0.006**2, (n, 26, 1, 1))
    held = detect_foot_contacts(t_s, points, noisy, info, np.array([TOES[0], -1, -1, -1, -1, -1]))
    assert held.resting[5:25, 0].all() and not held.resting[35:].any() and not held.resting[:, 1:].any()
    assert np.linalg.norm(held.X[10, TOES[0]] - [0.3, 0.2, 0.45]) < 3 * 0.006 / np.sqrt(25)
    assert not held.info[:, [k for k in range(26) if k != TOES[0]]].any()


def test_standing_feet_slide_less(walk: BodyMotion) -> None:
    R = np.tile(PRIOR.reference, (40, 1, 1, 1))
    t = np.arange(40) / 30
    R[:, 0] = walk.rotations[0, 0]
    R[:, 16] = R[:, 16] @ matrices(np.outer(0.5 * np.sin(3 * t), [1.0, 0.0, 0.0]))
    still = body_motion(BODY, TERMS, R, np.tile([0.0, 0.0, 1.3], (40, 1)), np.zeros(10))
    frames = frames_of(still)

    def slide(contact: bool) -> float:
        fits = fit_sequence(solver, CAMERAS, frames, "cpu", still.betas, contact)
        feet = np.stack([f.points for f in fits if f is not None])[:, TOES]
        return float(np.linalg.norm(np.diff(feet, axis=0), axis=-1).mean())

    assert slide(True) < 0.5 * slide(False)


def test_a_gpu_that_is_not_there_is_named(walk: BodyMotion) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(KinecastError, match="--device cuda"):
        fit_sequence(solver, CAMERAS, frames_of(walk)[:2], "cuda")
