"""Several processes of one training, as torchrun starts them: who they are, and what rank 0 decides for all.

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
    """rank: of this process among ``size``. owned: the group was made here, and ends with :meth:`destroy`."""

    rank: int
    size: int
    device: str
    owned: bool

    def broadcast(self, value: bool) -> bool:
        """The value that rank 0 has."""
        if self.size == 1:
            return value
        flag = torch.tensor([int(value)], device=self.device)
        torch.distributed.broadcast(flag, 0)
        return bool(flag.item())

    def on_rank_zero(self, action: Callable[[], Any]) -> None:
        """Done by rank 0 alone, while the others wait; where it raises a KinecastError, all do."""
        error: KinecastError | None = None
        if self.rank == 0:
            try:
                action()
            except KinecastError as e:
                error = e
        if not self.broadcast(error is None):
            raise error or KinecastError("the first of the processes refused; its message says why")

    def destroy(self) -> None:
        """Wait for the others; the last call on a group."""
        if self.size > 1:
            torch.distributed.barrier()
        if self.owned:
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
