"""Posers: the joints of one person in a part of the picture, and where to look for them in the next one."""

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.detect import blazepose, heatmap, simcc
from kinecast.engines.detect.opened_card import OpenModel
from kinecast.engines.detect.picture import F32, Picture, Region, apply_affine
from kinecast.engines.skeleton import skeleton

_SURE = 0.3  # a joint of less confidence does not hold the next box open
_MARGIN = 1.25  # side of a top-down crop over the box, as in MMPose
JOINTS = 33
MOST_BODY_JOINTS = 33  # a skeleton of more has face and hands


@cache
def _body_of(name: str) -> NDArray[np.int64]:
    """Indices of body and feet: face and hands say nothing of whether somebody is there, nor how large."""
    body = skeleton("coco133").joints[:23]
    table = skeleton(name)
    indices = [i for i, joint in enumerate(table.joints) if joint in body]
    return np.array(indices if len(table) > MOST_BODY_JOINTS else range(len(table)), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class EstimatedPose:
    """One person: keypoints_px (J, 2) in the picture, confidence (J,), presence in [0, 1], and where to look next."""

    keypoints_px: F32
    confidence: F32
    presence: float
    next_region: Region


class PoseEstimator(Protocol):
    """Gives the joints of one person."""

    def region_of(self, box_px: NDArray[np.floating], axis_px: NDArray[np.floating], round_box: bool) -> Region:
        """Where to look for a person that was found: the box, and hips and circle point where known (else NaN)."""
        ...

    def pose(self, picture: Picture, region: Region) -> EstimatedPose: ...
    def warm_up(self) -> None: ...


class BlazePoseEstimator:
    """BlazePose landmarks: 33 joints, and two points that say where the body will be."""

    def __init__(self, model: OpenModel, refine: bool) -> None:
        self.model, self._refine = model, refine and "heatmap" in model.card.outputs

    def region_of(self, box_px: NDArray[np.floating], axis_px: NDArray[np.floating], round_box: bool) -> Region:
        """The circle around the body where it is known, else around the box."""
        if np.isfinite(axis_px).all():
            return blazepose.region(axis_px[0], axis_px[1])
        middle = (box_px[:2] + box_px[2:]) / 2
        radius = float((box_px[2:] - box_px[:2]).max()) / 2
        return blazepose.region(middle, middle - np.array([0.0, radius]))

    def pose(self, picture: Picture, region: Region) -> EstimatedPose:
        """The 33 joints of the person in the region."""
        size = self.model.size_px
        matrix = region.image_from_input(size)
        out = self.model.run(picture, matrix)
        xy, confidence = blazepose.decode_landmarks(
            out["landmarks"], out.get("heatmap") if self._refine else None, size[0]
        )
        points = apply_affine(matrix, xy - 0.5)
        if not np.isfinite(points).all():  # half precision that overflowed: nobody, not a region nowhere
            nobody = np.full((JOINTS, 2), np.nan, np.float32)
            return EstimatedPose(nobody, np.zeros(JOINTS, np.float32), 0.0, region)
        follow = blazepose.region(points[blazepose.HIP], points[blazepose.CIRCLE])
        presence = float(np.clip(out["presence"].reshape(-1)[0], 0, 1))
        return EstimatedPose(points[:JOINTS].astype(np.float32), confidence[:JOINTS], presence, follow)

    def warm_up(self) -> None:
        """Run once on zeros."""
        self.model.warm_up()


class TopDownEstimator:
    """SimCC or heatmaps of one upright crop; the next box is that of the joints that are seen."""

    def __init__(self, model: OpenModel) -> None:
        self.model = model
        self._joints = 0

    def region_of(self, box_px: NDArray[np.floating], axis_px: NDArray[np.floating], round_box: bool) -> Region:
        """The box with a margin, widened to the shape of the model's input."""
        w, h = self.model.size_px
        middle, extent = (box_px[:2] + box_px[2:]) / 2, (box_px[2:] - box_px[:2]) * (1.0 if round_box else _MARGIN)
        height = max(float(extent[1]), float(extent[0]) * h / w, 1.0)
        return Region(float(middle[0]), float(middle[1]), height * w / h, height)

    def pose(self, picture: Picture, region: Region) -> EstimatedPose:
        """The joints of the person in the region; presence is the mean of the better half of the confidences."""
        card, matrix = self.model.card, region.image_from_input(self.model.size_px)
        out = self.model.run(picture, matrix)
        if card.decoder == "simcc":
            xy, confidence = simcc.decode_simcc(out["simcc_x"], out["simcc_y"], card.options["split_ratio"])
        else:
            xy, confidence = self._of_heatmap(out["heatmap"])
        points, sure = apply_affine(matrix, xy[0]).astype(np.float32), confidence[0]
        body = _body_of(card.skeleton)
        presence = float(np.sort(sure[body])[len(body) // 2 :].mean())
        return EstimatedPose(points, sure, presence, self._next(points[body], sure[body], region))

    def _of_heatmap(self, maps: F32) -> tuple[F32, F32]:
        card, size_px = self.model.card, self.model.size_px
        if card.heatmap == "gaussian":
            if maps.max() > heatmap.LOGITS_FROM:
                raise KinecastError(
                    f"model {card.name}: its heatmaps looked like Gaussians when it was opened and now rise to "
                    f'{maps.max():.3g}: say what they are in {card.card_path}: heatmap = "logits"'
                )
            return heatmap.decode_peaks(maps, size_px, card.options["udp"] > 0)
        if card.heatmap == "probability":
            return heatmap.decode_probability(maps, size_px)
        joints = len(skeleton(card.skeleton))
        xy, confidence, _ = heatmap.decode_heatmap(maps, joints, size_px, card.options["temperature"])
        return xy, confidence

    def warm_up(self) -> None:
        """Run once on zeros."""
        self.model.warm_up()

    def _next(self, points: F32, confidence: F32, region: Region) -> Region:
        seen = points[confidence >= _SURE]
        if len(seen) < 2:
            return region
        # the box of the joints is tighter than a detector's box, which holds head, hands and feet whole
        low, high = seen.min(0), seen.max(0)
        grow = 0.05 * (high - low)
        return self.region_of(np.concatenate([low - grow, high + grow]), np.full((2, 2), np.nan), False)


def make_pose_estimator(model: OpenModel, refine: bool) -> PoseEstimator:
    """The poser that the card's decoder needs."""
    return BlazePoseEstimator(model, refine) if model.card.decoder == "blazepose_landmark" else TopDownEstimator(model)
