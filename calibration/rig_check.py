"""What of a rig cannot be right, told from the rig alone: places, lenses, axes, unit of length."""

from itertools import combinations

import numpy as np

from kinecast.calibration.camera import Camera, Rig

ROOM_M = (0.7, 50.0)  # widest distance of three cameras or more: a tenth of a room, and ten times one


def rig_faults(rig: Rig) -> list[str]:
    """What cannot be right, or is worth a look, one line each; nothing where the rig is plausible."""
    faults = [fault for c in rig for fault in _camera_faults(c, rig)]
    for one, two in combinations(rig, 2):
        gap = float(np.linalg.norm(one.centre_world - two.centre_world))
        if gap < 0.05:
            faults.append(
                f"cameras {one.name!r} and {two.name!r} stand at one place ({gap * 1000:.0f} mm apart): no depth"
            )
    centres = np.stack([c.centre_world for c in rig])
    spread = float(np.linalg.norm(centres[:, None] - centres, axis=-1).max()) if len(rig) > 1 else 1.0
    least, most = ROOM_M if len(rig) > 2 else (0.1, ROOM_M[1])
    if not least <= spread <= most:
        faults.append(f"the widest distance between two cameras is {spread:.3g} m: is the unit of length right?")
    first = [c.name for c in rig if np.abs(c.t).max() < 1e-6 and np.trace(c.R) > 2.9]
    if len(rig) > 1 and first:
        faults.append(
            f"the world is that of camera {first[0]!r}, as calibrations without a floor have it: {rig.up} is up only "
            "as far as that camera is level (rig convert --align)"
        )
    if len(rig) > 1:  # the point nearest to all optical axes should be in front of every camera
        off_axis = [np.eye(3) - np.outer(c.R[2], c.R[2]) for c in rig]
        A = np.sum(off_axis, axis=0)
        b = np.sum([m @ c.centre_world for m, c in zip(off_axis, rig, strict=True)], axis=0)
        focus = np.linalg.lstsq(A, b, rcond=None)[0]
        away = [c.name for c in rig if float((c.R @ focus + c.t)[2]) < 0]
        if away:
            faults.append(f"cameras {', '.join(away)} look away from what the others see: is the transform inverted?")
    return faults


def _camera_faults(c: Camera, rig: Rig) -> list[str]:
    w, h = c.size_px
    faults = []
    if not (0.2 * w < c.K[0, 2] < 0.8 * w and 0.2 * h < c.K[1, 2] < 0.8 * h):
        faults.append(
            f"camera {c.name!r}: principal point {c.K[0, 2]:.0f} {c.K[1, 2]:.0f} is far from the middle of {w}×{h}"
        )
    if abs(c.K[0, 0] / c.K[1, 1] - 1) > 0.05:
        faults.append(f"camera {c.name!r}: focal lengths {c.K[0, 0]:.0f} and {c.K[1, 1]:.0f} px differ by over 5 %")
    if not 0.2 < c.K[0, 0] / max(w, h) < 10:
        faults.append(f"camera {c.name!r}: focal length {c.K[0, 0]:.0f} px does not suit a picture of {w}×{h}")
    border = [[x, y] for x in (0, (w - 1) / 2, w - 1) for y in (0, (h - 1) / 2, h - 1)]
    lost = int(np.isnan(c.undistort(border)).any(axis=1).sum())
    if lost:
        faults.append(f"camera {c.name!r}: its lens model has no inverse at {lost} of 9 points of the picture's border")
    if abs(float(c.R[0] @ rig.up_world)) > 0.7:
        faults.append(f"camera {c.name!r} is rolled by about 90° where {rig.up} is up: are its pictures upright?")
    elif float(-c.R[1] @ rig.up_world) < -0.3:
        faults.append(f"camera {c.name!r} is upside down where {rig.up} is up: turned, or another axis is up (--up)")
    return faults
