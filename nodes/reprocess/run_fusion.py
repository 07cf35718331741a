"""Fusion run over what was recorded: the one loop over the frame sets of a journal, and the one over cameras' messages.

What was in force when a recording was made stays in force: the lifter and the pose prior that each set names are taken
up again where the settings do not ask for others, and refused by name where they are not here. All that fusion says
comes out: sets, poses, bodies, and how the rig is.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.prior.pose_prior import load_prior, named_prior, read_prior
from kinecast.engines.lift.lifter import named_lifter
from kinecast.engines.records import Bodies, FrameSet, Keypoints2D, Poses
from kinecast.nodes.bus.core import Out
from kinecast.nodes.bus.messages import End, RigHealth
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.lift_rows import LifterLike
from kinecast.nodes.fusion.lifting import open_lifter
from kinecast.nodes.graph.launch_file import parse
from kinecast.nodes.graph.records import FusionNode, Graph
from kinecast.nodes.recording.file import LAUNCH, Recording
from kinecast.nodes.recording.frame_sets import FrameSetBundle, expected_frames, iter_frame_sets

Views = dict[str, Keypoints2D]
Change = Callable[[FrameSet, Views], tuple[FrameSet, Views]]
Message = Keypoints2D | End

# how fusion did before it had a key
BEFORE: dict[str, object] = {"lift_carried": False, "lift_views": None}


def launched(recording: Recording, overrides: Iterable[str] = ()) -> tuple[Graph, str]:
    """The launch file attached, with overrides, and the name of its fusion node."""
    if not recording.launch_text:
        raise KinecastError(
            f"{recording.path}: no launch file is attached, so the settings of its fusion are not known"
        )
    overrides = tuple(overrides)
    graph = parse(recording.launch_text, f"{recording.path.name}:{LAUNCH}", recording.path.parent, overrides)
    name = graph.of_kind("fusion")[0]
    fusion = graph.nodes[name]
    assert isinstance(fusion, FusionNode)
    # a launch file attached says every key there was: these were not there yet
    before = {
        key: value for key, value in BEFORE.items() if not any(key in t for t in (recording.launch_text, *overrides))
    }
    return replace(graph, nodes=graph.nodes | {name: replace(fusion, **before)}), name  # type: ignore[arg-type]


def fusion_settings(recording: Recording, overrides: Iterable[str] = ()) -> FusionNode:
    """The settings that the recording was fused with, with overrides. KinecastError as for :func:`launched`."""
    graph, name = launched(recording, overrides)
    settings = graph.nodes[name]
    assert isinstance(settings, FusionNode)
    return settings


class _WeightsInForce:
    """Makes cores with the weights that the sets of a recording name, and takes up others where the journal does.

    settings: of the fusion now; what they ask for otherwise than was recorded is theirs. lifter: makes another than
    either names.
    """

    def __init__(
        self, recording: Recording, settings: FusionNode, lifter: Callable[[], LifterLike] | None = None
    ) -> None:
        graph, self._node = launched(recording)
        recorded = graph.nodes[self._node]
        assert isinstance(recorded, FusionNode)
        self._path, self._settings, self._make = recording.path, settings, lifter
        self._keep_lifter = lifter is None and settings.lift == recorded.lift
        # sync named no lifter until it kept all that fusion says: it used the one that the settings named
        self._may_be_unnamed = recording.about.get("made_by") == "sync"
        self._keep_prior = (settings.body_prior, settings.body) == (recorded.body_prior, recorded.body)

    def core(
        self, rig: Rig, cameras: tuple[str, ...], first: FrameSet | None, incarnation: int = 0, **how: object
    ) -> FusionCore:
        """A fusion that knows nobody, with the weights of the set ``first``: those in force now may be gone."""
        lifter = self._make and self._make()
        settings = replace(self._settings, cameras=cameras, meshes="off")  # meshes are not recorded
        if first is not None and self._keep_lifter and (file := named_lifter(first.lifter, settings.lift)) is not None:
            lifter = open_lifter(settings, str(file))
        if first is not None and self._keep_prior and settings.body != "off":
            prior = named_prior(first.body_prior, settings.body_prior)
            settings = settings if prior is None else replace(settings, body_prior=str(prior))
        return FusionCore(rig, settings, incarnation, lifter=lifter, **how)  # type: ignore[arg-type]

    def follow(self, core: FusionCore, said: FrameSet) -> FrameSet:
        """Take up what was in force at the set ``said``; the set with the names of what is in force now."""
        named = said.lifter or not self._may_be_unnamed
        if self._keep_lifter and named and said.lifter != core.lifter:
            file = named_lifter(said.lifter, self._settings.lift)
            if core.lifting is not None and file is not None:
                core.lifting.offer(open_lifter(self._settings, str(file)))
                core.lifting.renewed()
            if said.lifter != core.lifter:
                raise KinecastError(
                    f"{self._path}: set {said.seq} was fused with the lifter {said.lifter or 'none'} and here is "
                    f"{core.lifter or 'none'}: give its weights with --set nodes.{self._node}.lift=PATH (of replay)"
                )
        return replace(said, lifter=core.lifter, body_prior=self._follow_prior(core, said))

    def _follow_prior(self, core: FusionCore, said: FrameSet) -> str:
        bodies = core.bodies
        if bodies is None:
            return ""
        if not self._keep_prior:
            return bodies.prior
        if bodies.prior == (said.body_prior or load_prior().name):  # so that no file is hashed with every set
            return said.body_prior
        file = named_prior(said.body_prior, self._settings.body_prior)
        if file is None:
            raise KinecastError(
                f"{self._path}: set {said.seq} was fused with the pose prior {said.body_prior}, which is not here: "
                f"give its file with --set nodes.{self._node}.body_prior=PATH"
            )
        bodies.offer(read_prior(file))
        bodies.renewed()
        return said.body_prior


@dataclass(frozen=True, slots=True, eq=False)
class FusedSet:
    """One set of a journal, fused again. recorded: as it was recorded; frameset: as it is now.

    core: what fused it, as it is after the set. noise_factor: (C, J) what it had learnt of the noise before the set.
    """

    recorded: FrameSetBundle
    frameset: FrameSet
    poses: Poses
    bodies: Bodies | None
    rig_health: RigHealth | None
    core: FusionCore
    noise_factor: NDArray[np.float64]


def fuse_sets(
    recording: Recording,
    settings: FusionNode,
    *,
    sets: Iterable[FrameSetBundle] | None = None,
    rig: Rig | None = None,
    change: Change | None = None,
    lifter: Callable[[], LifterLike] | None = None,
) -> Iterator[FusedSet]:
    """Fuse every set of the journal again, in its order, beginning anew where fusion was restarted.

    sets: those of the recording, where they are in memory. rig: another than the recording's. change: frame set and
    views (camera → message) → those that are fused in their place. lifter: makes another than the settings name.
    Raises KinecastError where the rig, the launch file or weights that a set names are not there.
    """
    weights, core, last = _WeightsInForce(recording, settings, lifter), None, None
    rig = recording.rig if rig is None else rig
    for joined in iter_frame_sets(recording) if sets is None else sets:
        frameset, views = joined.frameset, joined.keypoints
        if change is not None:
            frameset, views = change(frameset, views)
        if core is None or frameset.run_index != last:
            # a restarted fusion knew nothing of the people before
            core, last = weights.core(rig, frameset.cameras, frameset, frameset.run_index), frameset.run_index
        frameset = weights.follow(core, frameset)
        learnt = core.noise_factor
        said = {o.topic: o.record for o in core.fuse(frameset, views)}
        yield FusedSet(
            joined, frameset, said["poses"], said.get("bodies"), said.get("rig_health"), core, learnt
        )  # fmt: skip


def fuse_views(
    recording: Recording,
    settings: FusionNode,
    messages: Iterable[Message],
    cameras: tuple[str, ...],
    *,
    name: str = "fusion",
    nodes: dict[str, str] | None = None,
    offsets_ns: Callable[[Keypoints2D], NDArray[np.int64]] | None = None,
) -> Iterator[tuple[FusionCore, list[Out]]]:
    """Fuse the views of a recording into other sets than it has: its ``messages``, fewer of them, or moved ones.

    Gives for each message the core, and what it said then.
    cameras: those that are fused. name, nodes: as for :class:`FusionCore`. offsets_ns: the clock corrections (C,) that
    are in force from a view on. Other weights are taken up with the first view of the set that was the first to name
    them. Raises KinecastError as :func:`fuse_sets`; a recording without a journal names no weights.
    """
    weights = _WeightsInForce(recording, settings)
    changes = deque(_first_of_each_weights(recording))
    core = weights.core(recording.rig, cameras, changes[0] if changes else None, name=name, nodes=nodes)

    def before(message: Message) -> None:
        if not isinstance(message, Keypoints2D):
            return
        if changes and expected_frames(changes[0]).get(message.camera) == message.frame_seq:
            weights.follow(core, changes.popleft())
        if offsets_ns is not None and message.camera in core.rig.names:
            core.correct(offsets_ns(message))

    if changes:  # the first is in force from the start
        weights.follow(core, changes.popleft())
    for _, outs in fuse_messages(core, messages, before):
        yield core, outs


def fuse_messages(
    core: FusionCore, messages: Iterable[Message], before: Callable[[Message], None] | None = None
) -> Iterator[tuple[Message, list[Out]]]:
    """Feed a lossless core what cameras said, in this order: each message, and what fusion said then.

    There is no clock: everything arrives at time 0. before: called with each message before it is fed.
    """
    for message in messages:
        if before is not None:
            before(message)
        topic = f"keypoints/{message.camera}" if isinstance(message, Keypoints2D) else f"end/{message.node}"
        yield message, core.handle(0, topic, message)


def _first_of_each_weights(recording: Recording) -> Iterator[FrameSet]:
    """The first set of the recording, and every set that names other weights than the one before."""
    names: tuple[str, str] | None = None
    for _, _, frameset in recording.messages(("framesets",)):
        if names != (frameset.lifter, frameset.body_prior):
            names = frameset.lifter, frameset.body_prior
            yield frameset
