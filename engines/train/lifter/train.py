"""Train a lifter, from top to bottom: data, network, losses, loop, checkpoints, weights.

    kinecast train lifter FOLDER -o OUT                                            one process, CPU or GPU
    torchrun --nproc-per-node 4 -m nodes train lifter FOLDER -o OUT                several, or several machines

A step is a function of (seed, step, rank): its batch and its dropout are drawn anew from these three, so a run that is
taken up from a checkpoint gives the numbers that it would have given. OUT gets ``last.pt`` (to go on),
``lifter.safetensors`` (to use; float16), ``config.json`` and TensorBoard's events.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.tensorboard import SummaryWriter

from kinecast.capture.atomic_write import atomic_path, atomic_write
from kinecast.capture.errors import KinecastError
from kinecast.capture.progress import progress
from kinecast.engines.lift.checkpoint import load_network
from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.lift.network import LifterNetwork
from kinecast.engines.lift.weights import read_lifter, write_lifter
from kinecast.engines.train.data.detector_noise import NoiseModel
from kinecast.engines.train.data.mixture import Turns, mixed
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.data.pseudo_labels import PseudoLabelSampler
from kinecast.engines.train.data.published import Labelled, LabelledSampler
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.data.synthetic_batches import Augment, Batch, Motion, Sampler, Source
from kinecast.engines.train.data.unlabelled_tracks import Unlabelled
from kinecast.engines.train.distributed import join_process_group
from kinecast.engines.train.lifter.early_stopping import ADVICE, NothingLearnt, Stopping
from kinecast.engines.train.lifter.losses import PARTS, Objective, Weights
from kinecast.engines.train.lifter.sigma_calibration import calibrate
from kinecast.engines.train.lifter.tensorboard_images import picture
from kinecast.engines.train.lifter.validate import validate
from kinecast.engines.train.lifter.weight_interpolation import interpolate_weights
from kinecast.engines.train.old_keys import STOP, TRAIN, renamed


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that a run depends on, beside the data. It travels in every checkpoint.

    steps: of the optimiser. batch_size: sequences, and frames: of each, in a batch on one machine. short_frames: for
    the first share ``short_fraction`` of the steps a batch is as many frames in shorter sequences, of more people.
    learning_rate: the highest, reached after ``warm_up`` steps, from where it falls as a cosine to
    ``final_learning_rate``. bf16: multiply in bfloat16. unlabelled: share of sequences without truth in a batch, used
    after ``unlabelled_after`` steps. eval_every: steps between looks at held-out data, and checkpoints. eval_batches:
    of held-out motion behind the figures. pseudo: share of sequences with pseudo ground truth in a batch, where there
    is any; all where there is no other motion. patience: looks at held-out data without a gain of the share
    ``min_improvement``, after which a run ends with the best weights so far, or between these and ``initial`` where it
    began there (``engines.train.lifter.weight_interpolation``); 0: all steps, the last weights.
    """

    lifter: LifterConfig = field(default_factory=LifterConfig)
    weights: Weights = field(default_factory=Weights)
    augment: Augment = field(default_factory=Augment)
    cameras: CameraRanges = field(default_factory=CameraRanges)
    steps: int = 4000
    batch_size: int = 12
    frames: int = 272
    short_frames: int = 64
    short_fraction: float = 0.6
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    warm_up: int = 100
    decay: float = 0.01
    bf16: bool = False
    unlabelled: float = 0.25
    unlabelled_after: int = 1000
    eval_every: int = 250
    eval_batches: int = 16
    seed: int = 1
    pseudo: float = 0.5
    patience: int = 0
    min_improvement: float = 0.001

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        """The inverse, of keys of before too; KinecastError names a key that is unknown."""
        config: TrainConfig = _build(cls, renamed(json.loads(text), TRAIN | STOP, "training config: "))
        return config


