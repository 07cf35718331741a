"""Who reads what from whom, and how often: it follows from the registry of topics and the kinds of the nodes."""

from kinecast.nodes.bus.topics import TOPICS, Topic
from kinecast.nodes.graph.records import SUPERVISOR, CameraNode, Graph, fused_cameras, kind_of


def reads(graph: Graph, node: str) -> dict[str, tuple[str, ...]]:
    """Writer → families of topics that ``node`` takes from it."""
    reader = kind_of(graph, node)
    wanted = [t for t in TOPICS.values() if t.delivery != "link" and reader in (*t.readers, *t.watchers)]
    fused = fused_cameras(graph, node) if reader == "fusion" else graph.of_kind("camera")
    out: dict[str, tuple[str, ...]] = {}
    for writer in (*graph.nodes, SUPERVISOR):
        kind = kind_of(graph, writer)
        families = tuple(t.name for t in wanted if kind in t.writers)
        if writer != node and families and (kind != "camera" or writer in fused):
            out[writer] = families
    return out


def must_hear(graph: Graph, writer: str) -> tuple[str, ...]:
    """The readers that ``writer`` waits for: before its first message, and in the lossless pace for credits."""
    return tuple(
        n
        for n in graph.nodes
        if any(
            TOPICS[f].delivery == "lossless" and kind_of(graph, n) in TOPICS[f].readers
            for f in reads(graph, n).get(writer, ())
        )
    )


def judged_topic(graph: Graph, node: str) -> tuple[Topic, str] | None:
    """The topic that the health of ``node`` is judged by, and its full name; None where there is none."""
    kind = kind_of(graph, node)
    topic = next((t for t in TOPICS.values() if t.judged and kind in t.writers), None)
    if topic is None:
        return None
    return topic, f"{topic.name}/{graph.camera_of(node)}" if topic.key == "camera" else topic.name


def rate_hz(graph: Graph, topic: Topic, writer: str) -> float | None:
    """Messages a second of ``topic`` that the launch file promises of ``writer``; None where it promises none."""
    if topic.rate == "camera":
        settings = graph.nodes[writer]
        assert isinstance(settings, CameraNode)
        return settings.rate_hz
    if topic.rate == "sets":
        rates = [rate_hz(graph, TOPICS["keypoints"], c) for c in fused_cameras(graph, writer)]
        return min((r for r in rates if r is not None), default=None)
    return topic.rate
