"""Rendering a recording: the right picture under the right skeleton, at the right rate, and it says what it lacks."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Bodies
from kinecast.nodes.cli import main as cli
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.viewer import video
from kinecast.nodes.viewer.overlay import colour_of
from kinecast.nodes.viewer.scene import LineRenderer, resized
from tests.nodes.fusion.toys import bodies
from tests.nodes.viewer import world

FRAMES = 8


@pytest.fixture(autouse=True)
def lines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain renderer: these tests are about the video."""
    monkeypatch.setattr(video, "open_renderer", lambda scene, size: (LineRenderer(scene), "drawn with lines"))


def _frames(path: Path) -> tuple[Fraction, list[float], list[np.ndarray]]:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        decoded = list(file.decode(video=0))
        times = [float(f.pts * f.time_base) for f in decoded]
        return stream.average_rate, times, [f.to_ndarray(format="bgr24") for f in decoded]


def _corner(image: np.ndarray, layout: video.Layout, camera: int) -> float:
    """Level in the lower left of a camera's cell, where nobody stands."""
    x, y, w, h = layout.cells[camera]
    return float(np.median(image[y + h - h // 4 : y + h - 4, x + 4 : x + w // 8]))


def _layout(height: int) -> video.Layout:
    return video.arrange([world.SIZE[0] / world.SIZE[1]] * 2, height, True)


@pytest.mark.parametrize("every", [1, 2])
def test_each_set_is_drawn_on_its_own_pictures_at_its_own_time(every: int, tmp_path: Path) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES, every=every)
    done = video.render(Recording.open(path), tmp_path / "out.mp4", height_px=240)
    rate, times, images = _frames(tmp_path / "out.mp4")
    assert rate == Fraction(20, every) and done.frames == len(images) == FRAMES // every
    np.testing.assert_allclose(times, np.arange(FRAMES)[::every] / 20, atol=1e-6)
    for k, image in enumerate(images):
        for camera in range(2):
            # two lossy codecs and the matrices between: a few levels, where neighbours differ by 20
            assert _corner(image, _layout(240), camera) == pytest.approx(world.grey(k * every), abs=6)


def test_a_camera_that_was_opened_anew_is_drawn_on_all_its_videos(tmp_path: Path) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES, openings=3)
    done = video.render(Recording.open(path), tmp_path / "out.mp4", height_px=240)
    assert not [note for note in done.notes if "black" in note]
    _, _, images = _frames(tmp_path / "out.mp4")
    for k, image in enumerate(images):
        for camera in range(2):
            assert _corner(image, _layout(240), camera) == pytest.approx(world.grey(k), abs=6)
    (tmp_path / "cam1.1.mkv").unlink()
    done = video.render(Recording.open(path), tmp_path / "less.mp4", height_px=240)
    assert len([note for note in done.notes if "cam1.1.mkv is gone" in note]) == 1
    _, _, images = _frames(tmp_path / "less.mp4")
    levels = [_corner(image, _layout(240), 0) for image in images]
    third = -(-FRAMES // 3)
    for k, level in enumerate(levels):
        assert level < 6 if k // third == 1 else level == pytest.approx(world.grey(k), abs=6)


def test_a_missing_video_is_black_and_said(tmp_path: Path) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES)
    (tmp_path / "cam2.mp4").unlink()
    done = video.render(Recording.open(path), tmp_path / "out.mp4", height_px=240)
    assert any("cam2" in note and "black" in note for note in done.notes)
    _, _, images = _frames(tmp_path / "out.mp4")
    assert _corner(images[3], _layout(240), 0) == pytest.approx(world.grey(3), abs=6)
    assert _corner(images[3], _layout(240), 1) < 6
    x, y, w, h = _layout(240).cells[1]
    assert images[3][y : y + h, x : x + w].max() > 100  # the skeleton is there


def test_a_recording_that_was_moved_with_its_videos_finds_them(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    world.record(old, [{1: world.person()}] * FRAMES)
    old.rename(new)
    done = video.render(Recording.open(new / "session.mcap"), tmp_path / "out.mp4", height_px=200, with_3d=False)
    assert done.notes == [] and done.renderer == ""


def test_separate_files_chosen_cameras_and_wrong_names(tmp_path: Path) -> None:
    recording = Recording.open(world.record(tmp_path, [{1: world.person()}] * FRAMES))
    done = video.render(recording, tmp_path / "v.mp4", height_px=240, separate=True, cameras=("cam2",))
    assert [p.name for p in done.paths] == ["v.mp4", "v_cam2.mp4"]
    assert all(len(_frames(p)[2]) == FRAMES for p in done.paths)
    with pytest.raises(KinecastError, match="no camera 'cam9'"):
        video.render(recording, tmp_path / "w.mp4", cameras=("cam9",))
    assert not (tmp_path / "w.mp4").exists()


def test_a_failure_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording.open(world.record(tmp_path, [{1: world.person()}] * FRAMES))
    before = sorted(p.name for p in tmp_path.iterdir())

    def interrupt(done: int, total: int) -> None:
        assert total == FRAMES
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        video.render(recording, tmp_path / "out.mp4", height_px=200, progress=interrupt)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("aspect", [9 / 16, 4 / 3, 16 / 9])
@pytest.mark.parametrize("cameras", [1, 2, 4, 5, 16])
def test_cells_lie_inside_and_apart(aspect: float, cameras: int) -> None:
    layout = video.arrange([aspect] * cameras, 1080, True)
    w, h = layout.size_px
    assert w <= video.MAX_WIDTH_PX + 4 and h <= 1080 + 4 * cameras and w % 2 == h % 2 == 0
    taken = np.zeros((h, w), int)
    assert layout.panel is not None
    for x, y, cw, ch in (*layout.cells, layout.panel):
        assert x >= 0 and y >= 0 and x + cw <= w and y + ch <= h
        taken[y : y + ch, x : x + cw] += 1
    assert taken.max() == 1 and taken.mean() > 0.5


@pytest.mark.parametrize(
    ("step_ns", "rate"),
    [(16_666_667, Fraction(60)), (33_366_700, Fraction(30000, 1001)), (40_000_000, Fraction(25)),
     (14_285_714, Fraction(70))],
)  # fmt: skip
def test_the_rate_comes_from_the_stamps(step_ns: int, rate: Fraction) -> None:
    times = [k * step_ns for k in range(50) if k != 20]  # a gap does not change it
    assert abs(float(video.rate_of(times)) / float(rate) - 1) < 0.005
    if rate in video.STANDARD_HZ:
        assert abs(float(video.rate_of(times)) - float(rate)) < 0.03


def _chest(image: np.ndarray, layout: video.Layout, camera: int) -> np.ndarray:
    """The colours around the chest of somebody in a T-pose at the origin."""
    x, y, w, _ = layout.cells[camera]
    view = world.rig().cameras[camera]
    px = (view.project(np.array([[0.0, 0.0, 1.25]]))[0][0] + 0.5) * w / world.SIZE[0] + (x, y)
    u, v = np.round(px).astype(int)
    return image[v - 5 : v + 6, u - 5 : u + 6].reshape(-1, 3).astype(float)


def test_bodies_are_drawn_over_the_video_and_in_3d_or_left_out(tmp_path: Path) -> None:
    hidden = np.full_like(world.person(), np.nan)  # no skeleton to be mistaken for the mesh
    path = world.record(tmp_path, [{1: hidden}] * 3, bodies=lambda k, t: bodies(seq=k, t_ns=t))
    pictures = []
    for words in ((), ("--no-bodies",)):
        out = tmp_path / f"{len(words)}.mp4"
        assert cli.main(["render", str(path), "-o", str(out), "--height", "480", *words]) == 0
        pictures.append(_frames(out)[2][1])
    layout = _layout(480)
    own = np.array(colour_of(1), float)
    for camera in range(2):
        with_body, without = (_chest(p, layout, camera) for p in pictures)
        assert without.std() < 6  # the plain picture
        shift = (with_body - without).mean(axis=0)
        # towards the person's colour, as far as the mesh covers
        assert shift @ (own - without.mean(axis=0)) / np.linalg.norm(own - without.mean(axis=0)) > 20
    assert layout.panel is not None
    x, y, w, h = layout.panel
    panels = [p[y : y + h, x : x + w].astype(int) for p in pictures]
    assert (np.abs(panels[0] - panels[1]).max(axis=2) > 40).sum() > 200


def test_a_body_that_is_not_at_hand_is_refused_before_anything_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def strange(k: int, t_ns: int) -> Bodies:
        return replace(bodies(seq=k, t_ns=t_ns), body_id="smpl-male-0123456789abcdef")

    path = world.record(tmp_path, [{1: world.person()}] * 2, bodies=strange)
    out = tmp_path / "out.mp4"
    assert cli.main(["render", str(path), "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert "smpl-male-0123456789abcdef" in said and "--body" in said and not out.exists()
    assert cli.main(["export", str(path), "--to", "obj"]) == 2
    assert cli.main(["render", str(path), "-o", str(out), "--no-bodies", "--no-3d", "--height", "200"]) == 0


@pytest.mark.parametrize(
    ("words", "drawn"),
    [((), range(FRAMES)), (("--from", "0.1", "--to", "0.3"), range(2, 7)), (("--every", "3"), range(0, FRAMES, 3)),
     (("--from", "0.1", "--every", "3"), (3, 6))],
)  # fmt: skip
def test_a_part_of_a_recording_is_drawn_at_its_own_pace(
    words: tuple[str, ...], drawn: Sequence[int], tmp_path: Path
) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES)
    out = tmp_path / "part.mp4"
    assert cli.main(["render", str(path), "-o", str(out), "--height", "240", "--no-3d", *words]) == 0
    _, times, images = _frames(out)
    np.testing.assert_allclose(np.diff(times), np.diff(list(drawn)) / 20, atol=1e-6)
    layout = video.arrange([world.SIZE[0] / world.SIZE[1]] * 2, 240, False)
    for k, image in zip(drawn, images, strict=True):
        assert _corner(image, layout, 0) == pytest.approx(world.grey(k), abs=6)


def test_a_part_in_which_there_is_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.record(tmp_path, [{1: world.person()}] * FRAMES)
    for words, said in ((["--from", "9"], "within --from and --to"), (["--to", "-1"], "no end before"),
                        (["--every", "0"], "1 or more")):  # fmt: skip
        assert cli.main(["render", str(path), "-o", str(tmp_path / "no.mp4"), *words]) == 2
        assert said in capsys.readouterr().err and not (tmp_path / "no.mp4").exists()


@pytest.mark.parametrize("size", [(130, 90), (200, 150), (640, 480), (123, 457)])
def test_pictures_of_another_size_keep_what_they_show(size: tuple[int, int]) -> None:
    """A ramp stays one, within a level and what a pixel of the smaller picture spans."""
    ramp = np.broadcast_to(np.linspace(0, 250, 400)[None, :, None], (300, 400, 3)).astype(np.uint8)
    out = resized(ramp, size)
    assert out.shape == (size[1], size[0], 3)
    expected = np.interp((np.arange(size[0]) + 0.5) * 400 / size[0] - 0.5, np.arange(400), ramp[0, :, 0])
    assert np.abs(out[size[1] // 2, :, 1] - expected).max() <= 1 + 250 / size[0]
