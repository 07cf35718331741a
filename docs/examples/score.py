"""Score a result against a truth, both as `kinecast export --to npz` writes them, with the measures' own functions.

python docs/examples/score.py session.npz truth.npz
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.metrics import Score, assign, distances, mpjpe, p_mpjpe, pck

Float = NDArray[np.float64]
GATE_M = 0.5  # a prediction further than this (mean over joints) is somebody else


def frames_of(path: Path) -> dict[int, Float]:
    """Time in ns → the people (P, J, 3) in metres of that frame set."""
    with np.load(path) as file:
        t_ns, points = file["t_capture_ns"], file["points_world_m"].astype(np.float64)
        return {int(t): points[t_ns == t] for t in file["sets_ns"]}


def matched(result: dict[int, Float], truth: dict[int, Float]) -> tuple[Float, Float]:
    """(N, J, 3) twice: every person-frame of the truth, and the prediction that belongs to it or NaN."""
    predicted, wanted = [], []
    for t_ns, people in truth.items():
        guesses = result.get(t_ns, np.zeros((0, *people.shape[1:])))
        rows = {g: p for p, g in assign(distances(guesses, people), GATE_M)} if len(guesses) else {}
        for g, person in enumerate(people):
            predicted.append(guesses[rows[g]] if g in rows else np.full_like(person, np.nan))
            wanted.append(person)
    return np.stack(predicted), np.stack(wanted)


def say(name: str, score: Score, scale: float, unit: str) -> None:
    """One line, with the share of the truth that it is over: leaving joints out is not accuracy."""
    print(f"{name}: {score.value * scale:.1f} {unit} over {score.n} of {score.of} joints")


def main() -> None:
    """Print MPJPE, P-MPJPE and 3DPCK at 150 mm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("truth", type=Path)
    args = parser.parse_args()
    predicted, truth = matched(frames_of(args.result), frames_of(args.truth))
    say("MPJPE", mpjpe(predicted, truth), 1000, "mm")
    say("P-MPJPE", p_mpjpe(predicted, truth), 1000, "mm")
    say("3DPCK 150 mm", pck(predicted, truth), 100, "%")


if __name__ == "__main__":
    main()
