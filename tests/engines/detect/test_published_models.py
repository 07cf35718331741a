"""Networks that people bring: cards held against files, heatmaps of every kind, YOLO's poses, whole bodies.

The networks are made here: their outputs do not depend on the picture but for a trace of it, their ends are those of
MMPose's and Ultralytics' exports.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from kinecast.capture.errors import KinecastError
from kinecast.engines.detect import yolo
from kinecast.engines.detect.heatmap import decode_peaks, decode_probability, kind_of_heatmap
from kinecast.engines.detect.opened_card import OpenModel, open_model
from kinecast.engines.detect.person_detectors import YoloPosePersonDetector
from kinecast.engines.detect.picture import Picture, Region
from kinecast.engines.detect.pose_models import TopDownEstimator
from kinecast.engines.models import builtin_names, find_card
from kinecast.engines.models.cache import note_path
from kinecast.engines.models.pull import cards_of, pull
from kinecast.engines.skeleton import skeleton
from kinecast.engines.skeleton.maps import direct_index
from kinecast.nodes.cli import main as cli

Array = NDArray[Any]
SIZE = (48, 64)  # of an input; its heatmaps are a quarter of it


def network(path: Path, outputs: dict[str, Array], half: bool = False, size_px: tuple[int, int] = SIZE) -> Path:
    """An ONNX file whose outputs are these numbers, plus a trace of the picture's mean."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    x = helper.make_tensor_value_info("input", kind, ["batch", 3, size_px[1], size_px[0]])
    nodes = [
        helper.make_node("Cast", ["input"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "tiny"], ["trace"]),
    ]
    constants = [numpy_helper.from_array(np.float32(1e-7), "tiny")]
    ends = []
    for name, value in outputs.items():
        constants.append(numpy_helper.from_array(value.astype(np.float32), f"{name}_value"))
        nodes.append(helper.make_node("Add", [f"{name}_value", "trace"], [name]))
        ends.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    graph = helper.make_graph(nodes, "toy", [x], ends, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def card(folder: Path, decoder: str, name: str, ends: dict[str, str], more: str = "", options: str = "") -> Path:
    text = (
        f'name = "toy"\nsummary = "toy"\nfile = "toy.onnx"\nlicence = "none"\n'
        f'decoder = "{decoder}"\nskeleton = "{name}"\n{more}'
        f'[origin]\nregistry = "file"\npath = "toy.onnx"\n[input]\nname = "input"\nsize_px = [{SIZE[0]}, {SIZE[1]}]\n'
        'layout = "NCHW"\n[outputs]\n' + "".join(f'{role} = "{end}"\n' for role, end in ends.items()) + options
    )
    (folder / "toy.toml").write_text(text)
    return folder / "toy.toml"


def opened(path: Path, runtime: str = "onnxruntime") -> OpenModel:
    return open_model(find_card(path), runtime, "f32", 1)[0]


def simcc(at: Array, ratio: float = 2.0) -> dict[str, Array]:
    """Peaks of 0.8 at (J, 2) pixels of the input."""
    x, y = (np.zeros((1, len(at), round(s * ratio))) for s in SIZE)
    for j, (u, v) in enumerate(at):
        x[0, j, round(u * ratio)] = y[0, j, round(v * ratio)] = 0.8
    return {"simcc_x": x, "simcc_y": y}


def gaussians(at: Array, sigma: float = 2.0, udp: bool = False) -> Array:
    """(1, J, 16, 12) maps with a Gaussian of height 0.9 around each of (J, 2) pixels of the input."""
    w, h = SIZE[0] // 4, SIZE[1] // 4
    scale = [(s - 1) / (c - 1) if udp else s / c for s, c in zip(SIZE, (w, h), strict=True)]
    cells = at / scale
    u, v = np.arange(w), np.arange(h)
    gx = np.exp(-((u - cells[:, :1]) ** 2) / (2 * sigma**2))
    gy = np.exp(-((v - cells[:, 1:]) ** 2) / (2 * sigma**2))
    return 0.9 * gy[None, :, :, None] * gx[None, :, None, :]


def spots(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(8, 36, (n, 2))


WHOLE = Region(SIZE[0] / 2 - 0.5, SIZE[1] / 2 - 0.5, SIZE[0], SIZE[1])
BLANK = Picture(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
SIMCC = {"simcc_x": "simcc_x", "simcc_y": "simcc_y"}


# ── what a card says against what its file gives ──


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_network_in_half_precision_is_given_and_gives_float32(tmp_path: Path, runtime: str) -> None:
    at = np.round(spots(17))
    network(tmp_path / "toy.onnx", simcc(at), half=True)
    pose = TopDownEstimator(opened(card(tmp_path, "simcc", "coco17", SIMCC), runtime)).pose(BLANK, WHOLE)
    np.testing.assert_allclose(pose.keypoints_px, at, atol=0.3)
    assert pose.keypoints_px.dtype == np.float32 and pose.presence == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(
    ("decoder", "name", "outputs", "ends", "words"),
    [
        ("simcc", "halpe26", simcc(spots(17)), SIMCC, "17 joints and the skeleton halpe26 has 26: correct skeleton"),
        ("simcc", "coco133", simcc(spots(17)), SIMCC, "gives 17 joints and the skeleton coco133 has 133"),
        ("simcc", "coco17", simcc(spots(17), 3.0), SIMCC, r"3 bins a pixel: correct options\.split_ratio"),
        ("simcc", "coco17", {**simcc(spots(17)), "simcc_x": np.zeros((1, 17, 50))}, SIMCC, "correct outputs, or input"),
        ("heatmap", "halpe26", {"o": gaussians(spots(17))}, {"heatmap": "o"}, "gives 17 joints"),
        ("heatmap", "coco17", {"o": np.zeros((1, 17, 16, 16))}, {"heatmap": "o"}, r"correct input\.size_px"),
        ("heatmap", "coco17", {"o": np.zeros((1, 17, 2))}, {"heatmap": "o"}, "which is no heatmap: correct decoder"),
        ("yolo_pose", "halpe26", {"o": np.zeros((1, 56, 90))}, {"output": "o"}, "no pose of 26 joints: correct"),
        ("rtmo", "halpe26", {"a": np.zeros((1, 9, 5)), "b": np.zeros((1, 9, 17, 3))}, {"boxes": "a", "keypoints": "b"},
         "gives 17 joints"),
    ],
)  # fmt: skip
def test_a_card_that_contradicts_its_file_is_refused_when_it_is_opened(
    tmp_path: Path, decoder: str, name: str, outputs: dict[str, Array], ends: dict[str, str], words: str
) -> None:
    network(tmp_path / "toy.onnx", outputs)
    with pytest.raises(KinecastError, match=words) as e:
        opened(card(tmp_path, decoder, name, ends))
    assert "toy.toml" in str(e.value) and "\n" not in str(e.value)


def test_what_is_no_network_is_told_in_one_line(tmp_path: Path) -> None:
    path = card(tmp_path, "simcc", "coco17", SIMCC)
    network(tmp_path / "end2end.onnx", simcc(spots(17)))
    with zipfile.ZipFile(tmp_path / "toy.onnx", "w") as archive:
        archive.write(tmp_path / "end2end.onnx", "end2end.onnx")
    for runtime in ("auto", "onnxruntime", "openvino"):
        with pytest.raises(KinecastError, match="is a zip archive, not a network"):
            opened(path, runtime)
    network(tmp_path / "toy.onnx", simcc(spots(17)), size_px=(32, 32))
    with pytest.raises(KinecastError, match=r"input\.size_px") as e:
        opened(path)
    assert "\n" not in str(e.value)


# ── heatmaps ──


@pytest.mark.parametrize("udp", [True, False])
def test_gaussians_are_decoded_between_cells(udp: bool) -> None:
    at = spots(40, 1)
    maps = gaussians(at, udp=udp)
    xy, confidence = decode_peaks(maps.astype(np.float32), SIZE, udp)
    np.testing.assert_allclose(xy[0], at, atol=0.02)
    np.testing.assert_allclose(confidence, maps.max((2, 3)), atol=1e-6)
    noisy = maps + np.random.default_rng(2).normal(0, 0.01, maps.shape)
    assert np.abs(decode_peaks(noisy.astype(np.float32), SIZE, udp)[0][0] - at).max() < 1.0  # a quarter of a cell


def test_kinds_of_heatmaps_are_told_by_their_numbers() -> None:
    maps = gaussians(spots(17)).astype(np.float32)
    assert kind_of_heatmap(maps) == kind_of_heatmap(maps - 0.05) == "gaussian"
    assert kind_of_heatmap(maps / maps.sum((2, 3), keepdims=True)) == "probability"
    assert kind_of_heatmap(20 * maps - 8) == "logits"


@pytest.mark.parametrize("kind", ["gaussian", "probability", "logits"])
def test_each_kind_finds_the_joints(tmp_path: Path, kind: str) -> None:
    """What was always read as logits put every joint of a Gaussian at the middle of the crop, and nobody was found."""
    at = spots(17, 3)
    maps = gaussians(at, sigma=1.0)
    if kind == "probability":
        maps = maps / maps.sum((2, 3), keepdims=True)
    if kind == "logits":  # their softmax is that Gaussian
        maps = np.log(np.maximum(maps, 1e-9)) + 4
    network(tmp_path / "toy.onnx", {"o": maps})
    model = opened(card(tmp_path, "heatmap", "coco17", {"heatmap": "o"}))
    assert model.card.heatmap == kind
    pose = TopDownEstimator(model).pose(BLANK, WHOLE)
    np.testing.assert_allclose(pose.keypoints_px, at, atol=0.6)
    assert pose.presence > 0.7


def test_a_card_may_say_the_kind_and_a_wrong_guess_is_told(tmp_path: Path) -> None:
    network(tmp_path / "toy.onnx", {"o": gaussians(spots(17))})
    said = card(tmp_path, "heatmap", "coco17", {"heatmap": "o"}, 'heatmap = "probability"\n')
    assert opened(said).card.heatmap == "probability"
    guessed = TopDownEstimator(opened(card(tmp_path, "heatmap", "coco17", {"heatmap": "o"})))
    guessed._of_heatmap(gaussians(spots(17)).astype(np.float32))
    with pytest.raises(KinecastError, match='heatmap = "logits"'):
        guessed._of_heatmap(30 * gaussians(spots(17)).astype(np.float32))


def test_probabilities_are_their_own_mean() -> None:
    maps = gaussians(spots(5), sigma=1.0)
    xy, sure = decode_probability((maps / maps.sum((2, 3), keepdims=True)).astype(np.float32), SIZE)
    np.testing.assert_allclose(xy[0], spots(5), atol=0.3)
    assert (sure > 0.9).all()


# ── Ultralytics' poses ──


def yolo_rows(joints: int, seed: int) -> tuple[Array, Array, Array, Array]:
    """Three people and the rest below every score: boxes, scores, joints, and the raw rows (N, 5 + 3 J)."""
    r = np.random.default_rng(seed)
    corners = np.array([[2.0, 2, 12, 30], [16, 4, 28, 40], [30, 8, 46, 60]])
    scores = np.array([0.9, 0.7, 0.8])
    points = np.concatenate([r.uniform(2, 46, (3, joints, 2)), r.uniform(0.2, 1, (3, joints, 1))], 2)
    head = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2], scores[:, None]], 1)
    rows = np.concatenate([head, points.reshape(3, -1)], 1)
    doubles = rows + np.eye(rows.shape[1])[4] * -0.1  # the same people again, a little less sure
    nobody = np.zeros((60, rows.shape[1]))
    return corners, scores, points, np.concatenate([nobody, rows, doubles, nobody])


