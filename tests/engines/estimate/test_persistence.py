"""What of a detector's error lasts is told by its residuals."""

import numpy as np
import pytest

from kinecast.engines.estimate.persistence import Persistence
from kinecast.engines.observations import camera_arrays
from kinecast.engines.synth import ring_rig

CAMERAS, J, SIGMA = camera_arrays(ring_rig(3)), 26, 0.003


@pytest.mark.parametrize("lasts", [0.0, 0.6, 0.95])
def test_the_share_that_lasts(lasts: float) -> None:
    """First-order autoregressive errors: 500 sets of 156 numbers, so the share is met to 4 / √78,000 and the prior."""
    rng = np.random.default_rng(4)
    points = rng.normal([0, 0, 1], 0.4, (1, J, 3))
    local = np.einsum("cia,tja->tcji", CAMERAS.P[:, :, :3], points) + CAMERAS.P[:, None, :, 3]
    told, e = Persistence(CAMERAS, J), rng.normal(size=(1, 3, J, 2))
    sigma = np.full((1, 3, J), SIGMA)
    for _ in range(500):
        e = lasts * e + np.sqrt(1 - lasts**2) * rng.normal(size=e.shape)
        told.learn(np.array([4]), points, local[..., :2] / local[..., 2:] + SIGMA * e, sigma)
    assert told.share == pytest.approx(lasts, abs=0.03)


def test_somebody_else_is_no_habit() -> None:
    told = Persistence(CAMERAS, J)
    before = told.share
    for track in range(5):
        xy = np.random.default_rng(track).normal(size=(1, 3, J, 2))
        told.learn(np.array([track]), np.full((1, J, 3), np.nan), xy, np.full((1, 3, J), SIGMA))
    assert told.share == before
