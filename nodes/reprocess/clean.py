"""A recording put right without code: trimmed, people renamed, joined, parted or left out, gaps filled, paths filtered.

The steps are done in the order given, and stand in the new recording (attachment ``clean.json``), so that they can be
repeated on another: :func:`steps_of`. What was filled in says so (``Poses.filled``).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.nodes.recording.derive import copy_views, derived_recording
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import iter_frame_sets
from kinecast.nodes.reprocess.clean_paths import fill, filter_paths
from kinecast.nodes.reprocess.clean_people import Step, drop, merge, relabel, split, trim

STEPS = "clean.json"


@dataclass(slots=True)
class Cleaned:
    """What came of it. told: a line for every step."""

    sets: int
    told: list[str]


def steps_of(recording: Recording) -> list[Step]:
    """The steps that made a cleaned recording; KinecastError where it is none."""
    said = recording.attachment(STEPS)
    if said is None:
        raise KinecastError(f"{recording.path}: `kinecast clean` did not make it: it tells of no steps")
    try:
        known = {f.name for f in fields(Step)}
        return [Step(**{k: v for k, v in step.items() if k in known}) for step in json.loads(said)["steps"]]
    except (ValueError, KeyError, TypeError) as e:
        raise KinecastError(f"{recording.path}: {STEPS} is damaged: {e}") from None


def clean_recording(recording: Recording, out: Path, steps: Sequence[Step]) -> Cleaned:
    """Write ``recording`` with the steps done. KinecastError where there are no people, a step names somebody who is
    not there, or ``out`` exists.
    """
    if not steps:
        raise KinecastError("nothing to do: name a step, --trim, --drop, --relabel, --merge, --split, --fill, --filter")
    bundles = [b for b in iter_frame_sets(recording) if b.poses is not None]
    if not any(len(b.poses.person_ids) for b in bundles if b.poses is not None):
        raise KinecastError(f"{recording.path}: there are no people in it; `kinecast info` shows what there is")
    told = []
    for step in steps:
        bundles, line = _DO[step.kind](bundles, step, str(recording.path))
        told.append(line)
    with atomic_path(out, overwrite=False) as file:
        writer = derived_recording(file, recording, "clean", recording.launch_text, str(out), keep=("rig_health",))
        before = recording.attachment(STEPS)
        done = {
            "of": recording.about.get("recording", ""),
            "steps": [_plain(s) for s in steps],
            "before": json.loads(before) if before else None,
        }
        writer.attach(STEPS, json.dumps(done, indent=1).encode())
        for bundle in bundles:
            copy_views(writer, bundle)
            assert bundle.poses is not None and bundle.poses_stamp is not None
            writer.record(bundle.poses_stamp, bundle.poses)
            if bundle.bodies is not None and bundle.bodies_stamp is not None:
                writer.record(bundle.bodies_stamp, bundle.bodies)
        writer.finish()
    return Cleaned(len(bundles), told)


def _plain(step: Step) -> dict[str, Any]:
    return {k: v for k, v in asdict(step).items() if v != getattr(Step(step.kind), k) or k == "kind"}


_DO = {
    "trim": trim,
    "drop": drop,
    "relabel": relabel,
    "merge": merge,
    "split": split,
    "fill": fill,
    "filter": filter_paths,
}