@pytest.mark.parametrize("layout", ["channels first", "channels last", "suppressed"])
@pytest.mark.parametrize("joints", [17, 26])
def test_yolo_pose_in_every_layout(layout: str, joints: int) -> None:
    corners, scores, points, rows = yolo_rows(joints, 4)
    output = rows.T[None] if layout == "channels first" else rows[None]
    if layout == "suppressed":
        one = np.concatenate([corners, scores[:, None], np.zeros((3, 1)), points.reshape(3, -1)], 1)
        output = np.concatenate([one, np.zeros((20, one.shape[1]))])[None]
    xy, confidence, boxes, score = yolo.decode_yolo_pose(output.astype(np.float32), joints, 0.3)
    order = [0, 2, 1]  # best first
    np.testing.assert_allclose(score, scores[order], atol=1e-6)
    np.testing.assert_allclose(boxes, corners[order], atol=1e-4)
    np.testing.assert_allclose(xy, points[order][:, :, :2], atol=1e-4)
    np.testing.assert_allclose(confidence, points[order][:, :, 2], atol=1e-6)
    assert len(yolo.decode_yolo_pose(output.astype(np.float32), joints, 0.95)[3]) == 0


def test_yolo_pose_finds_people_in_a_picture(tmp_path: Path) -> None:
    corners, scores, points, rows = yolo_rows(17, 5)
    network(tmp_path / "toy.onnx", {"output0": rows.T[None]})
    finder = YoloPosePersonDetector(opened(card(tmp_path, "yolo_pose", "coco17", {"output": "output0"})))
    found = finder.find(Picture(np.zeros((2 * SIZE[1], 2 * SIZE[0], 3), np.uint8)), 0.3)
    np.testing.assert_allclose(found.boxes_px, 2 * corners[[0, 2, 1]] - 0.5, atol=0.01)  # edges to centres of pixels
    np.testing.assert_allclose(found.keypoints_px, 2 * points[[0, 2, 1]][:, :, :2] - 0.5, atol=0.01)
    assert np.isfinite(found.axes_px).all() and found.scores.tolist() == pytest.approx(scores[[0, 2, 1]].tolist())


