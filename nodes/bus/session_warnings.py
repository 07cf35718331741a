"""What is wrong with a session as a whole: it found nobody, or lost most of its frames; and why, from the counts."""

from collections import Counter
from collections.abc import Mapping

from kinecast.capture.refusals import REFUSALS, code_of, sentence
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.graph.records import CameraNode, Graph, fused_cameras

LEAST_FRAMES = 20  # of all cameras together: before that there is nothing to judge
SHARE = 0.5
ADVICE = {
    "skipped_at_source": "the machine is too slow: take a lighter detector.profile, or pace: lossless for files",
    "before_start": "frames came before every node was ready",
    "damaged": "the pictures are damaged: look at the network, or make the files anew",
    "late": "cameras are too late for their sets, by a busy machine or a clock that differs: raise fusion.wait_ms, and "
    "fusion.max_wait_ms for one that is always late",
    "single_view": "the cameras' times do not meet: files that begin apart (source.start_s), or clocks that differ",
    "non_monotonic_stamp": "a camera's clock goes back",
    "black_picture": "a camera gives black pictures",
    "green_picture": "a camera gives green pictures",
    "other_size": "a camera gives pictures of another size than the rig's",
    "picture_size": "pictures have another size than in the rig: their views are not used",
    "gap": "messages were lost between the nodes",
}


def warnings(graph: Graph, healths: Mapping[str, Health | None]) -> list[str]:
    """Lines for the user; none where all is well or nothing can be said yet."""
    fusion = next(iter(graph.of_kind("fusion")))
    cameras = {n: healths.get(n) for n in fused_cameras(graph, fusion)}
    taken, seen, lost = 0, 0, Counter[str]()
    for node, health in cameras.items():
        if health is not None:
            taken += health.published.get(f"keypoints/{graph.camera_of(node)}", 0)
            seen += health.found.get("people", 0)
            lost += _lost(graph, node, health)
    frames = taken + lost.total()
    health = healths.get(fusion)
    if frames < LEAST_FRAMES:
        return []
    if health is None or not health.published.get("poses"):
        state = "was never heard of" if health is None else f"was {health.state}"
        why = f": {health.note}" if health is not None and health.note else ""
        return [f"nothing was fused of {frames} frames: {fusion} {state}{why}"]
    out = []
    fused, sets = health.found.get("views fused", 0), health.published["poses"]
    if fused < SHARE * frames:
        why = _cause(lost + Counter(health.drops))
        out.append(f"only {fused} of {frames} frames were fused ({fused / frames:.0%}): {why}")
    if not health.found.get("sets with people"):
        out.append(f"nobody was found in {sets} frame sets: {_why_nobody(seen, taken, health)}")
    return out


def _lost(graph: Graph, node: str, health: Health) -> Counter[str]:
    """Frames that a camera's source gave and nobody looked at; while a device waited for the others none was lost."""
    settings = graph.nodes[node]
    assert isinstance(settings, CameraNode)
    device = settings.source.kind in ("usb", "stream")
    kinds = ("skipped_at_source", "damaged", "black_picture", "green_picture", "other_size")
    counted = kinds if device else (*kinds, "before_start")
    return Counter({cause: n for cause, n in health.drops.items() if cause in counted})


def _cause(lost: Counter[str]) -> str:
    """The greatest loss, by cause over all cameras, and what to do."""
    known = Counter[str]()
    for cause, n in lost.items():
        code = code_of(cause)
        if code in ADVICE:
            known[code] += n
    if not known:
        return "the cameras do not show the same time: see `kinecast info`"
    code, n = known.most_common(1)[0]
    return f"{REFUSALS[code].general} {n}: {ADVICE[code]}"


def _why_nobody(seen: int, taken: int, fusion: Health) -> str:
    if not seen:
        return f"no camera saw anybody in {taken} frames: people too small or too far for the detector, or none there"
    refused = {k: n for k, n in fusion.found.items() if k.startswith("refused ")}
    most = max(refused, key=lambda k: refused[k], default="")
    why = f" (refused: {sentence(most.removeprefix('refused '))} {refused[most]} times)" if most else ""
    return f"the cameras saw people {seen} times, but no two of them the same{why}: is it their rig, and one clock?"
