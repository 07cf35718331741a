"""``kinecast train promote``: a candidate is judged, reported and, where it is better, put in force."""

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
from kinecast.engines.train.data.pseudo_labels import ShardSource, sources
from kinecast.engines.train.data.random_cameras import CameraRanges
from kinecast.engines.train.recipe import Recipe
from kinecast.nodes.promote.backend_parity import parity
from kinecast.nodes.promote.exams import PredictedErrors, answer, answer_shards, synthetic_questions
from kinecast.nodes.promote.report import write_report
from kinecast.nodes.promote.verdict import judge
from kinecast.nodes.train import run_manifest
from kinecast.nodes.train.inputs import clips_of
from kinecast.nodes.train.retrain import RUN, WEIGHTS, read_run

SESSIONS, BENCHMARK, SYNTHETIC = "held-out sessions", "held-out motion", "synthetic world"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. refused: why it is not in force, line by line; promoted: None then, or where only asked."""

    report: Path
    refused: list[str]
    promoted: Promoted | None


def promote(
    run: Path, motion: Sequence[Path] = (), datasets: Sequence[Path] = (), held_out: Path | None = None,
    noise: Path | None = None, check: bool = False, workers: int = 1, address: str = "",
) -> Outcome:  # fmt: skip
    """Compare the weights of a run with the current default, and put them in force where they are better.

    run: folder of ``kinecast train retrain``, whose recipe tells the rest, or of ``kinecast train lifter``. motion,
    datasets, held_out, noise: beside or instead of the recipe's. check: judge and report alone. workers, address:
    who answers for the held-out sessions, see :func:`nodes.dataset.workers.each`; the report is the same. Raises
    KinecastError where the run has no weights, there is nothing to judge by, a session to judge by was learned from,
    the cache cannot be written, or another lifter was put in force meanwhile.
    """
    if not check:
        LIFTERS.check_writable()  # before minutes of work
    recipe = Recipe()
    if (run / RUN).exists():
        told = read_run(run)
        told.check_sessions()
        recipe = told.recipe
        run_manifest.check_apart(told.sessions, recipe.datasets, map(str, datasets) if datasets else recipe.datasets)
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
    in_force = find_lifter("default")
    current = read_lifter(in_force, "halpe26")
    if candidate.name.partition("@")[2] == current.name.partition("@")[2]:
        raise KinecastError(f"{run / WEIGHTS} is {current.name}, which is in force already")
    if candidate.config.rate_hz != current.config.rate_hz:
        raise KinecastError(f"{run}: trained at {candidate.config.rate_hz:g} Hz, {current.name} at another rate")
    exams = {}
    if held := _kept(recipe):
        before, after = answer_shards(held, (in_force, run / WEIGHTS), workers, address)
        exams[SESSIONS] = before, after
    exams |= _exams(recipe, current, candidate)
    folder = run / "promotion"
    checks = parity(candidate, folder / "lifter.onnx")
    data = ", ".join((*recipe.datasets, *recipe.motion)) or "none"
    about = {"run": str(run.resolve()), "utc": utc_now(), "data": data}
    refused = write_report(
        folder, (current.name, candidate.name), exams, judge(exams, next(iter(exams))), checks, about
    )
    if refused or check:
        return Outcome(folder / "report.md", refused, None)

    def ready(new: Promoted) -> None:
        if find_lifter("default") != in_force:
            raise KinecastError(f"{current.name} is not in force any more: promote again, beside what is")
        export = cache_dir() / "models" / f"{new.name}.onnx"  # where load_lifter looks for it
        atomic_write(export, (folder / "lifter.onnx").read_bytes())

    new = LIFTERS.install(run / WEIGHTS, str(run.resolve()), current.name, utc_now(), ready)
    return Outcome(folder / "report.md", [], new)


def _kept(recipe: Recipe) -> list[ShardSource]:
    """The shards of the sessions that are kept for promotion; KinecastError where data sets have none."""
    found = sources([Path(p) for p in recipe.datasets], "test")
    if recipe.datasets and not found:
        raise none_kept(recipe.datasets)
    return found


def none_kept(datasets: Sequence[str]) -> KinecastError:
    """What is said of data sets without a session to be judged by."""
    return KinecastError(
        f"{', '.join(datasets)}: no session is kept for promotion (split test): build with more sessions"
    )


def _exams(
    recipe: Recipe, current: LifterFile, candidate: LifterFile
) -> dict[str, tuple[PredictedErrors, PredictedErrors]]:
    """By standing exam the answers of both."""
    hz = candidate.config.rate_hz
    standing = load_noise(FITTED)  # the benchmark is the same for everybody
    asked: dict[str, list[HeldoutClip]] = {}
    if recipe.motion:
        _, held = clips_of([Path(p) for p in recipe.motion], Path(recipe.held_out) if recipe.held_out else None)
        if held:
            asked[BENCHMARK] = list(heldout_clips(held, standing, CameraRanges(), hz))
    if BENCHMARK not in asked:
        asked[SYNTHETIC] = list(synthetic_questions(standing, hz))
    return {name: (answer(current, told), answer(candidate, told)) for name, told in asked.items()}


def utc_now() -> str:
    """The time of day, in whole seconds, as a promotion keeps it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
