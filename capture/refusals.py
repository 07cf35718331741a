"""Why something was lost or refused: a stable code for programs, and a sentence for people.

Every count by cause (``Health.drops``, ``FrameSet.dropped``, ``Poses.refused``, the gates of a data set) has a code as
its key; where the cause is about a camera, a node or a topic, ``code/key``: ``late/cam01``, ``gap/keypoints/cam01``.
They stand on this floor because sources count too. They are part of the format of recordings: one is added, none
renamed. Recordings made before there were codes have sentences as keys; :func:`current` reads these too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, get_args

Code = Literal[
    "skipped_at_source", "before_start", "damaged", "not_recorded", "black_picture", "green_picture", "other_size",
    "left_out", "gap", "repeated", "restart", "malformed", "malformed_ack", "oversized", "not_heard", "lost_in_restart",
    "late", "single_view", "non_monotonic_stamp", "queue_full", "not_in_rig",
    "picture_size", "keypoint_not_finite", "duplicate_detection", "outlier_view", "too_few_joints", "too_few_views",
    "no_agreeing_view", "birth_too_few_joints", "birth_too_few_views", "visibility_conflict", "implausible_body",
    "already_tracked", "scene_full",
    "views", "residual", "other_views", "bones", "joint_limits", "speed", "unseen", "shape",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    """counted: where the count is found. sentence: for people, with the parts of the key where it names them. about:
    what it means.

    former: the key in recordings made before there were codes, where that is not the sentence.
    """

    code: Code
    counted: str
    sentence: str
    about: str
    former: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """What the key is about, part by part: a camera, a topic, a node."""
        return tuple(re.findall(r"\{(\w+)\}", self.sentence))

    @property
    def general(self) -> str:
        """The sentence of counts over all cameras, topics or nodes: ``late``, ``size of a camera is not the rig's``."""
        return re.sub(r"\{(\w+)\}", r"a \1", re.sub(r" \{\w+\}$", "", self.sentence))


_CAMERA, _BUS, _SETS = "drops of a camera", "drops of any node", "dropped of a frame set, and drops of fusion"
_POSES, _GATES = "refused of poses", "refused of a session in a data set"

