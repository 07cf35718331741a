"""A recording whose rig is refined from its own people, and fused again where the refined rig is to be believed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import native
from kinecast.calibration.people.camera_poses import camera_poses_of
from kinecast.calibration.people.refine import Study, faults, study
from kinecast.capture.atomic_write import atomic_path
from kinecast.nodes.calibrate.walk_from_recording import walk_of
from kinecast.nodes.recording.file import LAUNCH, MODELS, RIG, About, Recording, RecordingWriter, number_of
from kinecast.nodes.reprocess.replay import replay

AGAIN = ("framesets", "poses", "bodies", "rig_health")  # what fusion says, and says anew


@dataclass(frozen=True, slots=True)
class Refinement:
    """What refining came to. used: whether the recording was fused again with the refined rig. plain: for a summary."""

    used: bool
    plain: dict[str, Any]
    lines: tuple[str, ...]


def refine_in_place(path: Path, rig_path: Path) -> Refinement:
    """Refine the rig of the recording at ``path`` from its people.

    Where the refined rig is better, ``rig_path`` becomes it (the supplied one stays beside it as ``rig-supplied.toml``)
    and the recording is fused again with it; else nothing changes. A recording that is too little to tell says so.
    """
    recording = Recording.open(path)
    rig = recording.rig
    seen, walk = walk_of(recording, rig)
    supplied = camera_poses_of(seen)
    if wrong := faults(walk, supplied):
        advice = f"keep the supplied rig: {'; '.join(wrong)}"
        return Refinement(False, {"used": False, "verdict": "refused", "advice": advice}, (advice,))
    done = study(walk, supplied)
    used = done.verdict == "better"
    if used:
        better = done.places.on(seen)
        final = Rig(tuple(better[c.name] if c.name in better.names else c for c in rig), rig.name, rig.up)
        fuse_again(recording, final, path)
        rig_path.rename(rig_path.with_name("rig-supplied.toml"))
        with atomic_path(rig_path, overwrite=False) as file:
            file.write(native.dumps(final).encode())
    return Refinement(used, plain(done, used), lines(done))


def plain(done: Study, used: bool) -> dict[str, Any]:
    """Both residuals and the advice, under the keys of the summary."""
    model = done.refined
    return {
        "used": used,
        "verdict": done.verdict,
        "advice": done.advice,
        "residual_px": {"supplied": round(done.before_px, 2), "refined": round(done.after_px, 2)},
        "unseen_px": {
            "supplied": [round(v, 2) for v in done.held_before_px],
            "refined": [round(v, 2) for v in model.held_px],
        },
        "change_mm": [round(1e3 * float(v), 1) for v in model.change_m],
        "halves_mm": [round(1e3 * float(v), 1) for v in model.halves_m],
        "sigma_mm": [round(1e3 * float(v), 1) for v in model.sigma_m],
    }


def lines(done: Study) -> tuple[str, ...]:
    """For a reader."""
    return (
        f"rig refined from people: median residual {done.before_px:.1f} px supplied, {done.after_px:.1f} px refined",
        done.advice,
    )


def fuse_again(recording: Recording, rig: Rig, path: Path) -> None:
    """Replace the recording at ``path`` by one of the same keypoints and frame sets, fused with another rig."""
    told = recording.about
    about = About(
        told.get("recording", ""), told.get("session", ""), told.get("pace", "lossless"),
        number_of(told, "epoch_ns", 0), made_by="refine",
    )  # fmt: skip
    moved = path.with_name(f"{path.stem}-moved{path.suffix}")
    fused = path.with_name(f"{path.stem}-fused{path.suffix}")
    _copy(recording, rig, about, moved)
    replay(Recording.open(moved), fused)
    # replay keeps what was fused; what the nodes said besides (sources, health, ends) comes from the first run
    both = Recording.open(fused)
    with atomic_path(path, overwrite=True) as file:
        writer = _writer(file, recording, rig, about, str(path))
        rest = [(s, p) for s, p in recording.raw() if s.topic.partition("/")[0] not in (*AGAIN, "keypoints")]
        for stamp, payload in [*rest, *both.raw(("keypoints", *AGAIN))]:
            writer.write(stamp, payload)
        writer.finish()
    moved.unlink()
    fused.unlink()


def _writer(file: Any, recording: Recording, rig: Rig, about: About, where: str) -> RecordingWriter:
    writer = RecordingWriter(file, about, where)
    writer.attach(RIG, native.dumps(rig).encode())
    if recording.launch_text:
        writer.attach(LAUNCH, recording.launch_text.encode())
    if models := recording.attachment(MODELS):
        writer.attach(MODELS, models)
    return writer


def _copy(recording: Recording, rig: Rig, about: About, out: Path) -> None:
    with atomic_path(out, overwrite=False) as file:
        writer = _writer(file, recording, rig, about, str(out))
        for stamp, payload in recording.raw():
            writer.write(stamp, payload)
        writer.finish()
