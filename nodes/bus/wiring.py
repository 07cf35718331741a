"""Who reads what from whom: it follows from the registry of topics and the kinds of the nodes."""

from nodes.bus.topics import TOPICS
from nodes.graph import KINDS, FusionNode, Graph

SUPERVISOR = "supervisor"

# What a reader takes of each kind of writer. Readers named in LOSSLESS must be heard before anything is published, and
# in the lossless pace nothing of the lossless topics passes them by; a viewer only looks.
_RECORDED = tuple(t.name for t in TOPICS.values() if t.recorded)
READS: dict[str, dict[str, tuple[str, ...]]] = {
    "fusion": {"camera": ("keypoints", "source", "end"), SUPERVISOR: ("end",)},
    "recorder": dict.fromkeys(("camera", "fusion", "viewer", SUPERVISOR), _RECORDED),
    "viewer": {"camera": ("end", "health"), "fusion": ("poses", "bodies", "end", "health")},
    SUPERVISOR: dict.fromkeys(KINDS, ("health", "end")),
    "camera": {},
}
LOSSLESS = ("fusion", "recorder")


def kind_of(graph: Graph, node: str) -> str:
    """``camera``, ``fusion``, ``recorder``, ``viewer`` or ``supervisor``."""
    if node == SUPERVISOR:
        return SUPERVISOR
    return next(kind for kind, cls in KINDS.items() if isinstance(graph.nodes[node], cls))


def fused_cameras(graph: Graph, node: str) -> tuple[str, ...]:
    """The camera nodes that a fusion node reads: those it names (node or rig name), by default all."""
    settings = graph.nodes[node]
    assert isinstance(settings, FusionNode)
    cameras = graph.of_kind("camera")
    if not settings.cameras:
        return cameras
    return tuple(c for c in cameras if c in settings.cameras or graph.camera_of(c) in settings.cameras)


def reads(graph: Graph, node: str) -> dict[str, tuple[str, ...]]:
    """Writer → families of topics that ``node`` takes from it."""
    wanted = READS[kind_of(graph, node)]
    fused = fused_cameras(graph, node) if kind_of(graph, node) == "fusion" else graph.of_kind("camera")
    out: dict[str, tuple[str, ...]] = {}
    for writer in (*graph.nodes, SUPERVISOR):
        kind = kind_of(graph, writer)
        families = tuple(f for f in wanted.get(kind, ()) if kind in TOPICS[f].writers)
        if writer != node and families and (kind != "camera" or writer in fused):
            out[writer] = families
    return out


def must_hear(graph: Graph, writer: str) -> tuple[str, ...]:
    """The readers that ``writer`` waits for: before its first message, and in the lossless pace for credits."""
    return tuple(
        n
        for n in graph.nodes
        if kind_of(graph, n) in LOSSLESS
        and any(TOPICS[f].delivery == "lossless" for f in reads(graph, n).get(writer, ()))
    )
