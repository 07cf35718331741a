"""Recordings that are made from a recording: what they take over of it."""

import uuid
from typing import BinaryIO

from kinecast.calibration.formats import native
from kinecast.nodes.recording.file import LAUNCH, MODELS, RIG, About, Recording, RecordingWriter, Stamp, number_of


def derived_recording(
    stream: BinaryIO, recording: Recording, made_by: str, launch: str, where: str, pace: str = ""
) -> RecordingWriter:
    """A writer that begins with what ``recording`` says of itself: session, rig, models and sources; its id is new.

    launch: text of the launch file that is attached, "" for none. pace: "" for that of the recording. where: the new
    file's name in messages. Raises KinecastError where the recording has no rig.
    """
    told = recording.about
    about = About(
        recording=uuid.uuid4().hex,
        session=told.get("session", ""),
        pace=pace or told.get("pace", "lossless"),
        epoch_ns=number_of(told, "epoch_ns", 0),
        made_by=made_by,
    )
    writer = RecordingWriter(stream, about, where)
    writer.attach(RIG, native.dumps(recording.rig).encode())
    if launch:
        writer.attach(LAUNCH, launch.encode())
    if models := recording.attachment(MODELS):
        writer.attach(MODELS, models)
    for camera, report in recording.sources.items():
        writer.record(Stamp(f"source/{camera}", 0), report)
    return writer
