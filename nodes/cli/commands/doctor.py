"""``kinecast doctor``: what this machine has, what is missing, how to get it, and what works without it."""

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from kinecast.capture.console import plain_console


@dataclass(frozen=True, slots=True)
class Check:
    """code: Python that exits with 0 where all is well, and whose last line of output says what was found.

    needed: whether the main job needs it. remedy: how to get it. without: what still works where it is missing.
    """

    name: str
    code: str
    needed: bool
    remedy: str
    without: str = ""


PIP = "pip install -c constraints.txt "

CHECKS = (
    Check(
        "OpenCV",
        "import cv2; print(cv2.__version__)",
        True,
        "Debian: apt-get install libgl1 libglib2.0-0 libxcb1",
    ),
    Check(
        "video (PyAV, H.264)",
        "import av; av.codec.Codec('h264', 'w'); print(av.__version__)",
        True,
        PIP + "av",
    ),
    Check(
        "ONNX Runtime",
        "import onnxruntime as o; print(o.__version__)",
        True,
        "pip install -c constraints.txt onnxruntime",
    ),
    Check("numba", "import numba; print(numba.__version__)", True, "pip install -c constraints.txt numba"),
    Check(
        "OpenVINO",
        "import openvino as o; print(o.__version__)",
        False,
        PIP + "openvino",
        "ONNX Runtime runs the models, up to a tenth slower",
    ),
    Check(
        "NVIDIA driver",
        "import ctypes; ctypes.CDLL('libcuda.so.1'); print('found')",
        False,
        "install the driver of your card",
        "the models run on the processor",
    ),
    Check(
        "TensorRT",
        "import importlib.util as u, sys\n"
        "n = [m for m in ('tensorrt', 'tensorrt_rtx') if u.find_spec(m)]\n"
        "sys.exit('neither tensorrt nor tensorrt_rtx') if not n else print(n[0], __import__(n[0]).__version__)",
        False,
        PIP + "tensorrt-rtx-cu12 (proprietary licence)",
        "ONNX Runtime or OpenVINO run the models",
    ),
    Check(
        "Open3D off screen",
        "import sys\nfrom kinecast.nodes.viewer.scene_open3d import probe\n"
        "r = probe()\nsys.exit(r) if r else print('renders')",
        False,
        "Debian: apt-get install libusb-1.0-0 libvulkan1 mesa-vulkan-drivers libgl1 libegl1",
        "overlays on the videos, and a plain 3D view drawn with lines",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing to choose but brevity."""
    parser.add_argument("--quiet", action="store_true", help="print only what is missing")


def look(check: Check) -> tuple[bool, str]:
    """Run one check in a process of its own, since a library that lacks another may crash."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", check.code], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return False, "no answer within a minute"
    lines = ((done.stdout if done.returncode == 0 else done.stderr) or done.stdout).strip().splitlines()
    return done.returncode == 0, lines[-1][:160] if lines else f"died with status {done.returncode}"


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 where something is missing that the main job needs."""
    out = Table("what", "found", "how to get it", "without it")
    lacking = False
    for check in CHECKS:
        ok, found = look(check)
        lacking |= check.needed and not ok
        if ok and args.quiet:
            continue
        colour = "green" if ok else "red" if check.needed else "yellow"
        out.add_row(
            check.name,
            Text(found, style=colour),
            "" if ok else check.remedy,
            "" if ok else check.without or "nothing works",
        )
    if not shutil.which("npm"):
        out.add_row(
            "npm", Text("not on PATH", style="yellow"), "", "`kinecast models pull` brings one of its own through pip"
        )
    if out.row_count:
        plain_console().print(out)
    return int(lacking)
