"""The rounds of the SPIN loop, for every way of learning: drawn scenes, best fits, a network, a folder to go on from.

A way has a folder: ``last.pt`` after every round, the dictionary of fits, TensorBoard's events. A run that was broken
off goes on after its last whole round and ends in the same numbers (but for the last bit of the solver's sums, which
may differ from process to process).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.fit.multi_start import Fits, better
from kinecast.engines.body.fit.regressor import BETAS, Regressor, write_regressor
from kinecast.engines.body.fit.solver import LEAST_EXPLAINED
from kinecast.engines.train.regressor import checkpoint as checkpoints
from kinecast.engines.train.regressor.benchmark import Benchmark
from kinecast.engines.train.regressor.network import WEIGHTS, Figure, Network, losses
from kinecast.engines.train.regressor.optimiser import Optimiser, SpinConfig, TrainingSet, first_fits, refit
from kinecast.engines.train.regressor.recorded import Group, Recorded
from kinecast.engines.train.regressor.synthetic import Scenes
from kinecast.engines.train.regressor.tensorboard import TensorBoardLogger

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Say = Callable[[str], None]

SAMPLE_ROUND = 10**6  # the round whose scenes are the sample that is looked at: none that is ever learnt from


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPeople:
    """Who is learnt from. synthetic: the same scenes in every round; recorded: others are drawn in every round.

    kept: recorded people that are looked at after every round, and never learnt from.
    """

    synthetic: Scenes | None = None
    recorded: Recorded | None = None
    kept: Recorded | None = None

    def of_round(self, number: int) -> list[Group]:
        """A group for each number of cameras, the synthetic one first. Memory is bounded by what a round draws."""
        s = self.synthetic
        own = [] if s is None else [Group(s, tuple(f"synthetic/{i}" for i in range(len(s.P))))]
        return own + (self.recorded.draw(number) if self.recorded is not None else [])


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """state: of the network. rounds: one line each: replaced, cost, good, loss."""

    way: str
    state: dict[str, NDArray[np.float32]]
    rounds: list[dict[str, float]]

    def regressor(self, body: str) -> Regressor:
        """As it runs."""
        return Regressor(self.state, body, {}, self.way)

    def write(self, path: Path, body: str, about: dict[str, Any]) -> Path:
        """To a file."""
        return write_regressor(path, self.state, body, about | {"way": self.way, "rounds": self.rounds})


class FitDictionary:
    """The dictionary of one way: the best fits of drawn scenes, first fits where it knows nothing yet."""

    def __init__(
        self, way: str, optimiser: Optimiser, files: checkpoints.FitFiles, first_fits_by_views: dict[bool, Fits]
    ) -> None:
        """begun: first fits of the synthetic scenes, by whether all views are fitted; shared by the ways."""
        self.way, self._optimiser, self._files, self._first_fits = way, optimiser, files, first_fits_by_views
        self.all_views = way in ("all-views", "truth")

    def best(self, g: Group) -> Fits:
        """The best fits so far of a group's scenes."""
        known, rows = self._files.lookup(g.keys, len(g.keys))
        if not known.any():
            return self._first(g)
        if not known.all():
            fresh = self._first(g.only(~known))
            for name, values in rows.items():
                new = getattr(fresh, name)
                values[~known] = new.reshape(int((~known).sum()), -1, *new.shape[1:])
        R, t, betas, cost, explained = (
            rows[n].reshape(-1, *rows[n].shape[2:]) for n in ("R", "t", "betas", "cost", "explained")
        )
        return Fits(R, t, betas, self._optimiser.points(R, betas) + t[:, None], cost, explained)

    def _first(self, g: Group) -> Fits:
        if not g.recorded and self.all_views in self._first_fits:
            first = self._first_fits[self.all_views]
        else:
            known = None if g.R is None or g.betas is None else (g.R, g.betas)
            first = first_fits(self._optimiser, g.scenes, self.all_views, known)
            if not g.recorded:
                self._first_fits[self.all_views] = first
        if self.way != "truth":
            return first
        s = g.scenes
        first = self._optimiser.together(s, s.R[:, :, None], first.betas.reshape(*s.R.shape[:2], 1, BETAS))
        true = s.R.reshape(-1, 24, 3, 3)
        return Fits(true, first.t, first.betas, first.points, first.cost, np.ones(len(true)))


