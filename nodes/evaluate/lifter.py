"""``kinecast evaluate lifter FOLDER …``: lifters on motion that none was trained on, one view, a detector's noise."""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.lift.lifter import Lifter, find_lifter
from kinecast.engines.lift.weights import LifterFile, read_lifter
from kinecast.engines.train.data.detector_noise import FITTED, load_noise
from kinecast.engines.train.data.heldout_clips import HeldoutClip, heldout_clips
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.nodes.evaluate import report
from kinecast.nodes.evaluate.cells import millimetres, percent
from kinecast.nodes.train.inputs import clips_of
from kinecast.nodes.train.libraries import training_libraries


def measure(
    files: Sequence[Path], motion: Sequence[Path], held_out: Path | None, noise: Path | None, views: int = 2
) -> dict[str, Any]:
    """Figures by lifter; KinecastError where a file is no lifter or there is no motion that was held out."""
    with training_libraries():
        import torch

        from kinecast.engines.lift.network import LifterNetwork
        from kinecast.engines.train.lifter.benchmark import ClipPredictions
        from kinecast.engines.train.lifter.validate import lift_batch

    torch.set_num_threads(1)
    read = [read_lifter(path, "halpe26") for path in files]
    _, held = clips_of(motion, held_out)
    if not held:
        raise KinecastError("none of these clips is held out: --held-out names a list of patterns of theirs")
    model = load_noise(noise or FITTED)
    asked: dict[float, list[HeldoutClip]] = {}
    out: dict[str, Any] = {}
    for path, file in zip(files, read, strict=True):
        network = LifterNetwork(file.config)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in file.tensors.items()}, strict=False)
        rate_hz = file.config.rate_hz
        if rate_hz not in asked:
            asked[rate_hz] = list(heldout_clips(held, model, CameraRanges(), rate_hz, views))
        answers = ClipPredictions(rate_hz)
        for question in asked[rate_hz]:
            answers.add(question, lift_batch(network, question.batch))
        told = answers.report(file.meta.get("sigma", {}))
        told |= {"file": file.name, "parameters": sum(p.numel() for p in network.parameters())}
        told |= {"latency_ms": _latency(file, network), "training": file.meta.get("training", {})}
        out[_label(file.config, path, out)] = told
    return {"clips": len(held), "views": views, "noise": model.source, "lifters": out}


def _label(config: LifterConfig, path: Path, taken: dict[str, Any]) -> str:
    field = config.receptive_field
    label = "single frame" if field == 1 else f"{'causal' if config.causal else 'symmetric'} {field}"
    label += f", {config.channels} channels"
    return label if label not in taken else f"{label}, {path.parent.name}"


def _latency(file: LifterFile, network: Any, frames: int = 60) -> float:
    """Median ms for one person and view and frame: as it runs live, or the whole window where it looks ahead."""
    import torch

    c = file.config
    rng = np.random.default_rng(0)
    xy, confidence = rng.normal(0, 0.1, (1, c.joints, 2)), np.ones((1, c.joints))
    spent = []
    if c.causal:
        lifter = Lifter(file, depth="k")  # which way to depth makes no difference to the time
        for i in range(frames):
            begin = time.perf_counter()
            lifter.step(round(i * 1e9 / c.rate_hz), [(0, "a")], xy, confidence, np.full((1, 2), 1500.0))
            spent.append(time.perf_counter() - begin)
    else:
        network.eval()
        window = torch.zeros(1, c.receptive_field, c.joints, 3), torch.zeros(1, c.receptive_field, 5)
        with torch.no_grad():
            for _ in range(10):
                begin = time.perf_counter()
                network(*window)
                spent.append(time.perf_counter() - begin)
    return float(np.median(spent) * 1e3)


def show(told: dict[str, Any], console: Console) -> None:
    """The tables: poses, places in the room, by age, by pose, by action, σ."""
    lifters = told["lifters"]
    console.print(
        f"{told['clips']} held-out clips, {told['views']} cameras each, one at a time; noise: {told['noise']}"
    )
    _table(
        console, "root-relative, mm",
        ["lifter", "MPJPE", "uncorrected", "P-MPJPE", "N-MPJPE", "velocity mm/s", "3DPCK", "AUC", "parameters", "ms"],
        [
            [n, _mm(r["mpjpe_m"]), _mm(r["mpjpe_uncorrected_m"]), _mm(r["p_mpjpe_m"]), _mm(r["n_mpjpe_m"]),
             f"{r['velocity_m_s'] * 1e3:.0f}", percent(r["pck_150"]), percent(r["auc"]),
             f"{r['parameters'] / 1e6:.2f} M", f"{r['latency_ms']:.2f}"]
            for n, r in lifters.items()
        ],
    )  # fmt: skip
    _table(
        console, "where in the room",
        ["lifter", "depth by", "MRPE mm", "median mm", "depth %", "absolute MPJPE mm", "3DPCK_abs", "AP_root 25 cm"],
        [
            [n, d, _mm(p["mrpe_m"]), _mm(p["median_root_m"]), percent(p["depth_share"]), _mm(p["mpjpe_abs_m"]),
             percent(p["pck_abs_150"]), percent(p["ap_root_25cm"])]
            for n, r in lifters.items() for d, p in r["root"].items()
        ],
    )  # fmt: skip
    for title, key in (("MPJPE by age of the track, frames", "by_age"), ("MPJPE by pose", "by_pose")):
        columns = list(next(iter(lifters.values()))[key])
        rows = [[n, *(_mm(r[key].get(c)) for c in columns)] for n, r in lifters.items()]
        _table(console, title, ["lifter", *columns], rows)
    actions = sorted({a for r in lifters.values() for a in r["by_action"]})
    rows = [[a, *(_mm(r["by_action"].get(a)) for r in lifters.values())] for a in actions]
    _table(console, "MPJPE by action", ["action", *lifters], rows)
    rows = [[n, what, *(percent(v) for v in shares)] for n, r in lifters.items()
            for what, shares in r.get("inside_sigma", {}).items()]  # fmt: skip
    _table(console, "errors inside 1, 2, 3 σ, an axis at a time", ["lifter", "of", "1 σ", "2 σ", "3 σ"], rows)


def _table(console: Console, title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _mm(metres: float | None) -> str:
    return millimetres(metres, "")  # the heading says the unit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which lifters, on which motion."""
    parser.add_argument("motion", type=Path, nargs="+", metavar="FOLDER", help="of .bvh, .asf with .amc, or archives")
    parser.add_argument(
        "--weights", nargs="+", default=["default"], metavar="FILE", help="names or files of lifters; default: active"
    )
    parser.add_argument("--held-out", type=Path, metavar="TOML", help="which clips; default: our list")
    parser.add_argument("--noise", type=Path, metavar="TOML", help="the detector's; default: as in training")
    report.add_outputs(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print. Raises KinecastError."""
    report.check_outputs(args)
    told = measure([find_lifter(w) for w in args.weights], args.motion, args.held_out, args.noise)
    report.emit(args, told, partial(show, told), width=140)
    return 0
