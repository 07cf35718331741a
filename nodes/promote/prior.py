"""A pose prior of ``kinecast train prior`` judged against the one in force, and put in force where it is better."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.gmm import one_gaussian, seen_coordinates
from kinecast.engines.body.prior.pose_prior import PosePrior, find_prior, read_prior, retargeted
from kinecast.engines.models.promoted import PRIORS, Promoted
from kinecast.engines.train.data.motion import Clip
from kinecast.nodes.promote.gate import Change, gate_errors, gate_likelihood
from kinecast.nodes.promote.lifter import Promotion, no_test_session, utc_now
from kinecast.nodes.promote.lifter_benchmarks import PredictedErrors
from kinecast.nodes.promote.prior_benchmarks import MIN_FRAMES, excerpts, fit_errors, log_likelihoods
from kinecast.nodes.promote.report import write_report
from kinecast.nodes.train import run_manifest
from kinecast.nodes.train.prior import WEIGHTS, read_recipe, read_sessions

SESSIONS, MOTION = "held-out sessions", "held-out motion"
VIEWS = {1: "one view", 2: "two views"}
# the some forty excerpts of a benchmark tell 2 % apart
TOLERANCE = {"pose": 0.03, "aligned": 0.03, "place": 0.05, "velocity": 0.05}
# held-out clips of ours that the shipped prior learnt from, and so all that come of it: they would speak for it
SHIPPED_KNOWS = ("cmu/cmu_0[125689]_*", "cc0/*")


def promote_prior(
    run: Path, motion: Sequence[Path] = (), datasets: Sequence[Path] = (), held_out: Path | None = None,
    check: bool = False,
) -> Promotion:  # fmt: skip
    """Compare the prior of a run with the current default, and put it in force where it is better.

    motion, datasets, held_out: instead of the run's. check: judge and report alone. Raises KinecastError where the run
    has no prior, there is nothing to judge by, a session to judge by was learned from, the cache cannot be written, or
    another prior was put in force meanwhile.
    """
    if not check:
        PRIORS.check_writable()  # before minutes of work
    recipe = read_recipe(run)
    judging = list(map(str, datasets)) or recipe.datasets
    run_manifest.check_no_leakage(read_sessions(run), recipe.datasets, judging)
    recipe = replace(
        recipe,
        motion=tuple(map(str, motion)) or recipe.motion,
        datasets=tuple(judging),
        held_out=str(held_out or recipe.held_out),
    )
    if not (run / WEIGHTS).is_file():
        raise KinecastError(f"{run}: no {WEIGHTS} in it: the training is not done; run it again to go on")
    files = run / WEIGHTS, find_prior("default")
    candidate, current = (retargeted(read_prior(path), load_body()) for path in files)
    if candidate.name.partition("@")[2] == current.name.partition("@")[2]:
        raise KinecastError(f"{run / WEIGHTS} is {current.name}, which is in force already")
    if np.abs(candidate.reference - current.reference).max() > 1e-5:
        raise KinecastError(f"{run / WEIGHTS} is told from another pose than {current.name}: train it anew")
    clips: dict[str, list[Clip]] = {}
    if recipe.datasets:
        clips[SESSIONS] = recipe.sessions("test")
        if not clips[SESSIONS]:
            raise no_test_session(recipe.datasets)
    clips[MOTION] = [c for c in recipe.clips()[1] if not any(fnmatch(c.name, p) for p in SHIPPED_KNOWS)]
    if not clips[MOTION]:
        raise KinecastError(f"{', '.join(recipe.motion)}: no clip is held out: name some with --held-out")
    changes, errors, alone = _examined(current, candidate, clips)
    folder, now = run / "promotion", utc_now()
    about = {"run": str(run.resolve()), "utc": now, "data": ", ".join((*recipe.datasets, *recipe.motion)), **alone}
    refused = write_report(folder, (current.name, candidate.name), errors, changes, (), about)
    if refused or check:
        return Promotion(folder / "report.md", refused, None)

    def ready(_: Promoted) -> None:
        if find_prior("default") != files[1]:
            raise KinecastError(f"{current.name} is not in force any more: promote again, beside what is")

    new = PRIORS.install(run / WEIGHTS, str(run.resolve()), current.name, now, ready)
    return Promotion(folder / "report.md", [], new)


def _examined(
    current: PosePrior, candidate: PosePrior, clips_of: dict[str, list[Clip]]
) -> tuple[list[Change], dict[str, tuple[PredictedErrors, PredictedErrors]], dict[str, str]]:
    """Judgements; the errors by benchmark; and beside them what one Gaussian alone is worth. The first benchmark
    decides."""
    seen = seen_coordinates(load_body(), current.reference)
    changes: list[Change] = []
    errors: dict[str, tuple[PredictedErrors, PredictedErrors]] = {}
    alone = {}
    for name, clips in clips_of.items():
        mask = seen if name == SESSIONS else None
        likelihoods = [log_likelihoods(p, clips, mask) for p in (current, candidate)]
        changes.append(gate_likelihood(name, likelihoods[0], likelihoods[1], better=not changes))
        flat = log_likelihoods(one_gaussian(candidate), clips, mask)
        alone[f"one Gaussian, {name}"] = f"{flat.nat.sum() / flat.poses.sum():.2f} nat a pose"
        stretches = excerpts(clips)
        if not stretches:
            raise KinecastError(f"{name}: no clip has {MIN_FRAMES} good frames to fit bodies to")
        for views, words in VIEWS.items():
            errors[f"{name}, {words}"] = fit_errors(current, stretches, views), fit_errors(candidate, stretches, views)
    return changes + gate_errors(errors, "", TOLERANCE), errors, alone
