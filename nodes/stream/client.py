"""Five lines to a live pose::

from kinecast.nodes.stream import connect

for frame in connect("ws://127.0.0.1:8765"):
    for person in frame.people:
        print(person.person, person.joints_m[0])
"""

from collections.abc import Iterator

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect as open_socket

from kinecast.capture.errors import KinecastError
from kinecast.nodes.stream.frame import StreamFrame, unpack

MOST_BYTES = 1 << 20


def connect(url: str = "ws://127.0.0.1:8765", timeout_s: float = 10.0) -> Iterator[StreamFrame]:
    """The frames of a running stream as they come, until it ends or the loop is left.

    KinecastError where nothing listens there, or what it sends is no Kinecast frame.
    """
    try:
        socket = open_socket(url, open_timeout=timeout_s, max_size=MOST_BYTES, compression=None)
    except (OSError, InvalidHandshake, ValueError) as e:
        raise KinecastError(f"{url}: no stream there ({e}): does a graph with a `stream` node run?") from None
    with socket:
        try:
            for message in socket:
                if isinstance(message, bytes):
                    yield unpack(message)
        except ConnectionClosed:
            return
        except ValueError as e:
            raise KinecastError(f"{url}: {e}") from None
