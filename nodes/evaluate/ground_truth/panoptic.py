"""CMU Panoptic (Joo et al. 2017): one ``body3DScene_<frame>.json`` a frame, 15 or 19 joints, centimetres, y down.

``joints19`` is in COCO's definition (the second joint is the nose), ``joints15`` in MPI's (it is the top of the head).
The rig of the same world is ``calibration_<sequence>.json``.
"""

import re
from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.nodes.evaluate.ground_truth.truth import Float, Truth, joints_of, load_json, put_person

_BODY = (
    "mid_hip left_shoulder left_elbow left_wrist left_hip left_knee left_ankle right_shoulder right_elbow right_wrist "
    "right_hip right_knee right_ankle"
).split()
JOINTS19 = ("neck", "nose", *_BODY, "left_eye", "left_ear", "right_eye", "right_ear")
JOINTS15 = ("neck", "head_top", *_BODY)


def find(path: Path) -> list[Path]:
    """The files of the frames, in the folder or one below (``hdPose3d_stage1_coco19``)."""
    if not path.is_dir():
        return []
    found = sorted(path.glob("body3DScene_*.json"))
    return found or sorted(path.glob("hdPose3d*/body3DScene_*.json"))


def read(path: Path, min_confidence: float) -> Truth:
    """The truth in metres; KinecastError names file and person."""
    files = find(path)
    if not files:
        raise KinecastError(f"{path}: there is no body3DScene_*.json")
    frames: dict[int, dict[int, Float]] = {}
    kinds: set[str] = set()
    notes: list[str] = []
    for file in files:
        match = re.search(r"(\d+)$", file.stem)
        data = load_json(file)
        bodies = data.get("bodies") if isinstance(data, dict) else None
        if match is None or not isinstance(bodies, list):
            raise KinecastError(f"{file}: expected a frame number in the name and a list of bodies inside")
        people: dict[int, Float] = {}
        for body in bodies:
            kind = next((k for k in ("joints19", "joints15") if isinstance(body, dict) and k in body), None)
            if kind is None or "id" not in body:
                raise KinecastError(f"{file}: a body without id or joints19")
            kinds.add(kind)
            where = f"{file}: person {body['id']}"
            points = joints_of(body[kind], int(kind[6:]), where, min_confidence) / 100.0
            put_person(people, int(body["id"]), points, f"frame {match[1]}", notes)
        frames[int(match[1])] = people
    if len(kinds) > 1:
        raise KinecastError(f"{path}: frames with 15 and with 19 joints in one folder; keep one kind")
    joints = JOINTS15 if kinds == {"joints15"} else JOINTS19
    return Truth("panoptic", joints, frames, True, notes=tuple(notes))
