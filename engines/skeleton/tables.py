"""The skeletons that detectors and data sets use, one table each.

The same joint has the same name everywhere, so that a map between two skeletons follows from the names. Sources: COCO
keypoints 2017; OpenPose BODY_25 and BODY_25B; Halpe-FullBody (26 body joints, AlphaPose); Human3.6M in VideoPose3D's
17-joint order; SMPL (24 joints); MediaPipe BlazePose GHUM (33 landmarks); the 15 joints of the Shelf and Campus
protocol; HumanEva-I in VideoPose3D's 15-joint order; COCO-WholeBody (133: body, feet, 68 points of the face, 21 of each
hand), as RTMW and DWPose give it; Goliath (308), as Sapiens gives it.
"""

from dataclasses import dataclass

from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import goliath


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Named joints in order; published orders put children before parents, but every chain ends at a root.

    parents: index of the parent of each joint, -1 for a root. flip: index of the joint on the other side.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    flip: tuple[int, ...]

    def index(self, joint: str) -> int:
        """Index of a joint by name; KeyError names the skeleton."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise KeyError(f"skeleton {self.name} has no joint {joint!r}") from None

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) pairs."""
        return tuple((p, j) for j, p in enumerate(self.parents) if p >= 0)

    def __len__(self) -> int:
        return len(self.joints)


def _sided(text: str) -> list[str]:
    """Expand ``*x`` to ``left_x right_x``."""
    out: list[str] = []
    for word in text.split():
        out += [f"left_{word[1:]}", f"right_{word[1:]}"] if word[0] == "*" else [word]
    return out


def _other(name: str) -> str:
    if name.startswith("left_"):
        return "right_" + name[5:]
    return "left_" + name[6:] if name.startswith("right_") else name


def _make(name: str, joints: list[str], tree: str) -> Skeleton:
    """``tree`` is ``child<parent`` words; ``*a<*b`` joins each side to its own, ``*a<b`` both sides to one."""
    parent: dict[str, str] = {}
    for word in tree.split():
        child, of = word.split("<")
        for side in ("left_", "right_") if child[0] == "*" else ("",):
            c = side + child[1:] if side else child
            parent[c] = side + of[1:] if of[0] == "*" else of
    unknown = [j for j in [*parent, *parent.values()] if j not in joints]
    if unknown:
        raise ValueError(f"skeleton {name}: no joint named {unknown}")
    return Skeleton(
        name,
        tuple(joints),
        tuple(joints.index(parent[j]) if j in parent else -1 for j in joints),
        tuple(joints.index(_other(j)) for j in joints),
    )


_COCO = _sided("nose *eye *ear *shoulder *elbow *wrist *hip *knee *ankle")
_FACE = "*eye<nose *ear<*eye"
_ARMS_LEGS = "*elbow<*shoulder *wrist<*elbow *knee<*hip *ankle<*knee"
_HALPE26_JOINTS = [*_COCO, "head_top", "neck", "mid_hip", *_sided("*big_toe *small_toe *heel")]
_FEET = "*big_toe<*ankle *small_toe<*ankle *heel<*ankle"

_BODY25 = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe left_small_toe "
    "left_heel right_big_toe right_small_toe right_heel"
).split()

# OpenPose's experimental model; its files look like BODY_25's, only the order tells
_BODY25B = [*_COCO, "upper_neck", "head_top", *_BODY25[-6:]]

_BLAZEPOSE = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "left_mouth right_mouth"
).split() + _sided("*shoulder *elbow *wrist *pinky *index *thumb *hip *knee *ankle *heel *big_toe")

_H36M = (
    "mid_hip right_hip right_knee right_ankle left_hip left_knee left_ankle spine neck nose head_top left_shoulder "
    "left_elbow left_wrist right_shoulder right_elbow right_wrist"
).split()

_SMPL24 = [
    "pelvis", *_sided("*hip"), "spine1", *_sided("*knee"), "spine2", *_sided("*ankle"), "spine3", *_sided("*foot"),
    "neck", *_sided("*collar"), "head", *_sided("*shoulder *elbow *wrist *hand"),
]  # fmt: skip

_SHELF15 = (
    "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder "
    "left_shoulder left_elbow left_wrist neck head_top mid_hip"
).split()

_HUMANEVA15 = (
    "mid_hip neck left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist left_hip left_knee "
    "left_ankle right_hip right_knee right_ankle head_top"
).split()

