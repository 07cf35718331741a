"""Finders: where people are in a whole picture. One small class a decoder, all with the same answer."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kinecast.engines.detect import blazepose, movenet, yolo
from kinecast.engines.detect.opened_card import OpenModel
from kinecast.engines.detect.picture import F32, F64, Picture, apply_affine, letterbox
from kinecast.engines.skeleton import skeleton

GREY = 114  # what YOLOX and RTMO were trained to see around a picture


@dataclass(frozen=True, slots=True, eq=False)
class PersonDetections:
    """N people in pixels of the picture, best first.

    boxes_px: (N, 4). scores: (N,). keypoints_px: (N, J, 2) and confidence: (N, J) in the finder's skeleton, J = 0 where
    it gives none. axes_px: (N, 2, 2) middle of the hips and a point on the circle around the whole body, above the
    head when upright; NaN where the finder does not tell. round: the boxes are those of that circle, not of the body.
    """

    boxes_px: F32
    scores: F32
    keypoints_px: F32
    confidence: F32
    axes_px: F32
    round: bool = False


class PersonDetector(Protocol):
    """Looks at a whole picture."""

    def find(self, picture: Picture, min_score: float) -> PersonDetections: ...
    def warm_up(self) -> None: ...


class _Finder:
    def __init__(self, model: OpenModel) -> None:
        self.model = model

    def warm_up(self) -> None:
        """Run once on zeros."""
        self.model.warm_up()


def _to_picture(matrix: F64, edge_xy: F32) -> F32:
    """Points over the input's edges to pixels of the picture; the centre of a model's first pixel is at 0.5 there."""
    return apply_affine(matrix, edge_xy - 0.5).astype(np.float32)


def _no_joints(n: int) -> tuple[F32, F32]:
    return np.zeros((n, 0, 2), np.float32), np.zeros((n, 0), np.float32)


def _posed(
    matrix: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    name: str,
    xy: F32,
    confidence: F32,
    boxes: F32,
    scores: F32,
) -> PersonDetections:
    """People with joints of the skeleton ``name``, from pixels of the input to those of the picture."""
    xy = _to_picture(matrix, xy)
    boxes = _to_picture(matrix, boxes.reshape(-1, 2, 2)).reshape(-1, 4)
    tells = name in ("coco17", "halpe26", "coco133")  # all begin with the joints of coco17
    axes = coco_axes(xy, confidence) if tells else np.full((len(xy), 2, 2), np.nan, np.float32)
    return PersonDetections(boxes, scores, xy, confidence, axes)


class BlazePosePersonDetector(_Finder):
    """pose_detection: light, and misses people who look small."""

    def find(self, picture: Picture, min_score: float) -> PersonDetections:
        """The people scored so or better."""
        size = self.model.size_px[0]
        matrix = letterbox(picture.size_px, self.model.size_px)
        out = self.model.run(picture, matrix)
        rows, scores = blazepose.decode_people(out["boxes"], out["scores"], min_score, size)
        points = _to_picture(matrix, rows.reshape(-1, 6, 2))
        axes = points[:, 2:4]
        radius = np.linalg.norm(axes[:, 1] - axes[:, 0], axis=1)[:, None]
        boxes = np.concatenate([axes[:, 0] - radius, axes[:, 0] + radius], 1)
        return PersonDetections(boxes, scores, *_no_joints(len(rows)), axes, round=True)


class MultiPosePersonDetector(_Finder):
    """MoveNet MultiPose: several people, small ones too, with COCO joints."""

    def find(self, picture: Picture, min_score: float) -> PersonDetections:
        """The people scored so or better."""
        matrix = letterbox(picture.size_px, self.model.size_px)
        people = self.model.run(picture, matrix)["people"]
        xy, confidence, boxes, scores = movenet.decode_multipose(people, self.model.size_px, min_score)
        xy = _to_picture(matrix, xy)
        boxes = _to_picture(matrix, boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        return PersonDetections(boxes, scores, xy, confidence, coco_axes(xy, confidence))


class RtmoPersonDetector(_Finder):
    """RTMO: boxes with joints, in whatever skeleton the card names."""

    def find(self, picture: Picture, min_score: float) -> PersonDetections:
        """The people scored so or better."""
        matrix = letterbox(picture.size_px, self.model.size_px, centred=False)
        out = self.model.run(picture, matrix, GREY)
        return _posed(matrix, self.model.card.skeleton, *yolo.decode_rtmo(out["boxes"], out["keypoints"], min_score))


class YoloPosePersonDetector(_Finder):
    """Ultralytics' YOLOv8/11-pose: boxes with joints, the picture in the middle of a grey square."""

    def find(self, picture: Picture, min_score: float) -> PersonDetections:
        """The people scored so or better."""
        matrix = letterbox(picture.size_px, self.model.size_px)
        joints = len(skeleton(self.model.card.skeleton))
        output = self.model.run(picture, matrix, GREY)["output"]
        return _posed(matrix, self.model.card.skeleton, *yolo.decode_yolo_pose(output, joints, min_score))


class YoloxPersonDetector(_Finder):
    """YOLOX-style: boxes alone."""

    def find(self, picture: Picture, min_score: float) -> PersonDetections:
        """The people scored so or better."""
        matrix = letterbox(picture.size_px, self.model.size_px, centred=False)
        out = self.model.run(picture, matrix, GREY)
        person = int(self.model.card.options["person_class"])
        boxes, scores = yolo.decode_yolox(out["boxes"], out.get("labels"), self.model.size_px, min_score, person)
        boxes = _to_picture(matrix, boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        return PersonDetections(boxes, scores, *_no_joints(len(boxes)), np.full((len(boxes), 2, 2), np.nan, np.float32))


FINDERS: dict[str, type[_Finder]] = {
    "blazepose_detection": BlazePosePersonDetector,
    "movenet_multipose": MultiPosePersonDetector,
    "rtmo": RtmoPersonDetector,
    "yolo_pose": YoloPosePersonDetector,
    "yolox": YoloxPersonDetector,
}

_SURE = 0.2  # a COCO joint of less confidence says nothing about where the body ends
# the circle that BlazePose draws around a body reaches beyond the outermost COCO joint (ankle or wrist, not toe or
# fingertip); the factor is the median over the four views of a walking person
_BEYOND = 1.15


def coco_axes(xy: F32, confidence: F32) -> F32:
    """(N, 2, 2) middle of the hips and a point on the circle around the body, up along the trunk, from COCO joints.

    xy: (N, J ≥ 17, 2), confidence: (N, J). NaN where hips or shoulders are not seen.
    """
    hips, shoulders = xy[:, 11:13].mean(1), xy[:, 5:7].mean(1)
    seen = confidence[:, :17] >= _SURE
    reach = np.where(seen, np.linalg.norm(xy[:, :17] - hips[:, None], axis=2), 0).max(1, initial=0.0) * _BEYOND
    trunk = shoulders - hips
    length = np.linalg.norm(trunk, axis=1)
    known = seen[:, 11:13].any(1) & seen[:, 5:7].any(1) & (length > 1e-6)
    up = trunk / np.maximum(length, 1e-6)[:, None]
    axes = np.stack([hips, hips + up * reach[:, None]], 1)
    return np.where(known[:, None, None], axes, np.nan).astype(np.float32)
