"""What training reads from folders and recordings: motion clips, kept ones apart, and 2D tracks without a truth."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.observations import keypoints_of
from kinecast.engines.train.data.motion import Clip, read_clips
from kinecast.engines.train.data.published import Labelled, read_labelled
from kinecast.engines.train.data.synthetic_batches import HELD_OUT, held_out, left_out
from kinecast.engines.train.data.unlabelled_tracks import Track2D
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.frame_sets import iter_frame_sets

MOTION_HZ = 60.0  # what lies between two frames of 60 Hz is near enough on the line between them


def clips_of(folders: Sequence[Path], kept: Path | None, rate_hz: float = MOTION_HZ) -> tuple[list[Clip], list[Clip]]:
    """(to train on, held out) clips of folders of motion, without those that the list leaves out.

    kept: a list as ``held_out.toml``; None: that one.
    """
    directions = rest_directions(load_body().J_template)
    clips: dict[str, Clip] = {}
    for folder in folders:
        for clip in read_clips(folder, directions, rate_hz):
            if clip.name in clips:
                raise KinecastError(f"{folder}: a second clip named {clip.name}: rename it, or leave a folder out")
            clips[clip.name] = clip
    names = [n for n, out in zip(clips, left_out(list(clips), kept or HELD_OUT), strict=True) if not out]
    held = held_out(names, kept or HELD_OUT)
    if held.all():
        raise KinecastError(f"all {len(names)} clips are held out by {kept or HELD_OUT}: nothing is left to train on")
    return (
        [clips[n] for n, h in zip(names, held, strict=True) if not h],
        [clips[n] for n, h in zip(names, held, strict=True) if h],
    )


def labelled_of(paths: Sequence[Path], kept: Path | None) -> tuple[list[Labelled], list[Labelled]]:
    """(to train on, held out) sequences of published data sets."""
    found = read_labelled(paths)
    held = held_out([s.name for s in found], kept or HELD_OUT)
    if held.all():
        raise KinecastError(f"all {len(found)} sequences are held out by {kept or HELD_OUT}: nothing is left")
    return (
        [s for s, h in zip(found, held, strict=True) if not h],
        [s for s, h in zip(found, held, strict=True) if h],
    )


def tracks_of(path: Path, rate_hz: float) -> list[Track2D]:
    """Every person of a recording in every view, in HALPE-26, resampled to ``rate_hz``; gaps have confidence 0."""
    recording = Recording.open(path)
    rig = recording.rig
    rows: dict[tuple[int, str], list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]] = defaultdict(list)
    for joined in iter_frame_sets(recording):
        poses = joined.poses
        if poses is None:
            continue
        px, confidence, known = keypoints_of(poses, joined.keypoints, target="halpe26")
        for p, c in np.argwhere(known).tolist():
            name = poses.cameras[c]
            xy = rig[name].undistort(px[p, c])
            given = np.where(np.isfinite(xy).all(-1), confidence[p, c], 0.0)
            rows[int(poses.person_ids[p]), name].append((joined.keypoints[name].t_capture_ns, xy, given))
    return [_resampled(parts, rate_hz) for parts in rows.values() if len(parts) > 1]


def _resampled(
    parts: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]], rate_hz: float, gap_s: float = 0.25
) -> Track2D:
    """Linear in time; a joint that was not seen on both sides within ``gap_s`` is missing there."""
    t_s = np.array([p[0] for p in parts]) / 1e9
    order = np.argsort(t_s, kind="stable")
    t_s, xy, confidence = t_s[order], np.stack([p[1] for p in parts])[order], np.stack([p[2] for p in parts])[order]
    at = np.arange(t_s[0], t_s[-1], 1 / rate_hz)
    out_xy, out_c = np.zeros((len(at), *xy.shape[1:])), np.zeros((len(at), xy.shape[1]))
    for j in range(xy.shape[1]):
        ok = confidence[:, j] > 0
        if ok.sum() < 2:
            continue
        times = t_s[ok]
        after = np.searchsorted(times, at).clip(1, len(times) - 1)
        near = (times[after] - times[after - 1] <= gap_s) & (at >= times[0]) & (at <= times[-1])
        for k in range(2):
            out_xy[:, j, k] = np.interp(at, times, xy[ok, j, k])
        out_c[:, j] = np.where(near, np.interp(at, times, confidence[ok, j]), 0.0)
    return Track2D(out_xy.astype(np.float32), out_c.astype(np.float32))
