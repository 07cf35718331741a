"""The synthetic world: people with known joints at every instant, and clocks that do not agree."""

from dataclasses import dataclass

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.engines.synth.body import Float, joints_world
from kinecast.engines.synth.walk import Walkers


class World:
    """People who walk about on a floor, z up, metres; the same ``seed`` gives the same world in every process.

    people: how many (0–32). scenario: ``crowd``, ``cross``, ``meet`` or ``leave``, see ``engines.synth.walk.Walkers``.
    area_m: they stay within about ± this of the origin. Times are ns since the world began.
    """

    def __init__(self, people: int = 2, seed: int = 0, scenario: str = "crowd", area_m: float = 1.6) -> None:
        if not 0 <= people <= 32:
            raise KinecastError(f"a synthetic world has 0 to 32 people, not {people}")
        rng = np.random.default_rng((seed, 6))
        self.people, self.seed, self.scenario = people, seed, scenario
        self.height_m: Float = rng.uniform(1.55, 1.92, people)
        self._walkers = Walkers(people, seed, scenario, area_m, self.height_m)
        self._last: tuple[int, Float] | None = None  # all cameras ask for the same time in turn

    def points_world(self, t_ns: int) -> Float:
        """(P, 26, 3) HALPE-26 joints in metres at ``t_ns``, read-only; NaN for somebody who is away."""
        if self._last is not None and self._last[0] == t_ns:
            return self._last[1]
        t_s = t_ns / 1e9
        points = joints_world(self._walkers.motion(t_s))
        points[~self._walkers.present(t_s)] = np.nan
        points.flags.writeable = False
        self._last = (t_ns, points)
        return points


@dataclass(frozen=True, slots=True)
class CameraClock:
    """How a camera's stamps relate to the time of the world: stamp = t · (1 + rate_ppm · 1e-6) + offset_ns."""

    offset_ns: int = 0
    rate_ppm: float = 0.0

    def stamp_ns(self, t_world_ns: int) -> int:
        """What this clock shows at a time of the world."""
        return t_world_ns + self.offset_ns + round(t_world_ns * self.rate_ppm * 1e-6)

    def world_ns(self, stamp_ns: int) -> int:
        """The time of the world at a stamp (within 1 ns)."""
        return round((stamp_ns - self.offset_ns) / (1 + self.rate_ppm * 1e-6))
