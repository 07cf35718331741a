"""The fusion process: sockets, clocks and signals around :class:`FusionCore`."""

import time
from dataclasses import replace

from kinecast.calibration.formats import load_rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Bodies, FrameSet, Poses
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.bus.core import Out
from kinecast.nodes.bus.core_loop import run_core
from kinecast.nodes.bus.messages import RigHealth
from kinecast.nodes.fusion import rig_health
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.reload import on_request
from kinecast.nodes.fusion.warm_up import warm_up
from kinecast.nodes.graph.records import FusionNode, NodeContext, fused_cameras


def main(context: NodeContext) -> None:
    """Fuse until every camera has ended, or the process is asked to stop."""
    graph = context.graph
    settings = graph.nodes[context.name]
    assert isinstance(settings, FusionNode)
    nodes = {n: graph.camera_of(n) for n in fused_cameras(graph, context.name)}
    with Bus(context) as bus:
        try:
            rig = load_rig(graph.session.rig)
            core = FusionCore(
                rig,
                replace(settings, cameras=tuple(nodes.values())),
                context.incarnation,
                pace=graph.session.pace,
                name=context.name,
                nodes=nodes,
                stopwatch=time.monotonic_ns,
            )
            # compiled before frames flow: until then health says starting
            warm_up(len(core.rig), settings.body, settings.lift)
            with on_request(core.lifting, settings, core.bodies):
                run_core(core, bus, lambda out: _tell(bus, out))
        except KinecastError as e:
            bus.state, bus.note = "failed", str(e)
            raise


def _tell(bus: Bus, out: Out) -> None:
    """Drops and latencies into the health."""
    if isinstance(out.record, FrameSet):
        for cause, n in out.record.dropped.items():
            bus.meter.set_drops(cause, n)
    elif isinstance(out.record, RigHealth):
        live = bus.context.graph.session.pace == "realtime"
        bus.note = rig_health.line(out.record, time.time_ns() - time.monotonic_ns() if live else None)
    elif isinstance(out.record, Poses | Bodies):
        for step, ns in out.record.step_ns.items():
            bus.meter.latency(step, ns, out.record.t_solved_ns)
        if isinstance(out.record, Poses) and out.record.t_last_arrival_ns:
            waited = out.record.t_solved_ns - out.record.t_last_arrival_ns
            bus.meter.latency("arrival to pose", waited, out.record.t_solved_ns)
