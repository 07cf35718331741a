"""The pictures of the report, by matplotlib: reprojection, coverage, board distances, uncertainty, the rig."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from kinecast.calibration.camera import Camera, Float, Rig
from kinecast.calibration.report.page import Picture, named, png_of
from kinecast.calibration.solve.result import CameraResult, Lengths, LinkResult

MOST_ARROWS = 1500
Plan = tuple[str, Float]
BLUE, ORANGE, GREY, RED = "#1f6fb4", "#d9730d", "#9aa4ae", "#b3261e"


def available() -> bool:
    """Whether matplotlib is there."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def draw_camera(c: CameraResult) -> Picture:
    """One camera: every corner with its residual enlarged, the coverage of the picture, the residual over time."""
    w, h = c.camera.size_px
    figure = _figure(13, 3.9 if w >= h else 5.2)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.25, 1.0, 0.9])
    factor = _arrows(left, c, w, h)
    cells = middle.imshow(np.where(c.coverage > 0, c.coverage, np.nan), extent=(0, w, h, 0), cmap="viridis", vmin=0)
    middle.set_title(f"coverage: corners seen, {100 * float((c.coverage > 0).mean()):.0f} % of the picture")
    middle.set_facecolor("#eceff2")
    figure.colorbar(cells, ax=middle, shrink=0.8)
    length = np.linalg.norm(c.residual_px, axis=1)
    sets = np.unique(c.frame_set)
    each = [float(np.median(length[c.frame_set == s])) for s in sets]
    right.plot(sets, each, "o", ms=3, color=BLUE)
    right.axhline(c.median_px, color=GREY, lw=1)
    right.set(xlabel="picture", ylabel="median px", title="residual by picture", ylim=(0, None))
    figure.suptitle(c.camera.name)
    light = int((c.weight < 0.1).sum())
    note = f"; {light} corners that do not fit are red" if light else ""
    shown = f"{MOST_ARROWS} of {len(c.px)} corners" if len(c.px) > MOST_ARROWS else f"{len(c.px)} corners"
    caption = (
        f"{c.camera.name}: {shown}, each with an arrow from where the rig puts it to where it was seen, {factor:g} "
        f"times enlarged (median {c.median_px:.2f} px){note}. Arrows that point the same way in one part of the "
        "picture mean that the lens model does not fit there. Empty cells: nothing is known of the lens there."
    )
    return Picture(png_of(figure), caption, f"residual arrows and coverage of {c.camera.name}")


def _arrows(axes: Any, c: CameraResult, w: int, h: int) -> float:
    """Draw the residuals; how many times they are enlarged."""
    typical = max(c.median_px, 1e-3) if np.isfinite(c.median_px) else 1.0
    wanted = 0.015 * max(w, h) / typical
    factor = float(10 ** np.floor(np.log10(wanted)))
    factor *= max(m for m in (1, 2, 5) if m * factor <= wanted)
    some = np.unique(np.linspace(0, len(c.px) - 1, min(len(c.px), MOST_ARROWS)).round().astype(int))
    off = c.residual_px[some] * factor
    start = c.px[some] - c.residual_px[some]
    colour = np.where(c.weight[some] < 0.1, RED, BLUE)
    axes.quiver(start[:, 0], start[:, 1], off[:, 0], off[:, 1], color=colour, angles="xy", scale_units="xy", scale=1,
                width=0.0022)  # fmt: skip
    axes.set(xlim=(0, w), ylim=(h, 0), aspect="equal", title=f"reprojection, arrows × {factor:g}")
    return factor


def draw_lengths(found: Lengths, stamped: Lengths | None) -> Picture:
    """Errors of board distances in mm as a histogram, and their size by true length."""
    figure = _figure(11, 3.6)
    left, right = figure.subplots(1, 2)
    error = 1000 * found.error_m
    both = np.abs(np.concatenate([error, 1000 * stamped.error_m if stamped is not None else error]))
    reach = max(float(np.percentile(both, 99)), 1e-3)
    bins = np.linspace(-reach, reach, 61)
    left.hist(error, bins, color=BLUE, label=f"this rig: RMSE {found.rmse_mm:.2f} mm, bias {found.bias_mm:+.2f} mm")
    if stamped is not None:
        left.hist(1000 * stamped.error_m, bins, histtype="step", color=ORANGE,
                  label=f"as if the stamps were right: RMSE {stamped.rmse_mm:.2f} mm")  # fmt: skip
    left.axvline(0, color="black", lw=0.8)
    left.set(xlabel="measured − true, mm", ylabel="pairs of corners")
    left.legend(fontsize=8, loc="upper left")
    left.margins(y=0.25)
    edges = np.quantile(found.true_m, np.linspace(0, 1, 9))
    at, size, bias = [], [], []
    for low, high in pairwise(np.unique(edges)):
        inside = (found.true_m >= low) & (found.true_m <= high)
        at.append(1000 * float(found.true_m[inside].mean()))
        size.append(float(np.sqrt((error[inside] ** 2).mean())))
        bias.append(float(error[inside].mean()))
    right.plot(at, size, "o-", color=BLUE, label="RMSE")
    right.plot(at, bias, "s--", color=ORANGE, label="bias")
    right.axhline(0, color="black", lw=0.8)
    right.set(xlabel="true distance, mm", ylabel="mm")
    right.legend(fontsize=8)
    caption = (
        f"Distances between {len(error)} pairs of corners of the board, triangulated by the rig, against what they are "
        "on the board. A bias that grows with the distance is a wrong scale: measure a square of the board again."
    )
    return Picture(png_of(figure), caption, "histogram of board distance errors in millimetres")


