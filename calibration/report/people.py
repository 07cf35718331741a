"""The report of a rig from people, and of a rig that people refined."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kinecast.calibration.camera import Rig
from kinecast.calibration.people.from_scratch import RigFromPeople
from kinecast.calibration.people.refine import RigRefinement
from kinecast.calibration.report import figures
from kinecast.calibration.report.board import NO_PICTURES
from kinecast.calibration.report.page import Page, Picture, Section, Table

MODELS = {"places": "places", "clocks": "clocks only", "both": "places and clocks"}


def _mm(values: Any) -> list[str]:
    return [f"{1000 * float(v):.0f}" if np.isfinite(v) else "–" for v in values]


def refinement_page(done: RigRefinement, rig: Rig, name: str, pictures: bool = True) -> Page:
    """What people say of a rig. rig: the refined one, of the cameras of the study. name: of the supplied rig."""
    m = [done.models[k] for k in MODELS]
    residuals = [("all data", f"{done.before_px:.2f}", *(f"{x.whole.median_px:.2f}" for x in m))]
    for half, which in ((1, "second half, refined on the first"), (0, "first half, refined on the second")):
        residuals.append((which, f"{done.held_before_px[half]:.2f}", *(f"{x.held_px[half]:.2f}" for x in m)))
    parts: list[Table | Picture | str] = [
        Table(
            ("median residual px, of", "supplied rig", *MODELS.values()),
            tuple(residuals),
            "A lower residual is not a better rig: look at data that the refinement has not seen, and below.",
        )
    ]
    chosen = done.refined
    places = Table(
        ("camera", "from the supplied rig mm", "between rigs of the halves mm", "1 σ mm", "clock ms"),
        tuple(
            (n, *row, f"{1000 * t:+.1f} ± {1000 * s:.1f}" if np.isfinite(s) else "–")
            for n, *row, t, s in zip(
                done.cameras, _mm(chosen.change_m), _mm(chosen.halves_m), _mm(chosen.sigma_m),
                done.models["both"].whole.places.delta_s, done.models["both"].clock_sigma_s, strict=True,
            )
        ),
        f"Of the model with {MODELS[done.chosen]}; clocks of the one with places and clocks. A change that is not "
        "clearly larger than what the two halves differ by is not known.",
    )  # fmt: skip
    if pictures:
        values_by_label = {
            "from the supplied rig": 1000 * chosen.change_m,
            "between the halves": 1000 * chosen.halves_m,
            "1 σ": 1000 * chosen.sigma_m,
        }
        parts.append(
            figures.draw_bars(done.cameras, values_by_label, "Where cameras would go, and how well that is known.")
        )
    better = done.verdict == "better"
    return Page(
        f"{name}, refined from people",
        f"{len(done.cameras)} cameras; verdict: {done.verdict}",
        (done.advice,) if better else (),
        () if better else (done.advice,),
        (Section("Residuals", tuple(parts)), Section("Places", (places,)), *_drawn(rig, chosen.sigma_m, pictures)),
    )


def rig_from_people_page(answer: RigFromPeople, rig: Rig, names: Sequence[str], pictures: bool = True) -> Page:
    """A rig from people without a board. rig: of the cameras that are in it, named ``names``."""
    rows = []
    for k, name in enumerate(names):
        x, y, z = answer.places.centres[k]
        clock = f"{1000 * answer.places.delta_s[k]:+.1f}" if answer.found.clocks else "–"
        rows.append((name, f"{x:.3f}", f"{y:.3f}", f"{z:.3f}", *_mm([answer.sigma_m[k], answer.halves_m[k]]), clock))
    table = Table(
        ("camera", "x m", "y m", "z m", "1 σ mm", "between rigs of the halves mm", "clock ms"),
        tuple(rows),
        f"z is up. Metres by {answer.metres.source}: all lengths together may be wrong by "
        f"{100 * answer.metres.sigma:.1f} % (1 σ). World: {answer.ground.source}.",
    )
    bars: tuple[Picture, ...] = ()
    if pictures:
        values_by_label = {"1 σ": 1000 * answer.sigma_m, "between the halves": 1000 * answer.halves_m}
        bars = (figures.draw_bars(names, values_by_label, "How well each place is known, at one scale."),)
    good = answer.verdict == "good"
    return Page(
        "A rig from people",
        f"{len(names)} cameras, widest distance {answer.widest_m:.2f} m; verdict: {answer.verdict}",
        (*((answer.advice,) if good else ()), f"Median residual {answer.median_px:.2f} px."),
        (*(() if good else (answer.advice,)), *answer.warnings),
        (Section("Places", (table, *bars)), *_drawn(rig, answer.sigma_m, pictures)),
    )


def _drawn(rig: Rig, sigma_m: Any, pictures: bool) -> tuple[Section, ...]:
    picture = figures.draw_rig(rig, sd_m=np.asarray(sigma_m)) if pictures else NO_PICTURES
    return (Section("The rig", (picture,)),)
