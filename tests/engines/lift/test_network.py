"""The networks against a plain implementation of VideoPose3D's paper, their windows, and the projector's gradient."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift import WIDTHS, LifterConfig
from tests.engines.lift.toy_lifter import frames, liven, network

torch = pytest.importorskip("torch", reason="torch is not installed")

FORMS = pytest.mark.parametrize("causal", [True, False])


def plain(state: dict[str, Any], window: NDArray[np.float64], causal: bool) -> NDArray[np.float64]:
    """One output (joints, 3) for one window (T, inputs), frame by frame and layer by layer, in float64.

    From section 3 of the paper: convolution of width W, batch norm, ReLU; then blocks of a dilated convolution of
    width W (dilation grows by W) and one of width 1, each with batch norm and ReLU, around a skip connection that is
    cut to the frame the output stands for; then a convolution of width 1.
    """

    def norm(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        p = {k: state[f"{name}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
        return np.asarray((x - p["running_mean"]) / np.sqrt(p["running_var"] + 1e-5) * p["weight"] + p["bias"])

    def convolve(w: NDArray[np.float64], x: list[NDArray[np.float64]], dilation: int) -> list[NDArray[np.float64]]:
        width = w.shape[2]
        count = len(x) - (width - 1) * dilation
        return [sum(w[:, :, k] @ x[t + k * dilation] for k in range(width)) for t in range(count)]  # type: ignore[misc]

    h = [np.maximum(norm("expand_bn", y), 0) for y in convolve(state["expand_conv.weight"], list(window), 1)]
    dilation = state["expand_conv.weight"].shape[2]
    for block in range(len([k for k in state if k.startswith("layers_conv")]) // 2):
        w, one = state[f"layers_conv.{2 * block}.weight"], state[f"layers_conv.{2 * block + 1}.weight"]
        y = [np.maximum(norm(f"layers_bn.{2 * block}", v), 0) for v in convolve(w, h, dilation)]
        y = [np.maximum(norm(f"layers_bn.{2 * block + 1}", v), 0) for v in convolve(one, y, 1)]
        lost = len(h) - len(y)
        kept = h[lost:] if causal else h[lost // 2 : len(h) - lost // 2]
        h = [a + b for a, b in zip(kept, y, strict=True)]
        dilation *= w.shape[2]
    assert len(h) == 1
    return np.asarray(state["shrink.weight"][:, :, 0] @ h[0] + state["shrink.bias"]).reshape(-1, 3)


@FORMS
@pytest.mark.parametrize("widths", [(3, 3, 3), (5, 3), (1, 1)])
def test_a_checkpoint_in_the_published_layout(tmp_path: Path, causal: bool, widths: tuple[int, ...]) -> None:
    from kinecast.engines.lift.checkpoint import load_videopose
    from kinecast.engines.lift.network import TemporalModel, TemporalModelOptimized1f

    torch.manual_seed(0)
    made = liven(TemporalModel(17, 2, 17, widths, causal, channels=32))
    content = {
        "epoch": 80,
        "lr": 0.001,
        "random_state": np.random.RandomState(3),  # as VideoPose3D has it there
        "optimizer": {"param_groups": [{"lr": 0.001}]},
        "model_pos": made.state_dict(),
    }
    torch.save(content, tmp_path / "published.bin")
    model = load_videopose(tmp_path / "published.bin", causal)
    assert (model.filter_widths, model.channels) == (widths, 32)
    state = {k: v.double().numpy() for k, v in made.state_dict().items()}
    strided = TemporalModelOptimized1f(17, 2, 17, widths, causal, channels=32)
    strided.load_state_dict(content["model_pos"])
    x = torch.randn(2, model.receptive_field, 17, 2)
    with torch.inference_mode():
        dense, single = model(x).numpy(), strided.eval()(x).numpy()
    assert dense.shape == single.shape == (2, 1, 17, 3)
    for row in range(2):
        expected = plain(state, x[row].flatten(1).double().numpy(), causal)
        # float32 sums of a few hundred terms of order 1
        assert np.abs(dense[row, 0] - expected).max() < 1e-5
        assert np.abs(single[row, 0] - expected).max() < 1e-5


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    from kinecast.engines.lift.checkpoint import load_videopose

    (tmp_path / "noise.bin").write_bytes(b"no checkpoint at all")
    torch.save({"model": {}}, tmp_path / "other.bin")
    torch.save({"model_pos": {"expand_conv.weight": torch.zeros(4, 6, 3)}}, tmp_path / "part.bin")
    torch.save({"model_pos": Path("code")}, tmp_path / "code.bin")
    for name, says in (
        ("noise.bin", "read safely"),
        ("other.bin", "has no 'model_pos'"),
        ("part.bin", "another architecture"),
        ("code.bin", "read safely"),
        ("absent.bin", "cannot read"),
    ):
        with pytest.raises(KinecastError, match=says) as caught:
            load_videopose(tmp_path / name, causal=True)
        assert "\n" not in str(caught.value)


@FORMS
@pytest.mark.parametrize("frames_seen", sorted(WIDTHS))
def test_the_window_is_what_the_network_says(causal: bool, frames_seen: int) -> None:
    """Frames whose change moves an output, found by the gradient with respect to each, are the window that is told."""
    from kinecast.engines.lift.network import TemporalModel

    torch.manual_seed(0)
    model = liven(TemporalModel(2, 2, 2, WIDTHS[frames_seen], causal, channels=8)).double()
    assert model.receptive_field == frames_seen == LifterConfig(widths=WIDTHS[frames_seen]).receptive_field
    length = frames_seen + 11
    x = torch.randn(1, length, 2, 2, dtype=torch.float64, requires_grad=True)
    y = model(x)
    assert y.shape[1] == 12
    for output in (0, 5, 11):
        (gradient,) = torch.autograd.grad(y[0, output].sum(), x, retain_graph=True)
        moved = torch.nonzero(gradient[0].abs().sum((1, 2))).flatten().tolist()
        present = output + (frames_seen - 1) // 2 + model.causal_shift
        assert (moved[0], moved[-1]) == (output, output + frames_seen - 1)
        assert present == (moved[-1] if causal else (moved[0] + moved[-1]) // 2)
        assert torch.equal(model.present(x)[0, output], x[0, present])


def test_nothing_of_the_future_reaches_a_causal_output() -> None:
    from kinecast.engines.lift.network import pad_frames

    net = network(widths=(3, 3, 3))
    features, context = (torch.from_numpy(a) for a in frames(np.random.default_rng(0), 1, 40))
    with torch.inference_mode():
        before = net(pad_frames(net.config, features), pad_frames(net.config, context))
        features[:, 25:] += 1
        context[:, 25:] -= 1
        after = net(pad_frames(net.config, features), pad_frames(net.config, context))
    for a, b in zip(before, after, strict=True):
        assert a.shape[1] == 40
        assert torch.equal(a[:, :25], b[:, :25])
        assert (a[:, 25] - b[:, 25]).abs().max() > 1e-3


def test_heads_that_are_switched_off_are_not_there() -> None:
    net = network(widths=(3,), confidence=False, variance=False, trajectory_channels=0, gamma_hidden=0,
                  projector_hidden=0)  # fmt: skip
    assert {k.split(".")[0] for k in net.state_dict()} == {"pose"}
    out = net(torch.randn(2, 5, 26, 3), torch.randn(2, 5, 5))
    assert out.relative_m.shape == (2, 3, 26, 3)
    assert out[1:] == (None, None, None, None)


def test_correction_steps_go_down_the_gradient_of_the_projector() -> None:
    net = network(widths=(3,), correction_steps=2)
    features, context = (torch.from_numpy(a)[:, 0] for a in frames(np.random.default_rng(1), 5, 1))
    pose = torch.randn(5, 26, 3, requires_grad=True)
    lengths = net.projector.log_step.exp().detach()
    expected = pose
    for step in lengths:
        error = net.projector(expected, features[..., 2], context) - features[..., :2]
        loss = 0.5 * (features[..., 2:] * error**2).sum()
        (gradient,) = torch.autograd.grad(loss, expected, retain_graph=True)
        expected = expected - step * gradient
    corrected = net.projector.correct(pose, features, context)
    assert (corrected - pose).abs().max() > 1e-4
    assert (corrected - expected).abs().max() < 1e-6 * expected.abs().max() + 1e-7
    missing = features.clone()
    missing[..., 2] = 0
    assert torch.equal(net.projector.correct(pose, missing, context), pose)  # what is not seen pulls at nothing