def train(
    config: TrainConfig,
    clips: Sequence[Clip],
    held: Sequence[Clip],
    noise: NoiseModel,
    out: Path,
    *,
    labelled: tuple[Sequence[Labelled], Sequence[Labelled]] | None = None,
    unlabelled: Unlabelled | None = None,
    pseudo: PseudoLabelSampler | None = None,
    pseudo_held: PseudoLabelSampler | None = None,
    initial: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    about: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Path:
    """Train on ``clips``, look at ``held`` and never learn from it; the path of the weights, once all steps are done.

    resume: go on from ``out/last.pt``, whose config then rules. about: further metadata of the weights (sources,
    licence). labelled: (to train on, held out) of published data sets, instead of clips. unlabelled: 2D tracks of
    recordings, for the semi-supervised losses. pseudo: people of sessions with pseudo ground truth, beside clips or
    alone; pseudo_held: of other sessions, looked at only. initial: weights to begin with, of the same architecture.
    Raises KinecastError where a gradient is no number; the last checkpoint stays as it was.
    """
    # ---- who we are: one process, or one of those that torchrun started
    company = join_process_group(device)
    rank, size = company.rank, company.size
    out.mkdir(parents=True, exist_ok=True)
    last = out / "last.pt"
    if last.exists() and not resume:
        raise KinecastError(f"{last} is there: go on with --resume, or write elsewhere")
    checkpoint = load_checkpoint(last) if resume else None
    if checkpoint is not None:
        config = TrainConfig.from_json(checkpoint["config"])

    # ---- data: a batch is made when it is wanted; nothing of a held-out clip is in ``sampler``
    rate_hz = config.lifter.rate_hz
    frames = min(config.short_frames, config.frames)
    few, many = config.batch_size, max(1, config.batch_size * config.frames // frames)
    sampler: Sampler | LabelledSampler | None = None
    shorter: Sampler | LabelledSampler | None = None
    exam: Source | None = None
    counts, seconds = (0, 0), 0.0
    if labelled is None and (clips or pseudo is None):
        motion = Motion(clips, config.augment)
        sampler = Sampler(motion, noise, config.cameras, few, config.frames, rate_hz, config.seed)
        shorter = replace(sampler, size=many, frames=frames)
        plain = Augment(speed=(1.0, 1.0), arms=0.0, upright=1.0, flip=0.0)
        if held:
            exam = Sampler(Motion(held, plain), noise, config.cameras, 16, config.frames, rate_hz, 10**6)
        counts, seconds = (len(clips), len(held)), motion.seconds
    elif labelled is not None:
        known, apart = labelled
        name = config.lifter.skeleton
        sampler = LabelledSampler(known, name, few, config.frames, rate_hz, config.seed)
        shorter = LabelledSampler(known, name, many, frames, rate_hz, config.seed)
        if apart:
            exam = LabelledSampler(apart, name, 16, config.frames, rate_hz, 10**6)
        counts, seconds = (len(known), len(apart)), sampler.seconds
    exams = {"held_out": exam} if exam is not None else {}
    if pseudo_held is not None:
        exams["sessions"] = replace(pseudo_held.resized(16, config.frames), virtual=0.0, flip=0.0, seed=10**6)
        exam = Turns(tuple(exams.values()))
    short, full = (many, frames), (few, config.frames)
    sources = tuple(mixed(s, pseudo, *sizes, config.pseudo) for s, sizes in ((shorter, short), (sampler, full)))

    # ---- network, what is asked of it, optimiser
    torch.manual_seed(config.seed)
    network = LifterNetwork(config.lifter).to(device)
    if initial is None:
        start_small(network)
    else:
        begin_with(network, initial)
    objective = Objective(network, config.weights).to(device)
    shared = DistributedDataParallel(objective, find_unused_parameters=True) if size > 1 else objective
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.decay)
    first, spent_s, stopping = 0, 0.0, Stopping(config.patience, config.min_improvement)
    if checkpoint is not None:
        network.load_state_dict(checkpoint["network"])
        optimiser.load_state_dict(checkpoint["optimiser"])
        first, spent_s = checkpoint["step"], checkpoint["spent_s"]
        stopping.load(checkpoint.get("stopping", {}))

    # ---- the loop
    board = SummaryWriter(str(out)) if rank == 0 else None
    if rank == 0 and stopping.patience and not stopping.first:
        stopping.look(0, {name: validate(network, e, batches=2, device=device) for name, e in exams.items()})
    steps = range(first, config.steps if not company.agreed(stopping.over(first)) else first)
    started, seen = time.monotonic(), 0.0
    with progress(f"training {out.name}", quiet=rank > 0 or quiet) as show:
        for step in steps:
            network.train()
            passed = step / max(config.steps, 1)
            warm = min(1.0, (step + 1) / max(config.warm_up, 1))
            low, high = config.final_learning_rate, config.learning_rate
            rate = low + (high - low) * (1 + math.cos(math.pi * passed)) / 2
            for group in optimiser.param_groups:
                group["lr"] = warm * rate
            for model in (network.pose, network.trajectory):
                if model is not None:
                    model.set_bn_momentum(0.1 * 0.01**passed)  # VideoPose3D: from 0.1 to 0.001
            torch.manual_seed(hash((config.seed, step, rank)) % 2**63)
            at, source = (short, sources[0]) if step < config.short_fraction * config.steps else (full, sources[1])
            batch = tensors(source.batch(step, rank), device)
            more = None
            if unlabelled is not None and step >= config.unlabelled_after and config.lifter.trajectory_channels:
                count = max(1, round(config.unlabelled * at[0]))
                more = tensors(unlabelled.batch(config.seed, step, rank, count, at[1]), device)
            parts = shared(batch, more, config.bf16)
            loss = parts.sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0))
            if not math.isfinite(norm):  # the same on every machine, for gradients are shared
                kept = f"; {last} is still sound" if last.exists() else ""
                wrong = [n for n, p in zip(PARTS, parts.tolist(), strict=True) if not math.isfinite(p)]
                told = ", ".join(wrong) or "gradient"
                raise KinecastError(
                    f"no number at step {step} ({told}): lower the rate in a new run, or look at the data{kept}"
                )
            optimiser.step()

            # ---- what a person looks at, and what a run is taken up from
            seen += float(batch["weight"].sum()) * size
            if board is not None and step % 10 == 0:
                mm = float(parts[0].detach()) / max(config.weights.pose, 1e-9) * 1e3
                show("", step, config.steps, f"loss {float(loss.detach()):.3f}, {mm:.0f} mm")
                for name, part in zip(PARTS, parts.tolist(), strict=True):
                    board.add_scalar(f"loss/{name}", part, step)
                board.add_scalar("rate", warm * rate, step)
            done = step + 1
            if done % config.eval_every == 0 or done == config.steps:
                spent, looked = spent_s + time.monotonic() - started, dict[str, dict[str, float]]()
                if rank == 0 and not stopping.patience:
                    save_checkpoint(last, config, network, optimiser, done, spent)
                if rank == 0:
                    batches = min(2, config.eval_batches)
                    looked = {name: validate(network, e, batches=batches, device=device) for name, e in exams.items()}
                if rank == 0 and stopping.patience:
                    better = stopping.look(done, looked)
                    for path in (out / "best.pt", last)[0 if better else 1 :]:
                        save_checkpoint(path, config, network, optimiser, done, spent, stopping.state())
                if rank == 0:
                    for name, values in looked.items():
                        for key, value in values.items():
                            if board is not None:
                                board.add_scalar(f"{name}/{key}", value, done)
                            if not quiet:
                                print(f"step {done}: {name} {key} {value:.4g}")
                    if board is not None:
                        for name, e in exams.items():
                            image = picture(network, e.batch(0), device)
                            board.add_image(f"poses/{name}", image, done, dataformats="HWC")
                if stopping.patience and company.agreed(stopping.over(done)):
                    break
    if board is not None:
        board.close()

    # ---- weights that can be used, with all that should be known of them
    weights = out / "lifter.safetensors"
    if stopping.patience and company.agreed(stopping.best_step == 0):
        raise NothingLearnt(f"{out}: nothing was learnt: no step was better on held-out data than the start; {ADVICE}")
    if rank == 0:
        if stopping.patience:
            network.load_state_dict(load_checkpoint(out / "best.pt")["network"])
        hours = (spent_s + time.monotonic() - started) / 3600
        training = asdict(config) | {"hours": round(hours, 3), "torch": torch.__version__.split("+")[0]}
        data = dict(about or {}) | {
            "clips": counts[0], "held_out": counts[1], "minutes_of_motion": round(seconds / 60, 1),
        }  # fmt: skip
        sigma, figures = {}, {}
        if initial is not None:
            base = read_lifter(initial)
            data["base"], sigma = base.name, dict(base.meta["sigma"])  # what is not measured anew stays
        if pseudo is not None:
            data["pseudo_sessions"] = len({s.session.key for s in pseudo.shards})
        if stopping.patience:
            training["best_step"] = stopping.best_step
        if stopping.patience and initial is not None:
            training["share_of_what_was_learnt"] = interpolate_weights(
                network, load_network(initial).state_dict(), exams, device
            )
        if exam is not None:
            sigma |= calibrate(network, exam, batches=config.eval_batches, device=device)
            figures = validate(network, exam, batches=config.eval_batches, device=device, first=1000)
        state = {k: v.cpu() for k, v in network.state_dict().items()}
        write_lifter(weights, state, config.lifter, training=training, data=data, figures=figures, sigma=sigma)
        atomic_write(out / "config.json", config.to_json())
    company.leave()
    return weights


