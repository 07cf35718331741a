"""Between the weights of the start and the end: what held-out data say is taken, and nothing else is touched."""

from collections.abc import Callable

import pytest

from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.train.lifter.early_stopping import EarlyStopping

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

NAME = "pose.shrink.bias"


@pytest.mark.parametrize(
    ("error", "expected"),
    [(lambda s: 100.0, 1.0), (lambda s: 100 + 50 * s, 0.5), (lambda s: 100 + 100 * (s - 0.8) ** 2, 0.8)],
    ids=["nothing is lost", "all is lost", "a little is lost"],
)
def test_the_share_is_the_one_that_errs_least(
    error: Callable[[float], float], expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinecast.engines.lift.network import LifterNetwork
    from kinecast.engines.train.lifter import weight_interpolation

    config = LifterConfig(widths=(3, 3), channels=8, trajectory_channels=8, gamma_hidden=8, projector_hidden=8)
    network = LifterNetwork(config)
    start = {k: v.clone() for k, v in network.state_dict().items()}
    end = {k: v + 1 if v.is_floating_point() else v + 7 for k, v in start.items()}
    network.load_state_dict(end)

    def validate(asked: LifterNetwork, *_: object, **__: object) -> dict[str, float]:
        return {"mpjpe_corrected_mm": error(float((asked.state_dict()[NAME] - start[NAME]).mean()))}

    monkeypatch.setattr(weight_interpolation, "validate", validate)
    share = weight_interpolation.interpolate_weights(network, start, {"new": "any", "known": "any"})  # type: ignore[dict-item]
    assert share == expected
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, start[name] + share, atol=1e-5, rtol=0)
        else:
            assert (value == end[name]).all(), "a count is no weight"


def test_the_best_look_is_kept_and_patience_asks_for_more() -> None:
    stopping = EarlyStopping(patience=2, min_improvement=0.01)
    looks = [100.0, 90.0, 89.9, 89.8]
    better = [stopping.update(10 * i, {"exam": {"mpjpe_corrected_mm": mm}}) for i, mm in enumerate(looks)]
    assert better == [False, True, True, True] and stopping.best_step == 30
    assert stopping.is_over(30), "two looks gained less than a hundredth"
    again = EarlyStopping(patience=2, min_improvement=0.01)
    again.load_state_dict(stopping.state_dict())
    assert again == stopping
