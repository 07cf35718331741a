"""One frame at a time against the whole window: numpy, torch and ONNX, rows that come and go, what it costs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift import LifterConfig
from kinecast.engines.lift.rows import Outputs, Rows
from kinecast.engines.lift.stream import TrunkRows, fold_trunk, multiplications
from kinecast.engines.lift.weights import LifterFile, read_lifter
from kinecast.engines.products import converts
from tests.engines.lift.toy_lifter import frames, network, toy_file, write

torch = pytest.importorskip("torch", reason="torch is not installed")

# float32 sums of up to a thousand terms of order 1 through a dozen layers; what is promised
EXACT = 1e-5
F32 = NDArray[np.float32]


def whole(features: F32, context: F32, **config: Any) -> Outputs:
    """The slow twin for one row (T, …): the whole window, with the first frame repeated before it."""
    from kinecast.engines.lift.network import pad_frames

    net = network(**config)
    f, c = torch.from_numpy(features)[None], torch.from_numpy(context)[None]
    with torch.inference_mode():
        if net.config.causal:
            out = net(pad_frames(net.config, f), pad_frames(net.config, c))
            corrected = net.projector.correct(out.relative_m, f, c)
        else:  # lagging: what run time knows at frame t is the window that ends there
            reach = net.config.receptive_field - 1
            f, c = (torch.cat([x[:, :1].expand(-1, reach, *x.shape[2:]), x], 1) for x in (f, c))
            out, corrected = net(f, c), torch.zeros(1)
    return Outputs(*(v[0].numpy() for v in (out[0], corrected, *out[1:])))


def near(got: Any, expected: Any) -> bool:
    return bool(np.abs(np.asarray(got) - np.asarray(expected)).max() < EXACT)


CONFIGS = [{"widths": (3, 3, 3)}, {"widths": (3, 3, 3, 3, 3)}, {"widths": (5, 1, 3)}, {"widths": (1, 1)}]


@pytest.fixture(params=["numpy", "onnxruntime"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rows_for(file: LifterFile, runtime: str, folder: Path) -> Rows:
    if runtime == "numpy":
        return Rows(file)
    from kinecast.engines.lift.export import export_onnx
    from kinecast.engines.runtime import open_session

    return Rows(file, open_session(export_onnx(file, folder / "step.onnx"), runtime))


@pytest.mark.parametrize("config", CONFIGS)
def test_rows_that_come_and_go(tmp_path: Path, runtime: str, config: dict[str, Any]) -> None:
    """Five people with lives of their own, in columns that are moved about: each as if it were alone."""
    file = toy_file(tmp_path, **config)
    rows = rows_for(file, runtime, tmp_path)
    births, deaths = (0, 0, 7, 30, 31), (60, 20, 45, 60, 33)
    features, context = frames(np.random.default_rng(0), 5, 60)
    lives: list[list[Outputs]] = [[] for _ in births]
    here: list[int] = []
    for t in range(60):
        for person in [p for p in here if deaths[p] == t]:
            column = here.index(person)
            rows.leave(column)
            here[column] = here[-1]
            here.pop()
        born = [p for p, birth in enumerate(births) if birth == t]
        if born:
            rows.enter(features[born, t], context[born, t])
            here += born
        if t % 7 == 3:  # nobody asked: the taps advance all the same
            rows.advance(features[here, t], context[here, t])
        out = rows.step(features[here, t], context[here, t]) if t % 7 != 3 else None
        for column, person in enumerate(here):
            lives[person].append(None if out is None else Outputs(*(v[column] for v in out)))  # type: ignore[arg-type,union-attr]
    for person, (birth, death) in enumerate(zip(births, deaths, strict=True)):
        expected = whole(features[person, birth:death], context[person, birth:death], **config)
        assert len(lives[person]) == death - birth
        for age, got in enumerate(lives[person]):
            assert got is None or all(near(g, e[age]) for g, e in zip(got, expected, strict=True)), (person, age)


def test_the_symmetric_form_streams_with_its_lag(tmp_path: Path) -> None:
    file = toy_file(tmp_path, widths=(3, 3, 3), causal=False)
    features, _ = frames(np.random.default_rng(0), 1, 70)
    expected = whole(features[0], np.zeros((70, 5), np.float32), widths=(3, 3, 3), causal=False)
    rows = TrunkRows(fold_trunk(file.tensors, "pose", file.config))
    flat = features.reshape(1, 70, -1)
    rows.enter(flat[:, 0])
    got = [rows.head(rows.advance(flat[:, t]))[0].reshape(26, 3) for t in range(70)]
    assert near(got, expected.relative_m)


@pytest.mark.parametrize("rows", [1, 5, 17])
@pytest.mark.parametrize("widths", [(3, 3, 3), (1, 5)])
def test_float16_weights_are_used_as_they_are(tmp_path: Path, rows: int, widths: tuple[int, ...]) -> None:
    """As the network that the file holds."""
    if not converts():
        pytest.skip("this processor does not convert float16 by itself")
    from kinecast.engines.lift.checkpoint import load_network
    from kinecast.engines.lift.network import pad_frames

    path = write(tmp_path / "half.safetensors", half=True, widths=widths, channels=37)  # no multiple of four
    net, file = load_network(path), read_lifter(path)
    trunk = TrunkRows(fold_trunk(file.tensors, "pose", file.config))
    assert {weights[0].dtype for weights in trunk.trunk.weights} == {np.dtype(np.uint16)}
    features, _ = frames(np.random.default_rng(0), rows, 40)
    with torch.inference_mode():
        expected = net.pose(pad_frames(net.config, torch.from_numpy(features))).numpy()
    trunk.enter(features[:, 0].reshape(rows, -1))
    got = [trunk.head(trunk.advance(features[:, t].reshape(rows, -1))) for t in range(40)]
    assert near(np.stack(got, 1).reshape(expected.shape), expected)
    full = toy_file(tmp_path, widths=widths)  # float32 weights are not rounded on the way
    weights = fold_trunk(full.tensors, "pose", full.config).weights
    assert {w.dtype for w, _, _ in weights} == {np.dtype(np.float32)}


def test_between_frames(tmp_path: Path, runtime: str) -> None:
    """A look a whole period later is the next frame, one at no distance is the last again, and neither is kept."""
    rows = rows_for(toy_file(tmp_path, widths=(3, 3, 3)), runtime, tmp_path)
    features, context = frames(np.random.default_rng(0), 4, 40)
    rows.enter(features[:, 0], context[:, 0])
    last: Outputs | None = None
    for t in range(40):
        f, c = features[:, t], context[:, t]
        early = rows.peek(f, c, 1.0)
        rows.peek(features[:, (t + 5) % 40], c, 0.4)
        now = rows.step(f, c)
        assert all(near(a, b) for a, b in zip(early, now, strict=True))
        last = rows.peek(f, c, 0.0)
        assert all(near(a, b) for a, b in zip(last, now, strict=True))


@pytest.mark.parametrize("config", CONFIGS)
def test_the_step_in_torch(tmp_path: Path, config: dict[str, Any]) -> None:
    from kinecast.engines.lift.torch_step import TorchStep

    step = TorchStep(toy_file(tmp_path, **config), 3)
    features, context = frames(np.random.default_rng(0), 3, 50)
    births = (0, 0, 11)
    with torch.inference_mode():
        lives = [
            step(torch.from_numpy(features[:, t]), torch.from_numpy(context[:, t]), torch.tensor(births) == t)
            for t in range(50)
        ]
    for row, birth in enumerate(births):
        expected = whole(features[row, birth:], context[row, birth:], **config)
        for got, e in zip(zip(*lives[birth:], strict=True), (expected[0], *expected[2:]), strict=True):
            assert near(torch.stack(got)[:, row], e)


def test_openvino_computes_the_step(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    from kinecast.engines.lift.export import export_onnx, shapes_for
    from kinecast.engines.runtime import open_session

    file = toy_file(tmp_path, widths=(3, 3))
    session = open_session(export_onnx(file, tmp_path / "s.onnx"), "openvino", shapes=shapes_for(file))
    ours, theirs = Rows(file), Rows(file, session)
    features, context = frames(np.random.default_rng(0), 2, 12)
    for rows in (ours, theirs):
        rows.enter(features[:, 0], context[:, 0])
    for t in range(12):
        pair = [rows.step(features[:, t], context[:, t]) for rows in (ours, theirs)]
        assert all(near(a, b) for a, b in zip(*pair, strict=True))


@pytest.fixture
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    yield


@pytest.mark.usefixtures("_own_cache")
@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_tensorrt_builds_an_engine_of_the_step(tmp_path: Path, precision: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    from kinecast.engines.lift.export import export_onnx, shapes_for
    from kinecast.engines.runtime.engine_build import build_engine, load_library

    file = toy_file(tmp_path, widths=(3, 3, 3))
    path = export_onnx(file, tmp_path / "step.onnx")
    engine = build_engine(path, precision, shapes_for(file), library=load_library())
    assert engine.stat().st_size > sum(v.nbytes for v in file.tensors.values()) * (0.4 if precision == "f16" else 0.9)
    with pytest.raises(KinecastError, match="has no input 'pose_tap_9'"):
        build_engine(path, precision, {"pose_tap_9": (1, 24)}, library=load_library())


def test_an_export_is_the_same_file_every_time(tmp_path: Path) -> None:
    from kinecast.engines.lift.export import export_onnx

    file = toy_file(tmp_path)
    first, second = (export_onnx(file, tmp_path / name).read_bytes() for name in ("a.onnx", "b.onnx"))
    assert first == second


def test_work_of_a_step_against_that_of_a_window() -> None:
    """Multiplications of one person-frame: counted from the shapes that torch sees, and as told."""
    config = LifterConfig()
    from kinecast.engines.lift.network import TemporalModel

    model = TemporalModel(26, 3, 26, config.widths, True, channels=32)
    done = 0

    def count(module: Any, _: Any, out: Any) -> None:
        nonlocal done
        done += module.weight.numel() * out.shape[2]

    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d):
            module.register_forward_hook(count)
    model.eval()(torch.zeros(1, 243, 26, 3))
    step, window = multiplications(LifterConfig(channels=32, variance=False, trajectory_channels=0))
    assert window == done
    step, window = multiplications(config)
    assert window > 40 * step