@torch.no_grad()
def start_small(network: LifterNetwork) -> None:
    """Begin near the shallow network and near zero metres: residual blocks and outputs are born quiet.

    With torch's own start the outputs are metres wide and tremble from frame to frame; after 120 steps the error of the
    pose is 0.23 m with this and 0.5 m without.
    """
    for model in (network.pose, network.trajectory):
        if model is not None:
            model.shrink.weight.mul_(0.1)
            for block in range(len(model.dilations)):
                model.layers_bn[2 * block + 1].weight.mul_(0.2)
    for head in (network.log_variance, network.trajectory_log_variance):
        if head is not None:
            head.weight.mul_(0.1)


def begin_with(network: LifterNetwork, initial: Path) -> None:
    """Take the weights of a file of the same architecture; KinecastError where it is of another."""
    base = load_network(initial)
    mine, other = (replace(n.config, dropout=0.0) for n in (network, base))
    if mine != other:
        wrong = [f.name for f in fields(mine) if getattr(mine, f.name) != getattr(other, f.name)]
        raise KinecastError(
            f"{initial} is of another architecture ({', '.join(wrong)}): begin with weights of this one"
        )
    network.load_state_dict(base.state_dict())


def tensors(batch: Batch | Mapping[str, Any], device: str) -> dict[str, torch.Tensor]:
    """The float arrays of a batch, by name."""
    told = batch if isinstance(batch, Mapping) else {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {k: torch.from_numpy(v).to(device) for k, v in told.items() if v.dtype == np.float32}


def save_checkpoint(
    path: Path,
    config: TrainConfig,
    network: LifterNetwork,
    optimiser: torch.optim.Optimizer,
    step: int,
    spent_s: float,
    stopping: Mapping[str, Any] | None = None,
) -> None:
    """Everything that a run is taken up from, whole."""
    state = {
        "config": config.to_json(), "network": network.state_dict(), "optimiser": optimiser.state_dict(),
        "step": step, "spent_s": spent_s,
    }  # fmt: skip
    if stopping is not None:
        state["stopping"] = dict(stopping)
    with atomic_path(path, overwrite=True) as file:
        torch.save(state, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours, read without running any code in it; KinecastError where it is none."""
    if not path.exists():
        raise KinecastError(f"{path}: no checkpoint to go on from")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if set(state) - {"stopping"} == {"config", "network", "optimiser", "step", "spent_s"}:
            return dict(state)
    except Exception as e:  # torch raises whatever the damage leads to
        raise KinecastError(f"{path}: no checkpoint that can be read ({type(e).__name__})") from None
    raise KinecastError(f"{path}: no checkpoint of `kinecast train lifter`")


def _build(cls: Any, told: Mapping[str, Any]) -> Any:
    """A dataclass from nested dicts; lists become tuples, what is not told keeps its default."""
    known = {f.name: f for f in fields(cls)}
    unknown = sorted(set(told) - set(known))
    if unknown:
        raise KinecastError(f"unknown {', '.join(unknown)} in a training config; known are {', '.join(known)}")
    out: dict[str, Any] = {}
    for name, value in told.items():
        default: Any = known[name].default_factory
        if isinstance(default, type) and is_dataclass(default) and isinstance(value, Mapping):
            out[name] = _build(default, value)
        else:
            out[name] = tuple(value) if isinstance(value, list) else value
    return cls(**out)
