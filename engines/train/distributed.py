"""Several processes of one training, as torchrun starts them: who they are, and what the first says for all.

One group serves a whole command, for several seeds are trained one after the other.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from kinecast.capture.errors import KinecastError


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """rank: of this process among ``size``. mine: the group was made here, and ends with :meth:`leave`."""

    rank: int
    size: int
    device: str
    mine: bool

    def agreed(self, said: bool) -> bool:
        """What the first of the processes says."""
        if self.size == 1:
            return said
        word = torch.tensor([int(said)], device=self.device)
        torch.distributed.broadcast(word, 0)
        return bool(word.item())

    def by_the_first(self, do: Callable[[], Any]) -> None:
        """Done by the first process alone, while the others wait; where it raises a KinecastError, all do."""
        error: KinecastError | None = None
        if self.rank == 0:
            try:
                do()
            except KinecastError as e:
                error = e
        if not self.agreed(error is None):
            raise error or KinecastError("the first of the processes refused; its message says why")

    def leave(self) -> None:
        """Wait for the others; the last word of a group."""
        if self.size > 1:
            torch.distributed.barrier()
        if self.mine:
            torch.distributed.destroy_process_group()


def join_process_group(device: str) -> ProcessGroup:
    """The group of processes that the environment tells of, as torchrun sets it; of one, where it tells of none."""
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if size == 1 or torch.distributed.is_initialized():
        return ProcessGroup(rank, size, device, False)
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    return ProcessGroup(rank, size, device, True)
