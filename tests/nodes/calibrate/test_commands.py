"""``kinecast calibrate rig | intrinsics | board | world | compare`` from end to end, on footage that was drawn."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinecast.calibration.align import compare
from kinecast.calibration.board.board import parse
from kinecast.calibration.board.detect import find_chessboard
from kinecast.calibration.camera import Camera, Rig
from kinecast.calibration.formats import load_rig, save_rig
from kinecast.engines.synth.rigs import look_at
from kinecast.nodes.cli.main import main
from tests.calibration.filmed import Image, carried, draw, film, flat_on_floor, photos, rig_above, videos
from tests.capture.photos import noted

WORD = "charuco:5x4:150mm:112mm:DICT_4X4_50"
BOARD = parse(WORD)
RIG = rig_above()
SETS = 24
GREY = np.full(RIG.cameras[0].size_px[::-1], 110, np.uint8)


@pytest.fixture(scope="module")
def filmed() -> list[list[Image]]:
    return film(RIG, BOARD, SETS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, filmed: list[list[Image]]) -> Path:
    """good/: videos. truth.toml: the rig that filmed them."""
    out = tmp_path_factory.mktemp("calibrate")
    save_rig(RIG, out / "truth.toml")
    videos(out / "good", RIG.names, filmed)
    return out


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, which have tests of their own and take a second each."""
    monkeypatch.setattr("kinecast.calibration.report.figures.available", lambda: False)


def run(*words: object) -> int:
    return main(["calibrate", *map(str, words)])


def off_mm(path: Path) -> float:
    return float(compare(RIG, load_rig(path)).position_mm.max())


