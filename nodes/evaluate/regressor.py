"""``kinecast evaluate regressor FOLDER``: the rows of the SPIN loop, on synthetic people and on real ones.

Of recordings (``--datasets``) the truth is the fit to all views, pseudo ground truth, of sessions kept for tests.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from kinecast.calibration.formats import load_rig
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.regressor import PATH, Regressor, read_regressor
from kinecast.engines.skeleton import direct_index, skeleton
from kinecast.engines.train.data.detector_noise import FITTED, load_noise, other_detector
from kinecast.engines.train.data.synthetic_batches import HALPE, Augment, MotionClips
from kinecast.engines.train.regressor.recorded import y_up
from kinecast.engines.train.regressor.synthetic import JOINTS, PLAIN, Scenes, scenes, seen, split
from kinecast.nodes.evaluate import report
from kinecast.nodes.evaluate.cells import millimetres, percent
from kinecast.nodes.evaluate.ground_truth import shelf
from kinecast.nodes.exchange.openpose import find_folders, load_folder
from kinecast.nodes.train.inputs import clips_of
from kinecast.nodes.train.libraries import training_libraries

Float = NDArray[np.float64]

SCENES, FRAMES, VIEWS, SEED = 60, 10, 4, 1234
FAR_PX = 60.0  # of a detection from the truth's projection, mean over the limbs: further away it is somebody else
FEWEST = 10  # people, for an interval
STRIDE = 2  # frames of Shelf's 25 a second between two of a window
MODES = ("one view", "all views")
RECORDED = 60  # scenes of test sessions, drawn
PSEUDO = "recorded, test sessions (beside pseudo ground truth: the fit to all views, no truth)"


def measure(
    files: Sequence[str],
    motion: Sequence[Path],
    held_out: Path | None,
    noise: Path | None,
    real: Path | None,
    datasets: Sequence[Path] = (),
) -> dict[str, Any]:
    """All rows; KinecastError where a file is no regressor, or nothing of the motion was held out.

    files: weights, ``default`` for the shipped ones; how a live fit begins is told of the last. real: the folder of
    Shelf, or None. datasets: of whose sessions for tests up to ``RECORDED`` scenes are asked.
    """
    with training_libraries():
        import torch
    torch.set_num_threads(1)
    paths = [PATH if name == "default" else Path(name) for name in files]
    names = [p.stem if [q.stem for q in paths].count(p.stem) == 1 else str(p) for p in paths]
    regressors = {name: read_regressor(path) for name, path in zip(names, paths, strict=True)}
    sets = {"synthetic": [synthetic(*clips_of(motion, held_out), noise)]} if motion else {}
    if datasets:
        sets[PSEUDO] = recorded_people(datasets)
    if not sets and real is None:
        raise KinecastError("nobody to ask: give a folder of motion, --datasets or --shelf")
    if real is not None:
        sets["shelf"] = shelf_people(real)
    return examined(sets, regressors)


def recorded_people(datasets: Sequence[Path]) -> list[Scenes]:
    """Scenes of sessions that are kept for tests, with the fit to all views for truth; KinecastError without any."""
    from kinecast.engines.train.regressor.recorded import recorded

    found = recorded(datasets, "test", FRAMES, RECORDED, SEED)
    if found is None:
        raise KinecastError(
            f"{', '.join(map(str, datasets))}: no session is kept for tests: build with more, or a higher --test"
        )
    return [s for group in found.draw(0, truth=True) for s in group.people()]


def synthetic(clips: Sequence[Any], held: Sequence[Any], noise: Path | None = None) -> Scenes:
    """People in classes of motion that nobody learnt from, another detector's noise, four views each."""
    _, apart = split(clips, held)
    if not apart:
        raise KinecastError("no class of this motion is held out whole: nothing that the regressor has not seen")
    detector = other_detector(load_noise(noise or FITTED))
    return scenes(MotionClips(apart, Augment(arms=0.0, upright=1.0)), detector, SCENES, FRAMES, VIEWS, SEED)


def examined(sets: dict[str, list[Scenes]], regressors: dict[str, Regressor]) -> dict[str, Any]:
    """The rows of every set, and what learning from all views' fits gains over one view's."""
    from kinecast.engines.train.regressor.benchmark import Benchmark, benchmark_rows, paired_gain
    from kinecast.engines.train.regressor.optimiser import Optimiser

    optimiser = Optimiser()
    out: dict[str, Any] = {}
    for name, people in sets.items():
        exam = Benchmark(people, optimiser)
        found = benchmark_rows(exam, regressors)
        told: dict[str, Any] = {
            "people": sum(len(s.P) for s in people) if len(people) == 1 else len({s.action for s in people}),
            "rows": {row: {mode: errors.row for mode, errors in each.items()} for row, each in found.items()},
        }
        last = list(regressors)[-1]
        told["begin"] = {
            f"first frame, {label}{last}": {m: e.row for m, e in exam.live_start(regressors[last], ring).items()}
            for label, ring in (("16 starts and ", True), ("", False))
        }
        if {"one-view", "all-views"} <= set(regressors):
            told["gain"] = {
                mode: paired_gain(found["one-view: regressor alone"][mode], found["all-views: regressor alone"][mode])
                for mode in MODES
            }
        out[name] = told
    return out


