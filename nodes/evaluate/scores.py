"""All measures of one result beside one truth, as plain numbers under stable keys (docs/reference/measures.md)."""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.metrics import (
    ap_root,
    assign,
    auc,
    average_precision,
    bone_stability,
    coverage,
    distances,
    identities,
    jitter,
    jitter_m,
    mpjpe,
    mrpe,
    n_mpjpe,
    p_mpjpe,
    pck,
    pcp,
    velocity_error,
)
from kinecast.engines.metrics.joints import Score
from kinecast.engines.metrics.multi_person import GATE_M, PCP_LIMBS, RECALL_M, has_pcp
from kinecast.engines.metrics.steady import LIMBS
from kinecast.nodes.evaluate.ground_truth import Truth
from kinecast.nodes.evaluate.result import Float, Pairing, Result

ROOT = "mid_hip"
WEAK_FRAMES = 5  # a track that lives longer than this on fewer than two views is counted


def _mm(score: Score) -> dict[str, float | int]:
    return {"mm": score.value * 1000, "n": score.n, "of": score.of}


def score(result: Result, truth: Truth, pairing: Pairing, gate_m: float = GATE_M) -> dict[str, Any]:
    """Every measure. Frames of the truth without a frame set are left out and counted under ``frames``."""
    out: dict[str, Any] = {
        "result": str(result.path),
        "dataset": truth.name,
        "joints": list(pairing.joints),
        "notes": list(truth.notes),
        "frames": {
            "truth": len(pairing.frames),
            "scored": len(pairing.both),
            "matched_by": pairing.by,
            "person_frames": sum(len(f.truth) for f in pairing.both),
            "person_frames_without_frame_set": sum(len(f.truth) for f in pairing.frames if f.result is None),
        },
    }
    if has_pcp(pairing.joints):
        out["pcp"] = _pcp(pairing, truth, gate_m)
    out["errors"] = _errors(pairing, gate_m)
    out["precision"] = _precision(pairing, truth.complete)
    out["identity"] = _identity(pairing, truth.complete, gate_m)
    out["steadiness"] = steadiness(result)
    out["tracks"] = tracks(result)
    return out


def _pcp(pairing: Pairing, truth: Truth, gate_m: float) -> dict[str, Any]:
    scores = pcp([(f.predicted, f.truth) for f in pairing.both], pairing.joints, gate_m)
    people = {
        str(p): {
            "pcp": s.value * 100,
            "frames": s.frames,
            "limbs": {g: 100 * s.right[g] / s.total[g] for g in PCP_LIMBS if s.total.get(g)},
        }
        for p, s in scores.items()
    }
    scored = [p for p in (truth.scored or tuple(scores)) if p in scores]
    average = float(np.mean([scores[p].value for p in scored])) * 100 if scored else float("nan")
    n = sum(scores[p].frames for p in scored)
    return {"people": people, "average": average, "averaged_over": scored, "person_frames": n}


def _pairs(pairing: Pairing, gate_m: float) -> list[tuple[int, int, int, int]]:
    """(index of the frame, person of the truth, row of the prediction, its identity) of every match."""
    out = []
    for k, f in enumerate(pairing.frames):
        people = list(f.truth)
        if f.result is None or not people or not len(f.predicted):
            continue
        cost = distances(f.predicted, np.stack([f.truth[p] for p in people]))
        out += [(k, people[g], p, int(f.result.ids[p])) for p, g in assign(cost, gate_m)]
    return out


