"""What a detector would report of the synthetic world: projections with noise, outliers, gaps and lies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Camera, Rig
from kinecast.engines.records import Keypoints2D, People2D
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth.body import Float
from kinecast.engines.synth.world import CameraClock, World

SKELETON = "halpe26"
_HALPE = skeleton(SKELETON)
# spheres that hide what stands behind them: (joint, joint, share of the way, radius in m)
_BODY_SPHERES = tuple(
    (_HALPE.index(a), _HALPE.index(b), u, r)
    for a, b, us, r in (
        ("neck", "mid_hip", (0.1, 0.35, 0.6, 0.85), 0.16),
        ("neck", "head_top", (0.6,), 0.11),
        ("left_hip", "left_knee", (0.25, 0.6), 0.08),
        ("right_hip", "right_knee", (0.25, 0.6), 0.08),
        ("left_knee", "left_ankle", (0.3, 0.7), 0.06),
        ("right_knee", "right_ankle", (0.3, 0.7), 0.06),
    )
    for u in us
)


@dataclass(frozen=True, slots=True)
class Noise:
    """What is wrong with the detections. Shares are probabilities in [0, 1].

    sigma_px: standard deviation per axis of a good keypoint; sigma_of_height: the same as a share of the person's
    height in the picture, added in quadrature. outliers: share of joints that are ``outlier_px`` off (uniform, in any
    direction). missing: share of joints not given. missed_people: share of people not found. swaps: share of people
    whose left and right are exchanged. occlusion: joints behind somebody else are not given. ghosts: mean number of
    false people a view.
    tracked: give local ids that last, else −1.
    """

    sigma_px: float = 3.0
    sigma_of_height: float = 0.0
    outliers: float = 0.0
    outlier_px: tuple[float, float] = (40.0, 200.0)
    missing: float = 0.0
    missed_people: float = 0.0
    swaps: float = 0.0
    occlusion: bool = False
    ghosts: float = 0.0
    tracked: bool = False


NONE = Noise(sigma_px=0.0)
CROWD = Noise(sigma_px=3.0, outliers=0.10, missing=0.15)  # the synthetic crowd that fusion is measured on


def frame_rng(seed: int, camera: str, stamp_ns: int) -> np.random.Generator:
    """Random numbers that belong to one camera and one frame, whatever was asked for before."""
    return np.random.default_rng((seed, crc32(camera.encode()), stamp_ns & (2**64 - 1)))


def hidden(points_world: Float, camera: Camera) -> NDArray[np.bool_]:
    """(P, J) whether a joint stands behind somebody else's body, as seen by the camera."""
    people = len(points_world)
    out = np.zeros(points_world.shape[:2], bool)
    a, b, u, radius = (np.array(column) for column in zip(*_BODY_SPHERES, strict=True))
    rays = points_world - camera.centre_world
    length = np.linalg.norm(rays, axis=-1)
    unit = rays / length[..., None]
    with np.errstate(invalid="ignore"):
        for q in range(people):
            spheres = points_world[q, a] * (1 - u)[:, None] + points_world[q, b] * u[:, None] - camera.centre_world
            along = unit @ spheres.T
            gap2 = (spheres**2).sum(axis=-1) - along**2
            hit = ((gap2 < radius**2) & (along > 0) & (along < length[..., None] - 0.2)).any(axis=-1)
            hit[q] = False
            out |= hit
    return out


def observe(world: World, camera: Camera, t_ns: int, noise: Noise, rng: np.random.Generator) -> People2D:
    """What ``camera`` reports of the world at ``t_ns``, in HALPE-26, in a random order of people.

    A joint outside the picture is not given, and nor is a person with fewer than five joints left.
    """
    return observe_points(world.points_world(t_ns), camera, noise, rng)[0]


