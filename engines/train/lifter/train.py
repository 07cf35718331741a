"""Train a lifter, from top to bottom: data, network, losses, loop, checkpoints, weights.

    kinecast train lifter FOLDER -o OUT                                            one process, CPU or GPU
    torchrun --nproc-per-node 4 -m nodes train lifter FOLDER -o OUT                several, or several machines

A step is a function of (seed, step, rank): its batch and its dropout are drawn anew from these three, so a run that is
taken up from a checkpoint gives the numbers that it would have given. OUT gets ``last.pt`` (to go on),
``lifter.safetensors`` (to use; float16), ``config.json`` and TensorBoard's events.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.checkpoint import load_network
from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.lift.weights import read_lifter, write_lifter
from kinecast.engines.train.distributed import ProcessGroup, join_process_group
from kinecast.engines.train.lifter.checkpoint import load_checkpoint, save_checkpoint
from kinecast.engines.train.lifter.config import TrainConfig
from kinecast.engines.train.lifter.data import Data, Inputs, Tensors
from kinecast.engines.train.lifter.early_stopping import ADVICE, EarlyStopping, NoImprovement
from kinecast.engines.train.lifter.initialise import initialise_small, load_initial
from kinecast.engines.train.lifter.losses import PARTS, Objective
from kinecast.engines.train.lifter.sigma_calibration import calibrate_sigma
from kinecast.engines.train.lifter.training_log import training_log
from kinecast.engines.train.lifter.validate import validate
from kinecast.engines.train.lifter.weight_interpolation import interpolate_weights

LAST, BEST, WEIGHTS = "last.pt", "best.pt", "lifter.safetensors"
QUICK_BATCHES = 2  # of held-out data while a run goes on; the figures of the weights are of ``config.eval_batches``


def train(
    config: TrainConfig,
    inputs: Inputs,
    out: Path,
    *,
    initial: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    about: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Path:
    """Train on the inputs, without what they hold out; the path of the weights, once all steps are done.

    initial: weights to begin with, of the same architecture. resume: go on from ``out/last.pt``, whose config then
    rules. about: further metadata of the weights (sources, licence). Raises KinecastError where a gradient is no
    number; the last checkpoint stays as it was.
    """
    group = join_process_group(device)
    checkpoint = _earlier(out, resume)
    if checkpoint is not None:
        config = TrainConfig.from_json(checkpoint["config"])
    data = Data.of(config, inputs)
    run = Run.begin(config, out, group, device, initial)
    if checkpoint is not None:
        run.load(checkpoint)
    if group.rank == 0 and run.stopping.patience and not run.stopping.first:
        run.stopping.update(0, evaluate(run, data))
    is_over = group.broadcast(run.stopping.is_over(run.first))
    with training_log(out, config.steps, group.rank, quiet) as log:
        for step in range(run.first, run.first if is_over else config.steps):
            parts = train_step(run, step, *data.batch(step, group.rank, device))
            log.losses(step, parts, parts[0] / max(config.weights.pose, 1e-9) * 1e3, learning_rate(config, step))
            done = step + 1
            if done % config.eval_every == 0 or done == config.steps:
                if group.rank == 0:
                    log.validation(done, checkpoint_and_evaluate(run, data, done))
                    log.poses(done, run.network, data.validation, device)
                if run.stopping.patience and group.broadcast(run.stopping.is_over(done)):
                    break
    return finish(run, data, about or {})


@dataclass(slots=True, eq=False)
class Run:
    """What changes while a run goes on, and where it is kept. objective: of the network, shared by the processes.

    first: step that it begins with. spent_s: before that.
    """

    config: TrainConfig
    out: Path
    group: ProcessGroup
    device: str
    initial: Path | None
    network: LifterNetwork
    objective: Any
    optimiser: torch.optim.Optimizer
    stopping: EarlyStopping
    first: int = 0
    spent_s: float = 0.0
    started_s: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(cls, config: TrainConfig, out: Path, group: ProcessGroup, device: str, initial: Path | None) -> "Run":
        """A new one; KinecastError where ``initial`` is of another architecture."""
        torch.manual_seed(config.seed)
        network = LifterNetwork(config.lifter).to(device)
        if initial is None:
            initialise_small(network)
        else:
            load_initial(network, initial)
        objective: Any = Objective(network, config.weights).to(device)
        if group.size > 1:
            objective = DistributedDataParallel(objective, find_unused_parameters=True)
        optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.decay)
        stopping = EarlyStopping(config.patience, config.min_improvement)
        return cls(config, out, group, device, initial, network, objective, optimiser, stopping)

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(checkpoint["network"])
        self.optimiser.load_state_dict(checkpoint["optimiser"])
        self.first, self.spent_s = checkpoint["step"], checkpoint["spent_s"]
        self.stopping.load_state_dict(checkpoint.get("stopping", {}))

    def save(self, name: str, step: int) -> None:
        """A checkpoint after ``step`` steps."""
        stopping = self.stopping.state_dict() if self.stopping.patience else None
        path = self.out / name
        save_checkpoint(path, self.config, self.network, self.optimiser, step, self.seconds(), stopping)

    def seconds(self) -> float:
        """Spent so far, with what was before a resume."""
        return self.spent_s + time.monotonic() - self.started_s


def _earlier(out: Path, resume: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from; KinecastError where there is none, or one that is not to be gone on from."""
    out.mkdir(parents=True, exist_ok=True)
    last = out / LAST
    if last.exists() and not resume:
        raise KinecastError(f"{last} is there: go on with --resume, or write elsewhere")
    return load_checkpoint(last) if resume else None


