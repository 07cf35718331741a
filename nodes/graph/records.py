"""The graph as data: what ``launch.yaml`` says, as records. :mod:`nodes.graph.launch_file` reads it; nothing here does.

Every key of the file is a field here, and there are no others; ``docs/reference/launch-file.md`` is made of them. Paths
are relative to the launch file.
"""

from dataclasses import dataclass, field
from typing import Literal

Pace = Literal["realtime", "lossless"]


@dataclass(frozen=True, slots=True)
class Session:
    """``session``: what a run is called, where it writes, and how it treats time.

    name: of the session. out: folder that everything is written to. rig: path of the rig file. pace: ``realtime`` drops
    and counts; ``lossless`` never drops and does not depend on the machine's speed; a launch file that
    names none is ``lossless`` where every source is a file or a folder that is played once. lead_s: recorded and
    synthetic sources begin in ``realtime`` all together, so long after every node is ready. common_rate: cameras that
    cannot keep up in ``realtime`` all take the same moments, as many as the slowest of them holds; ``off``: each takes
    what it can. private: what is written is for this user alone, whatever the umask: people can be recognised in it.
    """

    name: str = "session"
    out: str = "out/session"
    rig: str = "rig.toml"
    pace: Pace = "realtime"
    lead_s: float = 1.0
    common_rate: Literal["auto", "off"] = "auto"
    private: bool = True


@dataclass(frozen=True, slots=True)
class BusSettings:
    """``bus``: where the nodes listen, and how far they may run ahead of each other.

    host: address that every node binds, a loopback one. base_port: the supervisor binds it, node number n binds
    base_port + n.
    window: messages that a lossless writer may be ahead of its slowest reader. high_water: messages that are queued for
    a reader before they are dropped and counted.
    """

    host: str = "127.0.0.1"
    base_port: int = 5600
    window: int = 32
    high_water: int = 2000


@dataclass(frozen=True, slots=True)
class Restart:
    """``restart``, of a node of any kind: what happens when its process ends.

    policy: ``always`` (also after a clean exit), ``on-failure`` or ``never``. backoff_s: wait before the first restart;
    it doubles from one to the next. backoff_max_s: at most. cap: more restarts than this within a minute, or as many
    crashes in a row that say the same, and the node is given up and reported failed. silent_s: a node that says nothing
    of its health for so long hangs: its stacks are printed, it is killed and started again; one that is still starting
    has two minutes.
    """

    policy: Literal["always", "on-failure", "never"] = "on-failure"
    backoff_s: float = 0.2
    backoff_max_s: float = 5.0
    cap: int = 10
    silent_s: float = 2.0


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """``source``, of a camera: where its pictures come from.

    kind: ``video``, a file, paced as the session is; ``usb``, a camera of this computer; ``stream``, over RTSP or HTTP;
    ``images``, a folder in the order of the file names; ``synthetic``, the synthetic world. uri: the file, folder,
    device (or its number, see ``kinecast cameras``) or url. loop: of video and images: ``repeat``, from the start
    again, one frame interval after the last frame; ``pingpong``, forward and back, the end frames once each; numbers
    and times go on increasing. frames: stop after so many; null: never. fps_hz: for ``usb`` the rate to ask for, for
    ``video`` to resample to (frames are dropped evenly, never repeated), for ``images`` and ``synthetic`` the rate;
    null: as it comes. size_px: for ``usb`` the size to ask for; another one is an error. record: keep the video:
    ``copy`` the packets where there are any, else ``encode``; ``off``. stall_s: silence for so long is reported; a
    device silent for three times as long is opened again. retry_s: wait before a device that vanished is opened again;
    doubles up to 10 s; of a ``stream``, from try to try. preload: of ``video``: decode everything into memory first, to
    measure without decoding. transport: of RTSP; ``auto``: TCP, and UDP where the camera refuses that. rotate: turn the
    pictures clockwise by so many degrees. mirror: then left to right. start_s: what a file shows at this time is the
    session's zero; below 0 it begins later than the others. options: FFmpeg's own, by name. hardware: decode by the
    graphics unit, where it binds; what binds is in the source's report. decode: ``fast`` leaves out the loop filter of
    compressed video: a quarter less work, blocks that show a little. exposure, gain, focus, white_balance: of ``usb``,
    in the device's own units: locked at this value, as ``kinecast cameras --modes`` prints them; null: the camera
    chooses. seed: of the synthetic world. people: in the synthetic world.
    """

    kind: Literal["video", "usb", "stream", "images", "synthetic"] = "video"
    uri: str = ""
    loop: Literal["off", "repeat", "pingpong"] = "off"
    frames: int | None = None
    fps_hz: float | None = None
    size_px: tuple[int, int] | None = None
    record: Literal["off", "copy", "encode"] = "off"
    stall_s: float = 2.0
    retry_s: float = 1.0
    preload: bool = False
    transport: Literal["auto", "tcp", "udp"] = "auto"
    rotate: Literal["0", "90", "180", "270"] = "0"
    mirror: bool = False
    start_s: float = 0.0
    options: dict[str, str] = field(default_factory=dict)
    hardware: Literal["off", "auto", "nvdec", "vaapi", "qsv"] = "off"
    decode: Literal["exact", "fast"] = "exact"
    exposure: float | None = None
    gain: float | None = None
    focus: float | None = None
    white_balance: float | None = None
    seed: int = 0
    people: int = 2


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """``detector``, of a camera: which models look at the pictures, and how.

    profile: ``lightweight``, ``balanced``, ``performance``, ``synthetic`` (or ``synthetic:blazepose-heavy``, with the
    habits of a detector), or the path of a card of your own. runtime: the library that runs the models; ``auto`` takes
    the best that is installed. precision: of the arithmetic. threads: of one model. max_people: per view. find_every_s:
    seconds between looks for new people (the others are tracked); null: the profile's. find_every: the same in frames,
    instead. model_every: the model looks at every so many pictures, and optical flow follows the joints in between;
    ``auto``: 1, and in ``realtime`` up to 3 where the machine does not keep up. find_min_score: how sure the person
    detector must be; null: the profile's.
    """

    profile: str = "performance"
    runtime: Literal["auto", "onnxruntime", "openvino", "tensorrt", "torch"] = "auto"
    precision: Literal["f32", "f16", "bf16"] = "f32"
    threads: int = 1
    max_people: int = 6
    find_every_s: float | None = None
    find_every: int | None = None
    model_every: Literal["auto", "1", "2", "3"] = "auto"
    find_min_score: float | None = None


