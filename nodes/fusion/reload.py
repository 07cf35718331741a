"""A running fusion takes up another lifter and pose prior on request, between two frame sets, without losing anybody.

SIGHUP asks for it; ``kinecast reload`` sends it. The weights that ``lift`` and ``body_prior`` of the launch file name
now are read beside the work, and put in force before the next set, whose journal entry has their names. People,
identities and what was learnt of them stay; only the network's memory of the last seconds begins anew.
"""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import zmq

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.prior.pose_prior import find_prior, read_prior
from kinecast.engines.lift.lifter import find_lifter
from kinecast.engines.lift.weights import read_lifter
from kinecast.engines.records import FrameSet
from kinecast.nodes.bus.health_meter import HealthMeter
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.bus.reader import Reader
from kinecast.nodes.fusion.bodies import BodyStage
from kinecast.nodes.fusion.lifting import LiftingStage, open_lifter
from kinecast.nodes.graph.records import FusionNode, Graph

_log = logging.getLogger("kinecast.lift")


@contextmanager
def on_request(stage: LiftingStage | None, settings: FusionNode, bodies: BodyStage | None = None) -> Iterator[None]:
    """While it lasts, SIGHUP makes the stages take up their weights anew; elsewhere than in the main thread nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked, over = threading.Event(), threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()

    def serve() -> None:
        while asked.wait() and not over.is_set():
            asked.clear()
            renew(stage, settings, bodies)

    signal.signal(signal.SIGHUP, ask)
    thread = threading.Thread(target=serve, name="reload", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        over.set()
        asked.set()
        thread.join()


def renew(stage: LiftingStage | None, settings: FusionNode, bodies: BodyStage | None = None) -> bool:
    """Read the weights that the settings name now and offer them; whether all went well. What is wrong is logged."""
    if stage is None and bodies is None:
        _log.warning(
            "asked for other weights, but lift is off and so is body: set one in the launch file, and run again"
        )
        return False
    good = True
    if stage is not None:
        try:
            stage.offer(open_lifter(settings))
        except KinecastError as e:
            _log.error("the lifter stays %s: %s", stage.name, e)
            good = False
    if bodies is not None:
        try:
            bodies.offer(read_prior(find_prior(settings.body_prior)))
        except KinecastError as e:
            _log.error("the pose prior stays %s: %s", bodies.prior, e)
            good = False
    return good


def renewed(stage: LiftingStage | None, bodies: BodyStage | None) -> tuple[str, str]:
    """Put in force what was offered, between two sets; names of lifter and pose prior in force, "" where none is."""
    return "" if stage is None else stage.renewed(), "" if bodies is None else bodies.renewed()


def reload(graph: Graph, timeout_s: float = 20.0) -> tuple[str, str]:
    """Ask the running graph, and wait for the first frame set that the new weights made: (before, after), their names.

    Raises KinecastError where nothing runs, it has no lifter, or does not take it up in time.
    """
    node = graph.of_kind("fusion")[0]
    settings = graph.nodes[node]
    assert isinstance(settings, FusionNode)
    if settings.lift == "off" and settings.body == "off":
        raise KinecastError("lift and body are off in this graph: there is nothing to take up")
    wanted = _wanted(settings)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    reader = Reader(context, graph, {node: ("health", "framesets")}, HealthMeter("reload", "reload"))
    until, pid, before = time.monotonic() + timeout_s, 0, ""
    try:
        while (left := until - time.monotonic()) > 0:
            message = reader.receive(left)
            record = None if message is None else message.record
            if isinstance(record, FrameSet):
                now = _names_of(record.lifter, record.body_prior)
                before = before or now
                if now == wanted:
                    return before, wanted
            elif (
                isinstance(record, Health) and record.node == node and record.state == "running" and not pid and before
            ):
                pid = record.pid
                ask(node, pid)
    except ProcessLookupError:
        raise KinecastError(f"{node} has just ended: start the graph again; it takes up {wanted} by itself") from None
    finally:
        reader.close()
        context.term()
    if not pid:
        raise KinecastError(f"{node} was not heard for {timeout_s:.0f} s: does the graph run?")
    raise KinecastError(f"{node} stays with {before} and was asked for {wanted}: its log says why")


def ask(node: str, pid: int) -> None:
    """Send SIGHUP to the process that health names, if it is that node's: a message may name any, and −1 is everybody.

    KinecastError where it is another's; ProcessLookupError where there is none.
    """
    if pid <= 1:
        raise KinecastError(f"{node} says that its process is {pid}: nothing was sent to it")
    told = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    words = told.stdout.split()
    if not words:
        raise ProcessLookupError
    if "kinecast.nodes.supervise.child" not in words or node not in words:
        raise KinecastError(f"{node} says that its process is {pid}, which is another program: nothing was sent to it")
    os.kill(pid, signal.SIGHUP)


def _wanted(settings: FusionNode) -> str:
    lifter = "" if settings.lift == "off" else read_lifter(find_lifter(settings.lift), "halpe26").name
    return _names_of(lifter, "" if settings.body == "off" else read_prior(find_prior(settings.body_prior)).name)


def _names_of(lifter: str, prior: str) -> str:
    return " and ".join(filter(None, (lifter, prior)))
