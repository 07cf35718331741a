"""Skeletons drawn into a camera's picture: the 3D pose through the exact lens, and under it what the detector saw.

Thick, in the person's colour (right arm and leg darker): the 3D pose, reprojected; wider where it is surer, dashed
where a joint was implied by others and not measured; thinner over a body's mesh. Thin and pale: the 2D keypoints of
this view. Grey: people that fusion did not use.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera
from kinecast.engines.observations import detection_rows
from kinecast.engines.records import Keypoints2D, Poses
from kinecast.engines.skeleton import Skeleton, skeleton

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

# blue green red; told apart by most colour-blind eyes (after Okabe and Ito, brightened for dark pictures)
PALETTE: tuple[Colour, ...] = (
    (60, 170, 255), (240, 190, 70), (140, 220, 60), (200, 130, 250), (90, 240, 250),
    (255, 130, 90), (90, 110, 255), (210, 210, 160), (120, 200, 180), (255, 120, 210),
)  # fmt: skip
GREY: Colour = (150, 150, 150)
WHITE: Colour = (255, 255, 255)
SHADOW: Colour = (20, 20, 20)
FONT = cv2.FONT_HERSHEY_SIMPLEX
SHIFT = 4  # OpenCV draws at 1/16 px with this
LIMIT_PX = 8000  # beyond this the drawing primitives overflow; such a point is far outside any picture


def colour_of(person_id: int) -> Colour:
    """The colour of an identity, the same in every view and in 3D."""
    return PALETTE[person_id % len(PALETTE)]


@cache
def drawn_bones(body: Skeleton) -> tuple[tuple[int, int], ...]:
    """Pairs of joints to join: the bones, and under them the outline of the torso where the tree leaves it open."""
    corners = ("left_shoulder", "left_hip", "right_hip", "right_shoulder", "left_shoulder")
    if not set(corners) <= set(body.joints):
        return body.bones
    sides = [(body.index(a), body.index(b)) for a, b in pairwise(corners)]
    have = {frozenset(pair) for pair in body.bones}
    return tuple(pair for pair in sides if frozenset(pair) not in have) + body.bones


def bone_colours(body: Skeleton, colour: Colour) -> tuple[Colour, ...]:
    """The colour of every drawn bone: the right side darker, so that a swap of left and right can be seen."""
    b, g, r = (int(0.62 * c) for c in colour)
    return tuple((b, g, r) if body.joints[child].startswith("right_") else colour for _, child in drawn_bones(body))


def _pale(colour: Colour) -> Colour:
    b, g, r = ((c + 2 * 255) // 3 for c in colour)
    return b, g, r


@dataclass(frozen=True, slots=True)
class Pen:
    """Sizes in pixels that suit a picture. text: OpenCV's font scale."""

    line: float
    joint: float
    thin: int
    text: float

    @classmethod
    def for_picture(cls, image: Image) -> "Pen":
        """From the shorter side: 2 px bones at 240 px, 5 px at 1080 px."""
        side = min(image.shape[:2])
        return cls(
            float(np.clip(side / 215, 2.0, 6.0)),
            float(np.clip(side / 240, 1.8, 6.0)),
            1 if side < 700 else 2,
            float(np.clip(side / 900, 0.38, 1.2)),
        )


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.round(np.clip(point, -LIMIT_PX, LIMIT_PX) * (1 << SHIFT)).astype(int)
    return int(x), int(y)


def _drawable(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(points) < LIMIT_PX).all(axis=-1))


def line(image: Image, a: NDArray[np.float64], b: NDArray[np.float64], colour: Colour, width: float) -> None:
    """One anti-aliased line between two points (2,), at sub-pixel positions."""
    cv2.line(image, _fixed(a), _fixed(b), colour, max(1, round(width)), cv2.LINE_AA, SHIFT)


