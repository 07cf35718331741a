"""``kinecast clean``: put the people of a recording right, in steps that can be repeated."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinecast.capture.errors import KinecastError
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.reprocess.clean import clean_recording, steps_of
from kinecast.nodes.reprocess.clean_people import FILTERS, Step


class _Append(argparse.Action):
    """Steps of all kinds in one list, in the order in which they are given."""

    def __call__(self, parser: argparse.ArgumentParser, space: Any, values: Any, option: str | None = None) -> None:
        words = [values] if isinstance(values, str) else list(values)
        try:
            space.steps = [*(getattr(space, "steps", None) or ()), _step((option or "").lstrip("-"), words)]
        except ValueError as e:
            parser.error(f"argument {option}: {e}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The recording, the steps, and where the result goes."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="the new recording (.mcap)")
    step: dict[str, Any] = {"action": _Append, "dest": "steps", "default": None}
    parser.add_argument(
        "--trim", nargs=2, metavar=("START", "END"), help="keep these seconds; `end` for its end", **step
    )
    parser.add_argument("--drop", metavar="ID", help="leave a person out", **step)
    parser.add_argument("--relabel", metavar="ID=NEW", help="give a person another identity", **step)
    parser.add_argument("--merge", metavar="ID=INTO", help="one person who had two identities", **step)
    parser.add_argument("--split", metavar="ID@SECONDS=NEW", help="another person from that time on", **step)
    parser.add_argument("--fill", metavar="SECONDS", help="fill gaps up to so long; what is filled is flagged", **step)
    parser.add_argument(
        "--filter", metavar="NAME[:HZ]", help=f"{', '.join(FILTERS)}, with a cutoff: butterworth:6", **step
    )
    parser.add_argument("--like", type=Path, metavar="CLEANED", help="the steps that made this recording, first")


def _step(kind: str, words: Sequence[str]) -> Step:
    """One step from its words; ValueError where they do not fit."""
    if kind == "trim":
        end = float("inf") if words[1] == "end" else float(words[1])
        start = float(words[0])
        if not 0 <= start < end:
            raise ValueError(f"{words[0]} to {words[1]} is no span of seconds")
        return Step("trim", start_s=start, end_s=end)
    if kind == "drop":
        return Step("drop", person=int(words[0]))
    if kind == "fill":
        seconds = float(words[0])
        if not 0 < seconds <= 10:
            raise ValueError("more than 0 and at most 10 seconds: longer gaps are guesses")
        return Step("fill", seconds=seconds)
    if kind == "filter":
        name, _, cutoff = words[0].partition(":")
        if name not in FILTERS:
            raise ValueError(f"{name!r} is none of {', '.join(FILTERS)}")
        if (name == "rts") == bool(cutoff):
            raise ValueError("rts has no cutoff" if cutoff else f"say its cutoff in Hz: {name}:6")
        return Step("filter", name=name, cutoff_hz=float(cutoff or 0))
    match = re.fullmatch(r"(\d+)(?:@(\d+(?:\.\d+)?))?=(\d+)", words[0])
    if not match or (match[2] is not None) != (kind == "split"):
        raise ValueError("expected ID@SECONDS=NEW, as 2@4.5=7" if kind == "split" else "expected ID=NEW, as 3=1")
    person, into = int(match[1]), int(match[3])
    if person == into:
        raise ValueError(f"person {person} has that identity")
    if kind == "split":
        return Step("split", person, into, start_s=float(match[2]))
    return Step("merge" if kind == "merge" else "relabel", person, into)


def run(args: argparse.Namespace) -> int:
    """Clean, and say what each step did."""
    if args.out.suffix != ".mcap":
        raise KinecastError(f"{args.out}: the name must end in .mcap")
    recording = Recording.open(args.recording)
    steps = [*(steps_of(Recording.open(args.like)) if args.like else ()), *(args.steps or ())]
    done = clean_recording(recording, args.out, steps)
    for line in (*recording.damage(), *done.told):
        print(line)
    print(f"{args.out}: {done.sets} frame sets")
    return 0
