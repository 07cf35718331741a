"""``launch.yaml`` ↔ :class:`nodes.graph.records.Graph`: strict, with defaults by kind, overrides, and checks across
nodes."""

import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from kinecast.capture.errors import KinecastError
from kinecast.capture.guarded import guarded
from kinecast.capture.urls import is_loopback, is_url, kind_and_path, redacted, redacted_options, unset
from kinecast.nodes.graph import strict_yaml
from kinecast.nodes.graph.records import (
    KINDS,
    SUPERVISOR,
    BusSettings,
    CameraNode,
    FusionNode,
    Graph,
    Node,
    RecorderNode,
    Session,
    StreamNode,
    kind_of,
)
from kinecast.nodes.graph.strict_yaml import Mapping, Scalar, Tree

VERSION = 1
TOP = ("version", "session", "bus", "defaults", "nodes")

# Least and greatest of every number, by field name. They keep out slips (a rate of 0, a wait in the wrong unit), not
# opinions.
RANGES: dict[str, tuple[float, float]] = {
    "lead_s": (0, 600),
    "base_port": (1024, 65535),
    "window": (1, 10_000),
    "high_water": (10, 1_000_000),
    "backoff_s": (0.01, 60),
    "backoff_max_s": (0.01, 600),
    "silent_s": (1, 600),
    "cap": (0, 1000),
    "frames": (1, 1_000_000_000),
    "fps_hz": (0.1, 1000),
    "rate_hz": (0.1, 1000),
    "size_px": (16, 16384),
    "stall_s": (0.1, 600),
    "start_s": (-86_400, 86_400),
    "retry_s": (0.1, 600),
    "exposure": (-20, 100_000),  # of some systems the logarithm of seconds
    "gain": (0, 100_000),
    "focus": (0, 100_000),
    "white_balance": (0, 20_000),
    "seed": (0, 2**31 - 1),
    "people": (0, 64),
    "threads": (1, 256),
    "max_people": (1, 64),
    "find_every": (1, 10_000),
    "find_every_s": (0.001, 60),
    "find_min_score": (0, 1),
    "wait_ms": (0, 10_000),
    "max_wait_ms": (0, 10_000),
    "max_set_span_ms": (0, 1000),
    "min_views": (2, 32),
    "lift_views": (1, 32),
    "occlusion_s": (0, 600),
    "flush_s": (0.01, 10),
    "save_every_s": (0.1, 3600),
    "websocket": (1, 65535),
    "port": (1, 65535),
    "longest_px": (64, 1920),
    "vmc_people": (1, 16),
    "predict_ms": (0, 100),
    "persons": (0, 1_000_000_000),
}

N = TypeVar("N", bound=Node)


