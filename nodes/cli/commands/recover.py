"""``kinecast recover``: make a recording that was cut short whole again."""

import argparse
from pathlib import Path

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.nodes.recording.file import ABOUT, About, Recording, RecordingWriter, number_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and where the whole one goes."""
    parser.add_argument("recording", type=Path)
    parser.add_argument("-o", "--out", type=Path, metavar="OUT.mcap", help="default: NAME-recovered.mcap, beside it")


def recover(recording: Recording, out: Path) -> int:
    """Write everything that is readable, segments joined, with an index; returns the number of messages."""
    told = recording.about
    about = About(
        recording=told.get("recording", ""),
        session=told.get("session", ""),
        pace=told.get("pace", "lossless"),
        epoch_ns=number_of(told, "epoch_ns", 0),
        started_utc=told.get("started_utc", ""),
        made_by="recover",
    )
    with atomic_path(out, overwrite=False) as file:
        writer = RecordingWriter(file, about, str(out))
        for name in sorted({name for s in recording.segments for name in s.scan.attachments}):
            data = recording.attachment(name)
            assert data is not None
            writer.attach(name, data)
        for stamp, payload in recording.raw():
            writer.write(stamp, payload)
        if not writer.messages:
            raise KinecastError(f"{recording.path}: not one message is left in it, so there is nothing to recover")
        writer.finish()
    return writer.messages


def run(args: argparse.Namespace) -> int:
    """Recover and say what was lost. 0 also where something was: the new file is whole."""
    recording = Recording.open(args.recording)
    out = args.out or args.recording.with_name(f"{args.recording.stem}-recovered.mcap")
    count = recover(recording, out)
    for line in recording.damage() or ["nothing was lost: the recording was whole"]:
        print(line)
    if not any(ABOUT in s.scan.metadata for s in recording.segments):
        print("it was cut before it said what it is: no rig, no launch file")
    print(f"{count} messages of {len(recording.segments)} segment(s) recovered")
    print(out)
    return 0
