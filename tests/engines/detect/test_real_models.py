"""The real models on the real clip, where both are in the user's cache."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from kinecast.capture.cache import cache_dir
from kinecast.capture.frame import Frame
from kinecast.engines.detect.picture import Picture
from kinecast.engines.detect.tracking_detector import load_detector
from kinecast.engines.models import find_card, load_profile
from kinecast.engines.models.cache import fault
from kinecast.engines.skeleton import skeleton

# tests run in a cache of their own where a test asks for it; these want the user's
CLIPS = cache_dir() / "clips"


def frames(folder: str, camera: str, count: int) -> Iterator[Frame]:
    """The first frames of a camera of the sample clip; skips where there is none."""
    videos = sorted(CLIPS.glob(f"pose2sim-*/{folder}/videos/{camera}.mp4"))
    if not videos:
        pytest.skip(f"the sample clip is not in {CLIPS}: run `kinecast demo` once")
    video = cv2.VideoCapture(str(videos[-1]))
    for k in range(count):
        good, image = video.read()
        assert good
        yield Frame(camera, k, k * 16_666_667, 0, np.asarray(image, np.uint8))


def need(profile: str) -> None:
    """Skip where a model of the profile is not in the cache."""
    for reference in load_profile(profile).cards:
        if why := fault(find_card(reference)):
            pytest.skip(why)


def test_a_person_is_found_and_followed_the_same_way_twice() -> None:
    need("lightweight")
    watch = load_detector("lightweight")
    first = [watch.detect(f) for f in frames("Demo_SinglePerson", "cam03", 5)]
    again = load_detector("lightweight")
    second = [again.detect(f) for f in frames("Demo_SinglePerson", "cam03", 5)]
    ankles = [skeleton("blazepose33").index(f"{side}_ankle") for side in ("left", "right")]
    for a, b in zip(first, second, strict=True):
        assert a.local_ids.tolist() == [0]
        for x, y in ((a.keypoints_px, b.keypoints_px), (a.confidence, b.confidence), (a.boxes_px, b.boxes_px)):
            np.testing.assert_array_equal(x, y)
        # the person stands on the beam in the middle of the picture, head up
        assert a.keypoints_px[0, 0, 1] < 700 < a.keypoints_px[0, ankles, 1].min()
        assert a.confidence[0].mean() > 0.5


def test_two_people_are_found_in_a_tall_picture() -> None:
    need("balanced")
    watch = load_detector("balanced", size_px=(1088, 1920))
    assert "movenet_multipose_288x512" in watch.models
    for f in frames("Demo_MultiPerson", "cam04", 3):
        assert watch.detect(f).local_ids.tolist() == [0, 1]


def test_openvino_and_onnx_runtime_see_the_same() -> None:
    pytest.importorskip("openvino")
    need("lightweight")
    (frame,) = frames("Demo_SinglePerson", "cam01", 1)
    seen = [load_detector("lightweight", runtime).detect(frame) for runtime in ("openvino", "onnxruntime")]
    # float32 sums in another order, made larger by the second look and the heatmap: 0.07 px were seen; bf16 makes 3–6
    assert np.nanmax(np.abs(seen[0].keypoints_px - seen[1].keypoints_px)) < 0.25


def test_a_crop_of_a_black_picture_holds_nobody() -> None:
    need("lightweight")
    black = np.zeros((640, 480, 3), np.uint8)
    assert len(load_detector("lightweight").detect(Frame("c", 0, 0, 0, black)).scores) == 0
    assert Picture(black).size_px == (480, 640)
