"""The detector as a whole: scripted models for who is tracked when, and toy ONNX models for cards of one's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.engines.detect.tracking_detector import TrackingDetector, load_detector
from kinecast.engines.models import Profile, find_card
from kinecast.engines.records import People2D
from tests.engines import toys
from tests.engines.detect.scripted import Script, World
from tests.engines.detect.toys import at, blob

FRAME_NS = 16_666_667
GRACE = 5  # pictures, of a profile that counts in pictures


def detector(script: Script, every: int = 10, most: int = 6) -> TrackingDetector:
    """Over the script's finder and poser."""
    profile = Profile("script", "", finder="f", pose="p", find_every=every)
    return TrackingDetector({"f": (script, find_card("movenet_multipose_256"))}, script, "coco17", profile, most)


def frame(k: int, image: NDArray[np.uint8] | None = None) -> Frame:
    """Picture number k at 60 Hz."""
    return Frame("cam", k, k * FRAME_NS, 0, np.zeros((480, 640, 3), np.uint8) if image is None else image)


def play(script: Script, watch: TrackingDetector, frames: int, move: Callable[[int], World]) -> list[People2D]:
    """Run the world through the detector."""
    out = []
    for k in range(frames):
        script.world = move(k)
        out.append(watch.detect(frame(k)))
    return out


def test_people_keep_their_identity_and_are_looked_for_now_and_then() -> None:
    script = Script()
    seen = play(script, detector(script), 41, lambda k: {"a": at(100 + 2 * k, 200), "b": at(500 - k, 220)})
    assert script.looks == 5  # pictures 0, 10, 20, 30, 40
    for k, people in enumerate(seen):
        assert people.local_ids.tolist() == [0, 1]
        np.testing.assert_array_equal(people.keypoints_px[0], at(100 + 2 * k, 200))
        np.testing.assert_array_equal(people.keypoints_px[1], at(500 - k, 220))
        assert people.keypoints_px.dtype == people.confidence.dtype == people.boxes_px.dtype == np.float32


def test_who_comes_in_is_found_and_who_leaves_is_dropped() -> None:
    script = Script()

    def world(k: int) -> World:
        return ({"a": at(100, 200)} if k < 20 else {}) | ({"b": at(400, 200)} if k >= 5 else {})

    ids = [p.local_ids.tolist() for p in play(script, detector(script), 40, world)]
    assert ids[:10] == [[0]] * 10
    assert ids[10:20] == [[0, 1]] * 10
    assert ids[20:] == [[1]] * 20


def test_a_person_lost_for_a_moment_comes_back_the_same() -> None:
    script = Script()
    script.hidden = {"a"}

    def world(k: int) -> World:
        script.hidden = {"a"} if k else set()
        return {} if 10 < k <= 10 + gap else {"a": at(100, 200)}

    for gap, same in ((GRACE - 1, True), (GRACE + 3, False)):
        script.looks = 0
        ids = [p.local_ids.tolist() for p in play(script, detector(script), 30, world)]
        assert ids[10 : 11 + gap] == [[0]] + [[]] * gap
        assert ids[11 + gap] == ([0] if same else [])


def test_nobody_there_is_looked_for_every_third_picture() -> None:
    script = Script()
    assert all(len(p.scores) == 0 for p in play(script, detector(script), 30, lambda k: {}))
    assert script.looks == 10


def test_two_tracks_on_one_body_become_one_and_the_other_is_found_again() -> None:
    script = Script()

    def world(k: int) -> World:
        # b stands behind a for a while: nobody can see b then
        x = 300 - 5 * min(k, 50)
        return {"a": at(200, 200)} | ({"b": at(x, 200)} if abs(x - 200) > 25 else {})

    seen = play(script, detector(script), 60, world)
    for k, people in enumerate(seen):
        assert len(people.scores) <= len(world(k)), "never one person twice"
        if k >= 10 and all(len(world(i)) == 2 for i in range(k - 10, k + 1)):
            assert len(people.scores) == 2, "found again within ten pictures"
    a = [p.local_ids[np.argmin(np.abs(p.keypoints_px[:, 11, 0] - 190))] for p in seen]
    assert set(a) == {0}, "who stood still keeps the identity"
    assert len(seen[-1].scores) == 2


def test_no_more_than_were_asked_for_and_reset_forgets() -> None:
    script = Script()
    watch = detector(script, most=2)
    crowd = {str(i): at(60 + 120 * i, 200) for i in range(4)}
    assert play(script, watch, 12, lambda k: crowd)[-1].local_ids.tolist() == [0, 1]
    watch.reset()
    assert watch.detect(frame(99)).local_ids.tolist() == [2, 3], "an identity is not used again"


