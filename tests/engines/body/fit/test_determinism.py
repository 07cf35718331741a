"""The same inputs in processes that differ in all that a process may differ in: the same results, bit for bit."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# one after the other, what a fit is made of, so that a failure says where it begins
CODE = """
import hashlib, json, sys
import numpy as np
from kinecast.engines.synth.moving_body import moving_body, observe_body
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.body.fit.multi_start import fit_from
from kinecast.engines.body.fit.solver import BodySolver, Fit
from kinecast.engines.body.fit.start import find_starts
from kinecast.engines.synth import WhiteNoise, ring_rig
from kinecast.engines.observations import camera_arrays

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
px, confidence = observe_body(rig, motion.points, WhiteNoise(4.0, 0.05, 0.15))
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
again = fit_from(solver.bones, prior, cameras.P, xy, w, R, t, np.zeros((len(R), 2, body.betas)))
say("refit", [getattr(again, n) for n in again.__slots__])

from kinecast.engines.synth import Noise, World, messages
from kinecast.nodes.bus.codec import encode
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode

# rows enough that the lifter multiplies by the dozen, joints that no view and that one view sees, a second of the rig
core = FusionCore(ring_rig(5), FusionNode(lift="default", body="neutral", body_prior="shipped"))
noise = Noise(3.0, outliers=0.1, missing=0.3, missed_people=0.2)
out = [o for v in messages(World(people=4), ring_rig(5), frames=int(sys.argv[1]), noise=noise)
       for o in core.handle(0, f"keypoints/{v.camera}", v)]
for topic in sorted({o.topic for o in out}):
    said[topic] = hashlib.sha256(b"".join(encode(o.record) for o in out if o.topic == topic)).hexdigest()[:12]
print(json.dumps(said))
"""
FRAMES = 40
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> list[str]:
    """Kernels of OpenBLAS that this processor can run; none but its own where it is no x86."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.is_file() else set()
    needs = {"Prescott": {"pni"}, "Haswell": {"avx2", "fma"}, "SkylakeX": {"avx512f", "avx512bw", "avx512vl"}}
    return [core for core, need in needs.items() if need <= flags]


def said(threads: str, **environment: str) -> dict[str, str]:
    env = os.environ | dict.fromkeys(THREADS, threads) | environment
    command = [sys.executable, "-c", CODE, str(FRAMES)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


@pytest.mark.timeout(600)  # several processes, which import everything anew
def test_another_process_says_the_same_to_the_last_bit() -> None:
    """Threads of BLAS, its kernels, seeds of hashes, and what glibc leaves in fresh memory, which nothing may read
    before it is written. (With one core BLAS has one thread in either.)
    """
    one = said("1", PYTHONHASHSEED="1", MALLOC_PERTURB_="0")
    assert {"live", "refit", "poses", "bodies", "framesets", "rig_health"} <= set(one)
    others = [{}, *({"OPENBLAS_CORETYPE": core} for core in cores())]
    for threads, other in zip(itertools.cycle("42"), others):
        tuned = {"PYTHONHASHSEED": "2", "MALLOC_PERTURB_": "165", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
        assert said(threads, **tuned, **other) == one, other
