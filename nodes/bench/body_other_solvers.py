"""The same 24 noisy joints of the same frames fitted by this solver, by smplfitter, and by smplx with LBFGS.

smplfitter (Sárándi & Pons-Moll, *Neural Localizer Fields*, 2024; MIT) takes vertices and joints; it is given the
joints as a mesh of 24 vertices, each moved by its parent, which skins to the joints exactly. It knows no frame before.
smplx is used as most people do: its own layer, autograd, LBFGS, warm-started. Both are optional and left out, with the
reason, where they are not installed.
"""

import contextlib
import io
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.solver import BodySolver
from kinecast.engines.body.model.body import BodyModel, pose_joints
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import load_prior, retargeted
from kinecast.engines.observations import camera_arrays
from kinecast.engines.synth import ring_rig
from kinecast.engines.synth.moving_body import BodyMotion, moving_body
from kinecast.nodes.bench import Row

Float = NDArray[np.float64]

SIGMA_M, FRAMES, SLOW_FRAMES = 0.015, 450, 12
ITERATIONS = 20  # of LBFGS, a frame


def _joints() -> tuple[BodyModel, BodyMotion, Float]:
    """A body, its motion, and its joints (T, 24, 3) with noise."""
    body = load_body()
    motion = moving_body(body, keypoint_terms(body, "smpl24"), FRAMES, seed=1)
    noise = np.random.default_rng((1, 27)).normal(0, SIGMA_M, motion.joints.shape)
    return body, motion, motion.joints + noise


def ours(body: BodyModel, seen: Float) -> tuple[Float, Float]:
    """Joints and ms of every frame; points with covariance, no views."""
    rig = ring_rig(2)
    cameras = camera_arrays(rig)
    solver = BodySolver(body, "smpl24", cameras, retargeted(load_prior(), body).arrays, rig.up_world)
    nothing = np.zeros((2, 24, 2)), np.zeros((2, 24))
    info = np.tile(np.eye(3) / SIGMA_M**2, (24, 1, 1))

    def fit(t: int) -> Float:
        found = solver.fit(round(t * 1e9 / 30), 1, *nothing, seen[t], info)
        assert found is not None
        return found.joints

    return _timed(fit, range(len(seen)))


def _timed(fit: Callable[[int], Float], frames: range) -> tuple[Float, Float]:
    joints, took = [], []
    for t in frames:
        start = time.thread_time()
        joints.append(fit(t))
        took.append(1e3 * (time.thread_time() - start))
    return np.stack(joints), np.array(took)


def smplfitter(body: BodyModel, seen: Float) -> tuple[Float, Float]:
    """The same by smplfitter's numba backend on one thread. KinecastError where it is not installed."""
    try:
        import smplfitter.nb as peer
    except ImportError as e:
        raise KinecastError(f"{e.name} is not installed: pip install '.[compare]'") from None
    moved_by = np.eye(24)[np.maximum(body.parents, 0)]
    table = {
        "v_template": body.J_template, "shapedirs": body.J_shape, "posedirs": np.zeros((24, 3, 207)),
        "J_regressor": np.eye(24), "weights": moved_by, "f": np.zeros((1, 3), np.int64),
        "kintree_table": np.stack([body.parents, np.arange(24)]),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl").open("wb") as file:
            pickle.dump(table, file)
        np.save(Path(folder) / "kid_template.npy", np.zeros((24, 3)))
        model = peer.BodyModel("smpl", "neutral", folder)
    numba.set_num_threads(1)
    fitter = peer.BodyFitter(model)
    # more rounds (3, 5) and other weights of the betas (0.1, 1, 10) were slower and no nearer
    keys = ("pose_rotvecs", "shape_betas", "trans")

    def fit(t: int) -> Float:
        points = seen[t : t + 1].astype(np.float32)
        found = fitter.fit(points, points, num_iter=1, beta_regularizer=1e-3, requested_keys=keys)
        return np.concatenate([found[k][0] for k in keys])

    with warnings.catch_warnings(action="ignore"):  # that arrays are not contiguous, at every compilation
        fit(0)  # compiled, or loaded from its cache
    found, took = _timed(fit, range(len(seen)))
    pose, betas, trans = np.split(found, [72, 72 + body.betas], axis=1)
    return pose_joints(body, pose.reshape(-1, 24, 3), betas, trans)[1], took


def smplx_lbfgs(body: BodyModel, seen: Float) -> tuple[Float, Float]:
    """The same by smplx's layer and torch's LBFGS on one thread, few frames. KinecastError where not installed."""
    from kinecast.nodes.bench.smplx_oracle import twin

    with contextlib.redirect_stdout(io.StringIO()):  # it prints how many betas a body has
        layer = twin(load_body("light"))  # the same joints, a quarter of the vertices
    import torch

    torch.set_num_threads(1)
    sizes = {"global_orient": 3, "body_pose": 69, "betas": body.betas, "transl": 3}
    unknown = {name: torch.zeros((1, n), dtype=torch.float64, requires_grad=True) for name, n in sizes.items()}

    def fit(t: int) -> Float:
        goal = torch.from_numpy(seen[t])
        if t == 0:
            with torch.no_grad():
                unknown["transl"][:] = goal[0] - torch.from_numpy(body.J_template[0])
        optimiser = torch.optim.LBFGS(
            list(unknown.values()), max_iter=ITERATIONS if t else 200, line_search_fn="strong_wolfe"
        )

        def loss() -> "torch.Tensor":
            optimiser.zero_grad()
            off = layer(**unknown).joints[0, :24] - goal
            weak = (unknown["body_pose"] ** 2).sum() + (unknown["betas"] ** 2).sum()
            value = (off**2).sum() / SIGMA_M**2 + weak
            value.backward()
            return value

        optimiser.step(loss)
        with torch.no_grad():
            return np.asarray(layer(**unknown).joints[0, :24].numpy())

    fit(0)
    return _timed(fit, range(1, 1 + SLOW_FRAMES))


def rows() -> list[Row]:
    """Time and error of each, as ratios to ours."""
    body, motion, seen = _joints()
    ours(body, seen[:3])

    def error_mm(joints: Float, first: int = 0) -> float:
        truth = motion.joints[first : first + len(joints)]
        return 1e3 * float(np.linalg.norm(joints - truth, axis=-1).mean())

    joints, took = ours(body, seen)
    ms, mm = float(np.median(took[-100:])), error_mm(joints)
    first = error_mm(joints[1 : 1 + SLOW_FRAMES], 1)
    note = f"to truth {mm:.1f} mm; seen {error_mm(seen):.1f}"
    out = [Row("24 joints ± 15 mm: this solver", ms, "ms", None, note)]
    for name, peer, at in (("smplfitter", smplfitter, 0), ("smplx + LBFGS", smplx_lbfgs, 1)):
        try:
            joints, took = peer(body, seen)
        except KinecastError as e:
            out.append(Row(f"24 joints ± 15 mm: {name}", float("nan"), "ms", None, str(e)))
            continue
        slow, far = float(np.median(took)), error_mm(joints, at)
        note = f"× {slow / ms:.1f} of ours; to truth {far:.1f} mm, × {far / (first if at else mm):.2f}"
        note += f" (first {SLOW_FRAMES} frames)" if at else ""
        out.append(Row(f"24 joints ± 15 mm: {name}", slow, "ms", None, note))
    return out
