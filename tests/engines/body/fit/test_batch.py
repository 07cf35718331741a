"""Everybody in one call: the same bit for bit as one at a time, whoever comes, goes and is begun anew."""

import numpy as np

from kinecast.engines.body.fit.solver import BodySolver, Fit
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.observations import camera_arrays
from kinecast.engines.synth import WhiteNoise, ring_rig
from kinecast.engines.synth.moving_body import moving_body, observe_body

SIGMA_PX, FRAMES, PEOPLE = 4.0, 14, 6
RIG = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)
CAMERAS = camera_arrays(RIG)
BODY = load_body()
TERMS = keypoint_terms(BODY, "halpe26")


def solver() -> BodySolver:
    return BodySolver(BODY, "halpe26", CAMERAS, retargeted(load_prior(), BODY).arrays, RIG.up_world)


def crowd() -> tuple[np.ndarray, np.ndarray]:
    """xy (T, P, C, K, 2) and w (T, P, C, K) of six, more than the solver has places for at first."""
    px, confidence = zip(
        *(
            observe_body(RIG, moving_body(BODY, TERMS, FRAMES, seed=s).points, WhiteNoise(SIGMA_PX, 0.05, 0.15), s)
            for s in range(PEOPLE)
        ),
        strict=True,
    )
    xy = np.stack([[c.undistort(p[:, i]) for i, c in enumerate(RIG)] for p in px])
    w = np.stack(confidence) * (CAMERAS.focal_px[:, None] / SIGMA_PX) ** 2
    return np.moveaxis(xy, 2, 0).copy(), np.moveaxis(w, 1, 0).copy()


def same(a: Fit | None, b: Fit | None) -> bool:
    if a is None or b is None:
        return a is b
    return all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=True) for n in Fit.__slots__)


def test_all_at_once_is_one_at_a_time_bit_for_bit() -> None:
    xy, w = crowd()
    w[5:9, 2] = 0.0  # the third is away for a while, the last two come late
    ids = [7, 3, 11, 5, 9, 2]
    together, alone = solver(), [solver() for _ in ids]
    for t in range(FRAMES):
        n = 4 if t < 6 else PEOPLE
        order = list(range(n))[:: -1 if t % 2 else 1]  # nor does it matter who stands where in the message
        many = together.fit_all(t * 33_333_333, [ids[p] for p in order], xy[t, order], w[t, order])
        for p, fit in zip(order, many, strict=True):
            one = alone[p].fit(t * 33_333_333, ids[p], xy[t, p], w[t, p])
            assert (fit is None) == (p == 2 and 5 <= t < 9)
            assert same(fit, one), (t, p)


def test_somebody_lost_is_begun_anew_without_touching_the_others() -> None:
    xy, w = crowd()
    s, calm = solver(), solver()
    for t in range(FRAMES):
        jumped = xy[t].copy()
        if t == FRAMES - 1:
            jumped[0] = xy[t, 1]  # the first is told to be where the second is: nothing known of them helps
        s.fit_all(t * 33_333_333, [1, 2], jumped[:2], w[t, :2])
        calm.fit_all(t * 33_333_333, [2], xy[t, 1:2], w[t, 1:2])
    fit, other = s.fit_all(FRAMES * 33_333_333, [1, 2], xy[-1, [1, 1]], w[-1, [1, 1]])
    assert same(other, calm.fit(FRAMES * 33_333_333, 2, xy[-1, 1], w[-1, 1]))
    assert fit is not None and fit.explained > 0.8


def test_forgotten_places_are_used_again() -> None:
    xy, w = crowd()
    s = solver()
    for t in range(FRAMES):
        s.fit_all(t * 10**9, [t], xy[t, :1], w[t, :1])
        s.forget(t * 10**9)
    assert len(s._people.t) == 4
