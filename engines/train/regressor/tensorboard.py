"""What a person looks at while the SPIN loop runs: TensorBoard's losses, fits, steps of the optimiser, and poses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from kinecast.engines.body.fit.multi_start import Fits, trace
from kinecast.engines.body.fit.regressor import Regressor, into_world, place
from kinecast.engines.train.data.synthetic_batches import HALPE, ROOT
from kinecast.engines.train.lifter.tensorboard_images import PEOPLE, draw_rows
from kinecast.engines.train.regressor.optimiser import Optimiser, predict, predict_fused, world_from_virtual
from kinecast.engines.train.regressor.recorded import Group

Float = NDArray[np.float64]

SAMPLE = 24  # fits whose steps are told, the same in every round
JOINTS_TO_SHOW_SCENE = 8  # that the last frame of a scene of the sample shows, in its first view


class TensorBoardLogger:
    """Writes into ``folder``. step: of the network, from where a run goes on; what was told beyond it is withdrawn."""

    def __init__(self, folder: Path, step: int, optimiser: Optimiser, sample: Sequence[Group], every: bool) -> None:
        """sample: scenes that stay the same; every: the optimiser has all views, else the first of each scene."""
        self._board = SummaryWriter(str(folder), purge_step=step or None)
        # its steps are the optimiser's, so that nothing of it may be withdrawn
        self._steps = SummaryWriter(str(folder / "optimiser"))
        self._optimiser, self._every = optimiser, every
        self._sample = _few(sample)

    def step(self, step: int, loss: float, parts: Mapping[str, float], rate: float) -> None:
        """Of the network."""
        self._board.add_scalar("loss/all", loss, step)
        for name, value in parts.items():
            self._board.add_scalar(f"loss/{name}", value, step)
        self._board.add_scalar("rate", rate, step)

    def fits(self, step: int, number: int, line: Mapping[str, float], regressor: Regressor) -> None:
        """As a round begins: what came of fitting again, and the optimiser step by step from what is said now."""
        for name in ("replaced", "cost", "good"):
            self._board.add_scalar(f"fits/{name}", line[name], step)
        costs = [c for g in self._sample for c in self._traced(g, regressor)]
        if costs:
            mean = np.mean(costs, axis=0)
            for k, cost in enumerate(mean.tolist()):
                self._steps.add_scalar(f"mean cost of {len(costs)} fits/round {number + 1}", cost, k)
            self._board.add_scalar("optimiser/cost before", mean[0], step)
            self._board.add_scalar("optimiser/cost after", mean[-1], step)

    def round(
        self, step: int, figures: Mapping[str, float], groups: Sequence[tuple[Group, Fits]], now: Regressor
    ) -> None:
        """As a round ends: held-out figures, and poses: grey what the dictionary has, red what the regressor says."""
        for name, value in figures.items():
            self._board.add_scalar(f"validate/{name}", value, step)
        for g, fits in groups:
            kind = "recorded" if g.recorded else "synthetic"
            self._board.add_image(f"poses/{kind}, {g.scenes.w.shape[2]} views", self._picture(g, fits, now), step,
                                  dataformats="HWC")  # fmt: skip
        self._board.flush()
        self._steps.flush()

    def close(self) -> None:
        """Write what is left."""
        self._board.close()
        self._steps.close()

    def _traced(self, g: Group, regressor: Regressor) -> list[Float]:
        """(39,) costs of the last frame of every scene."""
        s, o = g.scenes, self._optimiser
        R, betas = predict_fused(regressor, s) if self._every else predict(regressor, s)
        R, betas = (R, betas) if self._every else (R[:, :, 0], betas[:, :, 0])
        views = slice(None) if self._every else slice(0, 1)
        out = []
        for i in range(len(s.P)):
            P, xy, w = s.P[i, views], s.xy[i, -1:, views], s.w[i, -1:, views]
            t = place(o.points(R[i, -1:], betas[i, -1:]), P, xy, w)
            out.append(trace(o.bones, o.prior, P, xy, w, R[i, -1:], t, betas[i, -1:])[0])
        return out

    def _picture(self, g: Group, fits: Fits, now: Regressor) -> NDArray[np.uint8]:
        some = g.only(np.arange(len(g.keys)) < PEOPLE).scenes
        n, T, C = some.w.shape[:3]
        times = C if len(fits.cost) == len(g.keys) * T else 1
        R, betas = (np.repeat(v, times, axis=0)[: n * T * C] for v in (fits.R, fits.betas))
        virtual = np.swapaxes(world_from_virtual(some), -1, -2).reshape(-1, 3, 3)
        wanted = self._optimiser.points(into_world(R, virtual), betas)
        found = self._optimiser.points(*now.predict(some.windows.reshape(n * T * C, *some.windows.shape[3:]),
                                                    some.context.reshape(-1, 5)))  # fmt: skip
        best = (some.confidence[:, -1] > 0).sum(-1).argmax(-1)  # the view that shows most
        last = np.arange(n * T * C).reshape(n, T, C)[np.arange(n), -1, best]
        seen = some.features.reshape(-1, 26, 3)[last]
        wanted, found = (v[last] - v[last][:, ROOT : ROOT + 1] for v in (wanted, found))
        return draw_rows(seen, wanted, found, HALPE.name)


def _few(sample: Sequence[Group]) -> list[Group]:
    """The first scenes of each group, ``SAMPLE`` of all together, whose last frame is seen."""
    out = []
    for g in sample:
        seen = (g.scenes.confidence[:, -1, 0] > 0).sum(-1) >= JOINTS_TO_SHOW_SCENE
        first = seen & (np.cumsum(seen) <= max(1, SAMPLE // len(sample)))
        if first.any():
            out.append(g.only(first))
    return out
