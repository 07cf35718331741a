"""The live result, out to other programs."""

from kinecast.nodes.stream.client import connect
from kinecast.nodes.stream.frame import StreamedPerson, StreamFrame

__all__ = ["StreamFrame", "StreamedPerson", "connect"]
