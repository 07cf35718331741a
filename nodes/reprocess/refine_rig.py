"""A recording whose rig is refined from its own people, and fused again where the refined rig is to be believed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import native
from kinecast.calibration.people.camera_poses import camera_poses_of
from kinecast.calibration.people.refine import RigRefinement, faults, refine_rig
from kinecast.capture.atomic_write import atomic_path
from kinecast.nodes.calibrate.walk_from_recording import walk_of
from kinecast.nodes.recording.derive import derived_recording
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.replay import FusedWriter
from kinecast.nodes.reprocess.run_fusion import fuse_sets, fusion_settings

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
    done = refine_rig(walk, supplied)
    used = done.verdict == "better"
    if used:
        better = done.places.on(seen)
        final = Rig(tuple(better[c.name] if c.name in better.names else c for c in rig), rig.name, rig.up)
        fuse_again(recording, final, path)
        rig_path.rename(rig_path.with_name("rig-supplied.toml"))
        with atomic_path(rig_path, overwrite=False) as file:
            file.write(native.dumps(final).encode())
    return Refinement(used, plain(done, used), lines(done))


def plain(done: RigRefinement, used: bool) -> dict[str, Any]:
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


def lines(done: RigRefinement) -> tuple[str, ...]:
    """For a reader."""
    return (
        f"rig refined from people: median residual {done.before_px:.1f} px supplied, {done.after_px:.1f} px refined",
        done.advice,
    )


def fuse_again(recording: Recording, rig: Rig, path: Path) -> None:
    """Replace the recording at ``path`` by one of the same messages, whose frame sets are fused with another rig.

    What fusion said takes the place of what it said before, set by set; everything else stays as it is.
    """
    fused = fuse_sets(recording, fusion_settings(recording), rig=rig)
    with atomic_path(path, overwrite=True) as file:
        writer = derived_recording(
            file, recording, "refine", recording.launch_text, str(path), rig=rig, same=True, sources=False
        )
        put = FusedWriter(writer, recording)
        for stamp, payload in recording.raw():
            if stamp.topic not in AGAIN:
                writer.write(stamp, payload)
            elif stamp.topic == "framesets" and (one := next(fused, None)) is not None:
                writer.record(one.recorded.stamp, one.frameset)
                put.write(one)
        writer.finish()
