"""What a process of a camera loads before it can begin: there are up to sixteen of them."""

import os
import subprocess
import sys

import pytest

from tests.children import PATHS

HEAVY = (
    "scipy.signal", "scipy.stats", "scipy.optimize", "scipy.interpolate", "numba", "torch", "onnxruntime", "rich",
    "matplotlib",
)  # fmt: skip


@pytest.mark.parametrize("module", ["kinecast.nodes.camera.node", "kinecast.nodes.recording.recorder"])
def test_nothing_heavy_is_loaded_before_it_is_needed(module: str) -> None:
    """scipy.signal alone was most of what the imports of a camera took."""
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": PATHS},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
