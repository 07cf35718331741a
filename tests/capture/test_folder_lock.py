"""One process at a time changes a folder, and a dead one does not hold it."""

import subprocess
import sys
from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.capture.folder_lock import folder_lock

HOLDER = """
import sys
from pathlib import Path
from kinecast.capture.folder_lock import folder_lock as alone
with alone(Path(sys.argv[1]), "working"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_held_folder_is_named_and_free_once_its_holder_is_dead(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system cannot hold a folder")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None and holder.stdout is not None
    with holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            with (
                pytest.raises(KinecastError, match="another process is building there"),
                folder_lock(tmp_path, "building"),
            ):
                pass
        finally:
            holder.kill()
    with folder_lock(tmp_path, "building"):
        assert not list(tmp_path.iterdir())
    with pytest.raises(KinecastError, match="No such file"), folder_lock(tmp_path / "none", "building"):
        pass
