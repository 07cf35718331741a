"""A lifter on sequences that it never learned from, while it is trained: a few numbers; the report is elsewhere."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.train.data.synthetic_batches import Batch, BatchSource
from kinecast.engines.train.lifter.dense_forward import lift_sequence
from kinecast.engines.virtual_camera import root_from_code

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LiftedBatch:
    """What a network made of a batch. B sequences of T frames, J joints, metres, in each frame's virtual camera.

    relative_m, corrected_m: (B, T, J, 3) before and after self-correction (the same where there is none). sd_m: (B, T,
    J, 3) as told, uncalibrated, or None. root_m, by ``k``, ``gamma`` and ``trajectory`` as far as the network has them:
    (B, T, 3); log_depth_sd: the same names, (B, T), standard deviation of the log of the depth. root_code_sd: (B, T, 3)
    or None, of the trajectory's code.
    """

    relative_m: Float
    corrected_m: Float
    sd_m: Float | None
    root_m: dict[str, Float]
    log_depth_sd: dict[str, Float]
    root_code_sd: Float | None


@torch.no_grad()
def lift_batch(network: LifterNetwork, batch: Batch, device: str = "cpu") -> LiftedBatch:
    """Run a network over a batch. Where only the depth is told (k, γ), the root lies on the ray of the lifted hips."""
    network.eval()
    features, context = (torch.from_numpy(a).to(device) for a in (batch.features, batch.context))
    lift, _ = lift_sequence(network, features, context)
    corrected = lift.relative_m
    if network.projector is not None:
        corrected = network.projector.correct(corrected, features, context)
    relative, corrected = (v.double().cpu().numpy() for v in (lift.relative_m, corrected))
    sd = None if lift.log_variance is None else (lift.log_variance / 2).double().exp().cpu().numpy()
    extent, k = batch.extent.astype(np.float64), batch.k_m.astype(np.float64)
    roots: dict[str, Float] = {}
    log_depth_sd: dict[str, Float] = {}
    direction = root_ray(relative, batch.features.astype(np.float64), extent, k)
    roots["k"] = root_at_depth(direction, relative, k)
    code_sd = None
    if lift.log_gamma is not None:
        gamma = lift.log_gamma.double().cpu().numpy()
        roots["gamma"] = root_at_depth(direction, relative, np.exp(gamma[..., 0]) * k)
        log_depth_sd["gamma"] = np.exp(gamma[..., 1] / 2)
    if lift.root_code is not None and lift.root_log_variance is not None:
        roots["trajectory"] = root_from_code(lift.root_code.double().cpu().numpy(), extent)
        code_sd = (lift.root_log_variance / 2).double().exp().cpu().numpy()
        log_depth_sd["trajectory"] = code_sd[..., 2]
    return LiftedBatch(relative, corrected, sd, roots, log_depth_sd, code_sd)


def root_ray(relative_m: Float, features: Float, extent: Float, depth_m: Float) -> Float:
    """(B, T, 2) x/z and y/z of the root: the mean of the keypoints less that of the lifted pose at that depth."""
    weight = features[..., 2]
    total = np.maximum(weight.sum(-1), 1e-6)[..., None]
    seen = (features[..., :2] * weight[..., None]).sum(-2) / total * extent[..., None]
    lifted = relative_m[..., :2] / np.maximum(depth_m[..., None, None] + relative_m[..., 2:], 0.2)
    out: Float = seen - (lifted * weight[..., None]).sum(-2) / total
    out[weight.sum(-1) <= 0] = 0.0
    return out


def root_at_depth(direction: Float, relative_m: Float, depth_m: Float) -> Float:
    """(B, T, 3) root at a depth along its ray."""
    return np.concatenate([direction * depth_m[..., None], depth_m[..., None]], -1)


def validate(
    network: LifterNetwork, source: BatchSource, *, batches: int, device: str = "cpu", first: int = 0
) -> dict[str, float]:
    """Errors over ``batches`` batches from number ``first`` on, weighed over frames that a detector saw lately."""
    sums: dict[str, float] = {}
    total = 0.0
    for number in range(first, first + batches):
        batch = source.batch(number)
        out = lift_batch(network, batch, device)
        w = batch.weight.astype(np.float64)
        total += float(w.sum())
        values = {
            "mpjpe_mm": _distance(out.relative_m - batch.relative_m).mean(-1) * 1e3,
            "mpjpe_corrected_mm": _distance(out.corrected_m - batch.relative_m).mean(-1) * 1e3,
        }
        step = _distance(np.diff(out.relative_m - batch.relative_m, axis=1)).mean(-1) * 1e3
        values["velocity_mm_per_frame"] = np.concatenate([step[:, :1], step], 1)
        for name, root in out.root_m.items():
            values[f"root_{name}_mm"] = _distance(root - batch.root_m) * 1e3
            values[f"depth_{name}_share"] = np.abs(root[..., 2] / batch.root_m[..., 2].clip(0.1) - 1)
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + float((value * w).sum())
    return {name: value / max(total, 1e-9) for name, value in sums.items()}


def _distance(v: Float) -> Float:
    return np.asarray(np.linalg.norm(v, axis=-1))
