"""Whoever imports the core from Python, by whichever door, gets BLAS of one thread, unless they have set another."""

import os
import subprocess
import sys

import pytest

NAMES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ASK = "import os, sys, kinecast.{}; assert 'numpy' in sys.modules; print(*(os.environ[n] for n in {}))"


@pytest.mark.parametrize("door", ["capture.frame", "calibration.camera", "engines.records"])
@pytest.mark.parametrize(("before", "after"), [({}, "1 1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3 1")])
def test_blas_has_one_thread_for_whoever_imports_the_core(door: str, before: dict[str, str], after: str) -> None:
    env = {k: v for k, v in os.environ.items() if k not in NAMES} | before
    said = subprocess.run([sys.executable, "-c", ASK.format(door, NAMES)], env=env, capture_output=True, text=True)
    assert said.stdout.split() == after.split(), said.stderr
