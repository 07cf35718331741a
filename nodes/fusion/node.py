"""The fusion process: sockets, clocks and signals around :class:`FusionCore`."""

import time
from dataclasses import replace

from kinecast.calibration.formats import load_rig
from kinecast.capture.errors import KinecastError
from kinecast.capture.refusals import cause
from kinecast.engines.records import Bodies, FrameSet, Poses
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.bus.core import Out
from kinecast.nodes.bus.core_loop import run_core
from kinecast.nodes.bus.messages import KERNELS, KERNELS_THERE, RigHealth
from kinecast.nodes.fusion import rig_health
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.reload import on_request
from kinecast.nodes.fusion.warm_up import note, warm_up
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
            warm_up(len(core.rig), settings.body, settings.lift, lambda there, of: _compiling(bus, there, of))
            bus.note = ""
            with on_request(core.lifting, settings, core.bodies):
                run_core(core, bus, HealthReport(bus, core).hear)
        except KinecastError as e:
            bus.state, bus.note = "failed", str(e)
            raise


def _compiling(bus: Bus, there: int, of: int) -> None:
    bus.note = note(there, of)
    bus.meter.set_found(KERNELS, of)
    bus.meter.set_found(KERNELS_THERE, there)


class HealthReport:
    """Drops, latencies and notes of what a fusion says, into the health of its process."""

    def __init__(self, bus: Bus, core: FusionCore) -> None:
        self._bus, self._core = bus, core
        self._misfits = self._rig = self._late = ""

    def hear(self, out: Out) -> None:
        """One message of the core's."""
        meter, record = self._bus.meter, out.record
        if isinstance(record, FrameSet):
            for key, n in record.dropped.items():
                meter.set_drops(key, n)
            meter.find("views fused", int((record.frame_seqs >= 0).sum()))
            if self._bus.context.graph.session.pace == "realtime":
                self._waited(record)
        elif isinstance(record, RigHealth):
            live = self._bus.context.graph.session.pace == "realtime"
            self._rig = rig_health.line(record, time.time_ns() - time.monotonic_ns() if live else None)
        elif isinstance(record, Poses | Bodies):
            for step, ns in record.step_ns.items():
                meter.latency(step, ns, record.t_solved_ns)
        if isinstance(record, Poses):
            self._views_of_another_size(record)
            meter.find("sets with people", int(len(record.person_ids) > 0))
            for key, n in record.refused.items():
                meter.set_found(f"refused {key}", n)
            if record.t_last_arrival_ns:
                meter.latency("arrival to pose", record.t_solved_ns - record.t_last_arrival_ns, record.t_solved_ns)
        self._bus.note = "; ".join(filter(None, (self._misfits, self._late, self._rig)))

    def _waited(self, frameset: FrameSet) -> None:
        """How long a set waited for its views, and whose views usually come later than it may wait."""
        arrivals = frameset.arrivals_ns[frameset.frame_seqs >= 0]
        self._bus.meter.latency("wait for views", frameset.decided_ns - int(arrivals.min()), frameset.decided_ns)
        delays = self._core.usual_delays_ms
        first = min(delays.values())
        for camera, delay in delays.items():
            self._bus.meter.latency(f"delay of {camera}", int(1e6 * delay), frameset.decided_ns)
        bound = self._core.settings.max_wait_ms
        late = [f"{c} {d - first:.0f} ms" for c, d in delays.items() if d - first > bound]
        self._late = (
            f"too late for their sets: {', '.join(late)} after the first; max_wait_ms is {bound:g}" if late else ""
        )

    def _views_of_another_size(self, poses: Poses) -> None:
        """Frames that came and were not used, though a set has them: their pictures are not the rig's."""
        cameras = [c for c in poses.cameras if cause("picture_size", c) in poses.refused]
        for camera in cameras:
            key = cause("picture_size", camera)
            self._bus.meter.set_drops(key, poses.refused[key])
        if cameras:
            names = ", ".join(cameras)
            self._misfits = f"pictures of {names} have another size than in the rig: their views are not used"
