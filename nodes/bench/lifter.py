"""The lifter per person-frame: one step with cached taps against the whole window, in one run, and a whole call."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from kinecast.engines.lift import LifterConfig
from kinecast.engines.lift.lifter import Lifter
from kinecast.engines.lift.rows import Rows
from kinecast.engines.lift.stream import F32, TrunkRows, fold_trunk, multiplications
from kinecast.engines.lift.weights import LifterFile, Tensors, shapes_of
from kinecast.nodes.bench import Row
from kinecast.nodes.supervise.node_process import ONE_THREAD

AIM = 40  # times less than the whole window
CHANNELS, BATCHES = (512, 1024), (1, 8)


def random_lifter(config: LifterConfig, seed: int = 0) -> LifterFile:
    """Weights without meaning: time does not depend on them."""
    rng = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name, shape in shapes_of(config).items():
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        tensors[name] = rng.normal(0, (2 / fan) ** 0.5 if fan > 1 else 0.1, shape).astype(np.float16).astype(np.float32)
        if name.endswith(("running_var", "bn.weight")):
            tensors[name] = np.abs(tensors[name]) + np.float32(0.5)
    return LifterFile(config, tensors, {}, "random")


def cpu_us(calls: dict[str, tuple[int, Callable[[], object]]], rounds: int = 7) -> dict[str, float]:
    """Median CPU time in µs of each call; they take turns, so that whatever else the machine does befalls all alike.

    calls: by name, how many to make in a turn, and the call. Everything here computes in the calling thread.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, (count, call) in calls.items():
            for _ in range(count):
                start = time.thread_time_ns()
                call()
                if number:  # the first turn warms up
                    times[name].append((time.thread_time_ns() - start) / 1e3)
    return {name: float(np.median(took)) for name, took in times.items()}


def run() -> list[Row]:
    """Steps, windows and their ratios at both sizes and batches; then whole calls of the default size.

    In a process of its own with one thread for every library, as nodes run: numpy reads that before it is imported.
    """
    command = [sys.executable, "-m", "kinecast.nodes.bench.lifter"]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, check=True)
    return [Row(**row) for row in json.loads(done.stdout)]


def measure() -> list[Row]:
    """:func:`run` in this process."""
    rows = []
    for channels in CHANNELS:
        config = LifterConfig(channels=channels, variance=False, trajectory_channels=0)
        step, window = multiplications(config)
        rows.append(Row(f"lifter {channels}: work, step of window", 100 * step / window, "%", 100 / AIM,
                        f"{window / step:.0f} × less multiplications"))  # fmt: skip
        for batch in BATCHES:
            rows += _against_window(config, batch)
    return rows + _calls()


def _against_window(config: LifterConfig, batch: int) -> list[Row]:
    """The pose trunk alone, keypoints in and joints out, both ways on the same frames."""
    name = f"lifter {config.channels}, {batch} {'row' if batch == 1 else 'rows'}:"
    file = random_lifter(config)
    frames = np.random.default_rng(1).normal(size=(batch, 243, config.joints * 3)).astype(np.float32)
    trunk = TrunkRows(fold_trunk(file.tensors, "pose", config))
    trunk.enter(frames[:, 0])
    calls: dict[str, tuple[int, Callable[[], object]]] = {"step": (30, lambda: trunk.head(trunk.advance(frames[:, 1])))}
    if importlib.util.find_spec("torch") is not None:
        calls |= {form: (1, call) for form, call in _windows(file, frames).items()}
    took = {form: us / batch for form, us in cpu_us(calls).items()}
    step = took.pop("step")
    rows = [Row(f"{name} step, numpy", step, "µs", None, "per person-frame")]
    for form, us in took.items():
        rows.append(Row(f"{name} {form}", us, "µs", None, "per person-frame"))
        aim = 100 / AIM if form == "whole window" else None
        rows.append(Row(f"{name} step of {form}", 100 * step / us, "%", aim, f"{us / step:.0f} × less time"))
    return rows


def _windows(file: LifterFile, frames: F32) -> dict[str, Callable[[], object]]:
    """The dense and the strided form over the 243 frames that one output needs, in torch with one thread."""
    import torch

    from kinecast.engines.lift.network import TemporalModel, TemporalModelOptimized1f

    torch.set_num_threads(1)
    c = file.config
    state = {k.removeprefix("pose."): torch.from_numpy(v) for k, v in file.tensors.items() if k.startswith("pose.")}
    x = torch.from_numpy(frames).unflatten(2, (c.joints, 3))
    calls: dict[str, Callable[[], object]] = {}
    for form, kind in (("whole window", TemporalModel), ("strided window", TemporalModelOptimized1f)):
        model = kind(c.joints, 3, c.joints, c.widths, True, channels=c.channels).eval()
        model.load_state_dict(state, strict=False)

        def call(model: torch.nn.Module = model) -> object:
            with torch.inference_mode():
                return model(x)

        calls[form] = call
    return calls


def _calls() -> list[Row]:
    """All that run time does for the views of a frame set: normalising, both trunks, heads, correction, places."""
    from kinecast.engines.lift.export import export_onnx
    from kinecast.engines.runtime import open_session

    file, rows = random_lifter(LifterConfig()), []
    rng = np.random.default_rng(2)
    with TemporaryDirectory() as folder:
        session = open_session(export_onnx(file, Path(folder) / "step.onnx"), "onnxruntime")
        for batch in BATCHES:
            keys = [(i, "camera") for i in range(batch)]
            xy, say = rng.normal(0, 0.1, (batch, 26, 2)), np.ones((batch, 26))
            focal = np.full((batch, 2), 1000.0)
            calls: dict[str, tuple[int, Callable[[], object]]] = {}
            for runtime, lifter in (("numpy", Lifter(file)), ("ONNX Runtime", Lifter(file, session=session))):
                calls[f"a whole call, {runtime}"] = (20, partial(_call, lifter, _clock(), keys, xy, say, focal))
            features, context = np.zeros((batch, 26, 3), np.float32), np.zeros((batch, 5), np.float32)
            steps = Rows(file)
            steps.enter(features, context)
            calls["network and heads, numpy"] = (20, partial(steps.step, features, context))
            for what, us in cpu_us(calls).items():
                rows.append(Row(f"lifter, {batch} {'row' if batch == 1 else 'rows'}: {what}", us / 1e3, "ms"))
    return rows


def _call(lifter: Lifter, clock: Iterator[int], *seen: Any) -> None:
    lifter.step(next(clock), *seen)


def _clock() -> Iterator[int]:
    """Times of frame sets at the lifter's own rate, in ns."""
    return iter(range(0, 10**15, round(1e9 / 30)))


if __name__ == "__main__":
    print(json.dumps([asdict(row) for row in measure()]))
