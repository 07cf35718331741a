"""A process is a pure core and a thin main: the core reads no clock, opens nothing and can be replayed."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Out:
    """A message that a core wants published. t_capture_ns: the capture time that it is about, 0 where none."""

    topic: str
    record: Any
    t_capture_ns: int = 0


class Core(Protocol):
    """What every node does, as a pure function of its messages and the times that it is told (monotonic, ns)."""

    def handle(self, t_ns: int, topic: str, record: Any) -> list[Out]:
        """Take one message that arrived at ``t_ns``."""
        ...

    def tick(self, t_ns: int) -> list[Out]:
        """Do what is due by ``t_ns``."""
        ...

    def next_deadline_ns(self) -> int | None:
        """When ``tick`` wants to be called next, or None."""
        ...
