"""Listen to the poses of a running graph, without holding it up: `kinecast run launch.yaml` in another terminal.

python docs/examples/live_poses.py launch.yaml --seconds 10
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import zmq

from kinecast.engines.records import Poses
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.bus.reader import Reader
from kinecast.nodes.graph import launch_file


def live_poses(launch: Path, seconds: float) -> Iterator[Poses]:
    """The poses as they come, for so long. The launch file says where the fusion node publishes."""
    graph = launch_file.load(launch)
    wanted: dict[str, tuple[str, ...]] = dict.fromkeys(graph.of_kind("fusion"), ("poses",))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    reader = Reader(context, graph, wanted, HealthMeter("listener", "viewer"))
    until = time.monotonic() + seconds
    try:
        while (left := until - time.monotonic()) > 0:
            message = reader.receive(left)
            if message is not None:
                yield message.record
    finally:
        reader.close()
        context.term()


def main() -> None:
    """Print the newest pose of everybody, a line a frame set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("launch", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    for poses in live_poses(args.launch, args.seconds):
        age_ms = (time.monotonic_ns() - poses.t_set_ns) / 1e6
        seen = ", ".join(f"person {i}" for i in poses.person_ids.tolist()) or "nobody"
        print(f"frame set {poses.frameset_seq}: {seen}; {age_ms:.0f} ms after capture", flush=True)


if __name__ == "__main__":
    main()
