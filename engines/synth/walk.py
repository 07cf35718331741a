"""Where the people of the synthetic world go: waypoints, and a push that keeps bodies apart.

Paths are integrated from t = 0 on a grid of 20 ms, in order and from seeds alone, and read off by a cubic between grid
points: the same seed gives the same world in every process, whatever it asks for first.
"""

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.synth.body import STRIDE, Float, WalkState

STEP_S = 0.02
AHEAD = 4  # grid points integrated at once: 1 ms now and then, so that a live camera never stalls
FOLD_S = 600.0  # after ten minutes the film runs backwards, then forwards again: no memory that grows without end
SCENARIOS = ("crowd", "cross", "meet", "leave")
_X, _Y, _HEADING, _PHASE, _AMPLITUDE = range(5)


class Walkers:
    """P people who walk in ``scenario`` within ±``area_m`` of the origin.

    crowd: from one random point to the next. cross: to and fro through the middle, in pairs that pass each other
    closely. meet: pairs walk up to each other, stand at arm's length (0.45 m) for two seconds and walk back. leave: as
    crowd, but everybody is away for some seconds now and then (see ``present``).
    """

    def __init__(self, people: int, seed: int, scenario: str, area_m: float, height_m: Float) -> None:
        if scenario not in SCENARIOS:
            raise KinecastError(f"unknown scenario {scenario!r}: known are {', '.join(SCENARIOS)}")
        self.people, self._seed, self._scenario, self._area, self._height = people, seed, scenario, area_m, height_m
        self._rng = [np.random.default_rng((seed, 7, p)) for p in range(people)]
        self._goal_number = np.zeros(people, int)
        self._wait_until_s = np.zeros(people)
        self._speed = np.array([r.uniform(0.9, 1.3) for r in self._rng])
        self._goal = np.array([self._next_goal(p) for p in range(people)]).reshape(people, 2)
        start = np.array([self._next_goal(p) for p in range(people)]).reshape(people, 2)
        towards = self._goal - start
        self._velocity = 0.1 * towards / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 0.1)
        heading = np.arctan2(towards[:, 1], towards[:, 0])
        phase = np.array([r.uniform(0, 2 * np.pi) for r in self._rng])
        self._state = np.stack([start[:, 0], start[:, 1], heading, phase, np.zeros(people)], axis=-1)
        self._grid = np.zeros((256, people, 5))  # grows by doubling
        self._known = 0

    def _next_goal(self, p: int) -> Float:
        n, self._goal_number[p] = self._goal_number[p], self._goal_number[p] + 1
        if self._scenario in ("crowd", "leave"):
            return self._rng[p].uniform(-self._area, self._area, 2)
        pair, end = divmod(p, 2)
        angle = np.pi * pair / max(1, (self.people + 1) // 2) + 0.4
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        sign = 1.0 if (n + end) % 2 else -1.0
        if self._scenario == "cross":
            return self._area * sign * along + (0.3 if end else -0.3) * across
        out = n % 2 == 0
        offset = 1.5 * (pair - (self.people - 1) // 4) * across
        return (self._area if out else 0.225) * (1.0 if end else -1.0) * along + offset

    def _advance(self, t_s: float) -> None:
        """One step of 20 ms."""
        pos = self._state[:, :2]
        to_goal = self._goal - pos
        far = np.linalg.norm(to_goal, axis=1)
        meeting = self._scenario == "meet"
        for p in np.flatnonzero(far < (0.12 if meeting else 0.4)).tolist():
            if meeting and self._wait_until_s[p] == 0 and self._goal_number[p] % 2 == 0:
                self._wait_until_s[p] = t_s + 2.0
            if t_s >= self._wait_until_s[p]:
                self._wait_until_s[p] = 0
                self._goal[p] = self._next_goal(p)
        slow = np.minimum(1.0, far / 0.4) if meeting else 1.0  # the others walk through their goals
        wanted = to_goal / np.maximum(far, 1e-9)[:, None] * (self._speed * slow)[:, None]
        push = np.zeros_like(pos)
        if self.people > 1:
            apart = pos[:, None] - pos[None]
            d = np.linalg.norm(apart, axis=-1) + np.eye(self.people) * 9
            away = apart / np.maximum(d, 1e-6)[..., None]
            # aside as well as away, always to the own right: two who walk head on pass instead of pushing for ever
            aside = np.stack([away[..., 1], -away[..., 0]], axis=-1)
            reach = 0.42 if meeting else 0.6
            force = 6.0 * np.exp((reach - d) / 0.12)
            push = (np.minimum(force, 12.0)[..., None] * (away + 0.6 * aside)).sum(axis=1)
        self._velocity += ((wanted - self._velocity) / 0.35 + push) * STEP_S
        speed = np.linalg.norm(self._velocity, axis=1)
        self._velocity *= np.minimum(1.0, 1.8 / np.maximum(speed, 1e-9))[:, None]
        speed = np.minimum(speed, 1.8)
        self._state[:, :2] += self._velocity * STEP_S
        turn = np.arctan2(self._velocity[:, 1], self._velocity[:, 0]) - self._state[:, _HEADING]
        turn = (turn + np.pi) % (2 * np.pi) - np.pi
        self._state[:, _HEADING] += turn * np.minimum(1.0, speed / 0.3) * STEP_S / 0.25
        self._state[:, _PHASE] += 2 * np.pi * speed / (STRIDE * self._height) * STEP_S
        self._state[:, _AMPLITUDE] += (np.minimum(1.0, speed / 0.9) - self._state[:, _AMPLITUDE]) * STEP_S / 0.3

    def _extend(self, index: int) -> None:
        if self._known > index:
            return
        while len(self._grid) < index + AHEAD:
            self._grid = np.concatenate([self._grid, np.zeros_like(self._grid)])
        for k in range(self._known, index + AHEAD):
            self._grid[k] = self._state
            self._advance(k * STEP_S)
        self._known = index + AHEAD

    def motion(self, t_s: float) -> WalkState:
        """Everybody's motion at a time (before 0: as at 0)."""
        t_s = max(0.0, t_s) % (2 * FOLD_S)
        t_s = min(t_s, 2 * FOLD_S - t_s)
        i, u = divmod(t_s / STEP_S, 1.0)
        k = int(i)
        self._extend(k + 2)
        a, b, c, d = (self._grid[j] for j in (max(k - 1, 0), k, k + 1, k + 2))
        s = b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))  # Catmull-Rom
        return WalkState(s[:, _X], s[:, _Y], s[:, _HEADING], s[:, _PHASE], s[:, _AMPLITUDE], self._height)

    def present(self, t_s: float) -> NDArray[np.bool_]:
        """(P,) who is in the scene: everybody, but in ``leave`` there for 8–14 s, then away for 4 s, and so on."""
        if self._scenario != "leave":
            return np.ones(self.people, bool)
        out = np.empty(self.people, bool)
        for p in range(self.people):
            rng = np.random.default_rng((self._seed, 8, p))
            there, shift = rng.uniform(8, 14), rng.uniform(0, 8)
            out[p] = (t_s + shift) % (there + 4.0) < there
        return out
