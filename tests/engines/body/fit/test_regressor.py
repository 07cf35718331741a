"""The regressor's file and arithmetic: what is refused and fused, where a person is placed; fits from starts."""

from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.initialise import ring
from kinecast.engines.body.fit.multi_start import Fits, better
from kinecast.engines.body.fit.regressor import (
    INPUTS,
    OUTPUTS,
    Regressor,
    fused,
    into_world,
    layers,
    place,
    read_regressor,
    rotations,
    six_of,
    write_regressor,
)
from kinecast.engines.body.model.rotations import matrices, rotvecs

SMALL = (8, 6, 7)


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor of a narrow network."""
    rng = np.random.default_rng(seed)
    out = {"mean": np.concatenate([np.tile([1.0, 0, 0, 0, 1, 0], 24), np.zeros(10)]).astype(np.float32)}
    for name, (o, i) in layers(SMALL).items():
        out[f"{name}.weight"] = rng.normal(0, 0.2, (o, i)).astype(np.float16).astype(np.float32)
        out[f"{name}.bias"] = rng.normal(0, 0.2, o).astype(np.float32)
    return out


def test_a_file_comes_back_and_says_the_same(tmp_path: Path) -> None:
    state = weights()
    back = read_regressor(write_regressor(tmp_path / "a.safetensors", state, "free", {"data": "drawn"}))
    assert back.body == "free" and back.about == {"data": "drawn"} and back.name.startswith("a@")
    rng = np.random.default_rng(1)
    asked = rng.normal(size=(3, 5, 26, 3)), rng.normal(size=(3, 5))
    mine, theirs = Regressor(state, "free", {}).predict(*asked), back.predict(*asked)
    for a, b in zip(mine, theirs, strict=True):  # drawn as float16, so that the file loses nothing
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(np.linalg.det(mine[0]), 1.0, atol=1e-6)


@pytest.mark.parametrize("harm", ["cut", "other", "missing", "nan", "shape"])
def test_a_harmed_file_is_refused_by_name(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "a.safetensors"
    write_regressor(path, weights(), "free", {})
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif harm == "missing":
        path.unlink()
    else:
        from safetensors.numpy import load, save

        stored = load(path.read_bytes())
        if harm == "nan":
            stored["mean"] = stored["mean"] * np.float32(np.nan)
        if harm == "shape":
            stored["update.2.bias"] = np.zeros(3, np.float32)
        path.write_bytes(save(stored, {"kinecast_regressor": "1" if harm != "other" else "9", "about": "{}"}))
    with pytest.raises(KinecastError, match=r"a\.safetensors"):
        read_regressor(path)


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    state = weights() | {"mean": np.full(OUTPUTS, np.nan, np.float32)}
    with pytest.raises(ValueError, match="mean"):
        write_regressor(tmp_path / "a.safetensors", state, "free", {})
    assert not list(tmp_path.iterdir())


def test_six_numbers_are_a_rotation_and_back() -> None:
    R = matrices(np.random.default_rng(2).normal(size=(40, 3)))
    np.testing.assert_allclose(rotations(six_of(R)), R, atol=1e-12)
    assert INPUTS == 5 * 26 * 3 + 3


def test_three_views_outvote_one_that_took_the_front_for_the_back() -> None:
    rng = np.random.default_rng(3)
    true = matrices(rng.normal(size=(6, 24, 3)))
    R = true[:, None] @ matrices(rng.normal(0, 0.05, (6, 4, 24, 3)))
    R[:, 2, 0] = R[:, 2, 0] @ np.diag([-1.0, 1.0, -1.0])
    found, betas = fused(R, np.ones((6, 4, 10)), np.array([[1.0, 1.0, 1.0, 1.0]]).repeat(6, 0))
    off = np.linalg.norm(rotvecs(np.swapaxes(true, -1, -2) @ found), axis=-1)
    # 0.05 rad an axis, three or four views: 0.05 mean; the flipped view, π off, may pull the root by two such
    assert off[:, 1:].max() < 0.15 and off[:, 0].max() < 0.25
    np.testing.assert_allclose(betas, 1.0)
    # a view with no say has none
    alone, _ = fused(R, np.ones((6, 4, 10)), np.array([[0.0, 0.0, 1.0, 0.0]]).repeat(6, 0))
    np.testing.assert_allclose(alone, R[:, 2], atol=1e-6)


def test_a_person_is_placed_where_the_views_see_them() -> None:
    rng = np.random.default_rng(4)
    points = rng.normal(0, 0.4, (5, 26, 3))
    t = rng.normal(0, 0.5, (5, 3))
    turn = matrices(np.array([[0.0, 0.0, 0.0], [0.0, 1.2, 0.1]]))
    P = np.concatenate([turn, np.array([[0, 0, 4.0], [0.3, 0, 5.0]])[..., None]], axis=-1)
    cam = np.einsum("cij,nkj->ncki", P[..., :3], points + t[:, None]) + P[:, None, :, 3]
    xy, w = cam[..., :2] / cam[..., 2:], np.ones((5, 2, 26))
    w[:, :, 3], xy[:, :, 3] = 0.0, np.nan
    np.testing.assert_allclose(place(points, P, xy, w), t, atol=1e-5)
    np.testing.assert_allclose(place(points, P[:1], xy[:, :1], w[:, :1]), t, atol=1e-5)


def test_rotations_of_a_view_come_into_the_world() -> None:
    R = matrices(np.random.default_rng(5).normal(size=(2, 24, 3)))
    turn = matrices(np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.0]]))
    out = into_world(R, turn)
    np.testing.assert_allclose(out[:, 0], turn @ R[:, 0])
    np.testing.assert_array_equal(out[:, 1:], R[:, 1:])


def test_the_ring_stands_and_hangs() -> None:
    out = ring(np.tile(np.eye(3), (24, 1, 1)), np.array([0.0, 0.0, 1.0]))
    up = np.array([R[0, :, 1] for R in out])
    assert len(out) == 16
    np.testing.assert_allclose(sorted(up[:, 2]), [-1.0] * 8 + [1.0] * 8, atol=1e-12)
    np.testing.assert_allclose([np.linalg.det(R[0]) for R in out], 1.0)


def test_the_cheaper_fit_is_kept_and_one_that_is_no_number_is_not() -> None:
    def fits(cost: list[float], mark: float) -> Fits:
        n = len(cost)
        rows = (np.full((n, *shape), mark) for shape in ((24, 3, 3), (3,), (10,), (26, 3)))
        return Fits(*rows, np.array(cost), np.full(n, mark))

    kept, is_new = better(fits([3.0, 3.0, 3.0, 3.0], 0.0), fits([2.0, 4.0, np.nan, 3.0], 1.0))
    assert is_new.tolist() == [True, False, False, False]
    np.testing.assert_array_equal(kept.t[:, 0], [1, 0, 0, 0])
    np.testing.assert_array_equal(kept.cost, [2, 3, 3, 3])
