"""The rotations of :mod:`engines.body.model.rotations` as torch batches, (..., 3) and (..., 3, 3), for whole
sequences."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any


def exp(v: Tensor) -> Tensor:
    """Rotation vectors (..., 3) → matrices (..., 3, 3)."""
    import torch

    t2 = (v * v).sum(-1)[..., None, None]
    small = t2 < 1e-12
    t = torch.sqrt(torch.where(small, torch.ones_like(t2), t2))
    a = torch.where(small, 1.0 - t2 / 6.0, torch.sin(t) / t)
    b = torch.where(small, 0.5 - t2 / 24.0, (1.0 - torch.cos(t)) / (t * t))
    K = cross_matrix(v)
    return torch.eye(3, dtype=v.dtype, device=v.device) + a * K + b * (K @ K)


def cross_matrix(v: Tensor) -> Tensor:
    """(..., 3, 3) matrix of v × for v (..., 3)."""
    import torch

    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*v.shape, 3)


def log(R: Tensor) -> Tensor:
    """Matrices (..., 3, 3) → rotation vectors (..., 3) of length 0 to π."""
    import torch

    a = torch.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], -1)
    s = 0.5 * a.norm(dim=-1)
    c = 0.5 * (R.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0)
    t = torch.atan2(s, c)
    f = torch.where(t < 1e-4, 0.5 + t * t / 12.0, 0.5 * t / s.clamp_min(1e-12))
    out = f[..., None] * a
    turned = (s <= 1e-3) & (c < 0.0)
    if bool(turned.any()):  # near half a turn the axis is the largest column of R + Rᵀ − 2 c I
        S = R[turned] + R[turned].transpose(-1, -2) - 2.0 * c[turned][:, None, None] * torch.eye(3).to(R)
        largest = S.diagonal(dim1=-2, dim2=-1).argmax(-1)
        axis = S[torch.arange(len(S), device=S.device), :, largest]
        axis = axis / axis.norm(dim=-1, keepdim=True)
        sign = torch.where((axis * a[turned]).sum(-1) < 0.0, -1.0, 1.0).to(R)
        out[turned] = (sign * t[turned])[:, None] * axis
    return out


def right_inverse(v: Tensor) -> Tensor:
    """(..., 3, 3) inverse right Jacobian at v: log(exp(v) · exp(δ)) = v + J δ for small δ."""
    import torch

    t2 = (v * v).sum(-1)[..., None, None]
    small = t2 < 1e-6
    t = torch.sqrt(torch.where(small, torch.ones_like(t2), t2))
    b = torch.where(small, 1.0 / 12.0 + t2 / 720.0, (1.0 - 0.5 * t * torch.cos(0.5 * t) / torch.sin(0.5 * t)) / (t * t))
    K = cross_matrix(v)
    return torch.eye(3, dtype=v.dtype, device=v.device) + 0.5 * K + b * (K @ K)
