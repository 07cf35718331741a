"""Poses carried ahead by a stream's ``predict_ms``: how far from where the joints then are, and without it.

The motion is two minutes of the synthetic daily life at 60 Hz; joints have 5 mm of noise that is white over time, which
is harder on a velocity than noise that lasts.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.synth.daily_motion import daily_motion
from kinecast.nodes.bench import Row
from kinecast.nodes.stream.frame import StreamedPerson
from kinecast.nodes.stream.predict import Predictor

RATE_HZ = 60.0
FRAMES = 7200
NOISE_M, NOISE_RAD = 0.005, 0.02
AHEAD_MS = (0.0, 16.0, 33.0, 50.0)


def run() -> list[Row]:
    """Median and 95th percentile over all joints and times, for each step ahead, with prediction and without."""
    body = load_body("neutral")
    motion = daily_motion(body, keypoint_terms(body, "halpe26"), FRAMES, np.zeros(body.betas), (5,), RATE_HZ)
    rng = np.random.default_rng(0)
    seen = motion.joints + rng.normal(0, NOISE_M, motion.joints.shape)
    turns = Rotation.from_matrix(motion.rotations.reshape(-1, 3, 3))
    noisy = (turns * Rotation.from_rotvec(rng.normal(0, NOISE_RAD, (FRAMES * 24, 3)))).as_quat().reshape(-1, 24, 4)
    none = np.zeros(0, np.float32)
    people = [
        StreamedPerson(1, 0, none, j[0], q.astype(np.float32), j.astype(np.float32), np.zeros(24, np.float32))
        for j, q in zip(seen.astype(np.float32), noisy, strict=True)
    ]
    rows = []
    for ms in AHEAD_MS:
        late = ms * 1e-3 * RATE_HZ
        low = int(late)
        share = late - low
        at = np.arange(10, FRAMES - low - 1)
        truth = (1 - share) * motion.joints[at + low] + share * motion.joints[at + low + 1]
        predictor = Predictor(ms)
        carried = [predictor.ahead(round(n * 1e9 / RATE_HZ), (p,))[0].joints_m for n, p in enumerate(people)]
        for name, got in (("as captured", seen[at]), ("predicted", np.stack(carried)[at])):
            error = 1e3 * np.linalg.norm(got - truth, axis=-1)
            rows.append(Row(f"{ms:.0f} ms ahead, {name}: median", float(np.median(error)), "mm"))
            rows.append(Row(f"{ms:.0f} ms ahead, {name}: p95", float(np.quantile(error, 0.95)), "mm"))
    return rows