def shelf_people(folder: Path) -> list[Scenes]:
    """Shelf's scored people, each as scenes of every second frame; who is who in a view is told by the truth."""
    truth = shelf.read(folder, 0.1)
    rig = load_rig(folder / "calibration.json")
    turn = y_up(rig.up_world)
    P = np.stack([c.P_normalised for c in rig])
    P[..., :3] = P[..., :3] @ turn.T
    numbers = range(min(truth.frames), max(truth.frames) + 1)
    folders = find_folders(folder / "openpose", rig.names)
    views = [load_folder(f, rig[f.camera], numbers) for f in folders]
    from_halpe = PLAIN.copy()
    from_halpe[JOINTS.index("neck")] = 0.0
    for joint, weight in truth.implied["neck"][0]:
        from_halpe[JOINTS.index("neck"), HALPE.index(joint)] += weight
    out = []
    for person in truth.scored:
        there = [n for n in numbers if person in truth.frames.get(n, {})]
        for phase in range(STRIDE):
            frames = list(range(there[0] + phase, there[-1] + 1, STRIDE)) if there else []
            if not frames:
                continue
            points = np.stack([truth.frames.get(n, {}).get(person, np.full((15, 3), np.nan)) for n in frames])
            xy, say = np.zeros((len(frames), len(rig), 26, 2)), np.zeros((len(frames), len(rig), 26))
            for c, (camera, view) in enumerate(zip(rig, views, strict=True)):
                for i, n in enumerate(frames):
                    found = _theirs(camera, view.people[n], view.skeleton, truth.frames.get(n, {}), person)
                    if found is not None:
                        xy[i, c], say[i, c] = camera.undistort(found[:, :2]), found[:, 2]
            out.append(
                seen(
                    P[None], xy[None], say[None], points=(points @ turn.T)[None], action=(f"person {person}",),
                    R=np.full((1, len(frames), 24, 3, 3), np.nan), from_halpe=from_halpe,
                )
            )  # fmt: skip
    if not out:
        raise KinecastError(f"{folder}: none of the scored people {truth.scored} is annotated")
    return out


def _theirs(camera: Any, people: Any, name: str, truth: Any, person: int) -> Float | None:
    """(26, 3) x, y px and confidence of that person's detection, or None."""
    if person not in truth or not len(people):
        return None
    index = direct_index(name, "halpe26")
    limbs = [j for j in JOINTS if j.split("_")[0] in ("left", "right")]
    ours = [skeleton(name).joints.index(j) for j in limbs]
    who = sorted(truth)
    cost = np.full((len(who), len(people)), 1e6)
    for a, p in enumerate(who):
        at, _ = camera.project(truth[p][[JOINTS.index(j) for j in limbs]])
        for b, detection in enumerate(people):
            off = np.linalg.norm(detection[ours, :2] - at, axis=-1)[detection[ours, 2] > 0]
            off = off[np.isfinite(off)]
            if len(off) >= 4:
                cost[a, b] = off.mean()
    row, column = linear_sum_assignment(cost)
    for a, b in zip(row, column, strict=True):
        if who[a] == person and cost[a, b] < FAR_PX:
            found = np.where((index >= 0)[:, None], people[b][index], 0.0).astype(np.float64)
            found[:, 2] = np.clip(found[:, 2], 0.0, 1.0)
            return found
    return None


def show(told: dict[str, Any], console: Console) -> None:
    """One table a set of people, and the gain."""
    for name, part in told.items():
        n = next(iter(part["rows"].values()))
        frames = ", ".join(f"{int(n[m]['n'])} frames of {m}" for m in MODES)
        title = f"{name}: {part['people']} people; {frames}"
        table = Table(title=title, title_justify="left")
        table.add_column("15 joints, root-relative, mm")
        for mode in MODES:
            for column in (f"{mode}: MPJPE", "P-MPJPE", "turned"):
                table.add_column(column, justify="right")
        each = dict(part["rows"])
        each |= part["begin"]
        for row, modes in each.items():
            cells = [c for m in MODES for c in _cells(modes[m])]
            table.add_row(row, *cells)
        console.print(table)
        for mode, gains in part.get("gain", {}).items():
            print_gain(console, mode, gains, part["people"])


def print_gain(console: Console, mode: str, gains: dict[str, tuple[float, float, float]], people: int) -> None:
    """What learning from all views' fits takes off the error; with 95 % intervals where there are people enough."""
    console.print(f"learning from all views' fits instead of one view's, regressor alone, {mode}:")
    for key, name in (("mpjpe_m", "MPJPE"), ("p_mpjpe_m", "P-MPJPE")):
        less, low, high = (1e3 * v for v in gains[key])
        sure = f" ({-high:+.1f} … {-low:+.1f}, 95 % over people)" if people >= FEWEST else ""
        console.print(f"  {name} {-less:+.1f} mm{sure}")


def _cells(row: dict[str, float]) -> tuple[str, str, str]:
    return millimetres(row["mpjpe_m"], ""), millimetres(row["p_mpjpe_m"], ""), percent(row["turned"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which regressors, on whom."""
    parser.add_argument("motion", type=Path, nargs="?", metavar="FOLDER", help="of .bvh, .asf with .amc, or archives")
    parser.add_argument(
        "--weights", nargs="+", default=["default"], metavar="FILE", help="of regressors; default: the shipped one"
    )
    parser.add_argument("--shelf", type=Path, metavar="DIR", help="also on the people of this data set")
    parser.add_argument(
        "--datasets", type=Path, nargs="+", default=[], metavar="DIR",
        help="also, or instead of motion, the test sessions of these, against the fit to all views",
    )  # fmt: skip
    parser.add_argument("--held-out", type=Path, metavar="TOML", help="which clips; default: our list")
    parser.add_argument("--noise", type=Path, metavar="TOML", help="the detector's; default: as in training")
    report.add_outputs(parser)


def run(args: argparse.Namespace) -> int:
    """Regressors, the optimiser begun there, one view and all, on people that none was trained on."""
    report.check_outputs(args)
    motion = [args.motion] if args.motion is not None else []
    told = measure(args.weights, motion, args.held_out, args.noise, args.shelf, args.datasets)
    report.emit(args, told, partial(show, told), width=150)
    return 0
