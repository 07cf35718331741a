"""The report of a calibration by a board."""

import math
from pathlib import Path

import numpy as np

from kinecast.calibration.report import figures
from kinecast.calibration.report.page import Page, Picture, Section, Table
from kinecast.calibration.solve.result import Calibration, CameraResult
from kinecast.capture.atomic_write import atomic_write

NO_PICTURES = "The pictures of this page need matplotlib: pip install 'kinecast[plot]', and calibrate again."


def number(value: float, form: str = ".2f") -> str:
    """A number, or a dash where it is not known."""
    return format(value, form) if math.isfinite(value) else "–"


def write_report(result: Calibration, path: Path, name: str, numbers: str = "") -> None:
    """Write the page, whole. name: of the rig. numbers: the file that holds all numbers as JSON, to be named."""
    atomic_write(path, page_of(result, name, numbers, figures.available()).html())


def page_of(result: Calibration, name: str, numbers: str = "", pictures: bool = True) -> Page:
    """The page. pictures: draw them (matplotlib, some seconds)."""
    placed = result.rig is not None
    sections = [Section("Cameras", (_cameras(result), _lenses(result)))]
    if not pictures:
        sections.append(Section("Pictures", (NO_PICTURES,)))
    if placed:
        sections.insert(0, Section("The rig", _rig(result, pictures)))
    if result.lengths is not None:
        stamped = result.lengths_stamped if result.rival is not None else None
        drawn = (figures.draw_lengths(result.lengths, stamped),) if pictures else ()
        sections.insert(1, Section("The board, measured by the rig", (*drawn, _quality(result))))
    if pictures:
        sections.append(
            Section("Reprojection and coverage", tuple(figures.draw_camera(c) for c in result.cameras if len(c.px)))
        )
    if result.links:
        sections.append(Section("Which cameras saw the board together", (_links(result),)))
    what = "rig" if placed else "lenses"
    sets = f", {result.frame_sets} frame sets" if placed else ""
    return Page(
        f"Calibration of {name}",
        f"{what} of {len(result.cameras)} cameras by a {result.board}{sets}, {result.seconds:.0f} s",
        _headline(result, numbers),
        result.warnings,
        tuple(sections),
    )


def _headline(result: Calibration, numbers: str) -> tuple[str, ...]:
    out = [
        f"Half of all corners lie within {result.median_px:.2f} px of where the calibration puts them; the noise of "
        f"one coordinate is {number(result.scale_px)} px. A small residual alone does not make a calibration right."
    ]
    if result.lengths is not None:
        found = result.lengths
        out.append(
            f"Measured by this rig, lengths on the board are wrong by {found.rmse_mm:.2f} mm (RMSE over "
            f"{len(found.error_m)} pairs of corners), on average {found.bias_mm:+.2f} mm."
        )
    sds = [c.position_sd_m for c in result.cameras if math.isfinite(c.position_sd_m)]
    if sds:
        worst = max(result.cameras, key=lambda c: np.nan_to_num(c.position_sd_m))
        out.append(
            f"The places of the cameras are known within {1000 * min(sds):.1f} to {1000 * max(sds):.1f} mm (1 σ); "
            f"worst is {worst.camera.name}."
        )
    if numbers:
        out.append(f"All numbers of this page, and more: {numbers}")
    return tuple(out)


