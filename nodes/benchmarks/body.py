"""The body solver alone, per person-frame on one core: time, and how far from the truth it ends."""

import importlib.util
import time

import numpy as np
from numpy.typing import NDArray

from engines.body.example import Motion, moving_body, observe
from engines.body.files import load_body
from engines.body.keypoints import keypoint_terms
from engines.body.model import pose_joints
from engines.body.prior import load_prior, retargeted
from engines.body.solve import FLAG_SHAPE_OPEN, BodySolver, Fit
from engines.skeleton import skeleton
from engines.synth import ring_rig
from engines.views import camera_arrays
from nodes.benchmarks import Row

Float = NDArray[np.float64]

SIGMA_PX, OUTLIERS, MISSING = 4.0, 0.05, 0.15
FRAMES = 450  # the shape settles after about 290 at 30 Hz
RIG = ring_rig(4, (1920, 1080), radius_m=4.0, focal_of_width=0.625)
LIMBS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))


def measured(views: int, seed: int = 1) -> tuple[Motion, list[Fit], Float]:
    """Truth, fits and seconds of each frame, seen by the first ``views`` cameras."""
    body = load_body()
    terms = keypoint_terms(body, "halpe26")
    motion = moving_body(body, terms, FRAMES, seed=seed)
    px, confidence = observe(RIG, motion.points, SIGMA_PX, OUTLIERS, MISSING, seed)
    cameras = camera_arrays(RIG)
    w = confidence * (cameras.focal_px[:, None] / SIGMA_PX) ** 2
    w[:, views:] = 0.0
    xy = np.stack([c.undistort(px[:, i]) for i, c in enumerate(RIG)], axis=1)
    solver = BodySolver(body, "halpe26", cameras, retargeted(load_prior(), body).arrays, RIG.up_world)
    fits, took = [], []
    for i in range(FRAMES):
        start = time.thread_time()
        fit = solver.fit(round(i * 1e9 / 30), 1, xy[i], w[i])
        took.append(time.thread_time() - start)
        assert fit is not None
        fits.append(fit)
    return motion, fits, np.array(took)


def bone_deg(joints: Float, truth: Float) -> float:
    """Median angle in degrees between the limbs of (T, 24, 3) and the truth's."""
    table = skeleton("smpl24")
    pairs = [(table.index(f"{s}_{a}"), table.index(f"{s}_{b}")) for s in ("left", "right") for a, b in LIMBS]

    def directions(p: Float) -> Float:
        d = np.stack([p[:, b] - p[:, a] for a, b in pairs], axis=1)
        return np.asarray(d / np.linalg.norm(d, axis=-1, keepdims=True))

    cosine = np.clip((directions(joints) * directions(truth)).sum(axis=-1), -1, 1)
    return float(np.median(np.rad2deg(np.arccos(cosine))))


def bend_deg(fits: list[Fit], truth: Motion) -> tuple[float, float]:
    """Median error in degrees of the flexion of knees and elbows, and of the twist of the upper arms."""
    table = skeleton("smpl24")

    def flexion(p: Float) -> Float:
        out = []
        for s in ("left", "right"):
            for a, b, c in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")):
                u = p[:, table.index(f"{s}_{b}")] - p[:, table.index(f"{s}_{a}")]
                v = p[:, table.index(f"{s}_{c}")] - p[:, table.index(f"{s}_{b}")]
                cosine = (u * v).sum(axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
                out.append(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
        return np.stack(out)

    joints = np.stack([f.joints for f in fits])
    hands = [table.index(n) for n in ("left_wrist", "right_wrist")]
    stated = float(np.rad2deg(np.median([f.turn_sd_rad[hands].max() for f in fits])))
    return float(np.median(np.abs(flexion(joints) - flexion(truth.joints)))), stated


def smplx_ms() -> float | None:
    """One frame of smplx's usual way, 24 joints by LBFGS in torch with our own kinematics; None without torch."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    torch.set_num_threads(1)
    body = load_body()
    _, target, _ = pose_joints(body, np.full((1, 24, 3), 0.1))
    rest = torch.tensor(body.J_template)
    goal = torch.tensor(target[0])
    pose = torch.zeros((24, 3), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([pose], max_iter=30, line_search_fn="strong_wolfe")

    def loss() -> "torch.Tensor":
        optimiser.zero_grad()
        angle = torch.sqrt((pose**2).sum(dim=1) + 1e-12)[:, None, None]
        k = torch.zeros((24, 3, 3), dtype=torch.float64)
        k[:, 0, 1], k[:, 0, 2], k[:, 1, 2] = -pose[:, 2], pose[:, 1], -pose[:, 0]
        k = k - k.transpose(1, 2)
        local = torch.eye(3, dtype=torch.float64) + torch.sin(angle) / angle * k
        local = local + (1 - torch.cos(angle)) / angle**2 * (k @ k)
        world, places = [local[0]], [rest[0]]
        for j in range(1, 24):
            p = int(body.parents[j])
            world.append(world[p] @ local[j])
            places.append(places[p] + world[p] @ (rest[j] - rest[p]))
        value = ((torch.stack(places) - goal) ** 2).sum()
        value.backward()
        return value

    start = time.thread_time()
    optimiser.step(loss)
    return (time.thread_time() - start) * 1e3


def run() -> list[Row]:
    """Time and accuracy on one moving body, and from fewer views."""
    measured(2)  # compiled, or loaded from the cache
    rows = []
    for views in (4, 3, 2, 1):
        motion, fits, took = measured(views)
        joints = np.stack([f.joints for f in fits])
        error = np.linalg.norm(joints - motion.joints, axis=-1)
        sd = np.sqrt(3 * np.mean([f.joint_sd_m**2 for f in fits])) / np.sqrt(np.mean(error**2))
        note = (
            f"median {1e3 * np.median(error):.1f}; bones {bone_deg(joints, motion.joints):.2f}°; stated / met {sd:.2f}"
        )
        rows.append(
            Row(f"body, {views} views: 24 joints", 1e3 * float(error.mean()), "mm", 16.5 if views == 4 else None, note)
        )
        if views == 4:
            held = np.array([not f.flags & FLAG_SHAPE_OPEN for f in fits])
            body = load_body()
            off = abs(body.stature_m(fits[-1].betas) - body.stature_m(motion.betas))
            flexion, hand = bend_deg(fits, motion)
            slow = smplx_ms()
            ms = 1e3 * float(np.median(took[held]))
            rows += [
                Row("body: fit, shape held", ms, "ms", 0.3, f"shape open {1e3 * np.median(took[~held]):.2f}"),
                Row("body: limb directions", bone_deg(joints, motion.joints), "°", 3.0, "median of 8 limbs"),
                Row("body: flexion of knees and elbows", flexion, "°", None, f"turn of the hand stated ± {hand:.0f}°"),
                Row("body: stature", 1e3 * off, "mm", 10.0, "after the shape has settled"),
            ]
            if slow is not None:
                rows.append(Row("torch + LBFGS, 24 joints", slow, "ms", None, f"× {slow / ms:.0f} of the fit"))
    return rows