# the 68 points of a face as iBUG numbers them, a point of the right half with its mirror; the rest lie in the middle
_FACE_PAIRS = [
    *((i, 16 - i) for i in range(8)), *((17 + i, 26 - i) for i in range(5)), (31, 35), (32, 34), (36, 45), (37, 44),
    (38, 43), (39, 42), (40, 47), (41, 46), (48, 54), (49, 53), (50, 52), (59, 55), (58, 56), (60, 64), (61, 63),
    (67, 65),
]  # fmt: skip
_FACE_NAMES = {r: f"right_face_{r}" for r, _ in _FACE_PAIRS} | {m: f"left_face_{r}" for r, m in _FACE_PAIRS}
_COCO133 = [
    *_COCO, *_BODY25[-6:], *(_FACE_NAMES.get(i, f"face_{i}") for i in range(68)),
    *(f"left_hand_{i}" for i in range(21)), *(f"right_hand_{i}" for i in range(21)),
]  # fmt: skip
# a hand: its root, then four points of each finger
_HANDS = "*hand_0<*wrist " + " ".join(f"*hand_{i}<*hand_{0 if i % 4 == 1 else i - 1}" for i in range(1, 21))
_FACE133 = " ".join(f"{name}<nose" for name in _COCO133[23:91])

SKELETONS: dict[str, Skeleton] = {
    s.name: s
    for s in (
        _make(
            "halpe26",
            _HALPE26_JOINTS,
            f"neck<mid_hip nose<neck head_top<neck *shoulder<neck *hip<mid_hip {_FACE} {_ARMS_LEGS} {_FEET}",
        ),
        _make(
            "body25b",
            _BODY25B,
            f"nose<upper_neck head_top<upper_neck *shoulder<upper_neck *hip<*shoulder {_FACE} {_ARMS_LEGS} {_FEET}",
        ),
        _make("coco17", _COCO, f"*shoulder<nose *hip<*shoulder {_FACE} {_ARMS_LEGS}"),
        _make(
            "coco133",
            _COCO133,
            f"*shoulder<nose *hip<*shoulder {_FACE} {_ARMS_LEGS} {_FEET} {_FACE133} {_HANDS}",
        ),
        _make(
            "goliath308",
            goliath.joints(),
            f"*shoulder<nose *hip<*shoulder {_FACE} {_ARMS_LEGS} {_FEET} {goliath.tree()}",
        ),
        _make("body25", _BODY25, f"neck<mid_hip nose<neck *shoulder<neck *hip<mid_hip {_FACE} {_ARMS_LEGS} {_FEET}"),
        _make(
            "blazepose33",
            _BLAZEPOSE,
            "left_eye_inner<nose right_eye_inner<nose left_eye<left_eye_inner right_eye<right_eye_inner "
            "left_eye_outer<left_eye right_eye_outer<right_eye left_ear<left_eye_outer right_ear<right_eye_outer "
            "*mouth<nose *shoulder<nose *hip<*shoulder *elbow<*shoulder *wrist<*elbow "
            "*pinky<*wrist *index<*wrist *thumb<*wrist *knee<*hip *ankle<*knee *heel<*ankle *big_toe<*heel",
        ),
        _make(
            "h36m17",
            _H36M,
            "*hip<mid_hip *knee<*hip *ankle<*knee spine<mid_hip neck<spine nose<neck head_top<nose *shoulder<neck "
            "*elbow<*shoulder *wrist<*elbow",
        ),
        _make(
            "smpl24",
            _SMPL24,
            "*hip<pelvis spine1<pelvis *knee<*hip spine2<spine1 *ankle<*knee spine3<spine2 *foot<*ankle neck<spine3 "
            "*collar<spine3 head<neck *shoulder<*collar *elbow<*shoulder *wrist<*elbow *hand<*wrist",
        ),
        _make("humaneva15", _HUMANEVA15, f"neck<mid_hip head_top<neck *shoulder<neck *hip<mid_hip {_ARMS_LEGS}"),
        _make("shelf15", _SHELF15, f"neck<mid_hip head_top<neck *shoulder<neck *hip<mid_hip {_ARMS_LEGS}"),
    )
}


def skeleton(name: str) -> Skeleton:
    """The skeleton of that name; KinecastError lists the known ones."""
    if name not in SKELETONS:
        raise KinecastError(f"unknown skeleton {name!r}: known are {', '.join(sorted(SKELETONS))}")
    return SKELETONS[name]
