"""``kinecast bench learning-curve``: what retraining on 1, 5, 20 sessions gains on others, measured on staged sessions.

Sessions are of classes of motion that the shipped weights never saw (whole classes among the held-out clips), before
one fixed rig, by a detector of another character, of new bodies. Each goes the way of any recording: keypoints are
fused, recorded, built into a data set and retrained on from the shipped weights by a recipe. The exam is other sessions
of other clips, one view at a time, against the true joints; the standing benchmark is all other held-out motion.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.capture.atomic_write import atomic_path, atomic_write
from kinecast.capture.console import plain_console
from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.lifter import find_lifter
from kinecast.engines.lift.weights import LifterFile, read_lifter, write_lifter
from kinecast.engines.synth import ring_rig
from kinecast.engines.train.data.detector_noise import FITTED, load_noise, other_detector
from kinecast.engines.train.data.heldout_clips import HeldoutClip, heldout_clips
from kinecast.engines.train.data.motion import Clip
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.data.staged_sessions import (
    AUGMENT,
    SimulatedSession,
    simulate_session,
    split_clips,
    unseen_classes,
)
from kinecast.engines.train.data.synthetic_batches import HALPE, HELD_OUT, Batch, MotionClips, batch_of
from kinecast.engines.train.lifter.early_stopping import NoImprovement
from kinecast.nodes.bench.learning_curve_report import brief, figures, plot, show
from kinecast.nodes.dataset.build import build
from kinecast.nodes.dataset.session import Recipe
from kinecast.nodes.dataset.workers import map_jobs
from kinecast.nodes.evaluate.ground_truth import staged as recordings
from kinecast.nodes.promote.lifter_benchmarks import PredictedErrors, predict_errors
from kinecast.nodes.train.inputs import clips_of

RATE_HZ = 30.0
PEOPLE, SECONDS = 2, 20.0
VALIDATE, EXAM = 2, 6  # sessions to stop by, and to be asked about
BASE = "shipped"
SPOILED = ("wrists exchanged", "trembling")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured. counts: of sessions; seeds: of trainings, each with sessions of its own as far as they go."""

    motion: tuple[str, ...]
    counts: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    rate: float

    @property
    def sessions(self) -> int:
        return max(self.counts)

    def chosen(self, count: int, seed: int) -> list[int]:
        """Numbers of the sessions that a seed learns from: other ones for every seed, as far as they go."""
        order = np.random.default_rng(seed).permutation(self.sessions)
        return sorted(int(n) for n in order[:count])


def rig() -> Rig:
    """The one rig of all sessions."""
    return ring_rig(4, (1920, 1080), radius_m=4.5, seed=7)


def run(args: argparse.Namespace) -> int:
    """Stage, build, retrain, ask, print, draw. Raises KinecastError where the motion does not allow it."""
    if min(args.sessions) < 1 or args.steps < 1 or len(set(args.seeds)) < len(args.seeds):
        raise KinecastError("--sessions and --steps are 1 or more, --seeds are each given once")
    motion = tuple(str(p.resolve()) for p in args.motion)
    plan = Plan(motion, tuple(sorted(set(args.sessions))), tuple(args.seeds), args.steps, args.rate)
    out: Path = args.out.resolve()
    _begin(out, plan)
    clips, held = clips_of([Path(p) for p in motion], None)
    learn, ask = split_clips(apart := unseen_classes(clips, held))
    if not (others := [c for c in held if c not in apart]):
        raise KinecastError("no clip of a known class of motion is held out: nothing to tell harm by")
    _leave_out(out, apart)
    sessions = [*range(plan.sessions), *(1000 + i for i in range(VALIDATE)), *(2000 + i for i in range(EXAM))]
    jobs = [(n, learn if n < 2000 else ask) for n in sessions]
    for i, made in map_jobs(partial(_session, out), jobs, args.workers):
        if isinstance(made, KinecastError):
            raise made
        print(f"session {sessions[i]}: {made}", flush=True)
    asked = partial(_answers, out, ask, others)
    first = asked(find_lifter(BASE))
    trainings = [(count, seed) for count in plan.counts[::-1] for seed in plan.seeds]  # the longest way first
    told: dict[tuple[int, int], dict[str, PredictedErrors]] = {}
    for i, weights in map_jobs(partial(_retrained, out, plan), trainings, args.workers):
        if isinstance(weights, NoImprovement):
            print(weights, flush=True)
        elif isinstance(weights, KinecastError):
            raise weights
        told[trainings[i]] = first if isinstance(weights, NoImprovement) else asked(weights)
        print(f"{trainings[i]}: {brief(first, told[trainings[i]])}", flush=True)
    rows = figures(first, told)
    refusals = _spoiled(out, plan)
    atomic_write(
        out / "curve.json", json.dumps({"plan": asdict(plan), "rows": rows, "refused": refusals}, indent=1) + "\n"
    )
    show(rows, refusals, plain_console(width=None if plain_console().is_terminal else 120))
    plot(rows, out / "curve.png")
    print(out / "curve.png")
    return 0