# ── whole bodies ──


def test_of_133_joints_the_body_is_used_and_the_rest_is_kept(tmp_path: Path) -> None:
    table = skeleton("coco133")
    assert len(table) == 133 and table.joints[:17] == skeleton("coco17").joints
    assert table.joints[17:23] == tuple(skeleton("body25").joints[-6:])
    assert table.joints[91] == "left_hand_0" and table.joints[112] == "right_hand_0"
    assert table.flip[23] == 23 + 16 and table.flip[23 + 36] == 23 + 45 and table.flip[91] == 112
    halpe = skeleton("halpe26")
    known = {halpe.joints[i] for i in np.flatnonzero(direct_index("coco133", "halpe26") >= 0)}
    assert known == set(halpe.joints) - {"head_top", "neck", "mid_hip"}
    at = np.round(spots(133))
    ends = simcc(at)
    for end in ends.values():  # face and hands unsure: they say nothing about whether somebody is there
        end[0, 23:] *= 0.05
    network(tmp_path / "toy.onnx", ends)
    pose = TopDownEstimator(opened(card(tmp_path, "simcc", "coco133", SIMCC))).pose(BLANK, WHOLE)
    assert pose.keypoints_px.shape == (133, 2) and pose.presence == pytest.approx(0.8, abs=1e-3)