def loop(
    way: str,
    optimiser: Optimiser,
    people: TrainingPeople,
    config: SpinConfig,
    folder: Path,
    *,
    base: Regressor | None = None,
    first_round_fits: dict[bool, Fits] | None = None,
    say: Say = print,
) -> Trained:
    """Train one regressor, in its ``folder``, from the last round that is whole there.

    base: what to begin with, of the same widths. KinecastError where a loss or gradient is no number; the checkpoint
    of the round before stays as it was.
    """
    torch.manual_seed(config.seed)
    network, figure = Network(optimiser.prior.reference), Figure(optimiser.bones)
    if base is not None:
        network.load_tensors(base.tensors)
    optim = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=1e-4)
    total = config.rounds * config.steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optim, config.rate, total_steps=total + 1, pct_start=0.1)
    rng = np.random.default_rng((config.seed, 23))
    lines = list[dict[str, float]]()
    folder.mkdir(parents=True, exist_ok=True)
    if (state := checkpoints.load(folder)) is not None:
        network.load_state_dict(state["network"])
        optim.load_state_dict(state["optim"])
        schedule.load_state_dict(state["schedule"])
        rng.bit_generator.state, lines = state["rng"], state["told"]
        say(f"{way}: goes on after round {len(lines)} of {config.rounds}")
    if len(lines) >= config.rounds:
        return Trained(way, dict(network.state()), lines)

    def now() -> Regressor:
        return Trained(way, dict(network.state()), []).regressor("")

    files = checkpoints.FitFiles(folder, len(lines))
    dictionary = FitDictionary(way, optimiser, files, {} if first_round_fits is None else first_round_fits)
    sample = TrainingPeople(people.synthetic, people.recorded).of_round(SAMPLE_ROUND)
    log = TensorBoardLogger(folder, len(lines) * config.steps, optimiser, sample, dictionary.all_views)
    benchmark = (
        Benchmark([s for g in people.kept.draw(0, truth=True) for s in g.people()], optimiser) if people.kept else None
    )
    for number in range(len(lines), config.rounds):
        first = number * config.steps
        groups = people.of_round(number)
        fits, replaced = [dictionary.best(g) for g in groups], [np.zeros(0, bool)]
        if number and way in ("one-view", "all-views"):
            pairs = [
                better(f, refit(optimiser, g.scenes, now(), dictionary.all_views))
                for g, f in zip(groups, fits, strict=True)
            ]
            fits, replaced = [f for f, _ in pairs], [new for _, new in pairs]
        line = _line(number, groups, fits, replaced)
        log.fits(first, number, line, now())
        training_set = TrainingSet([g.scenes for g in groups], [g.recorded for g in groups], config.share)
        target = training_set.learn_from(fits)
        mean: list[float] = []
        for step in range(first, first + config.steps):
            windows, context, extent, wanted = training_set.drawn(rng, config.size, target)
            R, betas = network(windows, context)
            seen = windows[:, -1, :, :2], windows[:, -1, :, 2], extent
            terms = losses(figure, R, betas, wanted, seen)
            loss = sum((WEIGHTS[k] * v for k, v in terms.items()), start=torch.zeros(()))
            optim.zero_grad()
            loss.backward()
            norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0))
            if not math.isfinite(norm) or not math.isfinite(float(loss.detach())):
                raise KinecastError(_no_number(way, step, number, _numbers(terms), folder))
            optim.step()
            mean.append(float(loss.detach()))
            if step % 10 == 0:
                log.step(step, mean[-1], _numbers(terms), schedule.get_last_lr()[0])
            schedule.step()
        line["loss"] = float(np.mean(mean[-100:]))
        lines.append(line)
        files.store(number, [(g.keys, f) for g, f in zip(groups, fits, strict=True)])
        state = {"network": network.state_dict(), "optim": optim.state_dict(), "schedule": schedule.state_dict()}
        checkpoints.save(folder, state, lines, rng)
        files.prune()
        figures = {} if benchmark is None else _figures(benchmark, now())
        log.round(first + config.steps, figures, list(zip(groups, fits, strict=True)), now())
        held_out = "".join(f", {k} {v:.1f}" for k, v in figures.items())
        say(
            f"{way}: round {number + 1}: {line['replaced']:.0%} of the fits replaced, median cost {line['cost']:.1f}, "
            f"{line['good']:.0%} good, loss {line['loss']:.3f}{held_out}"
        )
    log.close()
    return Trained(way, dict(network.state()), lines)


def card(config: SpinConfig, data: str, base: str = "") -> dict[str, Any]:
    """What goes into a weights file besides."""
    about = {"training": asdict(config), "data": data, "source": "Kolotouros et al. 2019, in the loop of Kinecast"}
    return about | ({"base": base} if base else {})


def _line(number: int, groups: Sequence[Group], fits: Sequence[Fits], replaced: Sequence[Bool]) -> dict[str, float]:
    """What came of fitting, over the frames in which anything was seen."""
    seen = [np.repeat(True, 0)]
    for g, f in zip(groups, fits, strict=True):
        shown = (g.scenes.w > 0).any(-1)
        seen.append((shown if shown.size == len(f.cost) else shown.any(-1)).reshape(-1))
    which = np.concatenate(seen)
    cost, explained = (np.concatenate([getattr(f, n) for f in fits])[which] for n in ("cost", "explained"))
    new = np.concatenate(list(replaced))
    return {
        "round": number + 1, "replaced": float(new[which].mean()) if len(new) else 0.0, "cost": float(np.median(cost)),
        "good": float((explained >= LEAST_EXPLAINED).mean()),
    }  # fmt: skip


def _figures(benchmark: Benchmark, regressor: Regressor) -> dict[str, float]:
    """Of people who are not learnt from, against the fits to all views."""
    return {f"{mode}, mm": 1e3 * errors.row["mpjpe_m"] for mode, errors in benchmark.regressor_alone(regressor).items()}


def _numbers(terms: Mapping[str, torch.Tensor]) -> dict[str, float]:
    return {k: float(v.detach()) for k, v in terms.items()}


def _no_number(way: str, step: int, number: int, terms: Mapping[str, float], folder: Path) -> str:
    wrong = ", ".join(k for k, v in terms.items() if not math.isfinite(v)) or "gradient"
    last = folder / checkpoints.CHECKPOINT
    kept = f"; {last}, of round {number}, is still sound" if last.exists() else ""
    return (
        f"{way}: no number at step {step}, in round {number + 1} ({wrong}): lower --rate in a new run, or look at the "
        f"data{kept}"
    )
