"""People who live for minutes or hours: they walk, turn, stand, bend, sit down, reach and wave, on bodies of any shape.

Poses are smooth waves about simple postures, mixed as a timetable drawn from the seed says. The foot that is lower
stays where it is and carries the body, so that nobody slides; the path is steered to places within the room.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import times
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import KeypointTerms
from kinecast.engines.body.model.rotations import matrices
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.moving_body import UPRIGHT, BodyMotion, body_motion

Float = NDArray[np.float64]

SMPL = skeleton("smpl24")
FEET = ("left_heel", "left_big_toe", "right_heel", "right_big_toe")
# activity: (share of the time, shortest and longest spell in s)
ACTIVITIES = {
    "walk": (0.45, 4.0, 14.0),
    "stand": (0.12, 2.0, 6.0),
    "turn": (0.10, 1.5, 4.0),
    "bend": (0.09, 2.0, 4.0),
    "sit": (0.10, 4.0, 12.0),
    "reach": (0.07, 2.0, 5.0),
    "wave": (0.07, 2.0, 4.0),
}
BLEND_S = 0.9  # from one posture to the next
STRIDE_S = 1.12  # two steps
TURN_RADPS = 1.1
GRIP_M = 0.008  # a foot so much higher than the other bears e times less


@dataclass(frozen=True, slots=True, eq=False)
class DailyPeople:
    """People on bodies: P motions of T frames at ``rate_hz``; what they are at any time lies on a cubic between frames.

    Keeps :class:`engines.synth.Trajectories` for the skeleton of the motions' points.
    """

    motions: tuple[BodyMotion, ...]
    rate_hz: float
    _points: Float = field(init=False, repr=False)  # (T, P, K, 3)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_points", np.stack([m.points for m in self.motions], axis=1))

    def points_world(self, t_ns: int) -> Float:
        """(P, K, 3) m; before the first frame and after the last they stand still."""
        return np.asarray(self.points_at(np.array([t_ns]))[0])

    def points_at(self, t_ns: NDArray[np.int64]) -> Float:
        """(T', P, K, 3) m at times (T',)."""
        at = np.clip(np.asarray(t_ns) / 1e9 * self.rate_hz, 0, len(self._points) - 1)
        k = np.minimum(at.astype(np.int64), len(self._points) - 1)
        u = (at - k)[:, None, None, None]
        last = len(self._points) - 1
        a, b, c, d = (self._points[np.clip(k + i, 0, last)] for i in (-1, 0, 1, 2))
        between = b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))
        return np.asarray(np.where(u > 1e-6, between, b))

    @property
    def t_ns(self) -> NDArray[np.int64]:
        """(T,) times of the frames."""
        return np.round(np.arange(len(self._points)) / self.rate_hz * 1e9).astype(np.int64)


def daily_people(
    body: BodyModel,
    terms: KeypointTerms,
    *,
    seconds: float,
    shapes: Float,
    seed: int = 0,
    rate_hz: float = 25.0,
    area_m: float = 1.5,
) -> DailyPeople:
    """As many people as there are ``shapes`` (P, B), each with a part of a room of ± ``area_m`` to himself."""
    shapes = np.atleast_2d(np.asarray(shapes, np.float64))
    if seconds <= 0 or not len(shapes):
        raise KinecastError("somebody must be there for longer than no time")
    frames = max(2, round(seconds * rate_hz))
    homes, reach = _homes(len(shapes), area_m)
    return DailyPeople(
        tuple(
            daily_motion(body, terms, frames, b, (seed, p), rate_hz, home, reach)
            for p, (b, home) in enumerate(zip(shapes, homes, strict=True))
        ),
        rate_hz,
    )


def _homes(people: int, area_m: float) -> tuple[Float, float]:
    """(P, 2) the middles of the places that belong to each, and how far each goes from it."""
    if people == 1:
        return np.zeros((1, 2)), area_m
    angle = 2 * np.pi * np.arange(people) / people + 0.7
    far = 0.62 * area_m
    apart = 2 * far * np.sin(np.pi / people)
    return far * np.stack([np.cos(angle), np.sin(angle)], axis=1), max(0.25, apart / 2 - 0.4)


def daily_motion(
    body: BodyModel,
    terms: KeypointTerms,
    frames: int,
    betas: Float,
    seed: tuple[int, ...] = (0,),
    rate_hz: float = 25.0,
    home: Float | None = None,
    reach_m: float = 1.5,
) -> BodyMotion:
    """One person's daily life within ``reach_m`` of ``home`` (2,), feet on z = 0."""
    rng = np.random.default_rng((*seed, 51))
    share = timetable(frames, rate_hz, rng)
    turns = _posture(frames, rate_hz, share, rng)
    R = matrices(turns)
    R[:, 0] = times(UPRIGHT, R[:, 0])
    feet = _feet(body, terms, R, betas)
    spin = share[:, _index("turn")] * TURN_RADPS * rng.choice([-1.0, 1.0])
    walking = share[:, _index("walk")]
    place, heading = _steered(feet, walking, spin, rate_hz, np.zeros(2) if home is None else home, reach_m, rng)
    about = np.zeros((frames, 3, 3))
    about[:, 2, 2] = 1.0
    about[:, 0, 0] = about[:, 1, 1] = np.cos(heading)
    about[:, 1, 0], about[:, 0, 1] = np.sin(heading), -np.sin(heading)
    R[:, 0] = times(about, R[:, 0])
    lowest = feet[..., 2].min(axis=1)
    pelvis = np.concatenate([place, -_eased(lowest, rate_hz)[:, None]], axis=1)
    return body_motion(body, terms, R, pelvis, np.asarray(betas, np.float64))


