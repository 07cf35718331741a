"""The web node: hears everybody, serves the page, and asks for pictures only while somebody looks."""

import os
import time
from contextlib import closing

from kinecast.calibration.formats import load_rig
from kinecast.capture.clock import MonotonicClock
from kinecast.capture.urls import is_loopback
from kinecast.nodes.bus.bus import Bus
from kinecast.nodes.bus.messages import Preview, PreviewWish
from kinecast.nodes.graph.records import NodeContext, WebNode
from kinecast.nodes.supervise.node_process import SESSION_TOKEN
from kinecast.nodes.web import three
from kinecast.nodes.web.feed import Feed
from kinecast.nodes.web.guard import Guard
from kinecast.nodes.web.server import PageServer, listen

POLL_S = 0.02
SCENE_S, STATE_S, WISH_S = 1 / 20, 1.0, 1.0
LOOKS_FOR_NS = 2_500_000_000  # cameras stop by themselves when the wish is not said again


def main(context: NodeContext) -> None:
    """Run the web node of ``context`` until it is asked to stop."""
    settings = context.graph.nodes[context.name]
    assert isinstance(settings, WebNode)
    feed = Feed(context.graph, load_rig(context.graph.session.rig))
    # of the session, so that pages find their way back when this process was started anew
    listening = listen(settings.bind, settings.port)
    port = listening.getsockname()[1]
    guard = Guard(settings.bind, port, MonotonicClock(), os.environ.get(SESSION_TOKEN, ""))
    server = PageServer(listening, guard, feed.about())
    with closing(server), Bus(context) as bus:
        print(f"the page: {guard.url}", flush=True)  # for the user's eyes: what goes to stderr is logged and kept
        bus.note = _note(settings.bind, port)
        bus.state = "running"
        due = {"scene": 0.0, "state": 0.0, "wish": 0.0}
        while not bus.stopping:
            for topic, received in bus.latest(POLL_S).items():
                if isinstance(received.record, Preview):
                    server.picture(received.record.camera, received.record.jpeg, feed.marks(received.record))
                else:
                    feed.take(topic, received.record)
            now = time.monotonic()
            if not server.pages:
                continue
            if now >= due["wish"]:
                due["wish"] = now + WISH_S
                until_ns = time.monotonic_ns() + LOOKS_FOR_NS
                bus.publish("preview_wish", PreviewWish(until_ns, settings.longest_px, settings.rate_hz), wait=False)
            if now >= due["scene"]:
                due["scene"] = now + SCENE_S
                server.show("scene", feed.scene())
            if now >= due["state"]:
                due["state"] = now + STATE_S
                server.show("state", feed.state(time.monotonic_ns()))


def _note(bind: str, port: int) -> str:
    """Where the page is, without its token, and what is amiss."""
    told = [f"page on {bind}:{port}"]
    if not is_loopback(bind):
        told.append("whoever has its address with the token can look, unencrypted")
    if three.missing():
        told.append("no 3D view until `kinecast models pull` has fetched three.js")
    return "; ".join(told)
