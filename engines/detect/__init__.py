"""Detectors: frames of one camera in, the people of that view out. What every detector keeps is said here."""

from typing import Protocol, runtime_checkable

from kinecast.capture.frame import Frame
from kinecast.engines.records import People2D

MODEL_EVERY = (1, 2, 3)  # pictures from look to look of a model: beyond, a pose is another one


@runtime_checkable
class LooksSometimes(Protocol):
    """A detector whose model may leave pictures to optical flow.

    model_every: it looks at every so many, of ``MODEL_EVERY``; may be changed between pictures.
    """

    model_every: int


class PeopleDetector(Protocol):
    """Frames of one camera in, in order; people out.

    skeleton: of the joints. models: name → sha256 of the file that runs. runtime: name → what it runs on, and why.
    """

    @property
    def skeleton(self) -> str: ...
    @property
    def models(self) -> dict[str, str]: ...
    @property
    def runtime(self) -> dict[str, str]: ...
    def detect(self, frame: Frame) -> People2D: ...
    def warm_up(self) -> None:
        """Run every model once, so that the first frame is no slower than the others."""
        ...

    def reset(self) -> None:
        """Forget everybody: the next frame is not the successor of the last. Identities are not used again."""
        ...
