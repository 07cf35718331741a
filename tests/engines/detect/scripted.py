"""A finder and a poser that a test scripts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.detect.person_detectors import PersonDetections, coco_axes
from kinecast.engines.detect.picture import Picture, Region
from kinecast.engines.detect.pose_models import EstimatedPose
from tests.engines.detect.toys import SURE, at

World = dict[str, NDArray[Any]]  # name of a person → joints (17, 2)


class Script:
    """A finder and a poser over a world that a test moves: the poser sees whoever is nearest to the region."""

    def __init__(self) -> None:
        self.world: World = {}
        self.hidden: set[str] = set()  # from the finder
        self.looks = 0

    def find(self, picture: Picture, min_score: float) -> PersonDetections:
        """All but the hidden."""
        self.looks += 1
        seen = [xy for name, xy in self.world.items() if name not in self.hidden]
        xy = np.stack(seen) if seen else np.zeros((0, 17, 2), np.float32)
        confidence = np.tile(SURE, (len(xy), 1))
        boxes = np.concatenate([xy.min(1), xy.max(1)], 1) if seen else np.zeros((0, 4), np.float32)
        return PersonDetections(boxes, np.full(len(xy), 0.9, np.float32), xy, confidence, coco_axes(xy, confidence))

    def region_of(self, box_px: NDArray[Any], axis_px: NDArray[Any], round_box: bool) -> Region:
        """Around the hips."""
        return Region(float(axis_px[0, 0]), float(axis_px[0, 1]), 200, 200)

    def pose(self, picture: Picture, region: Region) -> EstimatedPose:
        """The nearest within 60 px; presence 0 where there is nobody."""
        hips = {name: xy[11:13].mean(0) for name, xy in self.world.items()}
        middle = np.array([region.cx_px, region.cy_px])
        near = {name: float(np.linalg.norm(h - middle)) for name, h in hips.items()}
        name = min(near, key=lambda n: near[n], default="")
        if not name or near[name] > 60:
            return EstimatedPose(at(*middle), SURE * 0, 0.1, region)
        return EstimatedPose(self.world[name], SURE, 0.9, Region(float(hips[name][0]), float(hips[name][1]), 200, 200))

    def warm_up(self) -> None:
        """Nothing to do."""