def card(folder: Path, name: str, decoder: str, size: tuple[int, int], ends: dict[str, str], extra: str = "") -> Path:
    """A user's own card beside the file name.onnx."""
    text = (
        f'name = "{name}"\nsummary = "toy"\nfile = "{name}.onnx"\nlicence = "none"\ndecoder = "{decoder}"\n{extra}\n'
        f'[origin]\nregistry = "file"\npath = "{name}.onnx"\n'
        f'[input]\nname = "x"\nsize_px = [{size[0]}, {size[1]}]\nlayout = "NCHW"\ncolour = "bgr"\n[outputs]\n'
    )
    path = folder / f"{name}.toml"
    path.write_text(text + "".join(f'{role} = "{n}"\n' for role, n in ends.items()))
    return path


def test_a_card_of_ones_own_that_does_it_all(tmp_path: Path) -> None:
    joints = np.full((1, 2, 17, 3), 0.7, np.float32)
    joints[0, 0, :, :2], joints[0, 1, :, :2] = at(60, 60, 0.5), at(20, 60, 0.5)
    boxes = np.array([[[40, 50, 80, 150, 0.9], [0, 50, 40, 150, 0.2]]], np.float32)
    toys.fixed(tmp_path / "one.onnx", (160, 192), {"dets": boxes, "kpts": joints})
    path = card(tmp_path, "one", "rtmo", (160, 192), {"boxes": "dets", "keypoints": "kpts"}, 'skeleton = "coco17"')
    watch = load_detector(str(path), "onnxruntime")
    watch.warm_up()
    assert watch.skeleton == "coco17"
    assert list(watch.models) == ["one"]
    assert len(watch.models["one"]) == 64
    assert "ONNX Runtime" in watch.runtime["one"]
    for k in range(3):
        people = watch.detect(frame(k))
        assert people.local_ids.tolist() == [0]
        # 640 wide on 160: four picture pixels to one of the input; the top left edges meet
        np.testing.assert_allclose(people.keypoints_px[0], at(60, 60, 0.5) * 4 - 0.5, atol=1e-3)
        np.testing.assert_allclose(people.scores, [0.9], rtol=1e-6)


def test_a_finder_and_a_top_down_model_of_ones_own(tmp_path: Path) -> None:
    toys.fixed(tmp_path / "box.onnx", (160, 128), {"dets": np.array([[[60, 20, 100, 100, 0.8]]], np.float32)})
    card(tmp_path, "box", "yolox", (160, 128), {"boxes": "dets"})
    toys.brightest(tmp_path / "top.onnx", (96, 128), 17)
    card(tmp_path, "top", "simcc", (96, 128), {"simcc_x": "cols", "simcc_y": "rows"},
         'skeleton = "coco17"\noptions = {split_ratio = 1.0}')  # fmt: skip
    profile = tmp_path / "mine.toml"
    profile.write_text('name = "mine"\nsummary = "toy"\nfinder = "box.toml"\npose = "top.toml"\npose_min_score = 0.0\n')
    watch = load_detector(str(profile), "onnxruntime", find_every=1)
    people = watch.detect(frame(0, blob((640, 480), (350.0, 230.0), 9.0)))
    # the crop shrinks by 400 / 128: half a bin is 1.6 pixels, and the greys are rounded
    assert np.abs(people.keypoints_px[0] - [350, 230]).max() <= 1.6 + 0.5
    assert sorted(watch.models) == ["box", "top"]


def test_what_a_card_or_a_number_has_wrong_is_named(tmp_path: Path) -> None:
    toys.fixed(tmp_path / "one.onnx", (64, 64), {"dets": np.zeros((1, 1, 5), np.float32)})
    wrong_end = card(tmp_path, "one", "rtmo", (64, 64), {"boxes": "dets", "keypoints": "kp"}, 'skeleton = "coco17"')
    with pytest.raises(KinecastError, match=r"no output 'kp', it has dets: correct outputs\.keypoints in .*one\.toml"):
        load_detector(str(wrong_end), "onnxruntime")
    wrong_size = card(tmp_path, "one", "rtmo", (64, 96), {"boxes": "dets", "keypoints": "dets"}, 'skeleton = "coco17"')
    with pytest.raises(KinecastError, match="one"):
        load_detector(str(wrong_size), "onnxruntime")
    for ask, match in (({"max_people": 0}, "max_people is 0"), ({"find_every": 0}, "find_every is 0"),
                       ({"find_min_score": 2.0}, r"find_min_score is 2\.0")):  # fmt: skip
        with pytest.raises(KinecastError, match=match):
            load_detector("lightweight", **ask)  # type: ignore[arg-type]
