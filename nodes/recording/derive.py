"""Recordings that are made from a recording: what they say of themselves, and what they take over of it."""

import uuid
from collections.abc import Collection, Mapping
from typing import BinaryIO

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import native
from kinecast.engines.records import FrameSet
from kinecast.nodes.recording.file import LAUNCH, MODELS, RIG, About, Recording, RecordingWriter, Stamp, number_of
from kinecast.nodes.recording.frame_sets import FrameSetBundle


def derived_about(recording: Recording, made_by: str, pace: str = "", same: bool = False) -> About:
    """What a recording says of itself that is made from another. pace: "" for that of the other.

    same: it takes the other's place, and so has its id and its start; else its id is new.
    """
    said = recording.about
    return About(
        recording=said.get("recording", "") if same else uuid.uuid4().hex,
        session=said.get("session", ""),
        pace=pace or said.get("pace", "lossless"),
        epoch_ns=number_of(said, "epoch_ns", 0),
        started_utc=said.get("started_utc", "") if same else "",
        made_by=made_by,
    )


def begin(stream: BinaryIO, about: About, where: str, attachments: Mapping[str, bytes | None]) -> RecordingWriter:
    """A writer that begins with these attachments, by name, of those that there are. where: its name in messages."""
    writer = RecordingWriter(stream, about, where)
    for name, data in attachments.items():
        if data:
            writer.attach(name, data)
    return writer


def derived_recording(
    stream: BinaryIO,
    recording: Recording,
    made_by: str,
    launch: str,
    where: str,
    pace: str = "",
    *,
    rig: Rig | None = None,
    same: bool = False,
    sources: bool = True,
    keep: Collection[str] = (),
) -> RecordingWriter:
    """A writer that begins with what ``recording`` says of itself: session, rig, models, and ``sources``.

    launch: text of the launch file that is attached, "" for none. where: the new file's name in messages. pace, same:
    see :func:`derived_about`. rig: another than the recording's. keep: families of messages copied as they are, beside
    the newest source reports. Raises KinecastError where there is no rig.
    """
    attachments = {
        RIG: native.dumps(recording.rig if rig is None else rig).encode(),
        LAUNCH: launch.encode(),
        MODELS: recording.attachment(MODELS),
    }
    writer = begin(stream, derived_about(recording, made_by, pace, same), where, attachments)
    for camera, report in (recording.sources if sources else {}).items():
        writer.record(Stamp(f"source/{camera}", 0), report)
    if keep:
        for stamp, payload in recording.raw(keep):
            writer.write(stamp, payload)
    return writer


def copy_views(writer: RecordingWriter, joined: FrameSetBundle, frameset: FrameSet | None = None) -> None:
    """Append a set's keypoints and the set itself, or ``frameset`` in its place, with the stamps that they had."""
    for camera, stamp in joined.keypoint_stamps.items():
        writer.record(stamp, joined.keypoints[camera])
    writer.record(joined.stamp, joined.frameset if frameset is None else frameset)
