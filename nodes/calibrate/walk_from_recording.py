"""From a recording to what calibration from people takes: who is who in every view, read off at common instants."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import native
from kinecast.calibration.people.walk import Roles, Walk
from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.engines.observations import camera_arrays, undistort_detections
from kinecast.engines.records import Keypoints2D, Poses
from kinecast.engines.skeleton import skeleton
from kinecast.engines.timing.tracks import Tracks, sample, tracks
from kinecast.nodes.recording.file import Recording

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SKELETON = "halpe26"
MOST_ROWS = 400  # person-instants: more change the answer by less than its error
STEP_S = (1 / 30, 0.2)
LEAST_FRAMES = 5  # of a track
JOINTS_TO_USE_VIEW = 4  # of a view of a person
# shares of the stature: Drillis and Contini (1966), as printed in Winter, Biomechanics and Motor Control, figure 4.1
SHARES = {
    ("left_hip", "left_knee"): 0.245, ("right_hip", "right_knee"): 0.245,
    ("left_knee", "left_ankle"): 0.246, ("right_knee", "right_ankle"): 0.246,
    ("left_shoulder", "left_elbow"): 0.186, ("right_shoulder", "right_elbow"): 0.186,
    ("left_elbow", "left_wrist"): 0.146, ("right_elbow", "right_wrist"): 0.146,
}  # fmt: skip
FEET = {"heel": 0.008, "big_toe": 0.006, "ankle": 0.039}
FACE = ("left_eye", "right_eye", "left_ear", "right_ear")


def roles() -> Roles:
    """The joints of the common skeleton in the roles that calibration knows."""
    s = skeleton(SKELETON)
    used = tuple(
        i
        for i, name in enumerate(s.joints)
        if name not in (*FACE, "mid_hip", "neck", "left_small_toe", "right_small_toe")
    )
    return Roles(
        s.joints,
        tuple((s.index(a), s.index(b), share) for (a, b), share in SHARES.items()),
        tuple((s.index(f"{side}_{part}"), h) for part, h in FEET.items() for side in ("left", "right")),
        tuple((s.index(f"{side}_hip"), s.index(f"{side}_ankle")) for side in ("left", "right")),
        used,
    )


def views_of(recording: Recording, rig: Rig, cameras: tuple[str, ...] = ()) -> tuple[Rig, dict[str, list[Keypoints2D]]]:
    """The rig's cameras that gave keypoints, and their messages by time. KinecastError where fewer than two did."""
    views: dict[str, list[Keypoints2D]] = {}
    wrong: Counter[str] = Counter()
    for _, _, record in recording.messages(("keypoints",)):
        if record.camera not in rig.names:
            wrong[record.camera] += 1
            continue
        if not rig[record.camera].fits(record.size_px):
            raise KinecastError(
                f"{recording.path}: pictures of {record.camera} are {record.size_px[0]}×{record.size_px[1]}, the rig's "
                f"are {rig[record.camera].size_px[0]}×{rig[record.camera].size_px[1]}: calibrate the lens at this size"
            )
        views.setdefault(record.camera, []).append(record)
    names = tuple(n for n in (cameras or rig.names) if n in views)
    if len(names) < 2:
        told = (
            f"; it has keypoints of {', '.join(sorted(wrong))}: rename with `kinecast rig convert --rename`"
            if wrong
            else ""
        )
        raise KinecastError(
            f"{recording.path}: keypoints of {len(names)} cameras of the rig; a rig from people needs two or more{told}"
        )
    for name in names:
        views[name].sort(key=lambda v: v.t_capture_ns)
    return rig.subset(names), {n: views[n] for n in names}


def walk_of(recording: Recording, rig: Rig, people: str = "fused") -> tuple[Rig, Walk]:
    """The people of a recording in the views of the rig's cameras; also the rig of the cameras that saw any.

    people: ``fused`` takes who is who from the recording's poses, where it has any; ``one`` takes one person,
    whoever is tallest for longest in each view, and needs no geometry. Times count from the first stamp.
    """
    rig, views = views_of(recording, rig)
    first = min(v[0].t_capture_ns for v in views.values())
    found = [tracks(views[c.name], c, first) for c in rig]
    poses = [p for _, _, p in recording.messages(("poses",))] if people == "fused" else []
    if any(len(p.person_ids) for p in poses):
        owner = _owners(rig, views, found, recording, poses)
    else:
        owner = [_main(t) for t in found]
    return rig, read_off(rig, found, owner)


def walk_of_one(rig: Rig, views: dict[str, list[Keypoints2D]]) -> Walk:
    """The one person of every view of the rig's cameras; times count from 0 of the stamps."""
    found = [tracks(views[c.name], c, 0) for c in rig]
    return read_off(rig, found, [_main(t) for t in found])


