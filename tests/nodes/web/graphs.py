"""A synthetic graph that serves the page."""

from pathlib import Path

from kinecast.calibration.formats import save_rig
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import Graph
from tests.nodes.bus.graphs import free_base_port


def web_graph(folder: Path, port: int, cameras: int = 3, rate_hz: float = 15.0) -> Graph:
    """Cameras that look at two people, fusion without bodies, a recorder, and the page on ``port``."""
    save_rig(ring_rig(cameras, (320, 240)), folder / "rig.toml")
    (folder / "out").mkdir(exist_ok=True)
    (folder / "launch.yaml").write_text(
        "version: 1\nsession: {pace: realtime, out: out, name: test}\n"
        f"bus: {{base_port: {free_base_port(9)}}}\n"
        "defaults:\n"
        f"  camera: {{source: {{kind: synthetic, people: 2, fps_hz: {rate_hz}}}, detector: {{profile: synthetic}},"
        f" rate_hz: {rate_hz}}}\n"
        "nodes:\n"
        + "".join(f"  cam{n:02}: {{kind: camera}}\n" for n in range(1, cameras + 1))
        + "  fusion: {kind: fusion, body: 'off', lift: 'off'}\n  recorder: {kind: recorder}\n"
        f"  page: {{kind: web, port: {port}}}\n"
    )
    return launch_file.load(folder / "launch.yaml")