def test_a_rig_from_videos_on_a_floor(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Corners of drawn pictures are off by under 0.1 px, 0.4 mm at 2.7 m; views of 24 places: 5 mm is far outside."""
    photos(tmp_path / "floor", RIG.names, [[draw(c, [(BOARD, flat_on_floor(BOARD))])] for c in RIG])
    out = tmp_path / "rig.toml"
    words = ("--intrinsics", folder / "truth.toml", "--floor", tmp_path / "floor", "--reference", folder / "truth.toml")
    assert run("rig", folder / "good", "--board", WORD, "-o", out, *words) == 0
    said = capsys.readouterr().out
    assert "floor by cam01, cam02, cam03" in said and "beside truth.toml" in said and "warning" not in said
    rig = load_rig(out)
    assert off_mm(out) < 5 and "# warning" not in out.read_text()
    # the board's middle is the origin, its side up: no laying over one another is needed. Corners of 0.4 mm (a third
    # of that for twelve of them) tilt a board of 0.6 m by 1 in 2000 and more where they err together: 20 mm at 3 m
    for c in RIG:
        assert np.linalg.norm(rig[c.name].centre_world - c.centre_world) < 0.02
    assert run("compare", out, folder / "truth.toml") == 0
    assert re.search(r"median [0-4]\.\d mm", capsys.readouterr().out)


def test_known_times_match_videos_of_another_start(
    folder: Path, tmp_path: Path, filmed: list[list[Image]], capsys: pytest.CaptureFixture[str]
) -> None:
    """cam02 begins five pictures late; ``--timestamps`` says so."""
    late = videos(tmp_path / "late", RIG.names, filmed, lambda c, n, p: p if c != 1 or n >= 5 else None)
    rows = [f"{c + 1},{n / 4}" for c in range(3) for n in range(5 if c == 1 else 0, SETS)]
    (tmp_path / "times.csv").write_text("cam_id,frame_time\n" + "\n".join(rows) + "\n")
    out = tmp_path / "rig.toml"
    words = ("rig", late, "--board", WORD, "--intrinsics", folder / "truth.toml", "-o", out)
    assert run(*words, "--timestamps", tmp_path / "times.csv") == 0
    assert off_mm(out) < 5 and "not synchronised" not in capsys.readouterr().out
    # without them it is a rig with a warning, or none
    out.unlink()
    status, both = run(*words), capsys.readouterr()
    text = both.out + both.err
    assert "synchronised" in text and (status == 2) == (not out.exists())
    if status == 0:
        assert re.search(r"^# warning: .*not synchronised", out.read_text(), re.MULTILINE)


def mirrored(c: int, n: int, p: Image) -> Image:
    return np.ascontiguousarray(p[:, ::-1])


def dark(c: int, n: int, p: Image) -> Image:
    return GREY if c == 1 else p


def apart(c: int, n: int, p: Image) -> Image:
    return p if (c != 2) == (n < SETS // 2) else GREY


def three(c: int, n: int, p: Image) -> Image | None:
    return p if 4 <= n < 7 else None


BAD: list[tuple[str, Callable[[int, int, Image], Image | None] | None, str, str]] = [
    ("no board", lambda c, n, p: GREY, WORD, r"no camera shows the board .* no board of a known kind .*sharp"),
    ("rows and columns", None, "charuco:4x5:150mm:112mm:DICT_4X4_50", r"this is a 5×4 charuco.*you said 4×5: put the"),
    ("mirrored", mirrored, WORD, r"this is a 5×4 .*mirrored: turn mirroring off"),
    ("inverted", lambda c, n, p: 255 - p, WORD, r"this is a inverted 5×4.*you said not inverted: put the board file"),
    ("one blind camera", dark, WORD, r"camera cam02: .*none of 24 pictures, though other cameras see it"),
    ("no overlap", apart, WORD, r"cam03 never saw the board together with another camera: film the board where"),
    ("three frames", three, WORD, r"3 frame sets show the board.*4 are the least and 30 are good: move the board"),
]


@pytest.mark.parametrize(("change", "word", "said"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_is_one_sentence_with_a_remedy_and_no_rig(
    folder: Path, tmp_path: Path, filmed: list[list[Image]], capsys: pytest.CaptureFixture[str],
    change: Callable[[int, int, Image], Image | None] | None, word: str, said: str,
) -> None:  # fmt: skip
    made = folder / "good" if change is None else videos(tmp_path / "bad", RIG.names, filmed, change)
    out = tmp_path / "rig.toml"
    assert run("rig", made, "--board", word, "--intrinsics", folder / "truth.toml", "-o", out) == 2
    err = capsys.readouterr().err
    assert re.search(said, err) and err.count("\n") == 1 and not out.exists()


def smeared(c: int, n: int, p: Image) -> Image:
    return np.asarray(cv2.blur(p, (5, 1)), dtype=np.uint8)


def doubled(c: int, n: int, p: Image) -> Image:
    """A smaller copy of the board beside it."""
    out = p.copy()
    small = cv2.resize(p, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    h, w = small.shape
    board = cv2.dilate((np.abs(small.astype(int) - 110) > 12).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    free = np.abs(out[:h, :w].astype(int) - 110).max() <= 12
    y, x = (0, 0) if free else (out.shape[0] - h, out.shape[1] - w)
    out[y : y + h, x : x + w][board] = small[board]
    return out


@pytest.mark.parametrize(
    ("change", "said"),
    [(smeared, r"# warning: .*blurred .*slower"), (doubled, r"# warning: .*two boards are in view")],
    ids=["blur", "two boards"],
)
def test_doubtful_footage_gives_a_rig_that_says_so_or_none(
    folder: Path, tmp_path: Path, filmed: list[list[Image]], capsys: pytest.CaptureFixture[str],
    change: Callable[[int, int, Image], Image], said: str,
) -> None:  # fmt: skip
    made = videos(tmp_path / "bad", RIG.names, filmed, change)
    out = tmp_path / "rig.toml"
    status = run("rig", made, "--board", WORD, "--intrinsics", folder / "truth.toml", "-o", out)
    assert status in (0, 2) and (status == 0) == out.exists()
    text = out.read_text() if out.exists() else "# warning: " + capsys.readouterr().err
    assert re.search(said, text), text[:600]


def test_photos_of_mixed_sizes_are_told(
    folder: Path, tmp_path: Path, filmed: list[list[Image]], capsys: pytest.CaptureFixture[str]
) -> None:
    some = [[*own[:3], own[3][:300]] for own in filmed]
    made = photos(tmp_path / "photos", RIG.names, some)
    assert run("rig", made, "--board", WORD, "-o", tmp_path / "rig.toml") == 2
    assert "picture 3 is 640×300, those before it 640×360" in capsys.readouterr().err


def test_a_known_distance_mends_a_wrong_square(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = "charuco:5x4:75mm:56mm:DICT_4X4_50"
    out, right = tmp_path / "rig.toml", tmp_path / "right.toml"
    assert run("rig", folder / "good", "--board", half, "--intrinsics", folder / "truth.toml", "-o", out) == 0
    far = np.linalg.norm(RIG["cam01"].centre_world - RIG["cam02"].centre_world)
    assert run("world", out, "--distance", "cam01", "cam02", f"{far:.4f}", "-o", right) == 2
    told = capsys.readouterr()
    assert (
        re.search(r"-(49\.9|50\.0)", told.out)
        and "square of the board was measured wrong" in told.out
        and "--rescale" in told.err
    )
    assert run("world", out, "--distance", "cam01", "cam02", f"{far:.4f}", "--rescale", "-o", right) == 0
    assert off_mm(right) < 5
    assert "# warning: no floor was filmed" in right.read_text()  # what the rig earned stays with it


def test_the_world_by_measured_points(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four points on a floor, twice as far apart as the rig says, in a world turned by 90°: exact but for rounding."""
    old = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5]])
    new = 2 * old[:, [1, 0, 2]] * [-1, 1, 1] + [1, 2, 0]
    where, seen = tmp_path / "points.csv", tmp_path / "seen.csv"
    where.write_text("point,x_m,y_m,z_m\n" + "".join(f"p{n},{x},{y},{z}\n" for n, (x, y, z) in enumerate(new)))
    rows = [f"p{n},{c.name},{px[0]},{px[1]}\n" for c in RIG for n, px in enumerate(c.project(old)[0])]
    seen.write_text("point,camera,x_px,y_px\n" + "".join(rows))
    words = ("world", folder / "truth.toml", "--points", where, "--seen", seen, "-o", tmp_path / "placed.toml")
    assert run(*words, "--rescale") == 0
    assert "scale 2.0000" in capsys.readouterr().out
    there = load_rig(tmp_path / "placed.toml")["cam01"].centre_world
    assert there == pytest.approx(2 * RIG["cam01"].centre_world[[1, 0, 2]] * [-1, 1, 1] + [1, 2, 0], abs=1e-6)
    assert run(*words) == 0 and "mm RMS" in capsys.readouterr().out