def read_off(rig: Rig, found: list[Tracks], owner: list[Int]) -> Walk:
    """Every person at common instants. owner: for every camera (K,) the person of each track, −1 for nobody."""
    spans = [(float(t.t_s.min()), float(t.t_s.max())) for t in found if len(t.t_s)]
    lo, hi = min((a for a, _ in spans), default=0.0), max((b for _, b in spans), default=0.0)
    people = sorted({int(p) for o in owner for p in o if p >= 0})
    step = float(np.clip((hi - lo) * max(1, len(people)) / MOST_ROWS, *STEP_S))
    times = np.arange(lo, hi + step / 2, step)
    J = len(skeleton(SKELETON))
    xy, velocity, sigma, t_s, who = [], [], [], [], []
    for person in people:
        parts = [sample(_only(t, o == person), times, 1) for t, o in zip(found, owner, strict=True)]
        deviation = np.stack([p.sigma[:, 0] for p in parts], axis=1)
        keep = (np.isfinite(deviation).sum(axis=2) >= JOINTS_TO_USE_VIEW).sum(axis=1) >= 2
        xy.append(np.stack([p.xy[:, 0] for p in parts], axis=1)[keep])
        velocity.append(np.stack([p.velocity[:, 0] for p in parts], axis=1)[keep])
        sigma.append(deviation[keep])
        t_s.append(times[keep])
        who.append(np.full(int(keep.sum()), person, np.int64))
    C = len(rig)
    focal = np.array([(c.K[0, 0] + c.K[1, 1]) / 2 for c in rig])
    if not people:
        return Walk(
            rig.names, np.zeros(0), np.zeros(0, np.int64), np.zeros((0, C, J, 2)), np.zeros((0, C, J, 2)),
            np.zeros((0, C, J)), focal, roles(),
        )  # fmt: skip
    join = np.concatenate
    return Walk(rig.names, join(t_s), join(who), join(xy), join(velocity), join(sigma), focal, roles())


def _only(view: Tracks, keep: NDArray[np.bool_]) -> Tracks:
    """Only some of a camera's tracks."""
    counts = np.diff(view.start)
    rows = np.repeat(keep, counts)
    start = np.concatenate([[0], np.cumsum(counts[keep])]).astype(np.int64)
    return replace(
        view, t_s=view.t_s[rows], start=start, xy=view.xy[rows], sigma=view.sigma[rows], height=view.height[rows]
    )


def _main(view: Tracks) -> Int:
    """(K,) 0 for the tracks of the one person, −1 for the others: tall for long first, none at the same time."""
    score = np.array([view.height[a:b].sum() for a, b in pairwise(view.start.tolist())])
    out = np.full(len(view), -1, np.int64)
    taken: list[tuple[float, float]] = []
    order = np.argsort(-score, kind="stable").tolist()
    tallest = np.nan
    for k in order:
        a, b = int(view.start[k]), int(view.start[k + 1])
        tall = float(np.median(view.height[a:b]))
        tallest = tall if not taken else tallest
        if b - a < LEAST_FRAMES or tall < 0.4 * tallest:
            continue
        t0, t1 = float(view.t_s[a]), float(view.t_s[b - 1])
        if all(t1 < s0 or t0 > s1 for s0, s1 in taken):
            taken.append((t0, t1))
            out[k] = 0
    return out


def _owners(
    rig: Rig, views: dict[str, list[Keypoints2D]], found: list[Tracks], recording: Recording, poses: list[Poses]
) -> list[Int]:
    """For every camera (K,) the person of each track, by the votes of what fusion gave to whom; −1 for nobody.

    A track that fusion never matched, since its camera had moved too far, goes to the only person there is, where
    there is one alone and that person was not seen otherwise by the camera at the time.
    """
    sets: dict[tuple[int, int], dict[str, int]] = {}
    for _, _, s in recording.messages(("framesets",)):
        sets[s.run_index, s.seq] = dict(zip(s.cameras, s.frame_seqs.tolist(), strict=True))
    track_at = [_track_at(camera, view, views[camera.name]) for camera, view in zip(rig, found, strict=True)]
    votes: list[Counter[tuple[int, int]]] = [Counter() for _ in rig]
    column = {n: i for i, n in enumerate(rig.names)}
    seen: Counter[int] = Counter()
    for p in poses:
        seqs = sets.get((p.run_index, p.frameset_seq), {})
        seen.update(p.person_ids.tolist())
        for name, rows in zip(p.cameras, p.detections.T.tolist(), strict=True):
            for person, row in zip(p.person_ids.tolist(), rows, strict=True):
                track = track_at[column[name]].get((seqs.get(name, -1), row), -1) if name in column else -1
                if track >= 0:
                    votes[column[name]][track, person] += 1
    out = [np.full(len(t), -1, np.int64) for t in found]
    for own, count in zip(out, votes, strict=True):
        for (track, person), _ in sorted(count.items(), key=lambda item: item[1]):
            own[track] = person
    alone = [p for p, n in seen.items() if n > 0.2 * max(seen.values())]
    if len(alone) == 1:
        for own, view in zip(out, found, strict=True):
            own[(own < 0) & (_main(view) == 0)] = alone[0]
    return out


def _track_at(camera: Camera, view: Tracks, messages: list[Keypoints2D]) -> dict[tuple[int, int], int]:
    """(frame_seq, row of the message) → track. A detection is known again by its coordinates, which are the same."""
    track = np.repeat(np.arange(len(view)), np.diff(view.start))
    known = {x.tobytes(): int(k) for x, k in zip(view.xy, track, strict=True)}
    arrays = camera_arrays(Rig((camera,)))
    out = {}
    for message in messages:
        for row, xy in enumerate(undistort_detections(arrays, [message], SKELETON).xy):
            k = known.get(xy.tobytes(), -1)
            if k >= 0:
                out[message.frame_seq, row] = k
    return out


def write_rig(placed: Rig, rig: Rig, out: Path, warning: str = "") -> None:
    """Write ``rig`` with the cameras of ``placed`` at their new places; a warning stands at the top of the file."""
    cameras = tuple(placed[c.name] if c.name in placed.names else c for c in rig)
    text = native.dumps(replace(rig, cameras=cameras))
    if warning:
        text = "".join(f"# {line}\n" for line in wrap(f"WARNING: {warning}", 110)) + text
    with atomic_path(out, overwrite=False) as file:
        file.write(text.encode())
