"""People of one view from picture to picture: who is who, who is seen twice, who was lost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kinecast.engines.detect.boxes import iou
from kinecast.engines.detect.oks import as_coco, oks
from kinecast.engines.detect.optical_flow import Followed
from kinecast.engines.detect.person_detectors import PersonDetections
from kinecast.engines.detect.picture import F32, Region
from kinecast.engines.detect.pose_models import EstimatedPose

SAME_BOX = 0.3  # IoU of a found box and a track's, from which they may be the same person
SAME_JOINTS = 0.3  # OKS, likewise
TWICE = 0.6  # OKS of two tracks' joints, from which they are one person
JUMP = 0.1  # OKS with the picture before, under which a track has leapt to somebody else
JUMP_WITHIN_NS = 100_000_000  # … unless so much time has passed
BOX_MARGIN = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One person of this view. steady: OKS of this picture's joints with those expected from the two before.

    t_ns: of the picture that the joints are of. t_look_ns: of the last one that a model looked at; where that is
    another, optical flow has followed the joints since.
    """

    local_id: int
    skeleton: str
    keypoints_px: F32
    confidence: F32
    score: float
    region: Region
    t_ns: int
    born: int
    box_px: F32
    velocity_px_s: F32
    steady: float = 1.0
    t_look_ns: int = 0

    @classmethod
    def begin(cls, local_id: int, name: str, posed: EstimatedPose, t_ns: int, count: int) -> Self:
        """A person seen for the first time, in picture number ``count`` since the start."""
        still = np.zeros_like(posed.keypoints_px)
        box = body_box(posed.keypoints_px, posed.confidence)
        return cls(local_id, name, posed.keypoints_px, posed.confidence, posed.presence, posed.next_region, t_ns, count,
                   box, still, t_look_ns=t_ns)  # fmt: skip

    def follow(self, posed: EstimatedPose, t_ns: int) -> Self:
        """The same person in a later picture."""
        dt_s = max((t_ns - self.t_ns) * 1e-9, 1e-3)
        expected = self.keypoints_px + self.velocity_px_s * np.float32(dt_s)
        both = (posed.confidence > 0) & (self.confidence > 0)
        moved = np.where(both[:, None], (posed.keypoints_px - self.keypoints_px) / np.float32(dt_s), 0)
        steady = keypoint_similarity(self.skeleton, expected, self.confidence, posed.keypoints_px, posed.confidence)
        return replace(self, keypoints_px=posed.keypoints_px, confidence=posed.confidence, score=posed.presence,
                       region=posed.next_region, t_ns=t_ns, box_px=body_box(posed.keypoints_px, posed.confidence),
                       velocity_px_s=moved.astype(np.float32), steady=steady, t_look_ns=t_ns)  # fmt: skip

    def flow(self, followed: Followed, t_ns: int) -> Self:
        """The same person where optical flow has led to. Score, and size and turn of the region: the last look's."""
        dt_s = max((t_ns - self.t_ns) * 1e-9, 1e-3)
        xy, confidence = followed.keypoints_px, followed.confidence
        both = (confidence > 0) & (self.confidence > 0)
        step = np.where(both[:, None], xy - self.keypoints_px, np.float32(0))
        dx, dy = np.median(step[both], axis=0).tolist() if both.any() else (0.0, 0.0)
        region = replace(self.region, cx_px=self.region.cx_px + dx, cy_px=self.region.cy_px + dy)
        return replace(self, keypoints_px=xy, confidence=confidence, t_ns=t_ns, box_px=body_box(xy, confidence),
                       region=region, velocity_px_s=(step / np.float32(dt_s)).astype(np.float32))  # fmt: skip

    def leapt(self, posed: EstimatedPose, t_ns: int) -> bool:
        """Whether this cannot be the same body: joints that are sure are elsewhere, and hardly any time has passed."""
        if t_ns - self.t_ns > JUMP_WITHIN_NS or not (self.confidence >= 0.5).any():
            return False
        return (
            keypoint_similarity(self.skeleton, self.keypoints_px, self.confidence, posed.keypoints_px, posed.confidence)
            < JUMP
        )

    @property
    def circle_box_px(self) -> F32:
        """The box of the circle around the body, as pose_detection gives it."""
        r = self.region.width_px / 2.5
        return np.array([self.region.cx_px - r, self.region.cy_px - r, self.region.cx_px + r, self.region.cy_px + r],
                        np.float32)  # fmt: skip