def dashed(image: Image, a: NDArray[np.float64], b: NDArray[np.float64], colour: Colour, width: float) -> None:
    """A dashed line between two points (2,)."""
    dash = max(4.0, 2.2 * width)
    length = float(np.linalg.norm(b - a))
    steps = min(max(1, round(length / dash)), 400)
    for k in range(0, steps, 2):
        line(image, a + (b - a) * (k / steps), a + (b - a) * (min(k + 1, steps) / steps), colour, width)


def dot(image: Image, point: NDArray[np.float64], radius: float, colour: Colour, width: int = -1) -> None:
    """A disc, or with ``width`` a ring, at a sub-pixel position."""
    cv2.circle(image, _fixed(point), round(radius * (1 << SHIFT)), colour, width, cv2.LINE_AA, SHIFT)


def draw_pose(
    image: Image,
    points_px: NDArray[np.float64],
    confidence: NDArray[np.float32],
    derived: NDArray[np.bool_],
    body: Skeleton,
    colour: Colour,
    pen: Pen,
) -> None:
    """One person's projected joints: points_px (J, 2) in pixels of ``image``, NaN where there is nothing to draw."""
    seen = _drawable(points_px)
    sure = np.where(derived, 0.0, np.clip(np.nan_to_num(confidence), 0.0, 1.0))
    drawn = [
        (a, b, pen.line * (0.45 + 0.55 * min(sure[a], sure[b])), shade)
        for (a, b), shade in zip(drawn_bones(body), bone_colours(body, colour), strict=True)
        if seen[a] and seen[b]
    ]
    for a, b, width, _ in drawn:
        if not (derived[a] or derived[b]):
            line(image, points_px[a], points_px[b], SHADOW, width + 2)
    for a, b, width, shade in drawn:
        (dashed if derived[a] or derived[b] else line)(image, points_px[a], points_px[b], shade, width)
    for j in np.flatnonzero(seen):
        if derived[j]:
            dot(image, points_px[j], pen.joint * 0.9, colour, max(1, pen.thin))
        else:
            dot(image, points_px[j], pen.joint * (0.5 + 0.5 * sure[j]) + 1, SHADOW)
            dot(image, points_px[j], pen.joint * (0.5 + 0.5 * sure[j]), WHITE)


def draw_keypoints(
    image: Image,
    points_px: NDArray[np.float64],
    confidence: NDArray[np.float32],
    bones: tuple[tuple[int, int], ...],
    colour: Colour,
    pen: Pen,
) -> None:
    """One detection: points_px (J, 2) in pixels of ``image``. Joints of no confidence are left out."""
    seen = _drawable(points_px) & (confidence > 0.05)
    for a, b in bones:
        if seen[a] and seen[b]:
            line(image, points_px[a], points_px[b], colour, pen.thin)
    for j in np.flatnonzero(seen):
        dot(image, points_px[j], max(1.2, 0.4 * pen.joint), colour)


def text(image: Image, words: str, at: tuple[int, int], scale: float, colour: Colour = WHITE) -> None:
    """Words with a dark rim; ``at`` is the lower left corner in pixels."""
    width = 1 if scale < 0.8 else 2
    cv2.putText(image, words, at, FONT, scale, SHADOW, width + 2, cv2.LINE_AA)
    cv2.putText(image, words, at, FONT, scale, colour, width, cv2.LINE_AA)


def tag(image: Image, words: str, above: NDArray[np.float64], colour: Colour, pen: Pen) -> None:
    """A filled label whose foot is centred on a point (2,), kept inside the picture."""
    scale = pen.text
    (w, h), base = cv2.getTextSize(words, FONT, scale, 1)
    pad = max(2, round(0.3 * h))
    height, width = image.shape[:2]
    x = int(np.clip(above[0] - w / 2 - pad, 0, max(0, width - w - 2 * pad)))
    y = int(np.clip(above[1] - h - base - 2 * pad, 0, max(0, height - h - base - 2 * pad)))
    cv2.rectangle(image, (x, y), (x + w + 2 * pad, y + h + base + 2 * pad), colour, -1)
    cv2.putText(image, words, (x + pad, y + pad + h), FONT, scale, (0, 0, 0), 1 if scale < 0.8 else 2, cv2.LINE_AA)


