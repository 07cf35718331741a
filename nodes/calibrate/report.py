"""Calibrations as tables on the terminal, and as files that carry their warnings."""

import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from kinecast.calibration.align import compare
from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import native
from kinecast.calibration.solve.result import Calibration, Lengths, to_json
from kinecast.capture.atomic_write import atomic_write

WARNING = "# warning:"  # how a line of warning begins at the head of a rig file


def _number(value: float, form: str = ".2f") -> str:
    return "–" if not math.isfinite(value) else format(value, form)


def save(result: Calibration, path: Path, rig: Rig) -> str:
    """Write the rig, its warnings as comments at its head, beside it numbers as JSON and the report; their names."""
    from kinecast.calibration.report import write_report

    head = "".join(f"{WARNING} {w}\n" for w in result.warnings)
    atomic_write(path, head + native.dumps(rig))
    beside = path.with_suffix(".calibration.json")
    atomic_write(beside, to_json(result))
    report = path.with_suffix(".report.html")
    write_report(result, report, rig.name, beside.name)
    return f"{beside}, drawn in {report}"


def show_cameras(result: Calibration, console: Console) -> None:
    """One line a camera."""
    table = Table(title=f"{len(result.cameras)} cameras, {result.board}")
    placed = result.rig is not None
    for column in ("camera", "pictures", "used", "lens", "focal px", "± px", "median px", "held out px", "covered %"):
        table.add_column(column, no_wrap=True)
    for column in ("place ± mm", "halves mm", "late ms") if placed else ("tilted > 20°",):
        table.add_column(column, no_wrap=True)
    for c in result.cameras:
        focal = c.parameters[0]
        row = [
            c.camera.name,
            f"{c.views} of {c.looked}",
            str(c.used),
            c.lens,
            f"{focal.value:.1f}",
            _number(focal.sd, ".1f"),
            _number(c.median_px),
            _number(c.held_out_px),
            f"{100 * float((c.coverage > 0).mean()):.0f}",
        ]
        if placed:
            late = f"{c.offset_s * 1000:+.0f} ± {c.offset_sd_s * 1000:.0f}" if math.isfinite(c.offset_sd_s) else "–"
            row += [_number(c.position_sd_m * 1000, ".1f"), _number(c.halves_mm, ".0f"), late]
        else:
            row.append(str(int((c.tilt_deg > 20).sum())))
        table.add_row(*row)
    console.print(table)


def _length_row(name: str, median_px: float, found: Lengths) -> tuple[str, ...]:
    return (
        name,
        _number(median_px, ".3f"),
        _number(found.median_px, ".3f"),
        _number(found.rmse_mm, ".3f"),
        f"{found.bias_mm:+.3f}",
        str(len(found.error_m)),
    )


def show_quality(result: Calibration, console: Console) -> None:
    """Reprojection and board distances, and the same of the rival without time offsets."""
    if result.lengths is None:
        return
    table = Table(
        "",
        "median px, rigid board",
        "median px, corner by corner",
        "board distances RMSE mm",
        "bias mm",
        "pairs",
        title="how well the pictures agree",
    )
    timed = result.rival is not None
    table.add_row(*_length_row("time offsets estimated" if timed else "this rig", result.median_px, result.lengths))
    if timed and result.rival is not None and result.lengths_stamped is not None:
        table.add_row(*_length_row("the same rig, offsets ignored", float("nan"), result.lengths_stamped))
        table.add_row(*_length_row("rival: rig without offsets", result.rival.median_px, result.rival.lengths))
    console.print(table)


def show_beside(rig: Rig, reference: Rig, console: Console, name: str = "the reference") -> None:
    """Places and angles beside another rig of the same cameras, after laying one over the other."""
    found, free = compare(reference, rig), compare(reference, rig, scaled=True)
    table = Table(
        "camera", "place apart mm", "turned °", "focal length %", title=f"beside {name}, laid over it rigidly"
    )
    for n, mm, deg, focal in zip(found.names, found.position_mm, found.angle_deg, found.focal_percent, strict=True):
        table.add_row(n, f"{mm:.1f}", f"{deg:.2f}", f"{focal:+.2f}")
    console.print(table)
    centres = np.stack([reference[n].centre_world for n in found.names])
    wide = float(np.linalg.norm(centres[:, None] - centres, axis=-1).max())
    console.print(
        f"median {np.median(found.position_mm):.1f} mm and {np.median(found.angle_deg):.2f}° apart, over cameras up to "
        f"{wide:.2f} m apart; with a free scale the factor is {free.scale:.4f}"
    )


def show_warnings(result: Calibration, console: Console) -> None:
    """Every warning, one a line."""
    for w in result.warnings:
        console.print(f"warning: {w}", style="yellow", highlight=False)
