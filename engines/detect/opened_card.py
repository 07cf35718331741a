"""A model card that has been opened: the session, and its outputs by the roles that the decoders know."""

from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.capture.fetch import sha256_of
from kinecast.engines.detect.picture import F32, F64, Picture, to_input
from kinecast.engines.models import Card, model_path
from kinecast.engines.runtime import Session, open_session, warm_up


class OpenModel:
    """One model: a picture and a map go in, arrays by role come out."""

    def __init__(self, card: Card, session: Session) -> None:
        self.card, self.session = card, session
        ends = [spec.name for spec in session.outputs]
        for role, name in card.outputs.items():
            if ends and name not in ends:
                raise KinecastError(
                    f"model {card.name} has no output {name!r}, it has {', '.join(ends)}: correct outputs.{role} in "
                    f"{card.card_path}"
                )
        starts = [spec.name for spec in session.inputs]
        if card.input.name not in starts:
            raise KinecastError(
                f"model {card.name} has no input {card.input.name!r}, it has {', '.join(starts)}: correct input.name "
                f"in {card.card_path}"
            )

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the input."""
        return self.card.input.size_px

    def run(self, picture: Picture, image_from_input: F64, border: int = 0) -> dict[str, F32]:
        """Sample the picture, run the model; every output of the card by its role."""
        sample = picture.sample(image_from_input, self.size_px, border)
        results = self.session.run({self.card.input.name: to_input(sample, self.card.input)})
        return {role: results[name] for role, name in self.card.outputs.items()}

    def warm_up(self) -> None:
        """Run once on zeros."""
        warm_up(self.session)


def open_model(card: Card, runtime: str, precision: str, threads: int) -> tuple[OpenModel, str]:
    """Open the card's verified file; returns it with the sha256 of the file that runs."""
    path: Path = model_path(card)
    w, h = card.input.size_px
    shape = (1, h, w, 3) if card.input.layout == "NHWC" else (1, 3, h, w)
    session = open_session(path, runtime, threads, precision, {card.input.name: shape})
    known = [s.shape for s in session.inputs if s.name == card.input.name]
    for have in known:
        if have is not None and (len(have) != 4 or any(d not in (None, e) for d, e in zip(have, shape, strict=True))):
            raise KinecastError(
                f"model {card.name} takes {have}, its card says {shape}: correct input.size_px or input.layout in "
                f"{card.card_path}"
            )
    return OpenModel(card, session), card.expected_sha256 or sha256_of(path)
