"""Joint angles of bodies: OpenSim's motion file (MOT), and CSV with their standard deviations."""

import csv
import io
from pathlib import Path

import numpy as np

from kinecast.capture.atomic_write import atomic_path
from kinecast.engines.body.sequence.joint_angles import JointAngles, joint_angles
from kinecast.nodes.exchange.export.body_takes import BodyTake, BodyTakes
from kinecast.nodes.exchange.export.person_series import person_path

# coordinates that full-body models of OpenSim do not have: a file with others still opens, but warns of each
_NOT_IN_OPENSIM = tuple(f"{n}_{s}" for n in ("knee_adduction", "knee_rotation", "ankle_rotation") for s in "rl")


def angles_of(takes: BodyTakes, take: BodyTake) -> JointAngles:
    """The joint angles of one take, whose world has y up."""
    return joint_angles(takes.body, take.betas, take.rotations_rad, take.rotation_sd_rad)


def write_mot(takes: BodyTakes, path: Path) -> list[Path]:
    """``<path>_person<id>.mot`` each: time in seconds from the start of the recording, angles in degrees, the pelvis's
    place in metres, y up. Rows are those in which the person's body was there.
    """
    written = []
    for take in takes.people:
        angles = angles_of(takes, take)
        keep = [k for k, name in enumerate(angles.names) if name not in _NOT_IN_OPENSIM]
        names = ["time", *(angles.names[k] for k in keep), "pelvis_tx", "pelvis_ty", "pelvis_tz"]
        seconds = (take.t_ns - takes.sets_ns[0])[:, None] * 1e-9
        rows = np.concatenate([seconds, angles.degrees[:, keep], take.joints_m[:, 0]], axis=1)
        target = person_path(path, take.person)
        head = [target.stem, "version=1", f"nRows={len(rows)}", f"nColumns={len(names)}", "inDegrees=yes", "endheader"]
        with atomic_path(target, overwrite=True) as file:
            file.write(("\n".join([*head, "\t".join(names)]) + "\n").encode())
            np.savetxt(file, rows, "%.6f", delimiter="\t")
        written.append(target)
    return written


def write_angles_csv(takes: BodyTakes, path: Path) -> list[Path]:
    """One file: a row a person-frame, ``t_capture_ns, person_id``, then each angle and its standard deviation."""
    with atomic_path(path, overwrite=True) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        rows = csv.writer(text, lineterminator="\n")
        for n, take in enumerate(takes.people):
            angles = angles_of(takes, take)
            if not n:
                columns = (c for name in angles.names for c in (f"{name}_deg", f"{name}_sd_deg"))
                rows.writerow(["t_capture_ns", "person_id", *columns])
            values = np.stack([angles.degrees, angles.sd_deg], axis=2).reshape(len(take.t_ns), -1)
            for t_ns, row in zip(take.t_ns.tolist(), values.tolist(), strict=True):
                rows.writerow([t_ns, take.person, *(f"{v:.4f}" for v in row)])
        text.detach()
    return [path]
