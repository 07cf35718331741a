"""Joints that nobody sees: what they hang on, what is carried on, and how that and lifted poses are joined."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.engines.estimate.lifted import UNSEEN_S, ErrorModel, LiftedViews, LiftMemory
from kinecast.engines.estimate.occlusion import KNOTS_S, OccludedJoints, Shares, cells, load_errors, load_shares, part
from kinecast.engines.observations import camera_arrays
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import ring_rig

HALPE = skeleton("halpe26")
J, WRIST, ELBOW, HEEL, ANKLE = len(HALPE), *(HALPE.index(f"left_{n}") for n in ("wrist", "elbow", "heel", "ankle"))
N, K = len(cells()), len(KNOTS_S)
SD = 0.1
# the turn of the trunk is followed, nothing else carries on; ± SD whatever the time
RIGID = Shares(np.tile([0.0, 1.0], (N, K, 1)), np.full((N, K), SD), np.zeros((N, K)), np.ones(N), np.ones((N, K)))
BODY = np.random.default_rng(1).normal(0, (0.2, 0.2, 0.4), (J, 3))
S_NS = 1_000_000_000


def states(points: np.ndarray, velocity: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    x = np.concatenate([points, np.broadcast_to(velocity, points.shape)], axis=-1)[None]
    return x, np.zeros((1, J, 6, 6))


class Hidden:
    """A body whose joints ``hide`` were seen at 0 s and are not at ``since_s``, when it stands elsewhere."""

    def __init__(
        self, hide: tuple[int, ...], now: np.ndarray, *, shares: Shares = RIGID, since_s: float = 0.5,
        velocity: np.ndarray | float = 0.0, lifted: np.ndarray | None = None, lifted_sd: float = 1e3,
    ) -> None:  # fmt: skip
        self.memory = OccludedJoints(HALPE.joints, shares)
        self.memory.keep_tracks(np.array([3]))
        self.memory.remember(0, states(BODY, velocity)[0], np.ones((1, J), np.bool_))
        seen = np.ones((1, J), np.bool_)
        seen[0, list(hide)] = False
        pose = (now if lifted is None else lifted)[None]
        self.evidence = self.memory.gather_evidence(
            round(since_s * S_NS), *states(now), seen, ~seen, pose, np.full((1, J), lifted_sd**2)
        )
        points, variance = self.memory.fuse(self.evidence)
        self.points, self.variance = points[0], variance[0]


def turned(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    out: np.ndarray = BODY @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]]) + np.array([1.0, 2.0, 0.1])
    return out


@pytest.mark.parametrize(
    ("hide", "on"),
    [((WRIST,), "elbow"), ((WRIST, ELBOW), "shoulder"), ((ANKLE,), "foot"), ((ANKLE, HEEL), "foot"),
     (tuple(j for j, n in enumerate(HALPE.joints) if part(n) in ("wrist", "elbow") or "shoulder" in n), "trunk")],
)  # fmt: skip
def test_a_joint_hangs_on_the_best_that_is_seen(hide: tuple[int, ...], on: str) -> None:
    run = Hidden(hide, BODY)
    assert cells()[run.evidence.cell[0, hide[0]]] == (part(HALPE.joints[hide[0]]), on)
    assert (run.evidence.cell[0] >= 0).sum() == len(hide)


def test_who_turns_takes_hidden_joints_along() -> None:
    now = turned(1.2)
    run = Hidden((WRIST, ELBOW, ANKLE), now)
    np.testing.assert_allclose(run.points[[WRIST, ELBOW, ANKLE]], now[[WRIST, ELBOW, ANKLE]], atol=1e-6)
    # nobody is known to have no trunk: without it a joint keeps its direction
    trunk = tuple(j for j, n in enumerate(HALPE.joints) if part(n) == "trunk")
    shoulderless = Hidden((WRIST, *trunk), now)
    np.testing.assert_allclose(shoulderless.points[WRIST], now[ELBOW] + BODY[WRIST] - BODY[ELBOW], atol=1e-9)


@pytest.mark.parametrize("lifted_sd", [0.01, 0.1, 1.0])
def test_both_are_joined_by_their_variances(lifted_sd: float) -> None:
    lifted = BODY.copy()
    lifted[WRIST] += [0.05, 0.0, 0.0]
    run = Hidden((WRIST,), BODY, lifted=lifted, lifted_sd=lifted_sd)
    share = SD**2 / (SD**2 + lifted_sd**2)
    np.testing.assert_allclose(run.points[WRIST] - BODY[WRIST], [0.05 * share, 0, 0], atol=1e-9)
    assert run.variance[WRIST] == pytest.approx(1 / (1 / SD**2 + 1 / lifted_sd**2))


def test_two_that_contradict_each_other_make_nobody_sure() -> None:
    lifted = BODY.copy()
    lifted[WRIST] += [0.0, 0.9, 0.0]
    run = Hidden((WRIST,), BODY, lifted=lifted, lifted_sd=SD)
    assert run.variance[WRIST] == pytest.approx(SD**2 / 2 * (0.9**2 / 3) / (2 * SD**2))


def test_what_moved_is_less_sure_and_goes_on_for_a_while() -> None:
    shares = replace(RIGID, weights=np.tile([1.0, 0.0], (N, K, 1)), moved=np.full((N, K), 0.5))
    swing = np.zeros((J, 3))
    swing[WRIST] = [2.0, 0, 0]
    way = [Hidden((WRIST,), BODY, shares=shares, since_s=t, velocity=swing) for t in (0.02, 0.2, 5.0)]
    gone = [float(r.points[WRIST, 0] - BODY[WRIST, 0]) for r in way]
    assert gone[0] == pytest.approx(0.04, rel=0.06) and gone[0] < gone[1] < gone[2] == pytest.approx(0.4, rel=0.01)
    assert way[2].variance[WRIST] == pytest.approx(SD**2 + 0.25 * 0.4**2 / 3, rel=0.01)


def test_nothing_adds_up_and_nothing_is_known_of_strangers() -> None:
    run = Hidden((WRIST,), BODY, lifted_sd=SD)
    again = run.memory.fuse(run.evidence)[1][0, WRIST]
    assert again == run.variance[WRIST]
    run.memory.keep_tracks(np.array([2, 3]))
    run.memory.restart(np.array([1]))
    seen = np.ones((2, J), np.bool_)
    seen[:, WRIST] = False
    x, P = (np.repeat(a, 2, axis=0) for a in states(BODY))
    nobody = run.memory.gather_evidence(S_NS, x, P, seen, ~seen, np.stack([BODY, BODY]), np.ones((2, J)))
    assert (nobody.cell == -1).all() and np.isnan(run.memory.fuse(nobody)[0]).all()


def test_the_table_that_is_shipped_says_that_time_makes_unsure() -> None:
    shares, errors = load_shares(), load_errors(HALPE.joints)
    assert shares.weights.shape == (N, K, 2) and (shares.sd_m > 0).all() and (shares.lifted > 0).all()
    assert (shares.sd_m[:, KNOTS_S.index(0.5)] > shares.sd_m[:, 0]).mean() > 0.8
    assert errors.unseen.shape == (len(UNSEEN_S), J, 3) and 0 < errors.kept.min() <= errors.kept.max() <= 1
    assert (errors.unseen[1, WRIST] > errors.seen[WRIST]).all()


def test_to_guess_is_another_thing_than_to_see() -> None:
    model = ErrorModel(np.full((J, 3), 0.5), np.full((len(UNSEEN_S), J, 3), 2.0), np.full(J, 0.6), 1e9)
    memory = LiftMemory(camera_arrays(ring_rig(2)), HALPE, model)
    memory.keep_tracks(np.array([0]))
    views = LiftedViews(np.zeros((1, 2, J, 3)), np.full((1, 2, J, 3), 0.1), np.zeros((1, 2, 3)), np.full((1, 2), 0.1))
    nan, one = np.full((1, J, 3), np.nan), np.array([-1])
    nothing = np.full((1, J, 3, 3), np.nan), one, np.zeros((1, 2, J, 2)), np.zeros((1, 2, J))
    seen = np.ones((1, 2, J), np.bool_)
    for step in range(3):
        told = memory.inflate_sd(step * S_NS, views, seen)
        memory.learn(step * S_NS, told, nan, *nothing)
    assert (told.sd_m == 0.05).all()
    memory._error[:] = 0.1
    hidden = seen.copy()
    hidden[0, 1, WRIST] = False
    told = memory.inflate_sd(3 * S_NS, views, hidden)
    assert (told.sd_m[0, 1, WRIST] == 0.2).all() and (np.delete(told.sd_m[0, 1], WRIST, axis=0) == 0.05).all()
    np.testing.assert_allclose(memory._error[0, :, WRIST], [[0.1] * 3, [0.06] * 3])
    np.testing.assert_allclose(memory._var[0, 1, WRIST], 0.36 * 0.05**2 + 0.64 * 0.2**2)
    told = memory.inflate_sd(4 * S_NS, views, hidden)
    np.testing.assert_allclose(memory._error[0, :, WRIST], [[0.1] * 3, [0.06] * 3])
