"""``docs/reference/topics.md``, ``refusals.md`` and ``summary.md``: what travels, what is counted, what a demo
measures."""

from collections.abc import Iterator
from dataclasses import MISSING, fields
from itertools import groupby

from kinecast.capture.refusals import REFUSALS, Refusal, cause
from kinecast.engines.records import BODY_FLAGS, Keypoints2D, People2D
from kinecast.nodes.bus.envelope import Envelope
from kinecast.nodes.bus.topics import TOPICS, Topic
from kinecast.nodes.evaluate.session_keys import KEYS
from tests.docs.markdown import default, described, hints, kind, summary, table, unit

RATES = {"camera": "that of the camera", "sets": "that of the slowest camera fused", None: "when it happens"}


def _rate(topic: Topic) -> str:
    return RATES.get(topic.rate) or f"{topic.rate:g} Hz"  # type: ignore[arg-type]


def _topic(t: Topic) -> tuple[str, ...]:
    readers = ", ".join([*t.readers, *(f"({w})" for w in t.watchers)])
    name = f"`{t.name}/<{t.key}>`" if t.key else f"`{t.name}`"
    recorded = "yes" if t.recorded else ""
    return (
        name,
        f"[{t.record.__name__}](#{t.record.__name__.lower()})",
        ", ".join(t.writers),
        readers,
        _rate(t),
        t.delivery,
        recorded,
    )


def _fields(cls: type) -> Iterator[tuple[str, ...]]:
    about, types = described(cls, *((People2D,) if cls is Keypoints2D else ())), hints(cls)
    shapes: dict[str, str] = getattr(cls, "SHAPES", {})
    for f in fields(cls):
        axes = shapes.get(f.name, "").replace(" …", "").split()
        shape = f" ({', '.join(axes)}{',' * (len(axes) == 1)})" if axes else ""
        told = [about[f.name]]
        told += ["*may be absent*"] if default(f) is not MISSING else []
        told += ["*volatile*"] if f.metadata.get("volatile") else []
        key = str(f.metadata.get("key", f.name))
        called = f"`{key}`" if key == f.name else f"`{key}` (in Python `{f.name}`)"
        yield called, kind(types[f.name]) + shape, unit(f.name), "; ".join(told)


def topics() -> str:
    """The page of the topics and their records."""
    heads = ("topic", "record", "writers", "readers", "rate", "delivery", "recorded")
    text = f"""# Topics and records

Every message is `[topic, envelope, payload]`; the payload is a msgpack map of the record's fields, arrays as dtype,
shape and bytes. A recording has the same payloads.

{table(heads, map(_topic, TOPICS.values()))}
- Readers take every message: of a lossless topic a writer waits for them. Those in brackets look on, and are never
  waited for.
- `lossless`: every gap is counted, and in the lossless pace messages travel by credit. `latest`: only the newest
  matters. `link`: between the two ends of the bus. `meshes` is for programs outside.
- *volatile*: when a machine did something, not what was seen; `kinecast diff` and `replay` leave it out. *may be
  absent*: in messages of earlier versions, which then mean the default.
- Axes: C cameras, P people, N detections, J joints, B betas, V vertices. What is missing is NaN with confidence 0.
- Bits of `flags` of bodies, from the lowest:
  {", ".join(f"`{flag}`" for flag in BODY_FLAGS[:5])},
  {", ".join(f"`{flag}`" for flag in BODY_FLAGS[5:])}.

"""
    for cls in (Envelope, *dict.fromkeys(t.record for t in TOPICS.values())):
        text += f"## {cls.__name__}\n\n{summary(cls)}\n\n{table(('field', 'type', 'unit', 'meaning'), _fields(cls))}\n"
    return text.rstrip("\n") + "\n"


def refusals() -> str:
    """The page of the codes."""
    text = """# Refusals and losses

Whatever is refused or lost is counted under a code, in messages, recordings and JSON; people are shown the sentence.
Where it is about a camera, a node or a topic, the key has that too: `late/cam01`. Codes do not change. Keys of
recordings made before there were codes are the sentences; they are read as the codes. What `status` makes of them is in
[the running graph](running-graph.md#status).

"""

    def row(r: Refusal) -> tuple[str, ...]:
        keys = [p.upper() for p in r.parts]
        told = r.sentence.format(**{p: p.upper() for p in r.parts})
        return f"`{cause(r.code, *keys)}`", told, r.about

    for counted, group in groupby(REFUSALS.values(), lambda r: r.counted):
        text += (
            f"## {counted[0].upper()}{counted[1:]}\n\n{table(('key', 'sentence', 'what was lost'), map(row, group))}\n"
        )
    return text.rstrip("\n") + "\n"


def summary_page() -> str:
    """The page of ``summary.json``."""
    return f"""# summary.json

What `kinecast demo` writes beside the recording. Keys stay; new ones may be added. What could not be measured
is `null`.

{table(("key", "meaning"), ((f"`{key}`", meaning) for key, meaning in KEYS.items()))}"""
