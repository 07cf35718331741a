"""A recording read set by set: each frame set with the poses and bodies that came of it, and the keypoints."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from kinecast.engines.records import Bodies, FrameSet, Keypoints2D, Poses
from kinecast.nodes.recording.file import Recording, Stamp

WAIT_SETS = 256  # a set whose other messages are not there after so many later ones goes out without them
KEEP_FRAMES = 2048  # per camera; older keypoints that no set asked for are forgotten
TOPICS = ("keypoints", "framesets", "poses", "bodies")


@dataclass(slots=True)
class FrameSetBundle:
    """One frame set. keypoints and keypoint_stamps are by camera, of those views that the recording has."""

    frameset: FrameSet
    stamp: Stamp
    poses: Poses | None = None
    poses_stamp: Stamp | None = None
    bodies: Bodies | None = None
    bodies_stamp: Stamp | None = None
    keypoints: dict[str, Keypoints2D] = field(default_factory=dict)
    keypoint_stamps: dict[str, Stamp] = field(default_factory=dict)

    def expected_frames(self) -> dict[str, int]:
        """Frame number of each camera that took part."""
        return expected_frames(self.frameset)


def expected_frames(frameset: FrameSet) -> dict[str, int]:
    """Frame number of each camera that took part in a frame set."""
    pairs = zip(frameset.cameras, frameset.frame_seqs.tolist(), strict=True)
    return {camera: seq for camera, seq in pairs if seq >= 0}


class _Join:
    """Messages come from several sockets, so those of one set may lie in any order near each other.

    bodies: whether a set is whole only with its bodies.
    """

    def __init__(self, bodies: bool) -> None:
        self._with_bodies = bodies
        self._bodies: OrderedDict[tuple[int, int], tuple[Stamp, Bodies]] = OrderedDict()
        self._open: OrderedDict[tuple[int, int], FrameSetBundle] = OrderedDict()
        self._poses: OrderedDict[tuple[int, int], tuple[Stamp, Poses]] = OrderedDict()
        self._seen: dict[str, OrderedDict[int, tuple[Stamp, Keypoints2D]]] = {}

    def take(self, stamp: Stamp, record: FrameSet | Poses | Bodies | Keypoints2D) -> None:
        if isinstance(record, Keypoints2D):
            seen = self._seen.setdefault(record.camera, OrderedDict())
            seen[record.frame_seq] = (stamp, record)
            seen.move_to_end(record.frame_seq)
            if len(seen) > KEEP_FRAMES:
                seen.popitem(last=False)
        elif isinstance(record, FrameSet):
            self._open[record.run_index, record.seq] = FrameSetBundle(record, stamp)
        elif isinstance(record, Bodies):
            self._bodies[record.run_index, record.frameset_seq] = (stamp, record)
            if len(self._bodies) > KEEP_FRAMES:
                self._bodies.popitem(last=False)
        else:
            self._poses[record.run_index, record.frameset_seq] = (stamp, record)
            if len(self._poses) > KEEP_FRAMES:
                self._poses.popitem(last=False)

    def ready(self, final: bool = False) -> Iterator[FrameSetBundle]:
        """Sets, in order, as far as they are whole, waited for too long, or nothing more can come."""
        while self._open:
            key, joined = next(iter(self._open.items()))
            whole = self._fill(key, joined)
            if not (whole or final or len(self._open) > WAIT_SETS):
                return
            self._poses.pop(key, None)
            self._bodies.pop(key, None)
            del self._open[key]
            yield joined

    def _fill(self, key: tuple[int, int], joined: FrameSetBundle) -> bool:
        if joined.poses is None and key in self._poses:
            joined.poses_stamp, joined.poses = self._poses[key]
        if joined.bodies is None and key in self._bodies:
            joined.bodies_stamp, joined.bodies = self._bodies[key]
        expected = joined.expected_frames()
        for camera, seq in expected.items():
            seen = self._seen.get(camera)
            found = seen.get(seq) if seen else None
            if found is not None:
                joined.keypoint_stamps[camera], joined.keypoints[camera] = found
        fitted = joined.bodies is not None or not self._with_bodies
        return joined.poses is not None and fitted and len(joined.keypoints) == len(expected)


def iter_frame_sets(recording: Recording) -> Iterator[FrameSetBundle]:
    """Every frame set of a recording in the order of the journal, joined; memory does not grow with its length."""
    join = _Join(recording.holds("bodies"))
    for _, stamp, record in recording.messages(TOPICS):
        join.take(stamp, record)
        yield from join.ready()
    yield from join.ready(final=True)