def learning_rate(config: TrainConfig, step: int) -> float:
    """Up in a straight line, then down as a cosine."""
    warm_up = min(1.0, (step + 1) / max(config.warm_up, 1))
    cosine = (1 + math.cos(math.pi * step / max(config.steps, 1))) / 2
    return warm_up * (config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine)


def train_step(run: Run, step: int, batch: Tensors, unlabelled: Tensors | None) -> list[float]:
    """One step of the optimiser; the weighed losses, by ``PARTS``. KinecastError where a gradient is no number."""
    run.network.train()
    for weights in run.optimiser.param_groups:
        weights["lr"] = learning_rate(run.config, step)
    for model in (run.network.pose, run.network.trajectory):
        if model is not None:  # VideoPose3D: from 0.1 to 0.001
            model.set_bn_momentum(0.1 * 0.01 ** (step / max(run.config.steps, 1)))
    torch.manual_seed(hash((run.config.seed, step, run.group.rank)) % 2**63)
    parts = run.objective(batch, unlabelled, run.config.bf16)
    run.optimiser.zero_grad(set_to_none=True)
    parts.sum().backward()
    norm = float(torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0))
    values: list[float] = parts.tolist()
    if not math.isfinite(norm):  # the same on every machine, for gradients are shared
        raise _no_number(run, step, values)
    run.optimiser.step()
    return values


def _no_number(run: Run, step: int, parts: list[float]) -> KinecastError:
    culprits = [name for name, value in zip(PARTS, parts, strict=True) if not math.isfinite(value)]
    last = run.out / LAST
    kept = f"; {last} is still sound" if last.exists() else ""
    return KinecastError(
        f"no number at step {step} ({', '.join(culprits) or 'gradient'}): "
        f"lower the rate in a new run, or look at the data{kept}"
    )


def evaluate(run: Run, data: Data) -> dict[str, dict[str, float]]:
    """Errors on held-out data, a quick look, by source."""
    batches = min(QUICK_BATCHES, run.config.eval_batches)
    return {n: validate(run.network, s, batches=batches, device=run.device) for n, s in data.validation.items()}


def checkpoint_and_evaluate(run: Run, data: Data, done: int) -> dict[str, dict[str, float]]:
    """Keep what ``done`` steps came to, and what it errs on held-out data, which the best checkpoint is chosen by."""
    if not run.stopping.patience:
        run.save(LAST, done)
        return evaluate(run, data)
    figures = evaluate(run, data)
    if run.stopping.update(done, figures):
        run.save(BEST, done)
    run.save(LAST, done)
    return figures


def finish(run: Run, data: Data, about: Mapping[str, Any]) -> Path:
    """Write weights that can be used, with all that should be known of them. NoImprovement where no step was better."""
    weights = run.out / WEIGHTS
    if run.stopping.patience and run.group.broadcast(run.stopping.best_step == 0):
        raise NoImprovement(
            f"{run.out}: nothing was learnt: no step was better on held-out data than the start; {ADVICE}"
        )
    if run.group.rank == 0:
        _write(weights, run, data, about)
        atomic_write(run.out / "config.json", run.config.to_json())
    run.group.destroy()
    return weights


def _write(path: Path, run: Run, data: Data, about: Mapping[str, Any]) -> None:
    """Of the best step, where a run ends by patience, drawn toward the weights that it began with; calibrated."""
    network, config, device = run.network, run.config, run.device
    hours = round(run.seconds() / 3600, 3)
    training = asdict(config) | {"hours": hours, "torch": torch.__version__.split("+")[0]}
    sources = dict(about) | dict(data.about)
    sigma: dict[str, Any] = {}
    figures: dict[str, float] = {}
    if run.initial is not None:
        base = read_lifter(run.initial)
        sources["base"], sigma = base.name, dict(base.meta["sigma"])  # what is not measured anew stays
    if run.stopping.patience:
        network.load_state_dict(load_checkpoint(run.out / BEST)["network"])
        training["best_step"] = run.stopping.best_step
        if run.initial is not None:
            start = load_network(run.initial).state_dict()
            training["share_of_what_was_learnt"] = interpolate_weights(network, start, data.validation, device)
    if (held_out := data.all_validation) is not None:
        sigma |= calibrate_sigma(network, held_out, batches=config.eval_batches, device=device)
        figures = validate(network, held_out, batches=config.eval_batches, device=device, first=1000)
    state = {k: v.cpu() for k, v in network.state_dict().items()}
    write_lifter(path, state, config.lifter, training=training, data=sources, figures=figures, sigma=sigma)
