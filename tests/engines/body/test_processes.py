"""The same inputs in two processes that differ in all that a process may differ in: the same fit, to the last bit."""

import json
import os
import subprocess
import sys

import pytest

# one after the other, what a fit is made of, so that a failure says where it begins
CODE = """
import hashlib, json
import numpy as np
from engines.body.example import moving_body, observe
from engines.body.files import load_body
from engines.body.keypoints import keypoint_terms
from engines.body.prior import load_prior, retargeted
from engines.body.refit import refit
from engines.body.solve import BodySolver, Fit
from engines.body_start import find_starts
from engines.synth import ring_rig
from engines.views import camera_arrays

said = {}
def say(name, arrays):
    said[name] = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:12]

rig = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)
cameras, body = camera_arrays(rig), load_body()
say("body", [body.J_template, body.J_shape])
terms, prior = keypoint_terms(body, "halpe26"), retargeted(load_prior(), body).arrays
say("terms", [terms.joint, terms.weight, terms.offset, terms.offset_shape])
say("prior", prior)
motion = moving_body(body, terms, 4, seed=1)
px, confidence = observe(rig, motion.points, 4.0, 0.05, 0.15)
xy = np.stack([camera.undistort(px[:, c]) for c, camera in enumerate(rig)], axis=1)
w = confidence * (cameras.focal_px[:, None] / 4.0) ** 2
say("views", [xy, w])
starts = find_starts(body)
say("starts", starts(cameras.P, np.where(w[0, ..., None] > 0, xy[0], 0.0), w[0]) if starts else [])
solver = BodySolver(
    body, "halpe26", cameras, prior, rig.up_world, persistent=0.7, common=0.3, starts=starts
)
fits = [solver.fit(i * 33_333_333, 1, xy[i], w[i]) for i in range(len(xy))]
say("live", [getattr(f, n) for f in fits for n in Fit.__slots__])
R = np.stack([motion.rotations, np.broadcast_to(prior.reference, motion.rotations.shape)], axis=1)
t = np.repeat(motion.trans[:, None], 2, axis=1)
again = refit(solver.bones, prior, cameras.P, xy, w, R, t, np.zeros((len(R), 2, body.betas)))
say("refit", [getattr(again, n) for n in again.__slots__])
print(json.dumps(said))
"""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def said(threads: str, **environment: str) -> dict[str, str]:
    env = os.environ | dict.fromkeys(THREADS, threads) | environment
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


@pytest.mark.timeout(300)  # two processes, which import everything anew
def test_another_process_fits_the_same_to_the_last_bit() -> None:
    """Threads of BLAS, seeds of hashes, and what glibc leaves in fresh memory, which nothing may read before it is
    written. (With one core BLAS has one thread in either.)
    """
    one = said("1", PYTHONHASHSEED="1", MALLOC_PERTURB_="0")
    other = said("4", PYTHONHASHSEED="2", MALLOC_PERTURB_="165", GLIBC_TUNABLES="glibc.malloc.tcache_count=0")
    assert one == other
