"""SMPL motion files as AMASS lays them out: one npz a person, ``trans``, ``poses``, ``betas``, ``gender``, rate."""

from pathlib import Path

import numpy as np

from kinecast.capture.atomic_write import atomic_path
from kinecast.nodes.exchange.export.body_takes import BodyTakes
from kinecast.nodes.exchange.export.person_series import person_path


def write_smpl(takes: BodyTakes, path: Path) -> list[Path]:
    """One file a person, ``<path>_person<id>.npz``; returns the paths.

    trans: (T, 3) m, poses: (T, 72) rotation vectors of the 24 joints, betas: (B,) one shape for all frames, gender,
    mocap_framerate; also t_capture_ns: (T,), joints: (T, 24, 3) where these put them, joint_sd_m: (T, 24), and body_id,
    for poses of one body are not another's. Frames in which the person was not seen are not there: see t_capture_ns.
    """
    written = []
    for take in takes.people:
        target = person_path(path, take.person)
        with atomic_path(target, overwrite=True) as file:
            np.savez_compressed(
                file,
                trans=take.trans_m.astype(np.float32),
                poses=take.rotations_rad.reshape(-1, 72).astype(np.float32),
                betas=take.betas.astype(np.float32),
                gender=np.array(takes.gender),
                mocap_framerate=np.array(takes.rate_hz),
                t_capture_ns=take.t_ns,
                joints=take.joints_m.astype(np.float32),
                joint_sd_m=take.joint_sd_m.astype(np.float32),
                body_id=np.array(takes.body.id),
            )
        written.append(target)
    return written
