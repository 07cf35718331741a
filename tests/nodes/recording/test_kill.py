"""A recorder that is killed with −9 loses what was younger than ``flush_s`` and nothing else."""

import subprocess
import sys
from pathlib import Path

from kinecast.nodes.recording.file import Recording

FLUSH_S = 0.05
CHILD = """
import sys, time
from pathlib import Path
from kinecast.nodes.bus.codec import encode
from kinecast.nodes.bus.envelope import Envelope
from kinecast.nodes.bus.bus import Received
from kinecast.nodes.recording.recorder import RecorderCore
from kinecast.nodes.recording.file import About, RecordingWriter
from tests.nodes.bus.graphs import keypoints

record = keypoints("cam0", 0)
payload = encode(record)
with Path(sys.argv[1]).open("wb") as file:
    core = RecorderCore(RecordingWriter(file, About()), frozenset({"cam0"}), round(float(sys.argv[2]) * 1e9))
    n = 0
    while True:
        now = time.monotonic_ns()
        core.handle(Received("keypoints/cam0", Envelope("cam0", 0, n, 1, 0, now), payload, record, now))
        core.tick(now)
        print(n, now, flush=True)
        n += 1
"""


def test_killed_it_loses_less_than_flush_s(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    root = Path(__file__).parents[3]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(FLUSH_S)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert child.stdout is not None
    said: list[tuple[int, int]] = []
    try:
        while len(said) < 2 or said[-1][1] - said[0][1] < 6 * FLUSH_S * 1e9:
            n, t = child.stdout.readline().split()
            said.append((int(n), int(t)))
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    recording = Recording.open(path)
    read = [s.sequence for s, _ in recording.raw()]
    assert recording.cut_short and read == list(range(len(read)))
    # after the tick of a message, whatever is at least flush_s older than it is on disk
    owed = [n for n, t in said if t <= said[-1][1] - FLUSH_S * 1e9]
    assert owed and len(read) > owed[-1]
