"""Data sets with a truth in 3D, each read from the layout that it is published in."""

from dataclasses import replace
from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded
from kinecast.nodes.evaluate.ground_truth import mvor, panoptic, shelf
from kinecast.nodes.evaluate.ground_truth.truth import Truth, odd_faces

NAMES = ("shelf", "panoptic", "mvor")

__all__ = ["NAMES", "Truth", "recognise", "truth_of"]


def recognise(path: Path) -> str | None:
    """Which data set a folder or file belongs to, by what is in it; None where it is none of them."""
    if shelf.find(path) is not None:
        return "shelf"
    if panoptic.find(path):
        return "panoptic"
    return "mvor" if mvor.find(path) is not None else None


@guarded("a truth")
def truth_of(path: Path, name: str | None = None, min_confidence: float = 0.1) -> Truth:
    """Read a data set's truth. name: one of ``NAMES``, None: by what is in it.

    min_confidence: below this a joint counts as not annotated. Raises KinecastError with file and place.
    """
    if not path.exists():
        raise KinecastError(f"{path}: no such file or folder")
    read = {"shelf": shelf.read, "panoptic": panoptic.read, "mvor": mvor.read}.get(name or recognise(path) or "")
    if read is not None:
        truth = read(path, min_confidence)
        return replace(truth, notes=(*truth.notes, *odd_faces(truth)))
    raise KinecastError(
        f"{path}: not a data set that is known: expected actorsGT.mat or ground_truth.json (Shelf, Campus), "
        "body3DScene_*.json (Panoptic), camma_mvor_2018.json (MVOR), or a recording"
    )
