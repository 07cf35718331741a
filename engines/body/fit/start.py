"""Where a body may begin when nothing but views is there: what the regressor says of them.

Joins :mod:`engines.virtual_camera` and :mod:`engines.body.fit.regressor`; a start, not data: the solver tries it among
others and keeps the cheapest.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.fixed import times
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.regressor import PATH, WINDOW, Regressor, fused, into_world, read_regressor
from kinecast.engines.body.model.body import BodyModel, same_rotations
from kinecast.engines.body.model.load import load_body
from kinecast.engines.virtual_camera import normalise

Float = NDArray[np.float64]
Starts = Callable[[Float, Float, Float], list[Float]]


def starts_of(regressor: Regressor) -> Starts:
    """What the solver calls: P (C, 3, 4), xy (C, K, 2), w (C, K), 0 where missing → poses (24, 3, 3) in the world."""

    def starts(P: Float, xy: Float, w: Float) -> list[Float]:
        # the solver has confidence over noise, squared; of one view the noise is nearly the same everywhere
        top = w.max(axis=1, keepdims=True)
        confidence = np.sqrt(w / np.maximum(top, 1e-12)) * (w > 0)
        n = normalise(xy, confidence)
        views = np.flatnonzero(n.seen)
        if not len(views):
            return []
        windows = np.repeat(n.features[views, None], WINDOW, axis=1)
        R, betas = regressor.predict(windows, n.context[views])
        world_from_cam = np.swapaxes(P[views, :, :3], -1, -2)
        R = into_world(R, times(world_from_cam, n.cam_from_virtual[views]))
        if len(views) == 1:
            return [R[0]]
        return [fused(R[None], betas[None], confidence[views].mean(axis=1)[None])[0][0]]

    return starts


def find_starts(body: BodyModel, what: str = "default") -> Starts | None:
    """What a fit may begin with. what: ``default``, the weights that came with Kinecast; ``off``; or a file.

    None where it is off, and where what came with Kinecast is not there or the body has other rotations. KinecastError
    where a file that was named cannot be read or is not for this body.
    """
    if what == "off":
        return None
    if what != "default":
        regressor = read_regressor(Path(what))
        if not same_rotations(body, load_body()):
            raise KinecastError(f"{what} tells rotations of another body than {body.name}: set body_start: off")
        return starts_of(regressor)
    if not PATH.is_file() or not same_rotations(body, load_body()):
        return None
    return starts_of(read_regressor(PATH))
