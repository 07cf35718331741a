"""What a person looks at while a lifter is trained: a progress bar, TensorBoard's curves and pictures of poses."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from kinecast.capture.progress import Progress, progress
from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.train.data.synthetic_batches import BatchSource
from kinecast.engines.train.lifter.losses import PARTS
from kinecast.engines.train.lifter.tensorboard_images import pose_images

EVERY = 10  # steps between two points of a curve of losses


@contextmanager
def training_log(out: Path, steps: int, rank: int, quiet: bool) -> Iterator["TrainingLog"]:
    """Of a run of so many steps, in its folder; that of any process but the one of rank 0 keeps silent."""
    board = SummaryWriter(str(out)) if rank == 0 else None
    with progress(f"training {out.name}", quiet=rank > 0 or quiet) as show:
        yield TrainingLog(board, steps, show, rank == 0 and not quiet)
    if board is not None:
        board.close()


class TrainingLog:
    """Where losses and figures go while a run goes on."""

    def __init__(self, board: SummaryWriter | None, steps: int, show: Progress, speaks: bool) -> None:
        self._board, self._steps, self._show, self._speaks = board, steps, show, speaks

    def losses(self, step: int, parts: Iterable[float], mm: float, learning_rate: float) -> None:
        """The weighed losses of a step, by ``PARTS``, now and then. mm: error of the pose."""
        if self._board is None or step % EVERY:
            return
        values = dict(zip(PARTS, parts, strict=True))
        self._show("", step, self._steps, f"loss {sum(values.values()):.3f}, {mm:.0f} mm")
        for name, value in values.items():
            self._board.add_scalar(f"loss/{name}", value, step)
        self._board.add_scalar("rate", learning_rate, step)

    def validation(self, step: int, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Errors on held-out data, by source."""
        for name, values in figures.items():
            for key, value in values.items():
                if self._board is not None:
                    self._board.add_scalar(f"{name}/{key}", value, step)
                if self._speaks:
                    print(f"step {step}: {name} {key} {value:.4g}")

    def poses(self, step: int, network: LifterNetwork, sources: Mapping[str, BatchSource], device: str) -> None:
        """Lifted poses of held-out people beside the true ones."""
        if self._board is not None:
            for name, source in sources.items():
                image = pose_images(network, source.batch(0), device)
                self._board.add_image(f"poses/{name}", image, step, dataformats="HWC")