@pytest.mark.parametrize(("lean", "said"), [(0.0, ""), (75.0, "below the floor")])
def test_a_board_that_does_not_lie_on_the_floor_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lean: float, said: str
) -> None:
    held = flat_on_floor(BOARD, 0.8 if lean else 0.0, lean)
    front = [-held[:3, 2] @ (c.centre_world - held[:3, 3]) > 0 for c in RIG]
    made = [[draw(c, [(BOARD, held)] if f else [])] for c, f in zip(RIG, front, strict=True)]
    photos(tmp_path / "floor", RIG.names, made)
    out = tmp_path / "placed.toml"
    assert run("world", folder / "truth.toml", "--floor", tmp_path / "floor", "--board", WORD, "-o", out) == 0
    text = capsys.readouterr().out
    assert bool(said) == ("warning" in text) and said in text and said in out.read_text()
    if not said:
        assert all(c.centre_world[2] > 2.3 for c in load_rig(out))


def test_a_board_on_a_wall_before_all_cameras_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every camera stands before its printed side: only what the pictures call up contradicts it."""
    at, up = np.array([0, 0, 1.2]), np.array([0, 0, 1.0])
    places = [look_at(np.array([x, -4.0, 1.5]), at, up) for x in (-1.5, 0.0, 1.5)]
    cameras = tuple(replace(c, cam_from_world=T) for c, T in zip(RIG, places, strict=False))
    rig = Rig(cameras, "wall")
    save_rig(rig, tmp_path / "rig.toml")
    wall = np.eye(4)
    wall[:3, :3] = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # x along it, its y down, its front towards −y
    wall[:3, 3] = [-0.3, 0.0, 1.5]
    photos(tmp_path / "floor", rig.names, [[draw(c, [(BOARD, wall)])] for c in rig])
    out = tmp_path / "placed.toml"
    assert run("world", tmp_path / "rig.toml", "--floor", tmp_path / "floor", "--board", WORD, "-o", out) == 0
    text = capsys.readouterr().out
    assert re.search(r"warning: what the cameras' pictures call up is (7|8|9)\d° from the board's.*on a wall", text), (
        text
    )
    assert "on a wall" in out.read_text()


@pytest.mark.parametrize(
    "word", ["chessboard:6x5:100mm", "grid:4x3:140mm:35mm:DICT_APRILTAG_36h11", "marker:1x1:500mm:DICT_4X4_50"]
)
def test_rigs_from_photos_of_other_boards(folder: Path, tmp_path: Path, word: str) -> None:
    """Photos that belong together by their number. A marker has four corners, and its own sub-pixel search: 20 mm."""
    board = parse(word)
    made = photos(tmp_path / "photos", RIG.names, film(RIG, board, 12, 2.0))
    out = tmp_path / "rig.toml"
    assert run("rig", made, "--board", word, "--intrinsics", folder / "truth.toml", "-o", out) == 0
    assert off_mm(out) < 20


def near_and_far(camera: Camera) -> list[Image]:
    """A board before one camera, near and far and tilted."""
    out, made = np.eye(4), []
    for n, T in enumerate(carried(BOARD, 20, 2.0)):
        out[:3, :3] = np.diag([1.0, -1, -1]) @ T[:3, :3]
        x, y = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1], [0, 0]])[n % 5] * [0.42, 0.2]
        out[:3, 3] = out[:3, :3] @ -BOARD.points_m.mean(axis=0) + [x, y, 1.3]
        made.append(draw(camera, [(BOARD, out)]))
    return made


def test_lenses_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One camera that sees a board near and far and tilted; the focal length to 1 %."""
    camera = replace(RIG.cameras[0], cam_from_world=np.eye(4))
    photos(tmp_path / "photos", ["a"], [near_and_far(camera)])
    lenses = tmp_path / "lenses.toml"
    assert run("intrinsics", tmp_path / "photos" / "a", "--board", WORD, "--lens", "radial2", "-o", lenses) == 0
    (lens,) = load_rig(lenses)
    assert lens.K[0, 0] == pytest.approx(camera.K[0, 0], rel=0.01)
    assert "held out" in capsys.readouterr().out


