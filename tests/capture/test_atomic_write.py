"""Who may read what is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import PATHS

CODE = """
import os, sys
os.umask(int(sys.argv[2], 8))
from pathlib import Path
from kinecast.capture.atomic_write import atomic_write
atomic_write(Path(sys.argv[1]), "x")
"""
MODES = [("a.csv", "022", 0o644), ("a.csv", "077", 0o600), ("a.csv", "002", 0o664), ("a.mcap", "022", 0o600)]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize(("name", "umask", "mode"), MODES)
def test_the_umask_is_kept_and_recordings_are_private(tmp_path: Path, name: str, umask: str, mode: int) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path / name), umask]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": PATHS})
    assert (tmp_path / name).stat().st_mode & 0o777 == mode
