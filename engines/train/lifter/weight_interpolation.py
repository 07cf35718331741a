"""Weights between those that a run began with and those that it came to.

What was learnt of something new costs a little of what was known. Half way back in the space of weights much of that is
regained at little cost (Wortsman et al., *Robust fine-tuning of zero-shot models*, 2022); how far is asked of held-out
data, as everything is.
"""

from collections.abc import Mapping

import torch

from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.train.data.synthetic_batches import BatchSource
from kinecast.engines.train.lifter.early_stopping import MEASURE
from kinecast.engines.train.lifter.validate import validate

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of what was learnt
BATCHES = 4


def interpolate_weights(
    network: LifterNetwork, start: Mapping[str, torch.Tensor], sources: Mapping[str, BatchSource], device: str = "cpu"
) -> float:
    """Leave in ``network`` the weights between ``start`` and its own that err least on the sources; the share kept.

    A source counts by its error as a share of that of ``start``; the larger share of equals.
    """
    own = {k: v.detach().clone() for k, v in network.state_dict().items()}

    def error(share: float) -> dict[str, float]:
        network.load_state_dict({k: interpolated(start[k].to(v.device), v, share) for k, v in own.items()})
        return {n: validate(network, source, batches=BATCHES, device=device)[MEASURE] for n, source in sources.items()}

    first = error(0.0)
    means = {share: sum(v / first[n] for n, v in error(share).items()) / len(sources) for share in SHARES}
    best = min(SHARES, key=lambda share: means[share])
    network.load_state_dict({k: interpolated(start[k].to(v.device), v, best) for k, v in own.items()})
    return best


def interpolated(start: torch.Tensor, own: torch.Tensor, share: float) -> torch.Tensor:
    """``share`` of the way from one to the other; what is no number of its own (a count) is the other's."""
    return torch.lerp(start, own, share) if own.is_floating_point() else own
