"""The regressor of :mod:`engines.body.fit.regressor` as a torch network, and its losses. Import it only to train."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.kernels import Bones
from kinecast.engines.body.fit.regressor import BETAS, CONTEXT, FEEDBACK, ROTATIONS, WIDTHS, layers, six_of

F32 = NDArray[np.float32]

FACING = np.diag([1.0, -1.0, -1.0])  # upright, and turned to the camera
ROBUST = 0.3  # of the reprojection, in extents: Geman and McClure's scale
WEIGHTS = {"seen": 4.0, "points": 10.0, "turns": 1.0, "shape": 0.01, "plain": 0.002}


class Network(nn.Module):  # type: ignore[misc]
    """Encoder and feedback; ``state`` is what :func:`engines.body.fit.regressor.write_regressor` takes."""

    def __init__(self, reference: NDArray[np.float64], widths: tuple[int, int, int] = WIDTHS) -> None:
        """reference: (24, 3, 3) rotations of the mean pose."""
        super().__init__()
        start = np.asarray(reference, np.float64).copy()
        start[0] = FACING
        mean = np.concatenate([six_of(start).reshape(-1), np.zeros(BETAS)])
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.parts = nn.ModuleDict({name.replace(".", "_"): nn.Linear(i, o) for name, (o, i) in layers(widths).items()})
        nn.init.uniform_(self.parts["update_2"].weight, -0.01, 0.01)  # as in HMR: begin near the mean
        nn.init.zeros_(self.parts["update_2"].bias)

    def forward(self, windows: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`engines.body.fit.regressor.Regressor.predict`."""
        x = torch.cat([windows.flatten(1), context[:, :CONTEXT]], 1)
        code = torch.relu(self.parts["encode_1"](torch.relu(self.parts["encode_0"](x))))
        estimate = self.mean.expand(len(x), -1)
        for _ in range(FEEDBACK):
            y = torch.relu(self.parts["update_0"](torch.cat([code, estimate], 1)))
            estimate = estimate + self.parts["update_2"](torch.relu(self.parts["update_1"](y)))
        return rotations(estimate[:, : 6 * ROTATIONS].reshape(-1, ROTATIONS, 6)), estimate[:, 6 * ROTATIONS :]

    def load_tensors(self, tensors: Mapping[str, F32]) -> None:
        """Begin with the weights of a file; KinecastError where they are of other widths."""
        own = self.state()
        if wrong := next((n for n, v in own.items() if tensors[n].shape != v.shape), ""):
            raise KinecastError(f"the weights to begin with are of other widths ({wrong}): begin with others")
        self.mean.copy_(torch.tensor(tensors["mean"]))
        state = {n.replace(".", "_", 1): torch.tensor(v) for n, v in tensors.items() if n != "mean"}
        self.parts.load_state_dict(state)

    def state(self) -> Mapping[str, F32]:
        """Tensors by the names of the file."""
        out = {"mean": self.mean.numpy().copy()}
        for name, value in self.parts.state_dict().items():
            out[name.replace("_", ".", 1)] = value.detach().numpy().copy()
        return out


def rotations(six: Tensor) -> Tensor:
    """(..., 6) → (..., 3, 3), the twin of :func:`engines.body.fit.regressor.rotations`."""
    a, b = six[..., :3], six[..., 3:]
    x = nn.functional.normalize(a, dim=-1)
    y = nn.functional.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


