"""TRC, the marker files of OpenSim, laid out as Pose2Sim writes them and OpenSim's TRCFileAdapter reads them."""

from pathlib import Path

import numpy as np

from kinecast.capture.atomic_write import atomic_path
from kinecast.nodes.exchange.export.person_series import ExportedPeople, person_path
from kinecast.nodes.exchange.export.units import SCALE

_OTHER_NAMES = {"head_top": "Head", "mid_hip": "Hip"}  # as Pose2Sim's and OpenSim's HALPE-26 marker sets call them


def marker_name(joint: str) -> str:
    """``left_big_toe`` → ``LBigToe``, ``mid_hip`` → ``Hip``."""
    if joint in _OTHER_NAMES:
        return _OTHER_NAMES[joint]
    side, _, rest = joint.partition("_")
    words = rest.split("_") if side in ("left", "right") else joint.split("_")
    return {"left": "L", "right": "R"}.get(side, "") + "".join(w.capitalize() for w in words)


def write_trc(people: ExportedPeople, path: Path, units: str = "m", min_frames: int = 1) -> list[Path]:
    """One file a person, ``<path>_person<id>.trc``; returns the paths.

    A file has a row for every frame set from the person's first to their last; where a joint is missing it says NaN.
    Frames count from 1 and times from the start of the recording, so that the files of one recording belong together.
    """
    written = []
    for person in people.ids:
        mine = people.person_id == person
        if int(mine.sum()) < min_frames:
            continue
        sets = people.set_index[mine]
        first, last = int(sets.min()), int(sets.max())
        points = np.full((last - first + 1, len(people.skeleton), 3), np.nan)
        points[sets - first] = people.points_world_m[mine].astype(np.float64) * SCALE[units]
        target = person_path(path, person)
        with atomic_path(target, overwrite=True) as file:
            file.write(_head(people, target.name, len(points), units).encode())
            for n, row in enumerate(points, first):
                time_s = (int(people.sets_ns[n]) - int(people.sets_ns[0])) / 1e9
                cells = ["NaN" if np.isnan(v) else f"{v:.6f}" for v in row.ravel().tolist()]
                file.write(("\t".join([str(n + 1), f"{time_s:.9f}", *cells]) + "\n").encode())
        written.append(target)
    return written


def _head(people: ExportedPeople, name: str, frames: int, units: str) -> str:
    markers = [marker_name(j) for j in people.skeleton.joints]
    rate = f"{people.rate_hz:.6g}"
    keys = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame OrigNumFrames".split()
    values = [rate, rate, frames, len(markers), units, rate, 1, frames]
    lines = [
        ["PathFileType", "4", "(X/Y/Z)", name],
        keys,
        [str(v) for v in values],
        ["Frame#", "Time", *(c for m in markers for c in (m, "", ""))],
        ["", "", *(f"{axis}{m}" for m in range(1, len(markers) + 1) for axis in "XYZ")],
    ]
    return "".join("\t".join(line) + "\n" for line in lines)
