"""npz and CSV: the same rows, for programs and for people."""

import csv
import io
from pathlib import Path
from typing import Literal

import numpy as np

from kinecast.capture.atomic_write import atomic_path
from kinecast.nodes.exchange.export.person_series import ExportedPeople

Layout = Literal["long", "wide"]


def write_npz(people: ExportedPeople, path: Path) -> list[Path]:
    """One row a person-frame: ``t_capture_ns`` (N,), ``person_id`` (N,), ``points_world_m`` (N, J, 3), ``confidence``
    (N, J), ``residual_px`` (N, J), ``derived`` (N, J), ``set_index`` (N,); ``joints`` (J,) and ``skeleton`` name the
    joints, ``up`` the axis of the world that points up, ``sets_ns`` (S,) the time of every frame set, ``filtered``
    what was done to the points (``causal``, ``smoothed``, or nothing). Metres.
    """
    with atomic_path(path, overwrite=True) as file:
        np.savez_compressed(
            file,
            t_capture_ns=people.t_capture_ns,
            person_id=people.person_id,
            points_world_m=people.points_world_m,
            confidence=people.confidence,
            residual_px=people.residual_px,
            derived=people.derived,
            set_index=people.set_index,
            sets_ns=people.sets_ns,
            joints=np.array(people.skeleton.joints),
            skeleton=np.array(people.skeleton.name),
            units=np.array("m"),
            up=np.array(people.up),
            filtered=np.array(people.filtered),
        )
    return [path]


def _number(value: float, digits: int) -> str:
    return "" if not np.isfinite(value) else f"{value:.{digits}f}"


def write_csv(people: ExportedPeople, path: Path, layout: Layout = "long") -> list[Path]:
    """``long``: a row a joint; ``wide``: a row a person-frame. Metres to 0.01 mm; what is missing is an empty field."""
    with atomic_path(path, overwrite=True) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        rows = csv.writer(text, lineterminator="\n")
        joints = people.skeleton.joints
        if layout == "long":
            rows.writerow("t_capture_ns person_id joint x_m y_m z_m confidence residual_px derived".split())
        else:
            rows.writerow(
                [
                    "t_capture_ns",
                    "person_id",
                    *(f"{j}_{c}" for j in joints for c in ("x_m", "y_m", "z_m", "confidence")),
                ]
            )
        for n in range(len(people.person_id)):
            head = [int(people.t_capture_ns[n]), int(people.person_id[n])]
            cells: list[str] = []
            for j, joint in enumerate(joints):
                xyz = [_number(v, 5) for v in people.points_world_m[n, j].tolist()]
                confidence = _number(float(people.confidence[n, j]), 3)
                if layout == "wide":
                    cells += [*xyz, confidence]
                    continue
                residual = _number(float(people.residual_px[n, j]), 2)
                rows.writerow([*head, joint, *xyz, confidence, residual, int(people.derived[n, j])])
            if layout == "wide":
                rows.writerow([*head, *cells])
        text.detach()
    return [path]
