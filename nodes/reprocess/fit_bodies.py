"""A recording with bodies fitted to the whole of it, every frame knowing what came after."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.solver import Fit
from kinecast.engines.body.sequence.fit_sequence import Frame, fit_sequence
from kinecast.engines.body.sequence.solver import device_of
from kinecast.nodes.fusion.bodies import BodyStage, bodies_of
from kinecast.nodes.recording.derive import copy_views, derived_recording
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import iter_frame_sets

Float = NDArray[np.float64]
Key = tuple[int, int]  # epoch, number of the set


@dataclass(slots=True)
class Fitted:
    """What came of it. residual_px, explained: of every person-frame."""

    sets: int = 0
    people: int = 0
    residual_px: list[float] = field(default_factory=list)
    explained: list[float] = field(default_factory=list)


def fit_recording(
    recording: Recording, out: Path, body: str = "neutral", device: str = "auto", betas: Float | None = None
) -> Fitted:
    """Write a recording with the same frame sets, keypoints and poses, and ``bodies``.

    Bodies that the recording has already are not read: they may be another body's. device: auto, cpu or cuda. betas:
    (≤ B,) the shape of everybody in it, where it is known.
    Raises KinecastError where there are no people, a body cannot be read, torch is missing, or ``out`` exists.
    """
    device_of(device)  # before the work, not after it
    rig = recording.rig
    frames: dict[int, list[tuple[Key, Frame]]] = {}
    stage: BodyStage | None = None
    for joined in iter_frame_sets(recording):
        if joined.poses is None:
            continue
        if stage is None:
            stage = BodyStage(rig, joined.frameset.cameras, body)
        # the live stage runs along, for it learns how large the noise is
        given = stage.views_of(joined.frameset, joined.keypoints)
        stage.step(joined.frameset, joined.keypoints, joined.poses, given)
        seen = stage.observations(joined.frameset, joined.keypoints, joined.poses, given)
        key = (joined.frameset.run_index, joined.frameset.seq)
        for p, person in enumerate(joined.poses.person_ids.tolist()):
            start = joined.poses.points_world_m[p].astype(np.float64)
            frames.setdefault(person, []).append((key, Frame(joined.frameset.t_set_ns, *seen.of(p), start)))
    if stage is None or not frames:
        raise KinecastError(f"{recording.path}: there are no people in it; `kinecast info` shows what there is")
    shape = _shape(stage, betas)
    fits: dict[Key, dict[int, Fit]] = {}
    for person, rows in frames.items():
        rows.sort(key=lambda row: row[1].t_ns)
        found = fit_sequence(stage.fresh_solver, stage.cameras, [f for _, f in rows], device, shape)
        for (key, _), fit in zip(rows, found, strict=True):
            if fit is not None:
                fits.setdefault(key, {})[person] = fit
    return _write(recording, out, stage, fits, len(frames))


def _shape(stage: BodyStage, betas: Float | None) -> Float | None:
    """All B betas of a body, of which the user gave the first."""
    if betas is None:
        return None
    if len(betas) > stage.body.betas:
        raise KinecastError(f"--betas: {len(betas)} numbers, but body {stage.body.name} has {stage.body.betas} betas")
    return np.concatenate([betas, np.zeros(stage.body.betas - len(betas))])


def _write(recording: Recording, out: Path, stage: BodyStage, fits: dict[Key, dict[int, Fit]], people: int) -> Fitted:
    done = Fitted(people=people)
    with atomic_path(out, overwrite=False) as file:
        writer = derived_recording(file, recording, "fit", recording.launch_text, str(out), keep=("rig_health",))
        for joined in iter_frame_sets(recording):
            copy_views(writer, joined)
            if joined.poses is not None and joined.poses_stamp is not None:
                writer.record(joined.poses_stamp, joined.poses)
            done.sets += 1
            mine = fits.get((joined.frameset.run_index, joined.frameset.seq), {})
            done.residual_px += [f.residual_px for f in mine.values()]
            done.explained += [f.explained for f in mine.values()]
            bodies = bodies_of(mine, joined.frameset, stage.body.id, stage.body.gender)
            writer.record(replace(joined.stamp, topic="bodies"), bodies)
        writer.finish()
    return done