@dataclass(frozen=True, slots=True)
class CameraNode:
    """One camera process.

    camera: its name in the rig, by default the node's own. source: see ``source``. detector: see ``detector``.
    rate_hz: frames a second that are expected, for health; null: none are promised. restart: see ``restart``.
    """

    camera: str = ""
    source: SourceSettings = field(default_factory=SourceSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    rate_hz: float | None = None
    restart: Restart = field(default_factory=Restart)


@dataclass(frozen=True, slots=True)
class FusionNode:
    """The fusion process.

    cameras: those that it fuses, by default every camera node of the graph.
    wait_ms: how much later than its camera's usual delay a view may come before its frame set is fused without it
    (realtime only). max_wait_ms: how long a frame set waits at most, after its first view came.
    max_set_span_ms: views further apart than this do not belong to one set; null: 0.8 of a frame of its first camera.
    still: sets that have nothing to do with one another (photos): people are born at once, and nobody is remembered.
    min_views: views that a birth needs. occlusion_s: how long a person may be unseen and keep the identity.
    max_people: per scene. smooth: the causal filter on or off.
    estimate_offsets: put the cameras' clocks right from the motion, slowly, once that is sure; turn it off where a
    cable triggers them.
    body: ``off``, or the body to fit to everybody: ``neutral``, ``male`` or ``female`` (free), or the path of a file.
    body_start: where a body may begin that no points show: ``default``, ``off``, or the file of a regressor.
    body_prior: which poses are likely: ``default``, the prior promoted last or else the shipped one, ``shipped``, or a
    file.
    meshes: publish the surfaces of the bodies too: ``light``, the light mesh of the free body, or ``full``.
    lift: ``off``, ``default`` or another name of weights that came with this program, or the path of a lifter's file.
    lift_depth: how a lifter tells the distance of a person: ``trajectory``, ``gamma``, ``k``, or ``auto``, what was
    best when it was calibrated. lift_correct: pull what it says towards what the view saw.
    lift_one_view: people whom one view alone sees stay, at their lifted depth.
    lift_hidden: joints that fewer than two views see are taken from the lifted poses.
    lift_carried: those that no view sees are extrapolated from when they were seen and joined with the lifted poses;
    false: by the lifted poses alone, as recordings were fused that do not say.
    lift_views: so many views of a person are lifted, those that see most, at the lifter's own rate; null: every view,
    in every set, as recordings were fused that do not say. restart: see ``restart``.
    """

    cameras: tuple[str, ...] = ()
    wait_ms: float = 40.0
    max_wait_ms: float = 500.0
    max_set_span_ms: float | None = None
    still: bool = False
    min_views: int = 2
    occlusion_s: float = 1.5
    max_people: int = 16
    smooth: bool = False
    estimate_offsets: bool = True
    body: str = "off"
    body_start: str = "default"
    body_prior: str = "default"
    meshes: Literal["off", "light", "full"] = "off"
    lift: str = "off"
    lift_depth: Literal["auto", "trajectory", "gamma", "k"] = "auto"
    lift_correct: bool = True
    lift_one_view: bool = True
    lift_hidden: bool = True
    lift_carried: bool = True
    lift_views: int | None = 2
    restart: Restart = field(default_factory=Restart)


@dataclass(frozen=True, slots=True)
class RecorderNode:
    """The recorder.

    file: within the session's folder. flush_s: data this old at most is lost by a kill. restart: see ``restart``.
    """

    file: str = "session.mcap"
    flush_s: float = 0.25
    restart: Restart = field(default_factory=Restart)


@dataclass(frozen=True, slots=True)
class ViewerNode:
    """The live view.

    window: open a window; ``auto``: where there is a display. save_every_s: write ``viewer.png`` so often; null: never.
    size_px: of the picture. restart: see ``restart``.
    """

    window: Literal["auto", "on", "off"] = "auto"
    save_every_s: float | None = None
    size_px: tuple[int, int] = (960, 720)
    restart: Restart = field(default_factory=Restart)


@dataclass(frozen=True, slots=True)
class StreamNode:
    """The live result for other programs: bodies where fusion makes them, else joints.

    websocket: port of the WebSocket; null: none. host: address that it listens on; another than this machine's own
    lets anybody on the network listen. origins: web pages that may listen besides programs. vmc: HOST:PORT that gets
    the VMC protocol (bodies only); "" for none. vmc_people: so many people, each at a port of their own from there on.
    lsl: name of Lab Streaming Layer outlets; "" for none. axes: of the world; VMC takes y up. bones: names of the
    joints. persons: identities to send, [] for all. predict_ms: carry the poses ahead to the moment of display.
    restart: see ``restart``.
    """

    websocket: int | None = 8765
    host: str = "127.0.0.1"
    origins: tuple[str, ...] = ()
    vmc: str = ""
    vmc_people: int = 1
    lsl: str = ""
    axes: Literal["rig", "y-up", "z-up"] = "y-up"
    bones: Literal["smpl", "mixamo", "unity", "ue5", "cmu"] = "smpl"
    persons: tuple[int, ...] = ()
    predict_ms: float = 0.0
    restart: Restart = field(default_factory=Restart)


@dataclass(frozen=True, slots=True)
class WebNode:
    """The page: every camera's picture, the people in 3D and how every node does, in a browser.

    port: that it is served on, or the next that is free. bind: address that it listens on; another than this machine's
    own lets whoever has the token look from elsewhere, unencrypted. longest_px: the longer side of a picture. rate_hz:
    pictures of each camera a second, while somebody looks. restart: see ``restart``.
    """

    port: int = 8766
    bind: str = "127.0.0.1"
    longest_px: int = 480
    rate_hz: float = 5.0
    restart: Restart = field(default_factory=Restart)


Node = CameraNode | FusionNode | RecorderNode | ViewerNode | StreamNode | WebNode
LOOKS_ON = ("viewer", "stream", "web")  # kinds that nobody waits for, and that end when the others have
SUPERVISOR = "supervisor"  # not a node of the launch file, but a writer on the bus like them

KINDS: dict[str, type[Node]] = {
    "camera": CameraNode,
    "fusion": FusionNode,
    "recorder": RecorderNode,
    "viewer": ViewerNode,
    "stream": StreamNode,
    "web": WebNode,
}


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole launch file. The order of ``nodes`` gives the ports; the supervisor's own is ``base_port`` itself."""

    session: Session
    nodes: dict[str, Node]
    bus: BusSettings = field(default_factory=BusSettings)

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """Names of the nodes of a kind, in order."""
        return tuple(n for n, node in self.nodes.items() if isinstance(node, KINDS[kind]))

    def endpoint(self, node: str) -> str:
        """Where a node binds (``supervisor`` too)."""
        number = 0 if node == SUPERVISOR else 1 + list(self.nodes).index(node)
        return f"tcp://{self.bus.host}:{self.bus.base_port + number}"

    def camera_of(self, node: str) -> str:
        """Name in the rig of a camera node's camera."""
        settings = self.nodes[node]
        assert isinstance(settings, CameraNode)
        return settings.camera or node


@dataclass(frozen=True, slots=True)
class NodeContext:
    """What a node's ``main(context)`` is given.

    graph: the resolved launch file (paths absolute). incarnation: 0 at first, then 1 more for every restart of this
    node. session_start_ns: on the monotonic clock in ``realtime`` (for a first life the launch: see
    nodes.bus.start_barrier), 0 in ``lossless``, so that two lossless runs carry the same stamps.
    """

    name: str
    graph: Graph
    incarnation: int
    session_start_ns: int


def kind_of(graph: Graph, node: str) -> str:
    """``camera``, ``fusion``, ``recorder``, ``viewer``, ``stream``, ``web`` or ``supervisor``."""
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
