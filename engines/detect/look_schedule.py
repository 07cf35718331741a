"""When a camera's models look: the finder every so many seconds, the poser at every k-th picture."""

from dataclasses import dataclass

from kinecast.engines.models import Profile

SLACK_NS = 2_000_000  # stamps jitter: a picture so little before its turn is taken


@dataclass(frozen=True, slots=True)
class FindRhythm:
    """How long between looks for people, in nanoseconds; or in pictures, where a profile counts them (``pictures``).

    every: while everybody is there. eager: while somebody is missing: nobody is tracked, or one was lost lately.
    grace: for so long a lost person is still looked for at the last place. forget: for so long a finder that gives the
    joints itself may miss a person.
    """

    every: int
    eager: int
    grace: int
    forget: int
    pictures: bool

    @classmethod
    def of(cls, profile: Profile) -> "FindRhythm":
        """As the profile says."""
        if profile.find_every:
            return cls(profile.find_every, min(3, profile.find_every), 5, 10, True)
        every = round(profile.find_every_s * 1e9)
        return cls(every, min(100_000_000, every), 166_666_667, 333_333_333, False)

    def now(self, count: int, t_ns: int) -> int:
        """The picture's time in its own unit."""
        return count if self.pictures else t_ns + SLACK_NS


class ModelRhythm:
    """At which pictures the poser looks: number n of camera i where (n + i) is divisible by ``every``.

    Cameras so take turns, and every frame set has some that looked. n counts the pictures that were given.
    """

    def __init__(self, every: int = 1, phase: int = 0) -> None:
        self.every, self._phase = every, phase
        self._count = 0

    def next(self) -> bool:
        """Whether the model looks at the next picture."""
        self._count += 1
        return (self._count - 1 + self._phase) % self.every == 0

    def reset(self) -> None:
        """The next picture is the first."""
        self._count = 0