@pytest.mark.parametrize(("usual", "other"), [(1, 3), (6, 1), (6, 8)])
def test_photos_of_a_camera_that_was_held_both_ways_give_one_lens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], usual: int, other: int
) -> None:
    """A phone notes how it was held and viewers turn its photos; the lens stays where it is on the sensor."""
    K = np.array(RIG.cameras[0].K) + np.array([[0, 0, 25.0], [0, 0, -14.0], [0, 0, 0]])  # what a turn would show
    camera = replace(RIG.cameras[0], cam_from_world=np.eye(4), K=K)
    folder = tmp_path / "photos" / "a"
    folder.mkdir(parents=True)
    for n, image in enumerate(near_and_far(camera)):
        noted(folder / f"{n:03d}.jpg", image, other if n % 3 == 0 else usual)
    lenses = tmp_path / "lenses.toml"
    assert run("intrinsics", folder, "--board", WORD, "--lens", "radial2", "-o", lenses) == 0
    (lens,) = load_rig(lenses)
    w, h = camera.size_px
    turned = {1: (w, h, K[0, 2], K[1, 2]), 6: (h, w, h - 1 - K[1, 2], K[0, 2])}[usual]
    assert lens.size_px == turned[:2]
    assert lens.K[0, 0] == pytest.approx(K[0, 0], rel=0.01)
    assert (lens.K[0, 2], lens.K[1, 2]) == pytest.approx(turned[2:], abs=5)
    assert "7 photos were taken with the camera held otherwise" in capsys.readouterr().out


def test_a_wrong_board_is_told_without_patience(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thorough search takes seconds a picture: it is not begun where the pictures show another board."""
    board = parse("chessboard:6x5:100mm")
    photos(tmp_path / "photos", ["a"], [film(RIG, board, 5, 2.0)[0]])
    patient = []

    def find(grey: Image, size: tuple[int, int], thorough: bool = True) -> object:
        if thorough and size != (6, 5):
            patient.append(size)
        return find_chessboard(grey, size, thorough)

    monkeypatch.setattr("kinecast.calibration.board.detect.find_chessboard", find)
    words = ("intrinsics", tmp_path / "photos" / "a", "--board", "chessboard:7x9:100mm", "-o", tmp_path / "l.toml")
    assert run(*words) == 2
    text = capsys.readouterr().err
    assert "this is a" in text and "you said 7×9" in text and len(patient) <= 5
