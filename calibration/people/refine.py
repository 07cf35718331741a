"""A rig refined from people, and whether to believe it: a lower residual is not a better rig.

A rig has enough freedom to swallow what a detector gets wrong, so the residual falls whether or not the cameras stand
elsewhere. What tells is whether rigs refined on disjoint halves of the time agree with each other better than with the
supplied one, whether the change stands out of its covariance, and whether clocks that are off explain it as well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.people.bundle import Bundle, adjust, triangulated
from kinecast.calibration.people.camera_poses import CameraPoses, aligned, pose_error, without_free
from kinecast.calibration.people.kernels import CAMERA
from kinecast.calibration.people.walk import Walk

Float = NDArray[np.float64]

LEAST_ROWS, LEAST_S = 20, 1.0  # of a walk
JOINTS_SHARED_WITH_A_CAMERA = 100  # that each camera shares with another
LEAST_SPREAD_M = 0.15  # standard deviation of where the person is: below, somebody stands
LEAST_GAIN = 0.03  # share of the residual on data that the refinement has not seen
AGREE = 0.5  # of the change: halves that differ by more do not know it
RIVAL = 0.6  # of the gain: where clocks alone bring so much, they are the simpler explanation
CLEAR = 3.0  # σ


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """The rig refined in one way: on all data, and on either half. All in the world of the supplied rig.

    held_px: median residual on the first half of the rig of the second, and the other way round. change_m, halves_m:
    (C,) from the supplied rig, between the rigs of the halves. sigma_m: (C,) of the place. clear: how many σ the
    clearest change of a camera's place or direction stands out.
    """

    whole: Bundle
    first: CameraPoses
    second: CameraPoses
    held_px: tuple[float, float]
    change_m: Float
    halves_m: Float
    halves_rad: Float
    sigma_m: Float
    clock_sigma_s: Float
    clear: float


@dataclass(frozen=True, slots=True, eq=False)
class RigRefinement:
    """What people say of a rig. verdict: ``better`` (use the refined one), ``keep`` or ``refused``; advice: why.

    before_px, after_px: median residual on all data of the supplied and of the chosen rig. held_before_px: of the
    supplied rig on either half. models: by name, ``places``, ``clocks``, ``both``; chosen: the name of one.
    clocks_m: (C,) between the rigs with clocks and without.
    """

    cameras: tuple[str, ...]
    verdict: str
    advice: str
    before_px: float
    after_px: float
    held_before_px: tuple[float, float]
    models: dict[str, Model]
    chosen: str
    places: CameraPoses
    clocks_m: Float

    @property
    def refined(self) -> Model:
        """The model that was chosen."""
        return self.models[self.chosen]


def faults(walk: Walk, places: CameraPoses | None = None) -> list[str]:
    """Why a walk is too little to tell where cameras stand, each with its remedy; nothing where it is enough."""
    if len(walk) < LEAST_ROWS or walk.span_s < LEAST_S:
        return [
            f"only {len(walk)} instants within {walk.span_s:.1f} s in which two cameras see the same person: record "
            "somebody who walks about for half a minute"
        ]
    shared = (walk.seen() & (walk.seen().sum(axis=1, keepdims=True) >= 2)).sum(axis=(0, 2))
    out = [
        f"camera {name} shares {n} joints with the others: walk where it and another camera see you at once"
        for name, n in zip(walk.cameras, shared.tolist(), strict=True)
        if n < JOINTS_SHARED_WITH_A_CAMERA
    ]
    if places is not None and not out:
        travel = spread_m(walk, triangulated(walk, places).points)
        if travel < LEAST_SPREAD_M:
            out.append(
                f"the person stays in one place (within {2 * travel:.2f} m): walk through all of the space, to and fro "
                "and across"
            )
    return out


def spread_m(walk: Walk, points: Float) -> float:
    """Standard deviation of where the people are, metres, over the two axes of most of it."""
    place = np.nanmedian(points[:, list(walk.roles.used)], axis=1)
    place = place[np.isfinite(place).all(axis=1)]
    if len(place) < 2:
        return 0.0
    return float(np.sqrt(np.linalg.svd(place - np.median(place, axis=0), compute_uv=False)[0] ** 2 / len(place)))


def refine_rig(walk: Walk, supplied: CameraPoses) -> RigRefinement:
    """Refine ``supplied`` with places alone, clocks alone and both, on all and on halves, and say what to believe.

    The walk must be free of ``faults``.
    """
    halves = walk.halves()
    before = triangulated(walk, supplied).median_px
    held = tuple(triangulated(h, supplied).median_px for h in halves)
    models = {
        "places": _model(walk, halves, supplied, True, False),
        "clocks": _model(walk, halves, supplied, False, True),
        "both": _model(walk, halves, supplied, True, True),
    }
    both = models["both"]
    clocks = np.abs(both.whole.places.delta_s)
    ticking = bool((clocks > np.maximum(CLEAR * both.clock_sigma_s, 0.001)).any())
    chosen = "both" if ticking else "places"
    between = pose_error(models["places"].whole.places, both.whole.places)[0]
    verdict, advice = _judge(walk, (held[0], held[1]), models, chosen, between)
    model = models[chosen]
    places = model.whole.places if verdict == "better" else supplied
    after = model.whole.median_px
    return RigRefinement(
        walk.cameras, verdict, advice, before, after, (held[0], held[1]), models, chosen, places, between
    )  # fmt: skip


def _model(walk: Walk, halves: tuple[Walk, Walk], supplied: CameraPoses, move: bool, tell: bool) -> Model:
    whole, one, two = (adjust(w, supplied, places=move, clocks=tell) for w in (walk, *halves))
    first, second = (aligned(b.places, supplied) for b in (one, two))
    placed = aligned(whole.places, supplied)
    held = triangulated(halves[0], two.places).median_px, triangulated(halves[1], one.places).median_px
    variance = np.diag(whole.cov).reshape(-1, CAMERA)
    step = (without_free(supplied) @ placed.step_to(supplied)).reshape(-1, CAMERA)[:, :6]
    with np.errstate(divide="ignore", invalid="ignore"):
        clear = np.nanmax(np.abs(step) / np.sqrt(variance[:, :6])) if move else 0.0
    change, _ = pose_error(placed, supplied)
    between, angle = pose_error(first, second)
    whole = Bundle(placed, whole.points, whole.cov, whole.normal, whole.residual_px, whole.cost, whole.sigma_factor)
    return Model(
        whole, first, second, held, change, between, angle, np.sqrt(variance[:, 3:6].sum(axis=1)),
        np.sqrt(variance[:, 6]), float(clear),
    )  # fmt: skip


def _rms(values: Float) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _range(values_m: Float) -> str:
    low, high = 1e3 * values_m.min(), 1e3 * values_m.max()
    return f"{low:.0f}–{high:.0f} mm" if round(low) != round(high) else f"{high:.0f} mm"


def _judge(
    walk: Walk, held: tuple[float, float], models: dict[str, Model], chosen: str, between: Float
) -> tuple[str, str]:
    """(verdict, advice): the first thing that speaks against the refined rig, or what it is good to."""
    model, base = models[chosen], float(np.mean(held))
    gain = base - float(np.mean(model.held_px))
    clock_gain = base - float(np.mean(models["clocks"].held_px))
    change, halves = _rms(model.change_m), _rms(model.halves_m)
    fall = f"the residual on unseen data falls from {base:.1f} to {np.mean(model.held_px):.1f} px"
    if gain < LEAST_GAIN * base or any(after >= before for before, after in zip(held, model.held_px, strict=True)):
        return "keep", (
            f"keep the supplied rig: refined on one half it does not fit the other better ({base:.2f} px before, "
            f"{np.mean(model.held_px):.2f} px after)"
        )
    clocks = models["both"].whole.places.delta_s
    worst = int(np.argmax(np.abs(clocks)))
    if clock_gain > RIVAL * gain and np.abs(clocks[worst]) > CLEAR * models["both"].clock_sigma_s[worst]:
        return "refused", (
            f"keep the supplied rig and set the clocks: {fall}, but clocks alone (camera {walk.cameras[worst]} "
            f"{1e3 * clocks[worst]:+.1f} ms) bring {100 * clock_gain / gain:.0f} % of that; run `kinecast sync` first"
        )
    more = "record somebody who walks through all of the space for half a minute, and ask again"
    if halves > AGREE * change:
        return "refused", (
            f"keep the supplied rig: {fall}, yet rigs refined on either half differ by {_range(model.halves_m)} in "
            f"their cameras where the refined one differs from the supplied one by {_range(model.change_m)}, so the "
            f"recording cannot tell which is right; {more}"
        )
    if model.clear < CLEAR or _rms(model.sigma_m) > AGREE * change:
        return "refused", (
            f"keep the supplied rig: {fall}, but the change of {_range(model.change_m)} is not clear of its "
            f"uncertainty of {_range(model.sigma_m)} (1 σ); {more}"
        )
    if _rms(between) > AGREE * change:
        return "refused", (
            f"keep the supplied rig: {fall}, but with clocks estimated too the cameras stand "
            f"{_range(between)} elsewhere, so "
            "movement and clocks cannot be told apart; run `kinecast sync` first, or record slower walking"
        )
    clock = (
        f", and clocks are off by up to {1e3 * np.abs(clocks).max():.1f} ms (see `kinecast sync`)"
        if chosen == "both"
        else ""
    )
    return "better", (
        f"use the refined rig: {fall}, rigs refined on either half agree within {_range(model.halves_m)}, the "
        f"change is {_range(model.change_m)} and its uncertainty {_range(model.sigma_m)} (1 σ){clock}"
    )
