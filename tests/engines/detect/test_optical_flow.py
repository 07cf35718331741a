"""Optical flow between looks: joints on a body that moves over a real texture, and when the model is called back."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.frame import Frame
from kinecast.engines.detect.look_schedule import ModelRhythm
from kinecast.engines.detect.optical_flow import CropFlow, Followed
from kinecast.engines.detect.picture import Picture, Region
from kinecast.engines.detect.pose_models import EstimatedPose
from kinecast.engines.detect.tracking_detector import TrackingDetector
from kinecast.engines.models import Profile, find_card
from kinecast.engines.records import People2D
from tests.engines.detect.rendered import Scene
from tests.engines.detect.scripted import Script

FRAME_NS = 16_666_667
REGION = Region(320, 240, 400, 400)
SURE = np.full(17, 0.9, np.float32)


def followed(scene: Scene, first: int, second: int, dt_ns: int = FRAME_NS, **how: float) -> tuple[Followed, NDArray]:  # type: ignore[type-arg]
    """What flow makes of the step from one picture of the scene to another, and the truth."""
    before, xy = scene.picture(first)
    after, there = scene.picture(second, **how)
    crop = CropFlow(Picture(before), REGION, 0)
    return crop.follow(Picture(after), dt_ns, xy, SURE), there


def test_joints_go_where_the_body_goes() -> None:
    scene = Scene(step_px=3.0)
    seen, truth = followed(scene, 0, 1)
    assert seen.refusal == ""
    kept = np.isfinite(seen.keypoints_px).all(1)
    assert kept.sum() >= 15
    # of a crop that shrinks by 400 / 256
    assert np.median(np.linalg.norm(seen.keypoints_px - truth, axis=1)[kept]) < 0.5
    assert (seen.confidence[~kept] == 0).all() and (seen.confidence[kept] > 0).all()


def test_a_fast_body_calls_the_model_back() -> None:
    assert followed(Scene(step_px=40.0), 0, 1)[0].refusal in ("fast", "lost")


def test_a_blurred_or_dark_crop_calls_the_model_back() -> None:
    scene = Scene(step_px=2.0)
    assert followed(scene, 0, 1, blur_px=9.0)[0].refusal == "blurred"
    assert followed(scene, 0, 1, gain=0.12)[0].refusal == "dark"
    assert followed(scene, 0, 1, dt_ns=200_000_000)[0].refusal == "old"


def test_a_body_that_is_hidden_calls_the_model_back() -> None:
    scene = Scene(step_px=2.0)
    before, xy = scene.picture(0)
    rng = np.random.default_rng(5)
    wall = rng.integers(60, 200, before.shape[:2], np.uint8)[..., None].repeat(3, 2)
    assert CropFlow(Picture(before), REGION, 0).follow(Picture(wall), FRAME_NS, xy, SURE).refusal in ("lost", "fast")


class Looker(Script):
    """The script's poser, which counts its looks."""

    def __init__(self) -> None:
        super().__init__()
        self.posed = 0

    def pose(self, picture: Picture, region: Region) -> EstimatedPose:
        self.posed += 1
        seen = super().pose(picture, region)
        return EstimatedPose(seen.keypoints_px, seen.confidence, seen.presence,
                             Region(seen.next_region.cx_px, seen.next_region.cy_px, 400, 400))  # fmt: skip


def play(scene: Scene, every: int, phase: int = 0, frames: int = 12) -> tuple[list[People2D], Looker]:
    """The scene through a tracking detector whose model looks at every so many pictures."""
    looker = Looker()
    profile = Profile("script", "", finder="f", pose="p", find_every_s=10.0)
    finders = {"f": (looker, find_card("movenet_multipose_256"))}
    watch = TrackingDetector(finders, looker, "coco17", profile, 2, ModelRhythm(every, phase))
    out = []
    for k in range(frames):
        image, xy = scene.picture(k)
        looker.world = {"a": xy}
        out.append(watch.detect(Frame("cam", k, k * FRAME_NS, 0, image)))
    return out, looker


@pytest.mark.parametrize(("every", "phase"), [(2, 0), (2, 1), (3, 0), (3, 2)])
def test_the_model_looks_in_turn_and_messages_say_how_old_a_look_is(every: int, phase: int) -> None:
    scene = Scene(step_px=2.0)
    seen, looker = play(scene, every, phase)
    first = 2  # a person who is found is looked at twice
    assert looker.posed - first == sum((k + phase) % every == 0 for k in range(1, 12))
    for k, people in enumerate(seen):
        since = 0 if k == 0 else min((k + phase) % every, k)
        age_s = float(people.look_age_s[0]) if people.look_age_s.size else 0.0
        assert age_s == pytest.approx(since * FRAME_NS / 1e9, abs=1e-6)
        assert people.local_ids.tolist() == [0]
        error = np.linalg.norm(people.keypoints_px[0] - scene.picture(k)[1], axis=1)
        assert np.nanmedian(error) < 1.0


def test_every_picture_is_looked_at_where_the_motion_is_fast() -> None:
    scene = Scene(step_px=25.0)
    seen, looker = play(scene, 3, frames=8)
    assert looker.posed == 2 + 7
    assert all(not people.look_age_s.size for people in seen)
    for k, people in enumerate(seen):
        np.testing.assert_allclose(people.keypoints_px[0], scene.picture(k)[1], atol=1e-3)


def test_at_one_the_messages_are_those_of_before() -> None:
    seen, looker = play(Scene(step_px=2.0), 1)
    assert looker.posed == 2 + 11 and all(not p.look_age_s.size for p in seen)