def legend(image: Image, left: str, right: str = "") -> None:
    """A dark bar along the top: ``left`` at its left end, ``right`` at its right end where there is room."""
    scale = Pen.for_picture(image).text
    (w, h), base = cv2.getTextSize(left, FONT, scale, 1)
    pad = max(3, h // 2)
    bar = image[: h + base + 2 * pad]
    bar[:] = bar // 3
    text(image, left, (pad, pad + h), scale)
    (w2, _), _ = cv2.getTextSize(right, FONT, scale, 1)
    if right and w + w2 + 4 * pad <= image.shape[1]:
        text(image, right, (image.shape[1] - w2 - pad, pad + h), scale)


def project_scaled(camera: Camera, points_world: NDArray[np.floating], image: Image) -> NDArray[np.float64]:
    """Joints (..., 3) in metres → (..., 2) pixels of ``image``, a scaled copy of the camera's picture; NaN unseen.

    A point more than half a picture outside is NaN too: lens polynomials mean nothing there.
    """
    px, _ = camera.project(points_world)
    size = np.array(camera.size_px, np.float64)
    with np.errstate(invalid="ignore"):
        px[~((px > -0.5 * size) & (px < 1.5 * size)).all(axis=-1)] = np.nan
    return scaled(px, camera.size_px, image)


def scaled(points_px: NDArray[np.floating], size_px: tuple[int, int], image: Image) -> NDArray[np.float64]:
    """Pixels of a picture of ``size_px`` → pixels of a resized copy; pixel centres are at whole numbers in both."""
    ratio = np.array([image.shape[1] / size_px[0], image.shape[0] / size_px[1]])
    return np.asarray((np.asarray(points_px, np.float64) + 0.5) * ratio - 0.5)


def draw_view(
    image: Image, camera: Camera, poses: Poses | None, keypoints: Keypoints2D | None, bodied: Collection[int] = ()
) -> None:
    """Draw everything that is known of one view at one time into its picture, in place.

    image: (H, W, 3) uint8, the camera's picture at any scale. keypoints: what its detector saw, in original pixels.
    bodied: people whose mesh is in the picture already: their skeletons are drawn thin.
    """
    pen = Pen.for_picture(image)
    owner: dict[int, int] = {}
    if poses is not None:
        rows = detection_rows(poses, (camera.name,))[:, 0].tolist()
        owner = {row: person for row, person in zip(rows, poses.person_ids.tolist(), strict=True) if row >= 0}
    if keypoints is not None:
        bones = drawn_bones(skeleton(keypoints.skeleton))
        spots = scaled(keypoints.keypoints_px, keypoints.size_px, image)
        for n in range(len(spots)):
            colour = _pale(colour_of(owner[n])) if n in owner else GREY
            draw_keypoints(image, spots[n], keypoints.confidence[n], bones, colour, pen)
    if poses is None:
        return
    body = skeleton(poses.skeleton)
    joints = project_scaled(camera, poses.points_world_m, image)
    fine = replace(pen, line=max(1.0, 0.45 * pen.line), joint=max(1.2, 0.6 * pen.joint))
    for p, person in enumerate(poses.person_ids.tolist()):
        own = fine if person in bodied else pen
        draw_pose(image, joints[p], poses.confidence[p], poses.derived[p], body, colour_of(person), own)
        label_person(image, joints[p], person, pen)


def label_person(image: Image, points_px: NDArray[np.float64], person: int, pen: Pen) -> None:
    """The identity, above the highest joint in the picture."""
    inside = _drawable(points_px) & (points_px >= 0).all(axis=1) & (points_px < image.shape[1::-1]).all(axis=1)
    if inside.any():
        top = points_px[inside][np.argmin(points_px[inside, 1])]
        tag(image, f"id {person}", top - [0, 3 * pen.joint], colour_of(person), pen)
