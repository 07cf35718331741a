"""The report of a calibration: one file that needs nothing else, with the numbers of the result and every warning."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.calibration.board.board import parse
from kinecast.calibration.report import board, figures, write_report
from kinecast.calibration.report.page import Page, Section, Table, named
from kinecast.calibration.solve.extrinsics import Options, calibrate
from kinecast.calibration.solve.result import Calibration
from kinecast.engines.synth.boards import watch_board
from kinecast.engines.synth.rigs import ring_rig


@pytest.fixture(scope="module")
def result() -> Calibration:
    rig = ring_rig(4, (1280, 720), radius_m=3.5, focal_of_width=0.8)
    grid = parse("charuco:6x5:120mm:90mm:DICT_5X5_50")
    walk = watch_board(rig, grid, sets=40, noise_px=0.3)
    return calibrate(walk.seen, walk.sets, grid, Options(refine=False, halves=False, offsets=False), given=rig)


def test_one_file_with_everything_in_it(result: Calibration, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    told = replace(result, warnings=("camera <left> is blurred: move it slower",))
    write_report(told, tmp_path / "r.html", "studio", "studio.calibration.json")
    text = (tmp_path / "r.html").read_text()
    words = re.sub(r"base64,[^\"]*", "", text)  # pictures have every four letters somewhere
    assert "http" not in words and "<script" not in words and "<link" not in words
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == 3 + len(result.cameras) and all(s.startswith("data:image/png;base64,") for s in sources)
    assert text.index("camera &lt;left&gt; is blurred") < text.index("<h2>")
    assert result.lengths is not None
    for number in (f"{result.lengths.rmse_mm:.2f} mm", f"{result.median_px:.2f} px", "studio.calibration.json"):
        assert number in text
    for c in result.cameras:
        assert f"<td>{c.camera.name}</td><td>{c.position_m[0]:.3f}</td>" in text


def test_without_matplotlib_numbers_stay_and_the_remedy_is_said(
    result: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "available", lambda: False)
    write_report(replace(result, warnings=()), tmp_path / "r.html", "studio")
    text = (tmp_path / "r.html").read_text()
    assert "<img" not in text and "kinecast[plot]" in text and "Nothing was found that speaks against" in text
    assert text.count("<table") == 5


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_a_plan_is_what_one_sees_looking_down(up: str) -> None:
    """Right, up the page and towards the eye are right-handed, along the axes that the table beside it names."""
    (a, right), (b, page), (c, height) = figures.plan_axes(up)
    assert np.allclose(np.cross(right, page), height) and c.replace("−", "-") == up
    for name, axis in ((a, right), (b, page), (c, height)):
        assert axis["xyz".index(name[-1])] == (-1 if name[0] == "−" else 1) and np.abs(axis).sum() == 1
    assert {n[-1] for n in (a, b, c)} == set("xyz")


def test_the_rig_is_drawn_where_its_table_says(result: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every camera's name stands at its x and y from above, at its x and z from the side."""
    pytest.importorskip("matplotlib")
    drawn: list[Any] = []

    def keep(figure: Any) -> bytes:
        drawn.append(figure)
        return b""

    monkeypatch.setattr(figures, "png_of", keep)
    assert result.rig is not None and result.rig.up == "z"
    figures.draw_rig(result.rig)
    for axes, (first, second) in zip(drawn[0].axes, ((0, 1), (0, 2)), strict=True):
        at = {text.get_text(): text.xy for text in axes.texts}
        for c in result.cameras:
            assert np.allclose(at[c.camera.name], np.asarray(c.position_m)[[first, second]])
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("x, m", f"{'xyz'[second]}, m")


def test_lenses_alone_have_no_rig(result: Calibration) -> None:
    cameras = tuple(replace(c, position_sd_m=np.nan) for c in result.cameras)
    alone = replace(result, rig=None, lengths=None, links=(), cameras=cameras)
    page = board.page_of(alone, "lenses", pictures=False)
    assert [s.title for s in page.sections] == ["Cameras", "Pictures"]
    assert "uncertain" not in page.html() and "nan" not in page.html()


def test_arrows_are_enlarged_to_be_seen_and_say_how_much(result: Calibration) -> None:
    pytest.importorskip("matplotlib")
    c = result.cameras[0]
    picture = figures.draw_camera(c)
    times = float(re.findall(r"([\d.]+) times enlarged", picture.caption)[0])
    assert 0.005 * 1280 < times * c.median_px <= 0.015 * 1280
    assert picture.png.startswith(b"\x89PNG")
    bad = replace(c, weight=np.zeros(len(c.px)))
    assert f"{len(c.px)} corners that do not fit are red" in figures.draw_camera(bad).caption


def test_any_rig_can_be_drawn() -> None:
    pytest.importorskip("matplotlib")
    rig = replace(ring_rig(4), up="-y")
    assert figures.draw_rig(replace(rig, cameras=rig.cameras[:1])).png.startswith(b"\x89PNG")


def test_what_a_user_wrote_is_escaped() -> None:
    page = Page("<b>", "&", ("<i>",), (), (Section("<u>", (Table(("<th>",), (("<td>",),)), "<p>")),))
    assert not re.search(r"<b>|<i>|<u>|<td><td>|<th><th>", page.html())
    assert named(["a", "b", "c"]) == "a, b and c" and named(["a"]) == "a" and named([]) == ""