def _index(activity: str) -> int:
    return list(ACTIVITIES).index(activity)


def timetable(frames: int, rate_hz: float, rng: np.random.Generator) -> Float:
    """(T, A) shares of each activity of ``ACTIVITIES`` that add to 1, passing smoothly from one to the next."""
    names = list(ACTIVITIES)
    shares = np.array([ACTIVITIES[n][0] / (ACTIVITIES[n][1] + ACTIVITIES[n][2]) for n in names])
    out, k, last = np.zeros((frames, len(names))), 0, -1
    while k < frames:
        p = shares.copy()
        p[last if last >= 0 else _index("sit")] = 0.0
        last = int(rng.choice(len(names), p=p / p.sum()))
        end = k + max(1, round(rng.uniform(*ACTIVITIES[names[last]][1:]) * rate_hz))
        out[k:end, last] = 1.0
        k = end
    width = max(3, round(BLEND_S * rate_hz))
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(out, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(c, window / window.sum(), mode="valid") for c in padded.T], axis=1)
    return np.asarray(smooth / smooth.sum(axis=1, keepdims=True))


def _wander(rng: np.random.Generator, t: Float, amplitude: float, hz: float) -> Float:
    """(T,) a slow wave that does not come back the same for minutes."""
    rates, phases = hz * rng.uniform(0.5, 1.6, 4), rng.uniform(0, 2 * np.pi, 4)
    return np.asarray(amplitude * np.sin(2 * np.pi * t[:, None] * rates + phases).sum(axis=1) / np.sqrt(2))


def _posture(frames: int, rate_hz: float, share: Float, rng: np.random.Generator) -> Float:
    """(T, 24, 3) rotation vectors: each activity's posture by its share, and restlessness over all."""
    t = np.arange(frames) / rate_hz
    w = dict(zip(ACTIVITIES, share.T, strict=True))
    phase = 2 * np.pi * np.cumsum(0.3 + 0.7 * (w["walk"] + w["turn"])) / rate_hz / STRIDE_S + rng.uniform(0, 2 * np.pi)
    out = np.zeros((frames, 24, 3))

    def add(name: str, x: Float | float = 0.0, y: Float | float = 0.0, z: Float | float = 0.0) -> None:
        for axis, value in enumerate((x, y, z)):
            out[:, SMPL.index(name), axis] += value

    def wave(amplitude: float, hz: float = 0.15) -> Float:
        return _wander(rng, t, amplitude, hz)

    walk, sit, bend = w["walk"], w["sit"], w["bend"]
    deep = bend * (1.0 + wave(0.15))  # how far down
    for name in ("spine1", "spine2", "spine3"):
        add(name, 0.28 * deep + 0.05 * sit + wave(0.03), wave(0.04) + 0.03 * walk * np.sin(phase), wave(0.03))
    add("pelvis", 0.45 * deep - 0.1 * sit + wave(0.02), 0.06 * walk * np.sin(phase), wave(0.02))
    for name in ("neck", "head"):
        add(name, wave(0.1) + 0.1 * w["reach"], wave(0.2), wave(0.05))
    for side, g, lag in (("left", 1.0, 0.0), ("right", -1.0, np.pi)):
        step = phase + lag
        thigh = walk * (0.42 * np.sin(step) + 0.08)
        flexion = walk * (0.34 + 0.42 * np.cos(step - 0.35) + 0.20 * np.cos(2 * step + 0.5))
        lifted = w["turn"] * np.maximum(np.sin(step), 0.0)  # who turns on the spot steps on the spot
        add(
            f"{side}_hip",
            -thigh - 0.3 * lifted - 1.45 * sit - 0.55 * deep + wave(0.02),
            wave(0.03),
            g * 0.04 + wave(0.02),
        )
        add(f"{side}_knee", 0.05 + flexion + 0.6 * lifted + 1.5 * sit + 0.25 * deep)
        add(f"{side}_ankle", -walk * 0.25 * np.sin(step - 0.5) - 0.15 * sit, 0.0, 0.0)
        raised = w["reach"] * (0.5 + 0.5 * np.sin(2 * np.pi * 0.3 * t + lag)) + 0.5 * w["stand"] * (wave(0.4) > 0.3)
        raised = _eased(raised, rate_hz)
        waving = w["wave"] * (1.0 if g > 0 else 0.3)
        hang = -g * (1.25 - 0.9 * waving - 0.5 * raised + wave(0.05))  # the arms of the rest pose are spread
        swing = walk * 0.4 * np.sin(step) * g
        add(f"{side}_shoulder", wave(0.05), swing - g * (1.0 * raised + 0.3 * sit + 0.9 * deep), hang)
        add(f"{side}_elbow", wave(0.05), -g * (0.25 + 0.25 * walk + 0.6 * sit + 1.0 * waving + wave(0.08)))
        if g > 0:
            add("left_elbow", 0.0, -0.5 * waving * np.sin(2 * np.pi * 1.1 * t))
        add(f"{side}_collar", 0.0, 0.0, g * 0.12 * raised)
        add(f"{side}_wrist", wave(0.1), wave(0.1), wave(0.1))
    return out


