"""A model card that has been opened: the session, and its outputs by the roles that the decoders know.

A card is held against its file when it is opened, by running it once: a decoder that reads what the network does not
say would be wrong in silence.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.capture.fetch import sha256_of
from kinecast.capture.planes import Colour
from kinecast.engines.detect.heatmap import kind_of_heatmap
from kinecast.engines.detect.picture import F32, F64, Picture, to_input
from kinecast.engines.models import Card, model_path
from kinecast.engines.models.plane_input import CHANNELS, COLOUR, OFFSET, plane_model_path
from kinecast.engines.runtime import Session, open_session, warm_up
from kinecast.engines.runtime.session import Arrays
from kinecast.engines.skeleton import skeleton


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
        self._takes_channels = CHANNELS in starts
        self._colours: dict[Colour | None, dict[str, F32]] = {}
        if self._takes_channels:
            return
        if not card.input.name and len(starts) == 1:
            self.card = card = replace(card, input=replace(card.input, name=starts[0]))
        if card.input.name not in starts:
            raise KinecastError(
                f"model {card.name} has no input {card.input.name!r}, it has {', '.join(starts)}: correct input.name "
                f"in {card.card_path}"
            )
        self._dtype = session.inputs[starts.index(card.input.name)].dtype

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the input."""
        return self.card.input.size_px

    def run(self, picture: Picture, image_from_input: F64, border: int = 0) -> dict[str, F32]:
        """Sample the picture, run the model; every output of the card by its role."""
        if self._takes_channels:
            channels = picture.channels(image_from_input, self.size_px, border)[None]
            return self._by_role(self.session.run({CHANNELS: channels, **self._colour(picture)}))
        sample = picture.sample(image_from_input, self.size_px, border)
        return self.run_input(to_input(sample, self.card.input))

    def run_input(self, x: F32) -> dict[str, F32]:
        """As :meth:`run`, of the network's own input (1, …). A network in half precision is given and gives float32."""
        return self._by_role(self.session.run({self.card.input.name: x.astype(self._dtype, copy=False)}))

    def _colour(self, picture: Picture) -> dict[str, F32]:
        """What turns the picture's channels into the card's colours and numbers."""
        if picture.colour not in self._colours:
            spec = self.card.input
            matrix, black = picture.rgb_from_channels()
            matrix = matrix[:: 1 if spec.colour == "rgb" else -1] / np.array(spec.std)[:, None]
            offset = -matrix @ black - np.array(spec.mean) / spec.std
            self._colours[picture.colour] = {
                COLOUR: matrix[None].astype(np.float32), OFFSET: offset[None, :, None].astype(np.float32)
            }  # fmt: skip
        return self._colours[picture.colour]

    def _by_role(self, results: Arrays) -> dict[str, F32]:
        return {role: results[name].astype(np.float32, copy=False) for role, name in self.card.outputs.items()}

    def warm_up(self) -> None:
        """Run once on zeros."""
        warm_up(self.session)


def open_model(card: Card, runtime: str, precision: str, threads: int, channels: bool = True) -> tuple[OpenModel, str]:
    """Open the card's verified file; returns it with the sha256 of that file.

    channels: a network that we converted ourselves is opened so that it takes the picture's own channels.
    """
    if channels and (front := plane_model_path(card)) is not None:
        # ours, and pinned by its hash: what it gives is known
        return OpenModel(card, open_session(front, runtime, threads, precision)), card.expected_sha256
    path: Path = model_path(card)
    w, h = card.input.size_px
    shape = (1, h, w, 3) if card.input.layout == "NHWC" else (1, 3, h, w)
    session = open_session(path, runtime, threads, precision, {card.input.name: shape} if card.input.name else None)
    known = [s.shape for s in session.inputs if s.name == card.input.name]
    for have in known:
        if have is not None and (len(have) != 4 or any(d not in (None, e) for d, e in zip(have, shape, strict=True))):
            raise KinecastError(
                f"model {card.name} takes {have}, its card says {shape}: correct input.size_px or input.layout in "
                f"{card.card_path}"
            )
    model = OpenModel(card, session)
    return OpenModel(_probed(model), session), card.expected_sha256 or sha256_of(path)


def _probed(model: OpenModel) -> Card:
    """The card, with what a run of the network tells; KinecastError where they contradict each other."""
    card = model.card
    w, h = card.input.size_px
    shape = (1, h, w, 3) if card.input.layout == "NHWC" else (1, 3, h, w)
    noise = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    channel = (1, 1, 1, 3) if card.input.layout == "NHWC" else (1, 3, 1, 1)
    mean, std = (np.reshape(v, channel).astype(np.float32) for v in (card.input.mean, card.input.std))
    try:
        probes = [model.run_input((x - mean) / std) for x in (noise, np.full(shape, 127, np.float32), 255 - noise)]
    except KinecastError:
        raise
    except Exception as e:  # each runtime has errors of its own
        told = (str(e).strip().splitlines() or [type(e).__name__])[0]
        raise KinecastError(f"model {card.name}: its file does not run on what its card says goes in: {told}") from None
    if wrong := _contradiction(card, probes[0]):
        raise KinecastError(f"model {card.name}: {wrong} in {card.card_path}")
    if card.decoder == "heatmap" and card.heatmap == "auto":
        return replace(card, heatmap=kind_of_heatmap(np.concatenate([p["heatmap"] for p in probes])))
    return card


def _contradiction(card: Card, out: dict[str, F32]) -> str:
    """What the network gives that the card's decoder cannot mean, and what to correct; empty where all fits."""
    shapes = {role: "×".join(map(str, a.shape)) for role, a in out.items()}
    joints = len(skeleton(card.skeleton)) if card.skeleton else 0
    rank = {"simcc": 3, "rtmo": 3, "yolox": 3, "heatmap": 4, "yolo_pose": 3}.get(card.decoder)
    first = next(iter(shapes))
    if rank and (out[first].ndim != rank and not (card.decoder == "yolox" and out[first].ndim == 2)):
        return f"{first} is {shapes[first]}, which is no {card.decoder}: correct decoder"
    given = joints
    if card.decoder == "simcc":
        given = out["simcc_x"].shape[1]
        sides = [a.shape[2] / s for a, s in zip((out["simcc_x"], out["simcc_y"]), card.input.size_px, strict=True)]
        if max(sides) - min(sides) > 1e-3:
            both = f"{shapes['simcc_x']} and {shapes['simcc_y']}"
            return f"simcc_x and simcc_y are {both}: correct outputs, or input.size_px"
        if abs(sides[0] - card.options["split_ratio"]) > 1e-3:
            return f"its SimCC has {sides[0]:g} bins a pixel: correct options.split_ratio"
    elif card.decoder == "heatmap":
        channels, h, w = out["heatmap"].shape[1:]
        given = joints if channels % joints == 0 and (channels == joints or channels // joints >= 8) else channels
        if abs(w / h - card.input.size_px[0] / card.input.size_px[1]) > 0.05:
            return f"its heatmaps are {shapes['heatmap']}, no smaller picture of its input: correct input.size_px"
    elif card.decoder == "yolo_pose":
        sides_of = out["output"].shape[1:]
        if not {5 + 3 * joints, 6 + 3 * joints} & set(sides_of):
            return f"its output is {shapes['output']}, which is no pose of {joints} joints: correct skeleton"
    elif card.decoder == "rtmo":
        given = out["keypoints"].shape[-2]
    if given != joints:
        return f"its file gives {given} joints and the skeleton {card.skeleton} has {joints}: correct skeleton"
    return ""
