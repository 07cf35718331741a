"""The bodies of a recording as meshes: the model is found by the id in the messages."""

from pathlib import Path

from kinecast.capture.errors import KinecastError
from kinecast.nodes.fusion.meshes import Mesher
from kinecast.nodes.graph import launch_file
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.file import Recording


def mesher_of(recording: Recording, body: str = "", light: bool = True) -> Mesher:
    """What poses the bodies of a recording. body: a file that the user names, besides the one its launch file names."""
    return Mesher(str(recording.path), (body, body_file(recording)), light)


def body_file(recording: Recording) -> str:
    """The body that the attached launch file names, "" where it names none."""
    try:
        graph = launch_file.parse(recording.launch_text, "launch file", Path.cwd())
    except KinecastError:
        return ""
    settings = [graph.nodes[n] for n in graph.of_kind("fusion")]
    return next((s.body for s in settings if isinstance(s, FusionNode) and s.body != "off"), "")
