"""A body and its views as torch batches over frames: where keypoints are, how they move, what the views say of them.

The batch twins of what :mod:`engines.body.fit.kernels` does for one person and frame; a test holds them together.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.body.fit.kernels import NEAR_M, Bones
from kinecast.engines.body.sequence.torch_rotations import cross_matrix

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any


class Skeleton:
    """A body's joints and keypoints as tensors: places, and how they move with turns of the joints."""

    def __init__(self, bones: Bones, device: Any) -> None:
        import torch

        def put(a: NDArray[Any]) -> Tensor:
            return torch.tensor(np.asarray(a, np.float64), device=device)

        self.parents = bones.parents.tolist()
        self.rest, self.rest_shape = put(bones.rest), put(bones.rest_shape)
        self.offset, self.offset_shape, self.weight = put(bones.offset), put(bones.offset_shape), put(bones.weight)
        self.joint = torch.tensor(bones.joint, device=device)
        J, (K, M) = len(self.parents), bones.joint.shape
        under = np.zeros((K, M, J))
        for k in range(K):
            for q in range(bones.n_movers[k]):
                under[k, :, bones.movers[k, q]] = bones.under[k, q]
        self.under = put(under * (np.arange(M) < bones.terms[:, None])[..., None])
        self.moved = (self.under * self.weight[..., None]).sum(1)  # (K, J)
        chain = np.zeros((J, J))
        for j in range(J):
            a = self.parents[j]
            if a >= 0:
                chain[j] = chain[a]
                chain[j, a] = 1.0
        self.chain = put(chain)  # joints are moved by those above them

    def place(self, R: Tensor, t: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """G (N, J, 3, 3), p (N, J, 3), v (N, K, M, 3) terms of the keypoints and x (N, K, 3)."""
        import torch

        rest, offset = self.rest + self.rest_shape @ betas, self.offset + self.offset_shape @ betas
        G, p = [R[:, 0]], [rest[0] + t]
        for j in range(1, len(self.parents)):
            a = self.parents[j]
            G.append(G[a] @ R[:, j])
            p.append(p[a] + G[a] @ (rest[j] - rest[a]))
        turned, places = torch.stack(G, 1), torch.stack(p, 1)
        v = (turned[:, self.joint] @ offset[..., None])[..., 0] + self.weight[..., None] * places[:, self.joint]
        return turned, places, v, v.sum(2)

    def motion(self, G: Tensor, p: Tensor, v: Tensor) -> Tensor:
        """(N, K, 3, 3 J + 3) how keypoints move with turns of the joints about their own axes, and with t."""
        import torch

        y = torch.einsum("kma,nkmi->nkai", self.under, v) - self.moved[..., None] * p[:, None]
        return self._turns(G, y)

    def joint_motion(self, G: Tensor, p: Tensor) -> Tensor:
        """The same of the joints, (N, J, 3, 3 J + 3)."""
        return self._turns(G, self.chain[..., None] * (p[:, :, None] - p[:, None]))

    def _turns(self, G: Tensor, y: Tensor) -> Tensor:
        """A turn about the axis r of a joint moves a point by r × y, y from the joint to the point (N, K, J, 3)."""
        import torch

        N, K, J = y.shape[:3]
        D = -cross_matrix(y) @ G[:, None]  # (N, K, J, 3, 3)
        D = D.permute(0, 1, 3, 2, 4).reshape(N, K, 3, 3 * J)
        return torch.cat([D, torch.eye(3).to(D).expand(N, K, 3, 3)], -1)


class KeypointTensors(NamedTuple):
    """What is known of the keypoints, as tensors; see :class:`engines.body.sequence.solver.Stretch`."""

    P: Tensor
    xy: Tensor
    w: Tensor
    X: Tensor
    info: Tensor

    def at(self, x: Tensor, c2: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(cost, M (N, K, 3, 3), g (N, K, 3), and both of the views alone) at keypoints x (N, K, 3).

        The batch twin of :func:`engines.body.fit.kernels.data_into`.
        """
        import torch

        q = torch.einsum("cij,nkj->ncki", self.P[..., :3], x) + self.P[:, None, :, 3]
        near = q[..., 2] < NEAR_M
        Z = q[..., 2].clamp_min(NEAR_M)
        uv = q[..., :2] / Z[..., None]
        r = torch.where(near[..., None], torch.zeros_like(uv), uv - self.xy)
        w = torch.where(near, torch.zeros_like(self.w), self.w)
        s = w * (r * r).sum(-1)
        rho = 1.0 / (1.0 + s / c2)
        cost = (s * rho).sum() + c2 * (near & (self.w > 0)).sum()
        w = w * rho * rho
        P = self.P[:, None]
        D = (P[..., :2, :3] - uv[..., None] * P[..., 2:, :3]) / Z[..., None, None]  # (N, C, K, 2, 3)
        Dw = D.transpose(-1, -2) * w[..., None, None]
        M, g = (Dw @ D).sum(1), (Dw @ r[..., None])[..., 0].sum(1)
        off = x - self.X
        e = (self.info @ off[..., None])[..., 0]
        s = (off * e).sum(-1)
        rho = 1.0 / (1.0 + s / c2)
        w = rho * rho
        return (
            cost + (s * rho).sum(), M + w[..., None, None] * self.info, g + w[..., None] * e, M, g,
        )  # fmt: skip
