"""A recording that was cut short, made whole again."""

from pathlib import Path

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.nodes.recording.derive import begin, derived_about
from kinecast.nodes.recording.file import Recording


def recover(recording: Recording, out: Path) -> int:
    """Write everything that is readable, segments joined, with an index; returns the number of messages.

    Raises KinecastError where not one is left, or ``out`` exists.
    """
    names = sorted({name for s in recording.segments for name in s.scan.attachments})
    with atomic_path(out, overwrite=False) as file:
        about = derived_about(recording, "recover", same=True)
        writer = begin(file, about, str(out), {name: recording.attachment(name) for name in names})
        for stamp, payload in recording.raw():
            writer.write(stamp, payload)
        if not writer.messages:
            raise KinecastError(f"{recording.path}: not one message is left in it, so there is nothing to recover")
        writer.finish()
    return writer.messages
