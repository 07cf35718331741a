"""Overlays: skeletons land where the lens says, and what is different looks different."""

from dataclasses import replace

import numpy as np
import pytest

from kinecast.nodes.viewer import overlay
from tests.nodes.viewer import world


def _picture(scale: float = 4.0) -> np.ndarray:
    return np.full((round(world.SIZE[1] * scale), round(world.SIZE[0] * scale), 3), 90, np.uint8)


def _near(image: np.ndarray, at: np.ndarray, colour: tuple[int, int, int], reach: int = 3) -> bool:
    x, y = np.round(at).astype(int)
    patch = image[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].astype(int)
    return bool((np.abs(patch - colour).max(axis=2) < 40).any())


@pytest.mark.parametrize("scale", [2.0, 4.0, 12.0])  # 240, 480 and 1440 rows
def test_every_bone_is_drawn_at_its_projection(scale: float) -> None:
    camera = world.rig()["cam1"]
    pose = world.poses(0, {3: world.person()})
    image = _picture(scale)
    overlay.draw_view(image, camera, pose, None)
    px = overlay.project_scaled(camera, pose.points_world_m, image)[0]
    for a, b in world.BODY.bones:
        if np.linalg.norm(px[a] - px[b]) < 12 * overlay.Pen.for_picture(image).joint:
            continue  # covered by the marks of its joints
        side = world.BODY.joints[b].startswith("right_")
        colour = tuple(int(0.62 * c) if side else c for c in overlay.colour_of(3))
        assert _near(image, (px[a] + px[b]) / 2, colour), world.BODY.joints[b]


def test_pixel_centres_keep_their_place_when_a_picture_is_resized() -> None:
    image = _picture(0.5)
    corners = np.array([[-0.5, -0.5], [world.SIZE[0] - 0.5, world.SIZE[1] - 0.5]])
    expected = [[-0.5, -0.5], [world.SIZE[0] / 2 - 0.5, world.SIZE[1] / 2 - 0.5]]
    np.testing.assert_allclose(overlay.scaled(corners, world.SIZE, image), expected)


def test_what_is_implied_or_unsure_is_drawn_with_less() -> None:
    camera = world.rig()["cam1"]
    plain = world.poses(0, {1: world.person()})
    amounts = []
    for pose in (
        plain,
        replace(plain, confidence=np.full_like(plain.confidence, 0.1)),
        replace(plain, derived=np.ones_like(plain.derived)),
    ):
        image = _picture(6.0)
        overlay.draw_view(image, camera, pose, None)
        amounts.append(int((image != 90).any(axis=2).sum()))
    assert amounts[0] > 1.15 * amounts[1] > 1.15 * amounts[2]


def test_missing_joints_and_people_behind_the_camera_draw_nothing() -> None:
    camera = world.rig()["cam1"]
    behind = world.person() + np.float32([9.0, 0.0, 0.0])
    for points in (np.full_like(world.person(), np.nan), behind):
        image = _picture()
        overlay.draw_view(image, camera, world.poses(0, {1: points}), None)
        assert (image == 90).all()


def test_raw_keypoints_are_pale_for_a_person_and_grey_for_nobody() -> None:
    camera = world.rig()["cam1"]
    seen = world.keypoints(camera, 0, 0, [world.person()])
    thigh = np.mean([seen.keypoints_px[0, world.BODY.index(j)] for j in ("left_hip", "left_knee")], axis=0)
    hidden = world.poses(0, {1: np.full_like(world.person(), np.nan)})
    for pose, colour in ((None, overlay.GREY), (hidden, overlay._pale(overlay.colour_of(1)))):
        image = _picture()
        overlay.draw_view(image, camera, pose, seen)
        assert _near(image, overlay.scaled(thigh, world.SIZE, image), colour)


def test_labels_and_legend_stay_inside_a_small_picture() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    pen = overlay.Pen.for_picture(image)
    for corner in ((-50.0, -50.0), (500.0, 500.0)):
        overlay.tag(image, "id 123456789", np.array(corner), (0, 255, 0), pen)
    overlay.legend(image, "a camera with a very long name", "12.34 s")
    assert image.shape == (40, 60, 3)
    assert image.any()


def test_identities_keep_their_colour() -> None:
    assert overlay.colour_of(2) == overlay.colour_of(2) != overlay.colour_of(3)
    assert len(set(overlay.PALETTE)) == len(overlay.PALETTE)
