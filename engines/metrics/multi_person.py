"""Several people against the truth: who is who, PCP, average precision, identities, ghosts and missed people.

A frame is a pair of arrays: predicted (P, J, 3) and truth (G, J, 3) in metres, in one skeleton, NaN where not given.
Definitions and their sources: docs/reference/measures.md.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kinecast.engines.metrics.joints import Float
from kinecast.engines.skeleton import skeleton

GATE_M = 0.5  # further away than this, mean over the joints, it is somebody else
AP_M = (0.025, 0.050, 0.075, 0.100, 0.125, 0.150)
RECALL_M = 0.5
AP_ROOT_M = 0.25

# the ten limbs of the Shelf and Campus protocol, by the names that their papers use
PCP_LIMBS: dict[str, tuple[tuple[str, str], ...]] = {
    "upper arms": (("left_shoulder", "left_elbow"), ("right_shoulder", "right_elbow")),
    "lower arms": (("left_elbow", "left_wrist"), ("right_elbow", "right_wrist")),
    "upper legs": (("left_hip", "left_knee"), ("right_hip", "right_knee")),
    "lower legs": (("left_knee", "left_ankle"), ("right_knee", "right_ankle")),
    "head": (("neck", "head_top"),),
    "torso": (("neck", "mid_hip"),),
}


def distances(predicted: Float, truth: Float) -> Float:
    """(P, G) mean distance over the joints that both give, m; inf where they share none."""
    d = np.linalg.norm(predicted[:, None] - truth[None], axis=-1)
    ok = np.isfinite(d)
    n = ok.sum(axis=-1)
    total = np.where(ok, d, 0.0).sum(axis=-1)
    return np.where(n > 0, total / np.maximum(n, 1), np.inf)


def assign(cost_m: Float, gate_m: float = GATE_M) -> list[tuple[int, int]]:
    """(row, column) pairs of the best one-to-one assignment (Hungarian), none over the gate.

    As many pairs as possible first, then the smallest sum.
    """
    if not cost_m.size:
        return []
    capped = np.where(cost_m <= gate_m, cost_m, 1e3 * max(gate_m, 1e-9))
    rows, columns = linear_sum_assignment(capped)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost_m[r, c] <= gate_m]


@dataclass(frozen=True, slots=True, eq=False)
class PcpScore:
    """right / total limbs of one person, by limb group; frames: person-frames in which the person is annotated."""

    right: dict[str, int]
    total: dict[str, int]
    frames: int

    @property
    def value(self) -> float:
        """Share of right limbs in [0, 1]; NaN where nothing is annotated."""
        n = sum(self.total.values())
        return sum(self.right.values()) / n if n else float("nan")


SHELF_JOINTS = skeleton("shelf15").joints


def has_pcp(joints: Sequence[str]) -> bool:
    """Whether all ten limbs can be told from these joints."""
    return {j for limbs in PCP_LIMBS.values() for limb in limbs for j in limb} <= set(joints)


def pcp_limbs(predicted: Float | None, truth: Float, joints: Sequence[str] = SHELF_JOINTS) -> dict[str, list[bool]]:
    """Which limbs are right: the errors of both ends add up to less than the limb's true length.

    predicted, truth: (J, 3) of ``joints``; None where the person was not found. A limb whose truth is missing is not
    counted; one whose prediction is missing is wrong.
    """
    index = {name: i for i, name in enumerate(joints)}
    out: dict[str, list[bool]] = {}
    for group, limbs in PCP_LIMBS.items():
        out[group] = []
        for a, b in limbs:
            i, j = index[a], index[b]
            length = float(np.linalg.norm(truth[i] - truth[j]))
            if not np.isfinite(length):
                continue
            error = float("nan")
            if predicted is not None:
                error = float(np.linalg.norm(predicted[i] - truth[i]) + np.linalg.norm(predicted[j] - truth[j]))
            out[group].append(error < length)
    return out


def pcp(
    frames: Sequence[tuple[Float, Mapping[int, Float]]],
    joints: Sequence[str] = SHELF_JOINTS,
    gate_m: float = GATE_M,
) -> dict[int, PcpScore]:
    """PCP of every annotated person over the frames in which that person is annotated (Belagiannis et al. 2014).

    frames: predicted (P, J, 3) and truth by person (J, 3). People are matched one to one in every frame, within the
    gate.
    """
    right: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    total: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    count: dict[int, int] = defaultdict(int)
    for predicted, truth in frames:
        ids = list(truth)
        if not ids:
            continue
        found = {g: p for p, g in assign(distances(predicted, np.stack([truth[i] for i in ids])), gate_m)}
        for g, person in enumerate(ids):
            count[person] += 1
            limbs = pcp_limbs(predicted[found[g]] if g in found else None, truth[person], joints)
            for group, flags in limbs.items():
                right[person][group] += sum(flags)
                total[person][group] += len(flags)
    return {p: PcpScore(dict(right[p]), dict(total[p]), count[p]) for p in sorted(count)}


@dataclass(frozen=True, slots=True)
class Precision:
    """Average precision and recall in [0, 1] by threshold in m; recall_500: people found within 0.5 m (VoxelPose)."""

    ap: dict[float, float]
    recall: dict[float, float]
    recall_500: float
    mpjpe_m: float
    people: int


def average_precision(frames: Sequence[tuple[Float, Float, Float]], thresholds_m: Sequence[float] = AP_M) -> Precision:
    """AP by mean joint error, as VoxelPose counts it (Tu et al. 2020). frames: predicted, scores (P,), truth (G, J, 3).

    Every prediction goes to the nearest person of the truth; by falling score, the first within the threshold is right,
    a second one of the same person is false. AP is the area under the envelope of precision over recall.
    """
    rows: list[tuple[float, float, tuple[int, int]]] = []
    people = 0
    for f, (predicted, scores, truth) in enumerate(frames):
        people += len(truth)
        if not len(truth):
            rows += [(-float(s), np.inf, (f, -1)) for s in scores]
            continue
        d = distances(predicted, truth)
        for p in range(len(predicted)):
            g = int(np.argmin(d[p]))
            rows.append((-float(scores[p]), float(d[p, g]), (f, g)))
    rows.sort(key=lambda r: r[0])
    ap, recall = {}, {}
    for threshold in thresholds_m:
        ap[threshold], recall[threshold], _ = _ap(rows, threshold, people)
    _, recall_500, errors = _ap(rows, RECALL_M, people)
    return Precision(ap, recall, recall_500, float(np.mean(errors)) if errors else float("nan"), people)


def _ap(
    rows: Sequence[tuple[float, float, tuple[int, int]]], threshold_m: float, people: int
) -> tuple[float, float, list[float]]:
    taken: set[tuple[int, int]] = set()
    right, errors = np.zeros(len(rows)), []
    for i, (_, error, who) in enumerate(rows):
        if error < threshold_m and who not in taken:
            taken.add(who)
            right[i] = 1
            errors.append(error)
    if not people:
        return float("nan"), float("nan"), errors
    hits = np.cumsum(right)
    recall = hits / people
    precision = hits / np.maximum(np.arange(1, len(rows) + 1), 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    area = float((np.diff(np.concatenate([[0.0], recall])) * envelope).sum())
    return area, float(recall[-1]) if len(rows) else 0.0, errors


def ap_root(frames: Sequence[tuple[Float, Float, Float]], root: int, threshold_m: float = AP_ROOT_M) -> float:
    """AP of the root joint alone, right within 25 cm (AP_25^root of Moon et al. 2019); frames as above."""
    only = [(p[:, [root]], s, g[:, [root]]) for p, s, g in frames]
    kept = [(p, s, g[np.isfinite(g).all(axis=(1, 2))]) for p, s, g in only]
    return average_precision(kept, (threshold_m,)).ap[threshold_m]


@dataclass(slots=True)
class Identities:
    """Who was followed under which name. All counts are over the frames given.

    truth, predicted: person-frames. matched: of both. switches: a person continues under another identity.
    fragmentations: a person is lost and found again. missed: person-frames of the truth without a prediction.
    ghosts: person-frames of the predictions without a truth: only meant where everybody is annotated.
    """

    truth: int = 0
    predicted: int = 0
    matched: int = 0
    switches: int = 0
    fragmentations: int = 0
    missed: int = 0
    ghosts: int = 0
    switched_at: list[tuple[int, int, int, int]] = field(default_factory=list)  # frame, person, old, new


def identities(
    frames: Sequence[tuple[Float, NDArray[np.int32], Float, Sequence[int]]], gate_m: float = GATE_M
) -> Identities:
    """Count switches and fragmentations (CLEAR MOT, Bernardin and Stiefelhagen 2008).

    frames: predicted (P, J, 3), its identities (P,), truth (G, J, 3), its identities (G,). A pair that was matched
    before stays matched while it is within the gate, so that two people who touch do not count as a switch; the rest is
    assigned by distance. Who is not in the truth for a while and comes back under another identity has switched.
    """
    out = Identities()
    last: dict[int, int] = {}
    lost: set[int] = set()
    for number, (predicted, ids, truth, persons) in enumerate(frames):
        cost = distances(predicted, truth) if len(predicted) and len(truth) else np.zeros((len(predicted), len(truth)))
        pairs = _keep(cost, list(map(int, ids)), list(persons), last, gate_m)
        found = {g: p for p, g in pairs}
        out.truth += len(persons)
        out.predicted += len(ids)
        out.matched += len(pairs)
        out.missed += len(persons) - len(pairs)
        out.ghosts += len(ids) - len(pairs)
        for g, person in enumerate(persons):
            if g not in found:
                if person in last:
                    lost.add(person)
                continue
            name = int(ids[found[g]])
            if person in lost:
                out.fragmentations += 1
                lost.discard(person)
            if person in last and last[person] != name:
                out.switches += 1
                out.switched_at.append((number, int(person), last[person], name))
            last[person] = name
    return out


def _keep(
    cost: Float, ids: list[int], persons: list[int], last: dict[int, int], gate_m: float
) -> list[tuple[int, int]]:
    held = [
        (float(cost[ids.index(last[person]), g]), ids.index(last[person]), g)
        for g, person in enumerate(persons)
        if last.get(person) in ids
    ]
    pairs: list[tuple[int, int]] = []
    for metres, p, g in sorted(held):  # two people may have had one identity in turn: the nearer one keeps it
        if metres <= gate_m and p not in {a for a, _ in pairs}:
            pairs.append((p, g))
    rest_p = [p for p in range(len(ids)) if p not in {a for a, _ in pairs}]
    rest_g = [g for g in range(len(persons)) if g not in {b for _, b in pairs}]
    for a, b in assign(cost[np.ix_(rest_p, rest_g)], gate_m):
        pairs.append((rest_p[a], rest_g[b]))
    return pairs
