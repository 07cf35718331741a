"""What it costs to record."""

import tempfile
import time
from pathlib import Path

from kinecast.nodes.bench import Row, median_us
from kinecast.nodes.bench.codec import sample_keypoints, sample_poses
from kinecast.nodes.bus.codec import encode
from kinecast.nodes.recording.file import About, Recording, RecordingWriter, Stamp

MESSAGES = 20_000


def run() -> list[Row]:
    """Write and read back messages of a scene of six people."""
    payloads = [("keypoints/cam1", encode(sample_keypoints())), ("poses", encode(sample_poses()))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.mcap"
        with path.open("wb") as stream:
            writer = RecordingWriter(stream, About(), path.name)
            start = time.perf_counter()
            for number in range(MESSAGES):
                topic, payload = payloads[number % 2]
                writer.write(Stamp(topic, number // 2, number, number), payload)
            writer.finish()
            each_us = (time.perf_counter() - start) / MESSAGES * 1e6
        start = time.perf_counter()
        read = sum(1 for _ in Recording.open(path).messages())
        read_us = (time.perf_counter() - start) / max(1, read) * 1e6
        with (Path(folder) / "flush.mcap").open("wb") as stream:
            writer = RecordingWriter(stream, About())

            def flushed() -> None:
                writer.write(Stamp("poses", 0), payloads[1][1])
                writer.flush()

            flush_us = median_us(flushed, 0.3)
            writer.finish()
    # four cameras at 60 Hz: keypoints of each, a frame set and poses for each instant
    share = 6 * 60 * each_us / 1e4
    return [
        Row("recorder: write a message", each_us, "µs", note=f"{share:.1f} % of a core at 4 cameras × 60 Hz"),
        Row("recorder: read a message", read_us, "µs"),
        Row("recorder: flush a chunk", flush_us, "µs"),
    ]
