"""Everything that fusion compiles, compiled before frames flow."""

from kinecast.engines.synth import CameraClock, Noise, World, messages, ring_rig
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode


def warm_up(cameras: int, body: str = "off", lift: str = "off") -> None:
    """Compile, or load from the cache, everything that a core runs: a second of a synthetic scene of two people."""
    noise = Noise(outliers=0.1, missing=0.2, missed_people=0.1, swaps=0.1, ghosts=0.5)
    rig = ring_rig(max(cameras, 3))
    core = FusionCore(rig, FusionNode(smooth=True, body=body, body_prior="shipped", lift=lift))
    clocks = {rig.names[0]: CameraClock(offset_ns=5_000_000)}
    for view in messages(World(people=2), rig, frames=30, noise=noise, clocks=clocks):
        core.handle(0, f"keypoints/{view.camera}", view)