def draw_places(cameras: Sequence[CameraResult]) -> Picture:
    """How sure each camera's place is: its standard deviation, and how far the rigs of two halves put it apart."""
    caption = (
        "How well each place is known. The halves use half of the pictures each, so some 1.4 to 2 times σ is usual; "
        "much more means that σ does not tell all: a camera was touched, or the board bends."
    )
    values_by_label = {
        "1 σ of the adjustment": [1000 * c.position_sd_m for c in cameras],
        "between the rigs of two halves": [c.halves_mm for c in cameras],
    }
    return draw_bars([c.camera.name for c in cameras], values_by_label, caption)


def draw_bars(names: Sequence[str], values_by_label: Mapping[str, Sequence[float] | Float], caption: str) -> Picture:
    """Millimetres of every camera side by side; told: by what they are, (C,) each."""
    figure = _figure(max(5.0, 0.35 * len(names) * (1 + len(values_by_label)) + 3), 3.2)
    axes = figure.subplots()
    x, width = np.arange(len(names)), 0.8 / len(values_by_label)
    for i, (label, values_mm) in enumerate(values_by_label.items()):
        at = x + (i - (len(values_by_label) - 1) / 2) * width
        axes.bar(at, np.nan_to_num(np.asarray(values_mm)), width, color=(BLUE, ORANGE, GREY)[i % 3], label=label)
    axes.set_xticks(x, names, rotation=30 if len(names) > 6 else 0)
    axes.set_ylabel("mm")
    axes.margins(y=0.3)
    axes.legend(fontsize=8, loc="upper left")
    return Picture(png_of(figure), caption, "millimetres by camera: " + named(list(values_by_label)))


def _frustum(c: Camera, depth_m: float) -> Float:
    """(5, 3) the camera's centre and the corners of its view at a depth, in the world."""
    w, h = c.size_px
    K = np.asarray(c.K)
    px = np.array([[0, 0], [w, 0], [w, h], [0, h]])
    rays = np.concatenate([(px - K[:2, 2]) / np.diag(K)[:2], np.ones((4, 1))], axis=1) * depth_m
    return np.concatenate([[c.centre_world], rays @ c.R + c.centre_world])


def plan_axes(up: str) -> tuple[Plan, Plan, Plan]:
    """The world's axes as a drawing from above has them, looking down: to the right, up the page, and up.

    up: as ``Rig.up`` writes it. Each: its name with its sign, and (3,) the unit vector.
    """
    names = [n for n in "xyz" if n != up[-1]]
    right = np.eye(3)["xyz".index(names[0])]
    upward = np.eye(3)["xyz".index(up[-1])] * (-1.0 if up[0] == "-" else 1.0)
    page = np.cross(upward, right)
    return (names[0], right), (f"{'−' if page.sum() < 0 else ''}{names[1]}", page), (up.replace("-", "−"), upward)


def draw_rig(rig: Rig, links: Sequence[LinkResult] = (), sd_m: Float | None = None) -> Picture:
    """The rig from above and from the side, along the world's own axes. sd_m: (C,) drawn ten times enlarged."""
    centres = np.stack([c.centre_world for c in rig])
    right, page, height = plan_axes(rig.up)
    widest_m = float(np.linalg.norm(centres[:, None] - centres, axis=-1).max()) if len(rig) > 1 else 1.0
    span = np.ptp(np.concatenate([centres, np.zeros((1, 3))]) @ np.stack([right[1], page[1], height[1]]).T, axis=0)
    span += 0.4 * max(widest_m, 0.2)
    figure = _figure(13, float(np.clip(6.0 * max(span[1:]) / span[0], 3.0, 9.0)) + 0.9)
    drawings = zip(figure.subplots(1, 2), (page, height), ("from above", "from the side: height"), strict=True)
    u = right[1]
    for axes, (name, v), title in drawings:
        for link in links:
            if link.shared and {link.a, link.b} <= set(rig.names):
                ends = np.stack([rig[link.a].centre_world, rig[link.b].centre_world])
                axes.plot(ends @ u, ends @ v, "-" if link.used else ":", color=GREY, lw=1.5 if link.used else 0.8)
        for i, c in enumerate(rig):
            shape = _frustum(c, 0.12 * max(widest_m, 0.2))
            order = [1, 2, 3, 4, 1, 0, 2, 3, 0, 4]
            axes.plot(shape[order] @ u, shape[order] @ v, color=BLUE, lw=1.2)
            place = shape[0]
            axes.annotate(c.name, (place @ u, place @ v), xytext=(4, 4), textcoords="offset points", fontsize=9)
            if sd_m is not None and np.isfinite(sd_m[i]):
                t = np.linspace(0, 2 * np.pi, 60)
                axes.plot(place @ u + 10 * sd_m[i] * np.cos(t), place @ v + 10 * sd_m[i] * np.sin(t), color=ORANGE)
        axes.plot(0, 0, "+", color=RED, ms=12)
        axes.annotate("origin", (0, 0), xytext=(6, -12), textcoords="offset points", fontsize=8, color=RED)
        axes.set(aspect="equal", title=title, xlabel=f"{right[0]}, m", ylabel=f"{name}, m")
        axes.grid(alpha=0.3)
        axes.margins(0.12)
    rings = " Orange rings are ten times the standard deviation of a place." if sd_m is not None else ""
    lines = " Grey lines join cameras that saw the board at once; the rig was first put together by the solid ones."
    caption = f"The rig: the widest distance between two cameras is {widest_m:.2f} m.{lines if links else ''}{rings}"
    return Picture(png_of(figure), caption, "the rig from above and from the side")
