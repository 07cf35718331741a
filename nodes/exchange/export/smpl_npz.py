"""SMPL motion files as AMASS lays them out: one npz a person, ``trans``, ``poses``, ``betas``, ``gender``, rate."""

from pathlib import Path

import numpy as np

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Bodies
from kinecast.nodes.exchange.export.trc import person_path
from kinecast.nodes.recording.file import Recording


def write_smpl(recording: Recording, path: Path, min_frames: int = 1) -> list[Path]:
    """One file a person, ``<path>_person<id>.npz``; returns the paths.

    trans: (T, 3) m, poses: (T, 72) rotation vectors of the 24 joints, betas: (B,) those of the last frame, gender,
    mocap_framerate; also t_capture_ns: (T,), joints: (T, 24, 3), joint_sd_m: (T, 24), and body_id, for poses of one
    body are not another's. Frames in which the person was not seen are not there: see t_capture_ns.
    The world is the recording's. Raises KinecastError where the recording has no bodies, or of several models.
    """
    sets: list[Bodies] = [record for _, _, record in recording.messages(("bodies",))]
    if not any(len(s.person_ids) for s in sets):
        raise KinecastError(f"{recording.path}: there are no bodies in it; make them with `kinecast fit`")
    models = sorted({s.body_id for s in sets})
    if len(models) > 1:
        raise KinecastError(f"{recording.path}: bodies of several models ({', '.join(models)}) in one file")
    steps = np.diff(sorted(s.t_set_ns for s in sets))
    rate_hz = 1e9 / float(np.median(steps[steps > 0])) if np.any(steps > 0) else 0.0
    written = []
    for person in sorted({int(i) for s in sets for i in s.person_ids}):
        rows = [(s, p) for s in sets for p in np.flatnonzero(s.person_ids == person).tolist()]
        if len(rows) < min_frames:
            continue
        target = person_path(path, person).with_suffix(".npz")
        last, p = rows[-1]
        with atomic_path(target, overwrite=True) as file:
            np.savez_compressed(
                file,
                trans=np.stack([s.trans_m[p] for s, p in rows]),
                poses=np.stack([s.rotations_rad[p].ravel() for s, p in rows]),
                betas=last.betas[p],
                gender=np.array(last.gender),
                mocap_framerate=np.array(rate_hz),
                t_capture_ns=np.array([s.t_set_ns for s, _ in rows], np.int64),
                joints=np.stack([s.joints_world_m[p] for s, p in rows]),
                joint_sd_m=np.stack([s.joint_sd_m[p] for s, p in rows]),
                body_id=np.array(models[0]),
            )
        written.append(target)
    return written