class Figure:
    """The body's keypoints (N, 26, 3), root in place, from rotations (N, 24, 3, 3) and betas (N, B), float32."""

    def __init__(self, bones: Bones) -> None:
        def put(a: NDArray[np.float64]) -> Tensor:
            return torch.tensor(np.asarray(a), dtype=torch.float32)

        self.rest, self.rest_shape = put(bones.rest), put(bones.rest_shape)
        self.offset, self.offset_shape, self.weight = put(bones.offset), put(bones.offset_shape), put(bones.weight)
        self.joint = torch.tensor(bones.joint)
        depth: list[int] = []
        for parent in bones.parents.tolist():
            depth.append(0 if parent < 0 else depth[parent] + 1)
        self.parents = bones.parents.tolist()
        self.levels = [[j for j, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]

    def place(self, R: Tensor, betas: Tensor) -> Tensor:
        """Keypoints; joints of one depth of the tree are turned at once."""
        rest = self.rest + torch.einsum("jdb,nb->njd", self.rest_shape, betas)
        G, p = torch.zeros_like(R), torch.zeros_like(rest)
        for level in self.levels:
            if self.parents[level[0]] < 0:
                G = G.index_copy(1, torch.tensor(level), R[:, level])
                p = p.index_copy(1, torch.tensor(level), rest[:, level])
                continue
            above = [self.parents[j] for j in level]
            shift = (G[:, above] @ (rest[:, level] - rest[:, above])[..., None])[..., 0]
            G, p = (
                G.index_copy(1, torch.tensor(level), G[:, above] @ R[:, level]),
                p.index_copy(1, torch.tensor(level), p[:, above] + shift),
            )
        offset = self.offset + torch.einsum("kmdb,nb->nkmd", self.offset_shape, betas)
        turned = (G[:, self.joint] @ offset[..., None])[..., 0]
        return (turned + self.weight[..., None] * p[:, self.joint]).sum(2)


def put_in_view(points: Tensor, xy: Tensor, w: Tensor) -> Tensor:
    """(N, 3) where keypoints (N, K, 3) in camera axes are seen at xy (N, K, 2), weights w (N, K): linear."""
    o, z = torch.ones_like(xy[..., 0]), torch.zeros_like(xy[..., 0])
    A = torch.stack([torch.stack([o, z, -xy[..., 0]], -1), torch.stack([z, o, -xy[..., 1]], -1)], -2)  # (N, K, 2, 3)
    b = -(A @ points[..., None])[..., 0]
    H = torch.einsum("nk,nkia,nkib->nab", w, A, A) + 1e-4 * torch.eye(3)
    g = torch.einsum("nk,nkia,nki->na", w, A, b)
    return torch.linalg.solve(H, g)


def losses(
    figure: Figure, R: Tensor, betas: Tensor, target: tuple[Tensor, Tensor, Tensor], seen: tuple[Tensor, Tensor, Tensor]
) -> dict[str, Tensor]:
    """Terms of the loss, each a mean, before their weights.

    target: rotations and betas of the fits, in the virtual camera as R is, and which are good (N,). seen: keypoints
    (N, 26, 2) and confidence (N, 26) in the virtual camera divided by the extent, and the extent (N,). The
    reprojection asks nothing of a fit; pose, shape and points are asked of good ones only (Kolotouros et al. 2019).
    """
    fit_R, fit_betas, good = target
    xy, confidence, extent = seen
    points = figure.place(R, betas)
    with torch.no_grad():
        fit_points = figure.place(fit_R, fit_betas)
    root = points[:, 19:20], fit_points[:, 19:20]
    away = put_in_view(points, xy * extent[:, None, None], confidence * confidence)
    there = points + away[:, None]
    flat = there[..., :2] / there[..., 2:].clamp_min(0.2) / extent[:, None, None]
    square = ((flat - xy) ** 2).sum(-1)
    share = square / (square + ROBUST**2) * ROBUST**2
    n = good.sum().clamp_min(1.0)

    def of_good(x: Tensor) -> Tensor:
        return (x.flatten(1).mean(1) * good).sum() / n

    return {
        "seen": (share * confidence).sum() / confidence.sum().clamp_min(1.0),
        "points": of_good(((points - root[0]) - (fit_points - root[1])).norm(dim=-1)),
        "turns": of_good((R - fit_R) ** 2),
        "shape": of_good((betas - fit_betas) ** 2),
        "plain": (betas**2).mean(),
    }