def keypoint_similarity(name: str, a_xy: F32, a_conf: F32, b_xy: F32, b_conf: F32) -> float:
    """OKS of two single people in the same skeleton."""
    a, b = as_coco(name, a_xy[None], a_conf[None]), as_coco(name, b_xy[None], b_conf[None])
    return float(oks(*a, *b)[0, 0])


def body_box(keypoints_px: F32, confidence: F32) -> F32:
    """(4,) x0 y0 x1 y1 of the joints that are seen, with a margin; all joints where few are sure."""
    sure = confidence >= 0.3
    xy = keypoints_px[sure] if sure.sum() >= 3 else keypoints_px[np.isfinite(keypoints_px).all(1)]
    if not len(xy):
        return np.zeros(4, np.float32)
    low, high = xy.min(0), xy.max(0)
    margin = BOX_MARGIN * float((high - low).max())
    return np.concatenate([low - margin, high + margin]).astype(np.float32)


def match(tracks: Sequence[Track], found: PersonDetections, finder_skeleton: str) -> dict[int, int]:
    """Index of a track → index of the found person that it is, one to one, the likest all in all.

    By joints where the finder gives joints, else by boxes.
    """
    if not tracks or not len(found.scores):
        return {}
    if found.keypoints_px.shape[1]:
        ours = [as_coco(t.skeleton, t.keypoints_px[None], t.confidence[None]) for t in tracks]
        theirs = as_coco(finder_skeleton, found.keypoints_px, found.confidence)
        like = np.concatenate([oks(*a, *theirs) for a in ours])
        least = SAME_JOINTS
    else:
        boxes = np.stack([t.circle_box_px if found.round else t.box_px for t in tracks])
        like, least = iou(boxes, found.boxes_px.astype(np.float32)), SAME_BOX
    rows, cols = linear_sum_assignment(np.where(like >= least, like, 0), maximize=True)
    return {int(i): int(j) for i, j in zip(rows, cols, strict=True) if like[i, j] >= least}


def without_duplicates(tracks: Sequence[Track]) -> list[Track]:
    """The tracks less those that follow a person whom another track follows too.

    Of two on one body the one that came there by a leap or a slide goes; where both moved as expected, the younger.
    """
    if len(tracks) < 2:
        return list(tracks)
    pairs = [as_coco(t.skeleton, t.keypoints_px[None], t.confidence[None]) for t in tracks]
    xy, conf = np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])
    like = oks(xy, conf, xy, conf)
    # best first: steadier by a clear step, then older
    order = sorted(range(len(tracks)), key=lambda i: (-round(tracks[i].steady, 1), tracks[i].born, tracks[i].local_id))
    kept: list[int] = []
    for i in order:
        if all(like[i, k] < TWICE for k in kept):
            kept.append(i)
    return [tracks[i] for i in sorted(kept)]


def in_picture(xy: F32, confidence: F32, size_px: tuple[int, int]) -> tuple[F32, F32]:
    """Joints with those outside the picture made missing: NaN and confidence 0."""
    w, h = size_px
    with np.errstate(invalid="ignore"):
        inside = (xy[..., 0] >= -0.5) & (xy[..., 0] <= w - 0.5) & (xy[..., 1] >= -0.5) & (xy[..., 1] <= h - 0.5)
    inside &= confidence > 0
    seen: NDArray[np.bool_] = inside
    return np.where(seen[..., None], xy, np.nan).astype(np.float32), np.where(seen, confidence, 0).astype(np.float32)