def observe_points(
    points_world: Float, camera: Camera, noise: Noise, rng: np.random.Generator
) -> tuple[People2D, NDArray[np.int64]]:
    """As ``observe``, of (P, 26, 3) points; also whose each detection is: (N,) row of the person, −1: a ghost."""
    P, J = points_world.shape[:2]
    truth_px, _ = camera.project(points_world)
    # every draw is made for everybody, so that one setting does not change the random numbers of another
    normal, lie, angle = rng.normal(size=(P, J, 2)), rng.random((P, J)), rng.uniform(0, 2 * np.pi, (P, J))
    length, confidence = rng.uniform(*noise.outlier_px, (P, J)), rng.uniform(0.5, 1.0, (P, J))
    doubt, gap = rng.uniform(0.3, 1.0, (P, J)), rng.random((P, J))
    missed, swapped, order = rng.random(P), rng.random(P), rng.permutation(P)
    with np.errstate(invalid="ignore"):
        tall = np.fmax.reduce(truth_px[..., 1], axis=1, initial=-np.inf) - np.fmin.reduce(
            truth_px[..., 1], axis=1, initial=np.inf
        )
    sigma = np.hypot(noise.sigma_px, noise.sigma_of_height * np.where(np.isfinite(tall), tall, 0.0))
    px = truth_px + sigma[:, None, None] * normal
    outlier = lie < noise.outliers
    px += (outlier * length)[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    confidence = np.where(outlier, confidence * doubt, confidence)
    swap = swapped < noise.swaps
    flip = np.array(_HALPE.flip)
    px[swap], confidence[swap] = px[swap][:, flip], confidence[swap][:, flip]
    gone = (gap < noise.missing) | ~np.isfinite(px).all(axis=-1)
    with np.errstate(invalid="ignore"):
        gone |= ((px < -0.5) | (px > np.array(camera.size_px) - 0.5)).any(axis=-1)
    if noise.occlusion and P > 1:
        behind = hidden(points_world, camera)
        behind[swap] = behind[swap][:, flip]
        gone |= behind
    px[gone], confidence[gone] = np.nan, 0.0
    seen = ((~gone).sum(axis=1) >= 5) & (missed >= noise.missed_people)
    who = np.array([p for p in order if seen[p]], np.int64)
    px, confidence = px[who], confidence[who]
    for _ in range(rng.poisson(noise.ghosts) if noise.ghosts else 0):
        ghost = _ghost(camera, rng)
        px = np.concatenate([px, ghost[None]])
        confidence = np.concatenate([confidence, rng.uniform(0.2, 0.7, (1, J))])
        who = np.append(who, -1)
    return _people(px, confidence, who if noise.tracked else np.full(len(who), -1)), who


def _ghost(camera: Camera, rng: np.random.Generator) -> Float:
    """(26, 2) a person-like shape where nobody is."""
    w, h = camera.size_px
    tall = rng.uniform(0.2, 0.5) * h
    at = rng.uniform([0.1 * w, tall / 2], [0.9 * w, h - tall / 2])
    return np.clip(at + rng.normal(size=(len(_HALPE), 2)) * [tall / 8, tall / 4], 0, [w - 1, h - 1])


def _people(px: Float, confidence: Float, ids: NDArray[np.int64]) -> People2D:
    n = len(px)
    boxes = np.zeros((n, 4))
    scores = np.zeros(n)
    for i in range(n):
        given = px[i][np.isfinite(px[i]).all(axis=-1)]
        boxes[i] = [*given.min(axis=0), *given.max(axis=0)]
        scores[i] = confidence[i][confidence[i] > 0].mean()
    return People2D(
        px.astype(np.float32),
        np.clip(confidence, 0, 1).astype(np.float32),
        boxes.astype(np.float32),
        scores.astype(np.float32),
        ids.astype(np.int32),
    )


def messages(
    world: World,
    rig: Rig,
    *,
    frames: int,
    fps_hz: float | Mapping[str, float] = 30.0,
    noise: Noise = CROWD,
    clocks: Mapping[str, CameraClock] | None = None,
    seed: int = 0,
) -> Iterator[Keypoints2D]:
    """What the camera nodes would publish, in the order of the world's time, ``frames`` of the fastest camera's.

    fps_hz: of all cameras, or by name. clocks: by camera name; the stamps are theirs, the pictures are the world's.
    """
    rates = {n: float(fps_hz[n] if isinstance(fps_hz, Mapping) else fps_hz) for n in rig.names}
    end_s = frames / max(rates.values())
    ticks = sorted((k / rates[n], c, k) for c, n in enumerate(rig.names) for k in range(int(np.ceil(end_s * rates[n]))))
    for t_s, c, k in ticks:
        camera = rig.cameras[c]
        t_ns = round(t_s * 1e9)
        stamp_ns = (clocks or {}).get(camera.name, CameraClock()).stamp_ns(t_ns)
        seen = observe(world, camera, t_ns, noise, frame_rng(seed, camera.name, stamp_ns))
        yield Keypoints2D(
            camera=camera.name,
            frame_seq=k,
            t_capture_ns=stamp_ns,
            size_px=camera.size_px,
            skeleton=SKELETON,
            keypoints_px=seen.keypoints_px,
            confidence=seen.confidence,
            boxes_px=seen.boxes_px,
            scores=seen.scores,
            local_ids=seen.local_ids,
        )
