"""The fast way through a sequence is the slow one: the same outputs as the network over padded frames."""

import pytest
import torch

from kinecast.engines.lift.config import WIDTHS, LifterConfig
from kinecast.engines.lift.network import LifterNetwork, pad_frames
from kinecast.engines.train.lifter.dense_forward import lift_sequence
from kinecast.engines.train.lifter.initialise import initialise_small


def toy(receptive_field: int, causal: bool) -> LifterNetwork:
    torch.manual_seed(3)
    network = LifterNetwork(
        LifterConfig(
            widths=WIDTHS[receptive_field], causal=causal, channels=16, trajectory_channels=8, gamma_hidden=8,
            projector_hidden=8,
        )
    )  # fmt: skip
    for module in network.modules():  # statistics that a fresh network does not have
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("receptive_field", [1, 27, 81, 243])
@pytest.mark.parametrize("causal", [True, False])
def test_every_frame_is_what_the_padded_network_gives(receptive_field: int, causal: bool) -> None:
    network = toy(receptive_field, causal)
    features, context = torch.randn(2, 40, 26, 3), torch.randn(2, 40, 5)
    with torch.no_grad():
        fast, _ = lift_sequence(network, features, context)
        slow = network(pad_frames(network.config, features), pad_frames(network.config, context))
    for ours, theirs in zip(fast, slow, strict=True):
        assert ours is not None and theirs is not None
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, atol=2e-5)  # float32 sums in another order


def test_a_causal_output_does_not_know_the_future() -> None:
    network = toy(27, True)
    features, context = torch.randn(1, 30, 26, 3), torch.randn(1, 30, 5)
    changed = features.clone()
    changed[:, 20:] += 1
    with torch.no_grad():
        a, b = (lift_sequence(network, f, context)[0].relative_m for f in (features, changed))
    assert torch.equal(a[:, :20], b[:, :20])
    assert not torch.allclose(a[:, 20:], b[:, 20:])


def test_a_symmetric_network_in_training_differs_only_near_the_ends() -> None:
    network = toy(27, False)
    features, context = torch.randn(1, 80, 26, 3), torch.randn(1, 80, 5)
    with torch.no_grad():
        slow = lift_sequence(network, features, context)[0].relative_m
        network.train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.Dropout):
                module.eval()
                module.p = 0.0
        fast = lift_sequence(network, features, context)[0].relative_m
    assert torch.allclose(fast[:, 13:-13], slow[:, 13:-13], atol=2e-5)


def test_a_quiet_start_is_quiet() -> None:
    torch.manual_seed(0)
    loud = LifterNetwork(LifterConfig(channels=64))
    quiet = LifterNetwork(LifterConfig(channels=64))
    quiet.load_state_dict(loud.state_dict())
    initialise_small(quiet)
    features, context = torch.randn(4, 50, 26, 3), torch.randn(4, 50, 5)
    with torch.no_grad():
        spread = [lift_sequence(n.train(), features, context)[0].relative_m.std() for n in (loud, quiet)]
    assert spread[1] < 0.2 * spread[0]
