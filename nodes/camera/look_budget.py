"""How many pictures the model may leave to optical flow, by what this machine holds: ``detector.model_every: auto``.

Step by step, and slower back than forth: pictures that are lost because the node was slow make the model look less
often; where none were lost for a while and there would be room, it is tried more often again, and after each vain try
later. Pure: it is told the time. The lossless pace loses nothing, decides nothing and looks at every picture.
"""

from collections.abc import Sequence

WINDOW_NS = 2_000_000_000  # between decisions
MOST_LOST = 0.03  # of the pictures of a window
QUIET_NS = 10_000_000_000  # without a loss, before a step back is tried
LONGEST_QUIET_NS = 160_000_000_000
ROOM = 0.7  # share of the time between pictures that looking may take; the rest is for decoding and for others


class LookBudget:
    """Decides ``every`` from the steps that there are (1, 2, 3)."""

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps, self._at = tuple(steps), 0
        self._window: tuple[int, int, int] | None = None  # when it began, pictures seen and lost until then
        self._seen = 0
        self._calm_since_ns = 0
        self._quiet_ns = QUIET_NS
        self._tried_ns: int | None = None  # when it was last made to look more often
        self._cost_ns: dict[bool, float] = {}  # looked or not → of a picture

    @property
    def every(self) -> int:
        """The model looks at every so many pictures."""
        return self._steps[self._at]

    @property
    def note(self) -> str:
        """A line for a person, "" while every picture is looked at."""
        if self._at == 0:
            return ""
        return f"the model looks at every {self.every}. picture, optical flow follows in between: this machine is slow"

    def take(self, t_ns: int, took_ns: int, looked: bool, lost: int) -> None:
        """A picture is done at ``t_ns``, after ``took_ns``; looked: by the model. lost: pictures so far, all told."""
        before = self._cost_ns.get(looked, float(took_ns))
        self._cost_ns[looked] = before + 0.1 * (took_ns - before)
        self._seen += 1
        if self._window is None:
            self._window, self._calm_since_ns = (t_ns, self._seen, lost), t_ns
            return
        began_ns, seen, lost_then = self._window
        if t_ns - began_ns < WINDOW_NS:
            return
        missed, all_told = lost - lost_then, lost - lost_then + self._seen - seen
        self._window = (t_ns, self._seen, lost)
        if missed > MOST_LOST * all_told:
            self._look_less(t_ns)
        elif t_ns - self._calm_since_ns >= self._quiet_ns and self._has_room((t_ns - began_ns) / all_told):
            self._at -= 1
            self._tried_ns = self._calm_since_ns = t_ns

    def _look_less(self, t_ns: int) -> None:
        if self._tried_ns is not None:
            vain = t_ns - self._tried_ns < QUIET_NS
            self._quiet_ns = min(2 * self._quiet_ns, LONGEST_QUIET_NS) if vain else QUIET_NS
        self._at = min(self._at + 1, len(self._steps) - 1)
        self._calm_since_ns, self._tried_ns = t_ns, None

    def _has_room(self, period_ns: float) -> bool:
        """Whether the model may look more often: pictures come every ``period_ns``."""
        if self._at == 0:
            return False
        every = self._steps[self._at - 1]
        look = self._cost_ns.get(True, period_ns)
        flow = self._cost_ns.get(False, look)
        return look + (every - 1) * flow <= ROOM * every * period_ns