@guarded("a launch file")
def load(path: str | Path, overrides: Iterable[str] = ()) -> Graph:
    """Read a launch file; ``overrides`` are ``key.path=value``, as after ``--set``. Paths come out absolute.

    A path in the file is relative to the file, one in an override to the working directory. KinecastError says file,
    line, place and the nearest right word for anything that is not known, of the wrong type or out of range.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as e:
        raise KinecastError(f"cannot read the launch file {file}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise KinecastError(f"{file}: not a text file in UTF-8") from None
    return parse(text, file.name, file.resolve().parent, overrides)


def parse(text: str, name: str, folder: Path, overrides: Iterable[str] = ()) -> Graph:
    """As :func:`load`, from a text called ``name`` whose paths are relative to ``folder``."""
    top = strict_yaml.mapping(strict_yaml.parse(text, name), "the launch file")
    for override in overrides:
        top = _override(top, override)
    strict_yaml.check_keys(top, TOP, "")
    version = top.items.get("version")
    if not isinstance(version, Scalar) or version.text != str(VERSION):
        said = version.text if isinstance(version, Scalar) else "not given"
        raise KinecastError(f"{name}: version is {said}; this program reads version: {VERSION}")
    session_tree = top.items.get("session", Scalar("", False, name))
    session = _absolute_session(strict_yaml.build(Session, session_tree, "session", RANGES), session_tree, folder)
    nodes = _nodes(top, name, folder)
    if "pace" not in strict_yaml.mapping(session_tree, "session").items and _all_recorded(nodes):
        session = replace(session, pace="lossless")
    bus = strict_yaml.build(BusSettings, top.items.get("bus", Scalar("", False, name)), "bus", RANGES)
    graph = Graph(session, nodes, bus)
    _check(graph, name)
    return graph


def _all_recorded(nodes: dict[str, Node]) -> bool:
    """Whether every camera plays files, once: then nothing is gained by dropping what the machine is too slow for."""
    cameras = [n.source for n in nodes.values() if isinstance(n, CameraNode)]
    return bool(cameras) and all(s.kind in ("video", "images") and s.loop == "off" for s in cameras)


def takes_lossless(path: str | Path, overrides: Iterable[str] = ()) -> bool:
    """Whether a launch file that names no pace is ``lossless`` because all its sources are recorded."""
    paced = any(o.partition("=")[0].strip() == "session.pace" for o in overrides)
    text = Path(path).read_text(encoding="utf-8")
    session = strict_yaml.mapping(strict_yaml.parse(text, str(path)), "the launch file").items.get("session")
    named = isinstance(session, Mapping) and "pace" in session.items
    return not paced and not named and load(path, overrides).session.pace == "lossless"


def _override(top: Mapping, override: str) -> Mapping:
    path, equals, value = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise KinecastError(f"--set {override}: expected key.path=value, like session.pace=lossless")
    where = f"--set {override}"
    nodes = top.items.get("nodes")
    if keys[0] == "nodes" and isinstance(nodes, Mapping) and len(keys) > 1 and keys[1] not in nodes.items:
        raise KinecastError(f"{where}: there is no node {keys[1]!r}{strict_yaml.nearest(keys[1], nodes.items)}")
    tree: Tree = strict_yaml.parse(value, where, line_numbers=False)
    for key in reversed(keys):
        tree = Mapping({key: tree}, {key: where}, where)
    out = strict_yaml.merged(top, tree)
    assert isinstance(out, Mapping)
    return out


def _nodes(top: Mapping, name: str, folder: Path) -> dict[str, Node]:
    defaults = strict_yaml.mapping(top.items.get("defaults", Scalar("", False, name)), "defaults")
    strict_yaml.check_keys(defaults, KINDS, "defaults")
    for kind, tree in defaults.items.items():
        strict_yaml.build(KINDS[kind], tree, f"defaults.{kind}", RANGES)  # a mistake is named here, not in every node
    given = strict_yaml.mapping(top.items.get("nodes", Scalar("", False, name)), "nodes")
    out: dict[str, Node] = {}
    for node, tree in given.items.items():
        where = given.key_where[node]
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", node) or node == SUPERVISOR:
            raise KinecastError(
                f"{where}: {node!r} cannot be the name of a node: use letters, digits, _ and -, and begin with no -"
            )
        own = strict_yaml.mapping(tree, f"nodes.{node}")
        kind_tree = own.items.get("kind")
        if not isinstance(kind_tree, Scalar):
            raise KinecastError(f"{where}: nodes.{node}.kind is missing: one of {', '.join(KINDS)}")
        if kind_tree.text not in KINDS:
            near = strict_yaml.nearest(kind_tree.text, KINDS)
            raise KinecastError(f"{kind_tree.where}: nodes.{node}.kind cannot be {kind_tree.text!r}{near}")
        rest = Mapping({k: v for k, v in own.items.items() if k != "kind"}, own.key_where, own.where)
        under = defaults.items.get(kind_tree.text)
        full = rest if under is None else strict_yaml.merged(strict_yaml.mapping(under, "defaults"), rest)
        out[node] = _absolute_node(
            strict_yaml.build(KINDS[kind_tree.text], full, f"nodes.{node}", RANGES), full, folder
        )
    return out


def _absolute(text: str, tree: Tree, keys: str, folder: Path) -> str:
    """``text`` as an absolute path: from the working directory where it was given by --set, else from the file's."""
    at: Tree | None = tree
    for key in keys.split("."):
        at = at.items.get(key) if isinstance(at, Mapping) else None
    base = Path.cwd() if at is not None and at.where.startswith("--set") else folder
    return str(base / Path(text).expanduser())