def _feet(body: BodyModel, terms: KeypointTerms, R: Float, betas: Float) -> Float:
    """(T, 4, 3) heels and toes of somebody whose pelvis is at the origin."""
    names = skeleton(terms.skeleton).joints
    if not set(FEET) <= set(names):
        raise KinecastError(f"{terms.skeleton} has no heels and toes to walk on; use halpe26")
    points = body_motion(body, terms, R, np.zeros((len(R), 3)), betas).points
    return points[:, [names.index(n) for n in FEET]]


def _grip(height: Float) -> Float:
    """(T, F) shares that heels and toes bear, by their height over the lowest; of a frame and the one before."""
    grip = np.exp(-(height - height.min(axis=1, keepdims=True)) / GRIP_M)
    grip[1:] += grip[:-1]
    return np.asarray(grip / grip.sum(axis=1, keepdims=True))


def _steered(
    feet: Float, walking: Float, spin: Float, rate_hz: float, home: Float, reach_m: float, rng: np.random.Generator
) -> tuple[Float, Float]:
    """Places (T, 2) and headings (T,): where the feet (T, F, 3) carry somebody who walks from goal to goal."""
    heading, place = rng.uniform(-np.pi, np.pi), home + rng.uniform(-0.5, 0.5, 2) * reach_m
    goal = home + rng.uniform(-1, 1, 2) * reach_m
    places, headings = np.empty((len(feet), 2)), np.empty(len(feet))
    grip = _grip(feet[..., 2])
    stood = np.einsum("tf,tfa->ta", grip[1:], feet[:-1, :, :2])  # where what bears was in the frame before
    stands = np.einsum("tf,tfa->ta", grip, feet[..., :2])
    c, s = np.cos(heading), np.sin(heading)
    for k in range(len(feet)):
        to = goal - place
        if np.hypot(*to) < 0.3:
            goal = home + rng.uniform(-1, 1, 2) * reach_m
        off = (np.arctan2(to[1], to[0]) - heading + np.pi) % (2 * np.pi) - np.pi
        if k:
            x, y = stood[k - 1]
            held = place + np.array([c * x - s * y, s * x + c * y])
            heading += (spin[k] + walking[k] * np.clip(2.0 * off, -1.8, 1.8)) / rate_hz
            c, s = np.cos(heading), np.sin(heading)
            x, y = stands[k]
            place = held - np.array([c * x - s * y, s * x + c * y])
        places[k], headings[k] = place, heading
    return places, headings


def _eased(values: Float, rate_hz: float) -> Float:
    """Without the corners, over 0.2 s."""
    width = max(1, round(0.2 * rate_hz)) | 1
    window = np.hanning(width + 2)[1:-1]
    return np.asarray(np.convolve(np.pad(values, width // 2, mode="edge"), window / window.sum(), mode="valid"))
