"""The thin main of a pure core: messages in, deadlines kept, messages out, until the core ends or is told to stop."""

import time
from collections.abc import Callable

from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.bus.core import Core, Out
from kinecast.nodes.bus.messages import End

IDLE_S = 0.5
OVERDUE_NS = 2_000_000_000  # a deadline is not put off for longer, however many messages wait to be read


def run_core(core: Core, bus: Bus, on_out: Callable[[Out], None] | None = None) -> bool:
    """Run ``core`` on ``bus`` until it publishes its own ``end/<node>``, or the process is asked to stop.

    ``handle`` is told the arrival of each message, ``tick`` is called when its deadline has passed and no message waits
    that came before it, and at least twice a second. on_out sees every message just before it is published. Returns
    True where the core came to its end, False where it was stopped: then the caller says what is left to say, and in
    both cases closes the bus.
    """
    own_end = f"end/{bus.context.name}"
    bus.state = "running"
    while not bus.stopping:
        due = core.next_deadline_ns()
        timeout_s = IDLE_S if due is None else min(IDLE_S, max(0.0, (due - time.monotonic_ns()) * 1e-9))
        message = bus.receive(timeout_s)
        outs: list[Out] = []
        if message is not None:
            began = time.monotonic_ns()
            outs += core.handle(message.t_arrival_ns, message.topic, message.record)
            bus.meter.latency("handle", time.monotonic_ns() - began, began)
        now = time.monotonic_ns()
        if message is None or (due is not None and now >= due + OVERDUE_NS):
            outs += core.tick(now)
        for out in outs:
            if on_out is not None:
                on_out(out)
            bus.publish(out.topic, out.record, out.t_capture_ns)
            if out.topic == own_end:
                assert isinstance(out.record, End)
                bus.state = "ended"
                return True
    return False