def _absolute_session(session: Session, tree: Tree, folder: Path) -> Session:
    return replace(
        session,
        out=_absolute(session.out, tree, "out", folder),
        rig=_absolute(session.rig, tree, "rig", folder),
    )


def _absolute_node(node: N, tree: Tree, folder: Path) -> N:
    if isinstance(node, CameraNode):
        source, detector = node.source, node.detector
        kind, uri = kind_and_path(source.kind, source.uri)
        source = replace(source, kind=kind, uri=uri)
        if source.kind in ("video", "images") and source.uri and not is_url(source.uri):
            source = replace(source, uri=_absolute(source.uri, tree, "source.uri", folder))
        if "/" in detector.profile or detector.profile.endswith(".toml"):
            detector = replace(detector, profile=_absolute(detector.profile, tree, "detector.profile", folder))
        return replace(node, source=source, detector=detector)
    if isinstance(node, FusionNode):
        body, lift, start = node.body, node.lift, node.body_start
        if body.endswith((".npz", ".pkl")):
            body = _absolute(body, tree, "body", folder)
        if "/" in lift or lift.endswith(".safetensors"):
            lift = _absolute(lift, tree, "lift", folder)
        if start not in ("default", "off"):
            start = _absolute(start, tree, "body_start", folder)
        prior = node.body_prior
        if prior not in ("default", "shipped"):
            prior = _absolute(prior, tree, "body_prior", folder)
        return replace(node, body=body, lift=lift, body_start=start, body_prior=prior)
    return node


def _check(graph: Graph, name: str) -> None:
    """What no single key can be blamed for."""
    fusions, recorders, cameras = (graph.of_kind(k) for k in ("fusion", "recorder", "camera"))
    if len(fusions) != 1:
        raise KinecastError(f"{name}: nodes has {len(fusions)} nodes of kind fusion, and must have exactly one")
    if len(recorders) > 1:
        raise KinecastError(f"{name}: nodes has several of kind recorder ({', '.join(recorders)}): keep one")
    if not cameras:
        raise KinecastError(f"{name}: nodes has no node of kind camera: add one for each camera of the rig")
    seen: dict[str, str] = {}
    for node in cameras:
        camera = graph.camera_of(node)
        if camera in seen:
            raise KinecastError(f"{name}: nodes.{seen[camera]} and nodes.{node} are both camera {camera!r}")
        seen[camera] = node
        settings = graph.nodes[node]
        assert isinstance(settings, CameraNode)
        if settings.source.kind != "synthetic" and not settings.source.uri:
            raise KinecastError(f"{name}: nodes.{node}.source.uri is missing: where its pictures come from")
    fusion = graph.nodes[fusions[0]]
    assert isinstance(fusion, FusionNode)
    for camera in fusion.cameras:
        if camera not in seen and camera not in seen.values():
            near = strict_yaml.nearest(camera, seen)
            raise KinecastError(f"{name}: nodes.{fusions[0]}.cameras: no camera {camera!r}{near}")
    if fusion.meshes != "off" and fusion.body == "off":
        raise KinecastError(f"{name}: nodes.{fusions[0]}.meshes: {fusion.meshes} needs a body: say which in body")
    for node in graph.of_kind("stream"):
        stream = graph.nodes[node]
        assert isinstance(stream, StreamNode)
        if stream.vmc and (stream.axes != "y-up" or fusion.body == "off"):
            raise KinecastError(f"{name}: nodes.{node}.vmc needs axes: y-up, and a body in the fusion node")
    for node in recorders:
        recorder = graph.nodes[node]
        assert isinstance(recorder, RecorderNode)
        if Path(recorder.file).is_absolute() or ".." in Path(recorder.file).parts or not recorder.file:
            raise KinecastError(f"{name}: nodes.{node}.file must stay within session.out, and is {recorder.file!r}")
        if Path(recorder.file).suffix != ".mcap":
            raise KinecastError(f"{name}: nodes.{node}.file must end in .mcap, and is {recorder.file!r}")
    if not is_loopback(graph.bus.host):
        raise KinecastError(
            f"{name}: bus.host is {graph.bus.host!r}: messages are neither encrypted nor signed, and who reaches its "
            "ports could read and forge them; keep to 127.0.0.1, and reach it from elsewhere through a tunnel (ssh -L)"
        )
    if graph.bus.base_port + len(graph.nodes) > 65535:
        raise KinecastError(f"{name}: bus.base_port {graph.bus.base_port} leaves no ports for {len(graph.nodes)} nodes")


