"""Steps of :mod:`nodes.reprocess.clean` that choose frame sets and say who is who; each gives the sets and a line."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.records import Bodies, Poses
from kinecast.nodes.recording.frame_sets import FrameSetBundle

Kind = Literal["trim", "drop", "relabel", "merge", "split", "fill", "filter"]
FILTERS = ("butterworth", "one-euro", "rts")


@dataclass(frozen=True, slots=True)
class Step:
    """kind: what is done. trim: ``start_s`` to ``end_s``, since the first frame set. drop: ``person``. relabel and
    merge:
    ``person`` becomes ``into``; two of one name in a frame set: the one named ``into`` before stays. split: ``person``
    is
    ``into`` from ``start_s`` on. fill: gaps up to ``seconds``. filter: ``name`` with ``cutoff_hz`` (rts has none).
    """

    kind: Kind
    person: int = -1
    into: int = -1
    start_s: float = 0.0
    end_s: float = float("inf")
    seconds: float = 0.0
    name: str = ""
    cutoff_hz: float = 0.0


Bundles = list[FrameSetBundle]


def seconds_of(bundles: Bundles) -> NDArray[np.float64]:
    return np.array([b.frameset.t_set_ns - bundles[0].frameset.t_set_ns for b in bundles]) * 1e-9


def people_of(bundles: Bundles) -> set[int]:
    return {int(i) for b in bundles if b.poses is not None for i in b.poses.person_ids}


def require(bundles: Bundles, person: int, where: str) -> None:
    present = people_of(bundles)
    if person not in present:
        known = ", ".join(map(str, sorted(present))) or "nobody"
        raise KinecastError(f"{where}: nobody has the identity {person}; there are {known}")


def trim(bundles: Bundles, step: Step, where: str) -> tuple[Bundles, str]:
    at = seconds_of(bundles)
    kept = [b for b, t in zip(bundles, at, strict=True) if step.start_s <= t <= step.end_s]
    if not kept:
        raise KinecastError(
            f"{where}: nothing is left from {step.start_s:g} to {step.end_s:g} s; it lasts {at[-1]:.2f} s"
        )
    return kept, f"trim: {len(kept)} of {len(bundles)} frame sets kept"


def rows_of(record: Any, rows: NDArray[np.intp], ids: NDArray[np.int32]) -> Any:
    """A message of the people in ``rows``, called ``ids``."""
    shapes = type(record).SHAPES
    mine = {n: getattr(record, n)[rows] for n, axes in shapes.items() if axes[0] == "P" and getattr(record, n).size}
    empty = {n: getattr(record, n)[:0] for n, axes in shapes.items() if axes[0] == "P" and not getattr(record, n).size}
    return replace(record, **{**empty, **mine, "person_ids": ids})


def _renamed(bundle: FrameSetBundle, names: dict[int, int], keep: int = -1) -> tuple[FrameSetBundle, int]:
    """The set with other identities; of two of one name the one that is called ``keep`` now stays. −1: left out."""

    def mine(record: Poses | Bodies | None) -> tuple[Any, int]:
        if record is None or not len(record.person_ids):
            return record, 0
        before = record.person_ids.tolist()
        after = [names.get(i, i) for i in before]
        order = sorted(range(len(before)), key=lambda p: (before[p] != keep, p))
        chosen: dict[int, int] = {}
        for p in order:
            if after[p] >= 0:
                chosen.setdefault(after[p], p)
        lost = sum(a >= 0 for a in after) - len(chosen)
        rows = np.array(sorted(chosen.values()), np.intp)
        return rows_of(record, rows, np.array([after[p] for p in rows], np.int32)), lost

    poses, lost = mine(bundle.poses)
    bodies, _ = mine(bundle.bodies)
    return replace(bundle, poses=poses, bodies=bodies), lost


def drop(bundles: Bundles, step: Step, where: str) -> tuple[Bundles, str]:
    require(bundles, step.person, where)
    return [_renamed(b, {step.person: -1})[0] for b in bundles], f"drop: person {step.person} left out"


def relabel(bundles: Bundles, step: Step, where: str) -> tuple[Bundles, str]:
    require(bundles, step.person, where)
    if step.into in people_of(bundles):
        raise KinecastError(
            f"{where}: somebody is {step.into} already; --merge {step.person}={step.into} makes them one"
        )
    return [_renamed(b, {step.person: step.into})[0] for b in bundles], f"relabel: {step.person} is {step.into}"


def merge(bundles: Bundles, step: Step, where: str) -> tuple[Bundles, str]:
    require(bundles, step.person, where)
    require(bundles, step.into, where)
    done = [_renamed(b, {step.person: step.into}, keep=step.into) for b in bundles]
    both = sum(lost for _, lost in done)
    twice = f"; in {both} frame sets both were there, and person {step.into} stayed" if both else ""
    return [b for b, _ in done], f"merge: {step.person} is {step.into}{twice}"


def split(bundles: Bundles, step: Step, where: str) -> tuple[Bundles, str]:
    require(bundles, step.person, where)
    late = seconds_of(bundles) >= step.start_s
    after = [b for b, t in zip(bundles, late, strict=True) if t]
    require(after, step.person, f"{where} from {step.start_s:g} s on")
    if step.into in people_of(after):
        raise KinecastError(f"{where}: somebody is {step.into} already after {step.start_s:g} s")
    done = [_renamed(b, {step.person: step.into})[0] if t else b for b, t in zip(bundles, late, strict=True)]
    return done, f"split: {step.person} is {step.into} from {step.start_s:g} s on"
