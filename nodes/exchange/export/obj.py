"""Bodies as Wavefront OBJ: a file a frame set, which every 3D program reads, many as a sequence."""

import io
from pathlib import Path

import numpy as np

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Bodies
from kinecast.nodes.fusion.meshes import Mesher
from kinecast.nodes.recording.file import Recording


def write_obj(recording: Recording, folder: Path, mesher: Mesher) -> list[Path]:
    """``<folder>/<number of the set>.obj`` for every set that has bodies; an object ``person<id>`` each. Metres, in the
    world of the recording.

    Raises KinecastError where the recording has no bodies, or their body is not at hand.
    """
    written: list[Path] = []
    for n, (_, _, record) in enumerate(recording.messages(("bodies",))):
        assert isinstance(record, Bodies)
        if not len(record.person_ids):
            continue
        if not written:
            _make(folder)
        target = folder / f"{n:06d}.obj"
        with atomic_path(target, overwrite=True) as file:
            file.write(_text(record, mesher).encode())
        written.append(target)
    if not written:
        raise KinecastError(f"{recording.path}: there are no bodies in it; make them with `kinecast fit`")
    return written


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise KinecastError(f"cannot write into {folder}: {e.strerror}; choose another folder with -o") from None


def _text(bodies: Bodies, mesher: Mesher) -> str:
    vertices, model = mesher.vertices(bodies), mesher.model(bodies.body_id)
    out = io.StringIO()
    out.write(f"# Kinecast: set {bodies.frameset_seq}, {bodies.t_set_ns} ns, body {model.id}, metres\n")
    for p, person in enumerate(bodies.person_ids.tolist()):
        out.write(f"o person{person}\n")
        np.savetxt(out, vertices[p], "v %.5f %.5f %.5f")
        np.savetxt(out, model.faces + 1 + p * vertices.shape[1], "f %d %d %d")  # OBJ counts from 1, over the whole file
    return out.getvalue()
