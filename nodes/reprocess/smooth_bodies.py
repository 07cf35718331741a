"""The bodies of a smoothed recording: those of a live session knew no future and are fitted again.

A live body jitters round the smoothed joints of its own person. Fitted to the whole sequence, from the same keypoints
and the smoothed joints, it does not: what is written is what ``kinecast smooth`` and then ``kinecast fit`` write.
"""

import tempfile
from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import FREE, load_body
from kinecast.engines.body.sequence.solver import device_of
from kinecast.engines.estimate.rts import PSD_M2_S3
from kinecast.nodes.recording.body_meshes import body_file
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.fit_bodies import fit_recording
from kinecast.nodes.reprocess.smooth import Smoothing, smooth_recording


def smooth_all(recording: Recording, out: Path, psd: float = PSD_M2_S3, device: str = "auto") -> tuple[Smoothing, str]:
    """Write the recording with smoothed people and their bodies; returns what came of it, and a line on the bodies.

    The line is "" where there were none. Where they cannot be fitted again (no torch, a body file that is not at hand)
    they are left out and the line says why and what to do. Raises as :func:`nodes.reprocess.smooth.smooth_recording`
    does.
    """
    body_id = next((b.body_id for _, _, b in recording.messages(("bodies",)) if len(b.person_ids)), "")
    if not body_id or recording.about.get("made_by") == "fit":
        done = smooth_recording(recording, out, psd)
        return done, "bodies: as they were fitted, with the future known" if body_id else ""
    try:
        body = body_named(recording, body_id)
        device_of(device)
    except KinecastError as e:
        done = smooth_recording(recording, out, psd)
        return (
            done,
            f"bodies: left out, for those of a live session do not fit smoothed joints ({e}); then kinecast fit",
        )
    if out.exists():  # before the work, not after it
        raise KinecastError(f"{out} exists already: choose another name, or move it away")
    with tempfile.TemporaryDirectory() as folder:
        between = Path(folder) / "smoothed.mcap"
        done = smooth_recording(recording, between, psd)
        fitted = fit_recording(Recording.open(between), out, body, device)
    return done, f"bodies: {len(fitted.residual_px)} fitted again, with the future known"


def body_named(recording: Recording, body_id: str) -> str:
    """The name or file by which the body of that id is loaded; KinecastError where it is not at hand."""
    file = body_file(recording)
    for name in (*FREE, file):
        if name and (name in FREE or Path(name).expanduser().is_file()) and load_body(name).id == body_id:
            return name
    raise KinecastError(f"its body {body_id} is not at hand: kinecast fit --body FILE")
