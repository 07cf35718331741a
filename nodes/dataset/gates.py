"""Which fits are good enough to be called ground truth, and why the others are not.

Each gate is a yes or no for every person-frame, from what the session itself shows: no truth is asked. The measure that
tells most is the other half of the views: the body is fitted to half of the cameras, held to what the rest saw of it,
and the two halves are compared in space.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.refusals import Code
from kinecast.engines.metrics.steady import limb_bones
from kinecast.engines.skeleton import skeleton
from kinecast.engines.train.data.shards import REASONS

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Gates:
    """What a person-frame must show; a gate is off where its number lets everything through.

    views: cameras at least that see ``keypoints`` of the body. explained: share of the keypoints within 3.5 σ at least.
    residual_times: RMS of those, at most so many times the person's median. other_times: the same of the keypoints that
    the other half of the views sees. apart_m: median distance of the joints of two halves: an arm that one half alone
    has wrong is outvoted where all views are fitted. bone_share: how far limbs of
    the triangulated points may be from the body's, as a share. limit_rad: beyond the joint limits. speed_mps,
    turn_radps: of any joint.
    """

    views: int = 2
    keypoints: int = 8
    explained: float = 0.5  # at 0.7 it refused a quarter of a noisy session, which was as accurate as the rest
    residual_times: float = 2.0
    other_times: float = 1.3
    apart_m: float = 0.08
    bone_share: float = 0.35
    limit_rad: float = 0.15
    speed_mps: float = 12.0
    turn_radps: float = 40.0

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the gates judge, of N frames of a person.

    t_s: (N,). seen: (N,) views with enough keypoints. residual_px, explained: (N,). other_px: (N,) median distance of
    keypoints from the body that the other half of the views made, NaN where there are no halves; apart_m: (N,) median
    distance of the joints of the two, hands left out. points_m: (N, 26, 3) triangulated; body_points_m: (N, 26, 3);
    joints_m: (N, 24, 3). beyond_rad: (N,) largest excess over a joint limit. turn_rad: (N − 1, 24) turn of each joint
    to the next frame. sides, unseen, shape: (N,) flags of the fit.
    """

    t_s: Float
    seen: NDArray[np.int64]
    residual_px: Float
    explained: Float
    other_px: Float
    apart_m: Float
    points_m: Float
    body_points_m: Float
    joints_m: Float
    beyond_rad: Float
    turn_rad: Float
    sides: Bool
    unseen: Bool
    shape: Bool


def apply_gates(e: Evidence, gates: Gates) -> NDArray[np.uint16]:
    """(N,) bits of ``REASONS``: why each frame is refused, 0 where it is not."""
    with np.errstate(invalid="ignore"):
        usual = float(np.nanmedian(e.residual_px)) if np.isfinite(e.residual_px).any() else np.nan
        other = float(np.nanmedian(e.other_px)) if np.isfinite(e.other_px).any() else np.nan
        no: dict[Code, Bool] = {
            "views": e.seen < gates.views,
            "residual": (e.explained < gates.explained) | (e.residual_px > gates.residual_times * usual) | e.sides,
            "other_views": (e.other_px > gates.other_times * other) | (e.apart_m > gates.apart_m),
            "bones": bone_off(e.points_m, e.body_points_m) > gates.bone_share,
            "joint_limits": e.beyond_rad > gates.limit_rad,
            "speed": _fast(e, gates),
            "unseen": e.unseen,
            "shape": e.shape,
        }
    out = np.zeros(len(e.t_s), np.uint16)
    for i, name in enumerate(REASONS):
        out |= np.where(no[name], np.uint16(1 << i), np.uint16(0)).astype(np.uint16)
    return out


def bone_off(points: Float, body: Float) -> Float:
    """(N,) median over the limbs of |triangulated / the body's − 1|; 0 where no limb was triangulated."""
    pairs = np.array(limb_bones("halpe26"))
    have = np.linalg.norm(points[:, pairs[:, 0]] - points[:, pairs[:, 1]], axis=-1)
    want = np.linalg.norm(body[:, pairs[:, 0]] - body[:, pairs[:, 1]], axis=-1)
    off = np.abs(have / want - 1.0)
    out = np.zeros(len(points))
    some = np.isfinite(off).any(axis=1)
    out[some] = np.nanmedian(off[some], axis=1)
    return out


def _fast(e: Evidence, gates: Gates) -> Bool:
    """(N,) frames on either side of a step that no person makes."""
    out = np.zeros(len(e.t_s), np.bool_)
    if len(out) < 2:
        return out
    dt = np.maximum(np.diff(e.t_s), 1e-3)
    speed = np.linalg.norm(np.diff(e.joints_m, axis=0), axis=-1).max(axis=1) / dt
    limbs = [j for j, n in enumerate(skeleton("smpl24").joints) if not n.endswith(("hand", "foot"))]
    step = (speed > gates.speed_mps) | (e.turn_rad[:, limbs].max(axis=1) / dt > gates.turn_radps)
    out[:-1] |= step
    out[1:] |= step
    return out


# what to do about a gate that refuses most of a session
ADVICE: dict[Code, str] = {
    "views": "too few cameras see enough of the person: add cameras, or build with a lower --views",
    "residual": "no body explains the keypoints: do rig and videos belong together? `kinecast calibrate check`",
    "other_views": "cameras contradict each other: `kinecast calibrate refine` and `kinecast sync`, then build again",
    "bones": "what is triangulated is not one body: `kinecast calibrate check` says which camera is off",
    "joint_limits": "no joint bends like that, mostly two people taken for one: look at it with `kinecast render`",
    "speed": "the person leaps, mostly because identities change: look at it with `kinecast render`",
    "unseen": "most frames have no keypoints of the person: let a camera see them",
    "shape": "no adult has that shape: a child, a giant or a rig that is not in metres, `kinecast info` says which",
}


def advice(refused: dict[str, int], frames: int) -> str:
    """What to do about the gate that refused most, by :func:`counts`; "" where that is less than half of the frames."""
    worst = max(ADVICE, key=lambda name: refused.get(name, 0))
    return ADVICE[worst] if 2 * refused.get(worst, 0) >= frames else ""


def counts(refused: NDArray[np.uint16]) -> dict[str, int]:
    """How many frames each reason refused; a frame may have several."""
    return {name: int((refused >> i & 1).sum()) for i, name in enumerate(REASONS)}
