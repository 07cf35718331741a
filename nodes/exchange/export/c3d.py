"""C3D, one file a person: what Vicon Nexus, Visual3D, Mokka and biomechanics' own scripts read.

The C3D User Guide (C3D.org, 2021): coordinates and residuals in POINT:UNITS, a residual below 0 marks a missing point,
POINT:X_SCREEN and Y_SCREEN say which axes point right and up on a screen. Written by the library ezc3d (MIT).
"""

from pathlib import Path
from typing import Any

import numpy as np

from kinecast.capture.atomic_write import atomic_folder_file
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import unpack_covariance
from kinecast.nodes.exchange.export.person_series import ExportedPeople, person_path
from kinecast.nodes.exchange.export.trc import marker_name
from kinecast.nodes.exchange.export.units import SCALE

MASK_CAMERAS = 7  # the format has room for so many
SCREEN = {"z": ("+X", "+Z"), "y": ("+X", "+Y"), "x": ("+Y", "+X")}


def write_c3d(people: ExportedPeople, path: Path, units: str = "mm", min_frames: int = 1) -> list[Path]:
    """One file a person, ``<path>_person<id>.c3d``; returns the paths.

    A frame for every frame set from the person's first to their last, counted from the start of the recording as in
    TRC. The residual of a point is the root mean square of its stated standard deviations; its camera mask has the
    first seven cameras. KinecastError where ezc3d is missing.
    """
    ezc3d = _library()
    written = []
    for person in people.ids:
        mine = people.person_id == person
        if int(mine.sum()) < min_frames:
            continue
        sets = people.set_index[mine]
        first, frames, joints = int(sets.min()), int(sets.max() - sets.min()) + 1, len(people.skeleton)
        points = np.full((4, joints, frames), np.nan)
        points[3] = 1.0
        residual = np.full((1, joints, frames), -1.0)
        masks = np.zeros((MASK_CAMERAS, joints, frames), bool)
        at = sets - first
        here = people.points_world_m[mine].astype(np.float64) * SCALE[units]
        points[:3, :, at] = here.transpose(2, 1, 0)
        spread = np.trace(unpack_covariance(people.covariance_m2[mine]), axis1=-2, axis2=-1)
        sd = np.sqrt(np.maximum(spread, 0.0) / 3) * SCALE[units]
        residual[0][:, at] = np.where(np.isfinite(here[..., 0]), np.nan_to_num(sd), -1.0).T
        for c in range(min(MASK_CAMERAS, len(people.cameras))):
            masks[c][:, at] = ((people.views[mine] >> c) & 1).astype(bool).T
        file = ezc3d.c3d()
        point = file["parameters"]["POINT"]
        point["RATE"]["value"] = [people.rate_hz or 30.0]
        point["LABELS"]["value"] = [marker_name(j) for j in people.skeleton.joints]
        point["UNITS"]["value"] = [units]
        right, up = SCREEN[people.up[-1]]
        file.add_parameter("POINT", "X_SCREEN", [right])
        file.add_parameter("POINT", "Y_SCREEN", [up])
        file.add_parameter("MANUFACTURER", "COMPANY", ["Kinecast"])
        file["header"]["points"]["first_frame"] = first
        file["data"]["points"] = points
        file["data"]["meta_points"] = {"residuals": residual, "camera_masks": masks}
        target = person_path(path, person)
        with atomic_folder_file(target) as temporary:
            file.write(str(temporary))
        written.append(target)
    return written


def _library() -> Any:
    try:
        import ezc3d
    except ImportError:
        raise KinecastError("C3D needs the package ezc3d: pip install 'kinecast[c3d]'") from None
    return ezc3d