def _begin(out: Path, plan: Plan) -> None:
    """What is in ``out`` is of this plan, or nothing."""
    path, told = out / "plan.json", json.loads(json.dumps(asdict(plan) | {"base": read_lifter(find_lifter(BASE)).name}))
    if path.exists():
        if json.loads(path.read_text()) != told:
            raise KinecastError(f"{out} is of another plan ({path}): choose another folder")
        return
    if out.exists() and any(out.iterdir()):
        raise KinecastError(f"{out} holds other files: choose an empty folder")
    atomic_write(path, json.dumps(told, indent=1) + "\n")


def _leave_out(out: Path, apart: Sequence[Clip]) -> None:
    """Our list of held-out clips, with those that sessions are staged of left out of all motion."""
    left = ", ".join(json.dumps(c.name) for c in apart)
    atomic_write(out / "held_out.toml", f"left_out = [{left}]\n{HELD_OUT.read_text()}")


def staged_of(clips: Sequence[Clip], seed: int) -> SimulatedSession:
    """Session number ``seed``."""
    return simulate_session(
        MotionClips(clips, AUGMENT), rig(), other_detector(load_noise(FITTED)), PEOPLE, SECONDS, RATE_HZ, seed
    )


def _session(out: Path, job: tuple[int, Sequence[Clip]]) -> str:
    """Record a session and build its data set; what is there is kept."""
    number, clips = job
    path, folder = out / f"sessions/{number:04d}.mcap", out / f"data/{number:04d}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        recordings.write(staged_of(clips, number), path, number)
    validate, test = (100 if number // 1000 == 1 else 0), (100 if number >= 2000 else 0)
    built = build([path], folder, Recipe(device="cpu", test=test, validate=validate))
    for why in built.refused.values():
        raise KinecastError(why)
    shards = [f for s in built.manifest.sessions.values() for f in s.shards]
    return f"{sum(f.frames for f in shards)} person-frames, {sum(f.accepted for f in shards)} ground truth"


def _retrained(out: Path, plan: Plan, job: tuple[int, int]) -> Path:
    """The weights of one training."""
    import torch

    from kinecast.nodes.train.retrain import retrain

    torch.set_num_threads(1)
    count, seed = job
    folders = [f"data/{n:04d}" for n in plan.chosen(count, seed)]
    folders += [f"data/{1000 + i:04d}" for i in range(VALIDATE)] + [f"data/{2000 + i:04d}" for i in range(EXAM)]
    recipe = out / f"sessions-{count:02d}-seed-{seed}.toml"
    atomic_write(recipe, RECIPE.format(
        base=BASE, motion=json.dumps(list(plan.motion)), datasets=json.dumps(folders), seed=seed, steps=plan.steps,
        rate=plan.rate, every=max(plan.steps // 10, 1), warm_up=max(plan.steps // 15, 1),
    ))  # fmt: skip
    return retrain(recipe, out / f"runs/sessions-{count:02d}-seed-{seed}", quiet=True)


# many people a step, each for a short time; half as much motion as sessions keeps what the base knows; mostly the
# own cameras and detector of the sessions, for those of the exam are the same; the best of ten looks is kept, and the
# run goes to its end, where the rate is low: of looks before that four in a row can be without a gain
RECIPE = """kinecast_recipe = 1
base = "{base}"
motion = {motion}
held_out = "held_out.toml"
datasets = {datasets}
seeds = [{seed}]

[train]
steps = {steps}
learning_rate = {rate}
warm_up = {warm_up}
eval_every = {every}
short_frames = 16
short_fraction = 0.9
bf16 = true
eval_batches = 8

[pseudo]
mix_ratio = 0.65
virtual = 0.1

[stop]
patience = 10
"""


def _answers(out: Path, ask: Sequence[Clip], others: Sequence[Clip], weights: Path) -> dict[str, PredictedErrors]:
    """What a lifter answers in both exams; kept beside the curve, for asking takes a minute."""
    file = read_lifter(weights, "halpe26")
    kept = out / f"answers/{hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}.npz"
    names = ("new sessions", "standing benchmark")
    if kept.exists():
        with np.load(kept, allow_pickle=False) as told:
            return {
                n: PredictedErrors(*(told[f"{i}/{f}"] for f in PredictedErrors.__slots__)) for i, n in enumerate(names)
            }
    hz = file.config.rate_hz
    found = [
        predict_errors(file, _questions(ask)), predict_errors(file, heldout_clips(others, load_noise(FITTED),
        CameraRanges(), hz)),
    ]  # fmt: skip
    kept.parent.mkdir(exist_ok=True)
    with atomic_path(kept, overwrite=False) as target:
        told = {f"{i}/{f}": getattr(a, f) for i, a in enumerate(found) for f in PredictedErrors.__slots__}
        np.savez_compressed(target, **told)
    return dict(zip(names, found, strict=True))


def _questions(clips: Sequence[Clip]) -> list[HeldoutClip]:
    """The exam's sessions, a view of a person at a time, against the true joints; a person is a piece of evidence."""
    out = []
    for i in range(EXAM):
        staged = staged_of(clips, 2000 + i)
        batch = batch_of(staged.view, staged.xy, staged.confidence, staged.true, RATE_HZ)
        none = np.zeros(batch.weight.shape[1], bool)
        for b in range(len(batch.weight)):
            one = Batch(*(getattr(batch, f)[b : b + 1] for f in Batch.__slots__))
            who = b // len(staged.rig.cameras)
            out.append(HeldoutClip(f"{i}/{who}", staged.actions[who], one, none, none))
    return out


def _spoiled(out: Path, plan: Plan) -> dict[str, list[str]]:
    """What the gate of promotion says to the run of most sessions, and to copies of it that were spoiled."""
    from kinecast.nodes.promote.lifter import promote

    run = out / f"runs/sessions-{plan.counts[-1]:02d}-seed-{plan.seeds[0]}"
    if not (run / "lifter.safetensors").exists():
        return {}
    told = {"as trained": promote(run, check=True).refused}
    file = read_lifter(run / "lifter.safetensors", "halpe26")
    for how in SPOILED:
        folder = out / f"runs/spoiled, {how}"
        atomic_write(folder / "run.json", (run / "run.json").read_bytes())
        tensors = spoil(file, how)
        meta = file.meta
        write_lifter(
            folder / "lifter.safetensors", tensors, file.config, training=meta["training"], data=meta["data"],
            figures=meta["figures"], sigma=meta["sigma"],
        )  # fmt: skip
        told[how] = promote(folder, check=True).refused
    return told


def spoil(file: LifterFile, how: str) -> dict[str, NDArray[np.generic]]:
    """The weights with the wrists exchanged, or with 5 % of noise on every weight."""
    tensors = {name: values.copy() for name, values in file.tensors.items()}
    if how == "trembling":
        rng = np.random.default_rng(0)
        return {n: (v * (1 + 0.05 * rng.standard_normal(v.shape))).astype(v.dtype) for n, v in tensors.items()}
    wrists = [HALPE.index("left_wrist"), HALPE.index("right_wrist")]
    for name in ("pose.shrink.weight", "pose.shrink.bias"):
        rows = tensors[name].reshape(len(HALPE), 3, -1)
        rows[wrists] = rows[wrists[::-1]]
    return dict(tensors)