def _rig(result: Calibration, pictures: bool) -> tuple[Table | Picture | str, ...]:
    assert result.rig is not None
    rows = []
    for c in result.cameras:
        x, y, z = c.position_m
        late = f"{1000 * c.offset_s:+.1f} ± {1000 * c.offset_sd_s:.1f}" if math.isfinite(c.offset_sd_s) else "–"
        rows.append((c.camera.name, f"{x:.3f}", f"{y:.3f}", f"{z:.3f}", number(1000 * c.position_sd_m, ".1f"),
                     number(math.degrees(c.rotation_sd_rad), ".3f"), number(c.halves_mm, ".0f"), late))  # fmt: skip
    table = Table(
        ("camera", "x m", "y m", "z m", "± mm", "± °", "halves mm", "late ms"),
        tuple(rows),
        f"{result.rig.up} is up. ±: 1 σ of place and attitude relative to the whole rig. halves: how far rigs of "
        "either half of the pictures put the camera apart. late: how much later than its stamps the camera sees.",
    )
    if not pictures:
        return (table,)
    sd = np.array([c.position_sd_m for c in result.cameras])
    return figures.draw_rig(result.rig, result.links, sd), table, figures.draw_places(result.cameras)


def _cameras(result: Calibration) -> Table:
    rows = tuple(
        (c.camera.name, f"{c.views} of {c.looked}", str(c.used), str(len(c.px)), number(c.median_px), number(c.rms_px),
         number(c.held_out_px), f"{100 * float((c.coverage > 0).mean()):.0f}", str(int((c.tilt_deg > 20).sum())),
         number(c.edge_px, ".1f"), f"{100 * float((c.weight < 0.1).mean()) if len(c.weight) else 0:.1f}")
        for c in result.cameras
    )  # fmt: skip
    return Table(
        ("camera", "pictures with board", "used", "corners", "median px", "RMS px", "held out px", "covered %",
         "tilted > 20°", "edges px", "not fitting %"),
        rows,
        "held out: in pictures that the lens was not fitted to. covered: cells of the picture with a corner in them. "
        "edges: from black to white, 1–2 is sharp. not fitting: corners that the robust fit left nearly out.",
    )  # fmt: skip


def _lenses(result: Calibration) -> Table:
    names: list[str] = []
    for c in result.cameras:
        names += [p.name for p in c.parameters if p.name not in names and (p.value or math.isfinite(p.sd))]

    def cell(c: CameraResult, name: str) -> str:
        p = next((p for p in c.parameters if p.name == name), None)
        if p is None:
            return ""
        digits = 1 if name in ("fx", "fy", "cx", "cy") else 4
        return f"{p.value:.{digits}f}" + (f" ± {p.sd:.{digits}f}" if math.isfinite(p.sd) else "")

    rows = tuple((c.camera.name, c.lens, *(cell(c, n) for n in names)) for c in result.cameras)
    return Table(
        ("camera", "lens", *names),
        rows,
        "± 1 σ; a number without ± was not estimated. Focal lengths and centres in px. More coefficients are taken "
        "only where pictures that were left out of the fit are seen better by them.",
    )


def _quality(result: Calibration) -> Table:
    assert result.lengths is not None
    rows = []
    timed = result.rival is not None
    for name, median, found in (
        ("time offsets estimated" if timed else "this rig", result.median_px, result.lengths),
        ("the same rig, offsets ignored", math.nan, result.lengths_stamped if timed else None),
        ("rival: a rig without offsets", result.rival.median_px if result.rival else 0.0,
         result.rival.lengths if result.rival else None),
    ):  # fmt: skip
        if found is not None:
            rows.append((name, number(median, ".3f"), number(found.median_px, ".3f"), f"{found.rmse_mm:.3f}",
                         f"{found.bias_mm:+.3f}", f"{found.scale:.5f}"))  # fmt: skip
    return Table(
        ("", "median px, rigid board", "median px, corner by corner", "RMSE mm", "bias mm", "scale"), tuple(rows)
    )


def _links(result: Calibration) -> Table:
    rows = tuple(
        (f"{k.a} – {k.b}", str(k.shared), str(k.agree), "yes" if k.used else "")
        for k in sorted(result.links, key=lambda k: (-k.shared, k.a, k.b))
    )
    return Table(
        ("pair", "frame sets together", "of which agree", "put the rig together"),
        rows,
        "agree: on where the two cameras stand to each other. Few that agree: not synchronised, or a camera moved.",
    )