def _errors(pairing: Pairing, gate_m: float) -> dict[str, Any]:
    matches = _pairs(pairing, gate_m)
    J = len(pairing.joints)
    predicted = np.array([pairing.frames[k].predicted[row] for k, _, row, _ in matches]).reshape(-1, J, 3)
    truth = np.array([pairing.frames[k].truth[person] for k, person, _, _ in matches]).reshape(-1, J, 3)
    covariance = [_covariance(pairing, k, row) for k, _, row, _ in matches]
    out: dict[str, Any] = {"matched_person_frames": len(matches), "mpjpe": _mm(mpjpe(predicted, truth))}
    out["p_mpjpe"] = _mm(p_mpjpe(predicted, truth))
    out["by_joint_mm"] = {j: mpjpe(predicted[:, [i]], truth[:, [i]]).value * 1000 for i, j in enumerate(pairing.joints)}
    everybody_p, everybody_t = _everybody(pairing, {(k, person): row for k, person, row, _ in matches})
    absolute = pck(everybody_p, everybody_t)
    out["pck_abs_150"] = {"percent": absolute.value * 100, "n": absolute.n}
    if ROOT in pairing.joints:
        root = pairing.joints.index(ROOT)
        out["mpjpe_root"] = _mm(mpjpe(predicted, truth, root))
        out["n_mpjpe"] = _mm(n_mpjpe(predicted, truth, root))
        out["mrpe"] = _mm(mrpe(predicted, truth, root))
        relative = pck(everybody_p, everybody_t, root=root)
        out["pck_150"] = {"percent": relative.value * 100, "n": relative.n}
        out["auc"] = {"percent": auc(everybody_p, everybody_t, root).value * 100, "n": relative.n}
    if np.isfinite(pairing.period_s):
        velocity = _velocity(pairing, matches)
        out["velocity"] = {"mm_s": velocity.value * 1000, "n": velocity.n, "of": velocity.of}
    if covariance:
        inside, n = coverage((predicted - truth).reshape(-1, 3), np.concatenate(covariance).reshape(-1, 3, 3))
        out["coverage"] = {"inside_1_2_3_sigma": inside.tolist(), "honest": [0.199, 0.739, 0.971], "n": n}
    return out


def _covariance(pairing: Pairing, k: int, row: int) -> Float:
    frame = pairing.frames[k].result
    assert frame is not None
    return np.asarray(frame.covariance_m2[row][list(pairing.ours)])


def _everybody(pairing: Pairing, rows: dict[tuple[int, int], int]) -> tuple[Float, Float]:
    """(N, J, 3) twice: every person-frame of the truth, with NaN where nobody was matched."""
    J = len(pairing.joints)
    predicted, truth = [], []
    for k, f in enumerate(pairing.frames):
        if f.result is None:
            continue
        for person, points in f.truth.items():
            row = rows.get((k, person))
            predicted.append(f.predicted[row] if row is not None else np.full((J, 3), np.nan))
            truth.append(points)
    return np.array(predicted).reshape(-1, J, 3), np.array(truth).reshape(-1, J, 3)


def _velocity(pairing: Pairing, matches: list[tuple[int, int, int, int]]) -> Score:
    """Over runs of neighbouring frame numbers of each person of the truth."""
    rows = {(k, person): row for k, person, row, _ in matches}
    J, total, n, of = len(pairing.joints), 0.0, 0, 0
    people = {p for f in pairing.frames for p in f.truth}
    for person in people:
        for a, b in zip(range(len(pairing.frames) - 1), range(1, len(pairing.frames)), strict=True):
            one, two = pairing.frames[a], pairing.frames[b]
            if two.number != one.number + 1 or person not in one.truth or person not in two.truth:
                continue
            nothing = np.full((J, 3), np.nan)
            pair = ((a, one), (b, two))
            p = np.stack([f.predicted[rows[k, person]] if (k, person) in rows else nothing for k, f in pair])
            s = velocity_error(p, np.stack([one.truth[person], two.truth[person]]), pairing.period_s)
            of += s.of
            if s.n:
                total, n = total + s.value * s.n, n + s.n
    return Score(total / n if n else float("nan"), n, of)


