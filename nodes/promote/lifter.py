"""``kinecast train promote``: a candidate is compared, reported and, where it is better, made the active one."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinecast.capture.atomic_write import atomic_write
from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.lifter import find_lifter
from kinecast.engines.lift.weights import LifterFile, read_lifter
from kinecast.engines.models.promoted import LIFTERS, Promoted
from kinecast.engines.train.data.detector_noise import FITTED, load_noise
from kinecast.engines.train.data.heldout_clips import HeldoutClip, heldout_clips
from kinecast.engines.train.data.pseudo_labels import ShardSource, shard_sources
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.recipe import Recipe
from kinecast.nodes.promote.backend_parity import parity
from kinecast.nodes.promote.gate import gate_errors
from kinecast.nodes.promote.lifter_benchmarks import PredictedErrors, benchmark_shards, predict_errors, synthetic_clips
from kinecast.nodes.promote.report import write_report
from kinecast.nodes.train import run_manifest
from kinecast.nodes.train.inputs import clips_of
from kinecast.nodes.train.retrain import RUN, WEIGHTS, read_run

SESSIONS, BENCHMARK, SYNTHETIC = "held-out sessions", "held-out motion", "synthetic world"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What came of it. refused: why it is not in force, line by line; promoted: None then, or where only asked."""

    report: Path
    refused: list[str]
    promoted: Promoted | None


def promote(
    run: Path, motion: Sequence[Path] = (), datasets: Sequence[Path] = (), held_out: Path | None = None,
    noise: Path | None = None, check: bool = False, workers: int = 1, address: str = "",
) -> Promotion:  # fmt: skip
    """Compare the weights of a run with the current default, and put them in force where they are better.

    run: folder of ``kinecast train retrain``, whose recipe tells the rest, or of ``kinecast train lifter``. motion,
    datasets, held_out, noise: beside or instead of the recipe's. check: judge and report alone. workers, address:
    who works on the held-out sessions, see :func:`nodes.dataset.workers.each`; the report is the same. Raises
    KinecastError where the run has no weights, there is nothing to judge by, a session to judge by was learned from,
    the cache cannot be written, or another lifter was put in force meanwhile.
    """
    if not check:
        LIFTERS.check_writable()  # before minutes of work
    recipe = Recipe()
    if (run / RUN).exists():
        earlier = read_run(run)
        earlier.check_sessions()
        recipe = earlier.recipe
        run_manifest.check_no_leakage(
            earlier.sessions, recipe.datasets, map(str, datasets) if datasets else recipe.datasets
        )
    recipe = replace(
        recipe,
        motion=tuple(map(str, motion)) or recipe.motion,
        datasets=tuple(map(str, datasets)) or recipe.datasets,
        held_out=str(held_out or recipe.held_out),
        noise=str(noise or recipe.noise),
    )
    if not (run / WEIGHTS).is_file():
        raise KinecastError(f"{run}: no {WEIGHTS} in it: the training is not done; run it again to go on")
    candidate = read_lifter(run / WEIGHTS, "halpe26")
    active = find_lifter("default")
    current = read_lifter(active, "halpe26")
    if candidate.name.partition("@")[2] == current.name.partition("@")[2]:
        raise KinecastError(f"{run / WEIGHTS} is {current.name}, which is in force already")
    if candidate.config.rate_hz != current.config.rate_hz:
        raise KinecastError(f"{run}: trained at {candidate.config.rate_hz:g} Hz, {current.name} at another rate")
    benchmarks = {}
    if shards := _test_shards(recipe):
        before, after = benchmark_shards(shards, (active, run / WEIGHTS), workers, address)
        benchmarks[SESSIONS] = before, after
    benchmarks |= _standing_benchmarks(recipe, current, candidate)
    folder = run / "promotion"
    checks = parity(candidate, folder / "lifter.onnx")
    data = ", ".join((*recipe.datasets, *recipe.motion)) or "none"
    about = {"run": str(run.resolve()), "utc": utc_now(), "data": data}
    refused = write_report(
        folder,
        (current.name, candidate.name),
        benchmarks,
        gate_errors(benchmarks, next(iter(benchmarks))),
        checks,
        about,
    )
    if refused or check:
        return Promotion(folder / "report.md", refused, None)

    def ready(new: Promoted) -> None:
        if find_lifter("default") != active:
            raise KinecastError(f"{current.name} is not in force any more: promote again, beside what is")
        export = cache_dir() / "models" / f"{new.name}.onnx"  # where load_lifter looks for it
        atomic_write(export, (folder / "lifter.onnx").read_bytes())

    new = LIFTERS.install(run / WEIGHTS, str(run.resolve()), current.name, utc_now(), ready)
    return Promotion(folder / "report.md", [], new)


def _test_shards(recipe: Recipe) -> list[ShardSource]:
    """The shards of the sessions that are kept for promotion; KinecastError where data sets have none."""
    found = shard_sources([Path(p) for p in recipe.datasets], "test")
    if recipe.datasets and not found:
        raise no_test_session(recipe.datasets)
    return found


def no_test_session(datasets: Sequence[str]) -> KinecastError:
    """What is said of data sets without a session to be judged by."""
    return KinecastError(
        f"{', '.join(datasets)}: no session is kept for promotion (split test): build with more sessions"
    )


def _standing_benchmarks(
    recipe: Recipe, current: LifterFile, candidate: LifterFile
) -> dict[str, tuple[PredictedErrors, PredictedErrors]]:
    """By standing benchmark the errors of both."""
    hz = candidate.config.rate_hz
    standing = load_noise(FITTED)  # the benchmark is the same for everybody
    benchmarks: dict[str, list[HeldoutClip]] = {}
    if recipe.motion:
        _, clips_held_out = clips_of(
            [Path(p) for p in recipe.motion], Path(recipe.held_out) if recipe.held_out else None
        )
        if clips_held_out:
            benchmarks[BENCHMARK] = list(heldout_clips(clips_held_out, standing, CameraRanges(), hz))
    if BENCHMARK not in benchmarks:
        benchmarks[SYNTHETIC] = list(synthetic_clips(standing, hz))
    return {
        name: (predict_errors(current, clips), predict_errors(candidate, clips)) for name, clips in benchmarks.items()
    }


def utc_now() -> str:
    """The time of day, in whole seconds, as a promotion keeps it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