# ── torch's files ──


def of_torch(path: Path, how: str, maps: Array, size_px: tuple[int, int]) -> Path:
    """A network of torch whose only output is these heatmaps, plus a trace of the picture: exported or TorchScript."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("maps", torch.from_numpy(maps.astype(np.float32)))

        def forward(self, inputs):  # type: ignore[no-untyped-def]
            return self.maps + 1e-7 * inputs.mean()

    example = (torch.zeros(1, 3, size_px[1], size_px[0]),)
    if how == "script":
        torch.jit.save(torch.jit.trace(Net(), example), path)
    else:
        torch.export.save(torch.export.export(Net(), example), path)
    return path


@pytest.mark.parametrize("how", ["script", "exported"])
@pytest.mark.parametrize("name", ["toy.pt2", "toy.ts", "toy.bin"])
def test_a_network_of_torch_is_told_by_its_content(tmp_path: Path, how: str, name: str) -> None:
    at = spots(17, 3)
    path = of_torch(tmp_path / name, how, gaussians(at, udp=True), SIZE)
    said = card(tmp_path, "heatmap", "coco17", {"heatmap": "output_0"}, options="[options]\nudp = 1\n")
    said.write_text(said.read_text().replace("toy.onnx", name).replace('name = "input"', 'name = ""'))
    model = opened(said, "auto")
    assert "torch" in model.session.provider and model.card.input.name == "inputs"
    np.testing.assert_allclose(TopDownEstimator(model).pose(BLANK, WHOLE).keypoints_px, at, atol=0.05)
    with pytest.raises(KinecastError, match="a file of torch: runtime onnxruntime takes ONNX"):
        opened(said, "onnxruntime")
    assert path.is_file()


def test_weights_of_torch_without_a_network_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "toy.onnx")
    with pytest.raises(KinecastError, match="holds weights alone, without a network"):
        opened(card(tmp_path, "heatmap", "coco17", {"heatmap": "output_0"}), "auto")


def test_sapiens_leaves_the_order_of_coco_at_the_wrists() -> None:
    table, halpe = skeleton("goliath308"), skeleton("halpe26")
    assert table.joints[:9] == skeleton("coco17").joints[:9] and table.joints[9] == "left_hip"
    assert table.index("right_wrist") == 41 and table.index("left_wrist") == 62
    assert table.joints[21] == "right_hand_4" and table.joints[45] == "left_hand_1"  # from the tips of the thumbs
    known = {halpe.joints[i] for i in np.flatnonzero(direct_index("goliath308", "halpe26") >= 0)}
    assert known == set(halpe.joints) - {"head_top", "neck", "mid_hip"}
    sides = [n.split("_")[0] for n in table.joints if "face_" in n]
    assert (sides.count("left"), sides.count("right"), sides.count("face")) == (100, 100, 39)


def test_a_file_like_sapiens_is_installed_and_finds_a_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    size, table = (768, 1024), skeleton("goliath308")
    at = np.random.default_rng(6).uniform(100, 700, (308, 2))
    u, v = np.arange(192) * 767 / 191, np.arange(256) * 1023 / 255
    gx = np.exp(-((u - at[:, :1]) ** 2) / 1200)
    gy = np.exp(-((v - at[:, 1:]) ** 2) / 1200)
    body = [i for i, joint in enumerate(table.joints) if joint in skeleton("coco133").joints[:23]]
    height = np.full((308, 1, 1), 0.05)  # of face and hands, which are unsure
    height[body] = 0.9
    maps = (height * gy[:, :, None] * gx[:, None, :])[None]
    words = ["models", "pull", "sapiens-0.3b", "--from"]
    assert cli.main([*words, str(of_torch(tmp_path / "other.pt2", "script", maps[:, :133], size))]) == 2
    assert "gives 133 joints and the skeleton goliath308 has 308" in capsys.readouterr().err
    for how in ("exported", "script"):
        assert cli.main([*words, str(of_torch(tmp_path / "given.pt2", how, maps, size))]) == 0
    named = find_card("sapiens-0.3b")
    assert "NC" in named.licence and named.onnx_path.suffix == ".pt2" and cli.main(["models", "verify"]) == 0
    model = open_model(named, "auto", "f32", 1)[0]
    pose = TopDownEstimator(model).pose(
        Picture(np.full((1024, 768, 3), 90, np.uint8)), Region(383.5, 511.5, 768.0, 1024.0)
    )
    np.testing.assert_allclose(pose.keypoints_px[body], at[body], atol=0.5)
    assert pose.keypoints_px.shape == (308, 2) and pose.presence == pytest.approx(0.9, abs=0.02)


# ── ready cards ──


def test_ready_cards_are_asked_for_by_name_and_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path))
    ready = [c for c in map(find_card, builtin_names()) if c.origin.registry == "user"]
    assert {"rtmpose-m-halpe26", "rtmo-s", "yolox-m-humanart", "rtmw-l", "yolo11n-pose", "vitpose-b", "sapiens-1b"} <= {
        c.name for c in ready
    }
    assert all(c.licence and c.licence_note and c.origin.url.startswith("https://") for c in ready)
    assert not {c.name for c in cards_of([])} & {c.name for c in ready}  # `models pull` alone passes them over
    with pytest.raises(KinecastError, match=r"pull rtmo-s.*https://.*its hash is not known"):
        pull([find_card("rtmo-s")], lambda *_: pytest.fail("fetched"))


def test_a_file_that_the_user_has_is_checked_and_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    named = find_card("rtmpose-m-halpe26")

    def archive(joints: int) -> Path:
        x, y = np.zeros((1, joints, 384)), np.zeros((1, joints, 512))
        network(tmp_path / "net.onnx", {"simcc_x": x, "simcc_y": y}, size_px=(192, 256))
        with zipfile.ZipFile(tmp_path / "rtmpose.zip", "w") as file:
            file.write(tmp_path / "net.onnx", "20230605/rtmpose_onnx/end2end.onnx")
            file.writestr("20230605/rtmpose_onnx/detail.json", "{}")
        return tmp_path / "rtmpose.zip"

    words = ["models", "pull", named.name, "--from"]
    assert cli.main([*words, str(archive(17))]) == 2
    assert "gives 17 joints and the skeleton halpe26 has 26" in capsys.readouterr().err
    assert not named.onnx_path.exists() and not note_path(named.onnx_path).exists()
    assert cli.main([*words, str(archive(26))]) == 0
    assert named.onnx_path.is_file() and cli.main(["models", "verify"]) == 0
    opened_model, sha = open_model(find_card(named.name), "onnxruntime", "f32", 1)
    assert len(sha) == 64 and opened_model.card.skeleton == "halpe26"
    assert cli.main(["models", "pull", "--from", str(tmp_path / "rtmpose.zip")]) == 2
    assert cli.main([*words, str(tmp_path / "nothing.zip")]) == 2
    (tmp_path / "bad.zip").write_bytes((tmp_path / "rtmpose.zip").read_bytes()[:-40])
    assert cli.main([*words, str(tmp_path / "bad.zip")]) == 2 and cli.main([*words, str(archive(17))]) == 2
    assert open_model(find_card(named.name), "onnxruntime", "f32", 1)[1] == sha  # what was there stays
