"""Writes ``v1-sentences.mcap``: a recording whose causes are sentences, as all were before there were codes.

It was run once; the file is read for ever and not made again.

python -m tests.golden.make_v1_sentences PATH
"""

import sys
from dataclasses import replace
from pathlib import Path

from kinecast.calibration.formats import native
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.recording.file import RIG, About, RecordingWriter, Stamp
from tests.nodes.recording.scene import PERIOD_NS, circle_rig, frameset, keypoints, poses

# every sentence that a version wrote, as it was written, with the number that it stands at
DROPS = {
    "cam1": ("skipped at source", "before start", "damaged", "not recorded", "fusion not heard at start",
             "malformed ack", "lost in restart of recorder"),
    "fusion": ("late cam1", "alone cam2", "stamp went back cam3", "too many waiting cam4", "not in the rig cam9",
               "gap keypoints/cam1", "repeated keypoints/cam2", "restart of cam3", "malformed keypoints from cam4",
               "malformed message from cam4", "oversized or foreign message from cam1"),
}  # fmt: skip
DROPPED = ("late cam1", "alone cam2", "stamp went back cam3", "too many waiting cam4", "not in the rig cam9")
REFUSED = (
    "keypoint not finite", "view sees somebody else", "detection of somebody seen twice", "too few joints",
    "too few views", "no agreeing view", "birth: too few joints", "birth: too few views",
    "birth: not where other views should see it", "birth: not a body", "birth: somebody is there already",
    "birth: scene full", "size of cam4 is not the rig's",
)  # fmt: skip


def numbered(sentences: tuple[str, ...]) -> dict[str, int]:
    """Each sentence with its number, from 1."""
    return {sentence: n for n, sentence in enumerate(sentences, 1)}


def make(path: Path) -> None:
    """Two frame sets of four cameras with everything refused and dropped that there is."""
    rig = circle_rig()
    with path.open("xb") as file:
        writer = RecordingWriter(file, About("golden", "golden", started_utc="2026-01-01T00:00:00+00:00"))
        writer.attach(RIG, native.dumps(rig).encode())
        for n in range(2):
            t = n * PERIOD_NS
            for c, name in enumerate(rig.names):
                writer.record(Stamp(f"keypoints/{name}", n, t + c, t), keypoints(rig, c, n, 1))
            writer.record(Stamp("framesets", n, t, t), replace(frameset(rig, n), dropped=numbered(DROPPED)))
            writer.record(Stamp("poses", n, t, t), replace(poses(rig, n, 1), refused=numbered(REFUSED)))
        for node, drops in DROPS.items():
            kind = "fusion" if node == "fusion" else "camera"
            health = Health(node, kind, 1, "running", t, drops=numbered(drops))
            writer.record(Stamp(f"health/{node}", 0, t, t), health)
        writer.finish()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