def _precision(pairing: Pairing, complete: bool) -> dict[str, Any]:
    """AP. Where not everybody is annotated, predictions with nobody of the truth within 0.5 m are left out."""
    J = len(pairing.joints)
    frames: list[tuple[Float, Float, Float]] = []
    for f in pairing.both:
        assert f.result is not None
        seen = f.result.confidence > 0
        scores = np.where(seen.any(axis=1), f.result.confidence.sum(axis=1) / np.maximum(seen.sum(axis=1), 1), 0.0)
        truth = np.array(list(f.truth.values())).reshape(-1, J, 3)
        near = np.full(len(scores), complete)
        if not complete and len(truth) and len(scores):
            near = distances(f.predicted, truth).min(axis=1) < RECALL_M
        frames.append((f.predicted[near], scores[near], truth))
    p = average_precision(frames)
    out: dict[str, Any] = {
        "ap": {f"{round(t * 1000)}": v * 100 for t, v in p.ap.items()},
        "recall": {f"{round(t * 1000)}": v * 100 for t, v in p.recall.items()},
        "recall_500": p.recall_500 * 100,
        "people": p.people,
    }
    if ROOT in pairing.joints:
        out["ap_root_250"] = ap_root(frames, pairing.joints.index(ROOT)) * 100
    return out


def _identity(pairing: Pairing, complete: bool, gate_m: float) -> dict[str, Any]:
    J = len(pairing.joints)
    frames: list[tuple[Float, NDArray[np.int32], Float, list[int]]] = []
    for f in pairing.both:
        assert f.result is not None
        frames.append((f.predicted, f.result.ids, np.array(list(f.truth.values())).reshape(-1, J, 3), list(f.truth)))
    out = identities(frames, gate_m)
    numbers = [f.number for f in pairing.both]
    return {
        "switches": out.switches,
        "switched_at": [[numbers[k], person, old, new] for k, person, old, new in out.switched_at],
        "fragmentations": out.fragmentations,
        "missed": out.missed,
        "truth": out.truth,
        "predicted": out.predicted,
        "ghosts": out.ghosts if complete else None,
    }


def _by_person(result: Result) -> dict[int, tuple[Float, NDArray[np.int64]]]:
    points: dict[int, list[Float]] = defaultdict(list)
    times: dict[int, list[int]] = defaultdict(list)
    for f in result.frames:
        for i, p in zip(f.ids, f.points_m, strict=True):
            points[int(i)].append(p)
            times[int(i)].append(f.t_ns)
    return {i: (np.stack(points[i]), np.array(times[i], np.int64)) for i in points}


def steadiness(result: Result) -> dict[str, Any]:
    """Bone stability and jitter of a result alone, over all its people."""
    people = _by_person(result)
    has_limbs = all(j in result.joints for limb in LIMBS for j in limb)
    bones = [(result.joints.index(a), result.joints.index(b)) for a, b in LIMBS] if has_limbs else []
    stable = [bone_stability(x, bones) for x, _ in people.values()] if bones else []
    good = [s for s in stable if np.isfinite(s.std_over_mean)]
    n = sum(s.n for s in good)
    jerk = [jitter(x, t) for x, t in people.values()]
    noise = [jitter_m(x, t) for x, t in people.values()]
    return {
        "bones": {
            "std_over_mean": sum(s.std_over_mean * s.n for s in good) / n if n else float("nan"),
            "n": n,
            "of": sum(s.of for s in stable),
        },
        "jitter_mm_s3": _mean([s for s in jerk if s.n]) * 1000,
        "jitter_mm": _mean([s for s in noise if s.n]) * 1000,
    }


def _mean(scores: list[Score]) -> float:
    n = sum(s.n for s in scores)
    return sum(s.value * s.n for s in scores) / n if n else float("nan")


def tracks(result: Result) -> dict[str, Any]:
    """How many identities there are, and those that lived for more than 5 frame sets in a row on under two views."""
    frames: dict[int, int] = defaultdict(int)
    run: dict[int, int] = defaultdict(int)
    longest: dict[int, int] = defaultdict(int)
    told = False
    for f in result.frames:
        for i, views in zip(f.ids.tolist(), f.views.tolist(), strict=True):
            frames[i] += 1
            told = told or views >= 0
            run[i] = run[i] + 1 if 0 <= views < 2 else 0
            longest[i] = max(longest[i], run[i])
    weak = {str(i): n for i, n in longest.items() if n > WEAK_FRAMES}
    return {"identities": len(frames), "frames": {str(i): n for i, n in frames.items()}, "weak": weak if told else None}
