"""Spots and bodies whose places are known."""

import numpy as np

# a standing person, 160 px high, in coco17: x, y from the middle of the hips
BODY = np.array(
    [[0, -70], [-4, -74], [4, -74], [-8, -72], [8, -72], [-18, -50], [18, -50], [-24, -25], [24, -25], [-26, 0],
     [26, 0], [-10, 0], [10, 0], [-11, 40], [11, 40], [-12, 80], [12, 80]], np.float32
)  # fmt: skip
SURE = np.full(17, 0.9, np.float32)


def blob(size_px: tuple[int, int], at_px: tuple[float, float], sigma_px: float) -> np.ndarray:  # type: ignore[type-arg]
    """A smooth spot around a place; the centre of the top left pixel is (0, 0)."""
    x, y = np.arange(size_px[0]), np.arange(size_px[1])[:, None]
    spot = np.exp(-((x - at_px[0]) ** 2 + (y - at_px[1]) ** 2) / (2 * sigma_px**2))
    return np.repeat(np.rint(255 * spot).astype(np.uint8)[:, :, None], 3, 2)


def at(x: float, y: float = 0.0, scale: float = 1.0) -> np.ndarray:  # type: ignore[type-arg]
    """The body with its hips there."""
    return (BODY * scale + np.array([x, y])).astype(np.float32)