REFUSALS: dict[str, Refusal] = {
    r.code: r
    for r in (
        Refusal("skipped_at_source", _CAMERA, "skipped at source", "frames passed over because the node was slow"),
        Refusal("before_start", _CAMERA, "before start", "frames that were due before the node was ready"),
        Refusal("damaged", _CAMERA, "damaged", "packets of the video that do not decode"),
        Refusal("not_recorded", _CAMERA, "not recorded", "frames that the video recorder had no room for"),
        Refusal("black_picture", _CAMERA, "black picture", "pictures of a device that show nothing: black all over"),
        Refusal("green_picture", _CAMERA, "green picture", "pictures that a decoder had no data for: green all over"),
        Refusal("other_size", _CAMERA, "other size", "pictures of a device that are not of the rig's size"),
        Refusal("left_out", _CAMERA, "left out", "frames between the moments that all cameras take on a slow machine"),
        Refusal("gap", _BUS, "gap {topic}", "messages of a topic that never arrived, by sequence"),
        Refusal("repeated", _BUS, "repeated {topic}", "messages of a topic that came again, or out of order"),
        Refusal("restart", _BUS, "restart of {node}", "new lives of a node that this one reads"),
        Refusal("malformed", _BUS, "malformed {topic} from {node}", "messages that are no valid record of their topic"),
        Refusal("malformed_ack", _BUS, "malformed ack", "credits that are no valid record"),
        Refusal("oversized", _BUS, "oversized or foreign message from {node}", "connections that libzmq gave up"),
        Refusal("not_heard", _BUS, "{node} not heard at start", "readers that were silent when it began to publish"),
        Refusal("lost_in_restart", _BUS, "lost in restart of {node}", "what a reader's old life had not taken"),
        Refusal("late", _SETS, "late {camera}", "views that came when their set was fused (realtime)"),
        Refusal("single_view", _SETS, "alone {camera}", "views alone in a set while others were to come"),
        Refusal("non_monotonic_stamp", _SETS, "stamp went back {camera}", "views no newer than the one before"),
        Refusal("queue_full", _SETS, "too many waiting {camera}", "views of a camera far ahead (realtime)"),
        Refusal("not_in_rig", _SETS, "not in the rig {camera}", "views of a camera that is not fused"),
        Refusal(
            "picture_size", f"{_POSES}, and drops of fusion", "size of {camera} is not the rig's",
            "views of other pictures than calibrated",
        ),
        Refusal("keypoint_not_finite", _POSES, "keypoint not finite", "keypoints of a detector that are no numbers"),
        Refusal(
            "duplicate_detection", _POSES, "detection of somebody seen twice",
            "detections of a person whom the same view shows by a better one",
        ),
        Refusal(
            "outlier_view", _POSES, "view sees somebody else",
            "views of a known person that disagree with all the others: outliers of its triangulation",
        ),
        Refusal("too_few_joints", _POSES, "too few joints", "detections left over with too few joints for a birth"),
        Refusal("too_few_views", _POSES, "too few views", "detections left over in too few cameras for a birth"),
        Refusal("no_agreeing_view", _POSES, "no agreeing view", "detections left over whose rays meet no other's"),
        Refusal("birth_too_few_joints", _POSES, "birth: too few joints", "proposed people of too few joints in space"),
        Refusal("birth_too_few_views", _POSES, "birth: too few views", "proposed people whom too few views agree on"),
        Refusal(
            "visibility_conflict", _POSES, "birth: not where other views should see it",
            "proposed people whom most views that should see them do not show",
        ),
        Refusal("implausible_body", _POSES, "birth: not a body", "proposed people whose bones are no person's"),
        Refusal("already_tracked", _POSES, "birth: somebody is there already", "proposed people where one is tracked"),
        Refusal("scene_full", _POSES, "birth: scene full", "proposed people beyond max_people"),
        Refusal("views", _GATES, "views", "person-frames that too few views show"),
        Refusal("residual", _GATES, "residual", "the fit explains too few keypoints, or those too badly"),
        Refusal("other_views", _GATES, "other views", "bodies fitted to two halves of the views do not agree"),
        Refusal("bones", _GATES, "bones", "triangulated limbs are not as long as the body's"),
        Refusal("joint_limits", _GATES, "joint limits", "a joint is turned beyond what one can"),
        Refusal("speed", _GATES, "speed", "a joint moves or turns faster than one can"),
        Refusal("unseen", _GATES, "unseen", "the fit had nothing to go by"),
        Refusal("shape", _GATES, "shape", "the shape is not determined, or beyond the body model"),
    )
}  # fmt: skip


def cause(code: Code, *key: str) -> str:
    """The key of a count: the code, and what it is about where it is about something."""
    return "/".join((code, *key))


def code_of(key: str) -> str:
    """The code alone, without what it is about; of a former sentence too."""
    return current(key).partition("/")[0]


@cache
def _former() -> tuple[tuple[re.Pattern[str], Code], ...]:
    patterns = []
    for r in REFUSALS.values():
        words = re.sub(r"\\\{\w+\\\}", "(.+)", re.escape(r.former or r.sentence))
        patterns.append((re.compile(words), r.code))
    return tuple(patterns)


@lru_cache(maxsize=4096)  # keys come from other processes
def current(key: str) -> str:
    """``key`` as it is counted today: a former sentence becomes its code; what is not known stays as it is."""
    if key.partition("/")[0] in REFUSALS:
        return key
    for pattern, code in _former():
        if match := pattern.fullmatch(key):
            return cause(code, *match.groups())
    return key


def currently(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by cause, whatever version wrote them, by today's causes."""
    out: dict[str, int] = {}
    for key, n in counts.items():
        out[current(key)] = out.get(current(key), 0) + n
    return out


@lru_cache(maxsize=4096)
def sentence(key: str) -> str:
    """What people are told of a cause; one that is not known (a newer program's) is told as it is."""
    code, _, about = current(key).partition("/")
    refusal = REFUSALS.get(code)
    if refusal is None or bool(about) != bool(refusal.parts):
        return key
    keys = about.split("/", len(refusal.parts) - 1) if about else []
    told = dict(zip(refusal.parts, keys, strict=False))
    return refusal.sentence.format(**told) if len(told) == len(refusal.parts) else key


def sentences(counts: Mapping[str, int]) -> str:
    """Counts for people, in one line: ``late cam01 3, gap poses 1``."""
    return ", ".join(f"{sentence(key)} {n}" for key, n in counts.items())


assert set(REFUSALS) == set(get_args(Code))
