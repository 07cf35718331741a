"""Who reads what from whom: it follows from the registry of topics and the kinds of the nodes."""

from kinecast.nodes.bus.topics import TOPICS
from kinecast.nodes.graph.records import KINDS, SUPERVISOR, Graph, fused_cameras, kind_of

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