def check_rig(graph: Graph, rig_cameras: Iterable[str]) -> None:
    """KinecastError naming both sides where launch file and rig do not have the same cameras.

    A rig may have more where ``fusion.cameras`` names those that are meant.
    """
    rig = list(rig_cameras)
    ours = {graph.camera_of(n): n for n in graph.of_kind("camera")}
    for camera, node in ours.items():
        if camera not in rig:
            raise KinecastError(
                f"camera {camera!r} (nodes.{node}) is in the launch file but not in the rig {graph.session.rig}, "
                f"which has {', '.join(rig)}: name one of these in nodes.{node}.camera, or calibrate it"
            )
    fusion = graph.nodes[graph.of_kind("fusion")[0]]
    assert isinstance(fusion, FusionNode)
    for camera in rig:
        if camera not in ours and not fusion.cameras:
            raise KinecastError(
                f"camera {camera!r} is in the rig {graph.session.rig} but not in the launch file, which has "
                f"{', '.join(ours)}: add a node for it, or name the cameras to fuse in the fusion node's cameras"
            )
    fused = len(set(fusion.cameras) or set(ours))
    if fused < fusion.min_views:
        raise KinecastError(
            f"the fusion node has {fused} camera{'s' * (fused != 1)} and its min_views is {fusion.min_views}, so it "
            "would find nobody: give it more cameras, or lower min_views (2 is the least)"
        )


def check_secrets(graph: Graph) -> None:
    """KinecastError naming the first environment variable that an address wants and that is not set."""
    for node in graph.of_kind("camera"):
        settings = graph.nodes[node]
        assert isinstance(settings, CameraNode)
        if settings.source.kind == "stream":
            for name in unset(settings.source.uri, *settings.source.options.values()):
                raise KinecastError(f"nodes.{node}.source: ${{{name}}} is not set in the environment: export {name}=…")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def without_secrets(graph: Graph) -> Graph:
    """The graph without the users and passwords of its addresses, to be kept or shown."""

    def clean(node: Node) -> Node:
        if not isinstance(node, CameraNode):
            return node
        source = node.source
        source = replace(source, uri=redacted(source.uri), options=redacted_options(source.options))
        return replace(node, source=source)

    return replace(graph, nodes={name: clean(node) for name, node in graph.nodes.items()})


def dump(graph: Graph) -> str:
    """The resolved launch file as YAML: every key said, paths absolute; ``parse`` gives the same graph again."""
    nodes = {name: {"kind": kind_of(graph, name), **_plain(asdict(node))} for name, node in graph.nodes.items()}
    whole = {
        "version": VERSION,
        "session": _plain(asdict(graph.session)),
        "bus": _plain(asdict(graph.bus)),
        "nodes": nodes,
    }
    text: str = yaml.safe_dump(whole, sort_keys=False, width=120, allow_unicode=True)
    return text
