"""``kinecast info``: show what is in a recording."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from kinecast.capture.console import plain_console
from kinecast.capture.refusals import sentences
from kinecast.nodes.cli.table import print_whole
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.recording.summary import as_json, summarise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file."""
    parser.add_argument("recording", type=Path, help="the recording, its first file where it has several")
    parser.add_argument("--json", action="store_true", help="the same figures under stable keys")


def _table(*headings: str) -> Table:
    """A table whose cells stay on one line."""
    table = Table(box=None)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _topics(told: dict[str, Any]) -> Table:
    table = _table("topic", "messages", "kB", "per s", "lost")
    for name, t in told["topics"].items():
        rate = "" if t["rate_hz"] is None else f"{t['rate_hz']:.1f}"
        table.add_row(name, str(t["messages"]), f"{t['bytes'] / 1000:.1f}", rate, str(t["lost"] or ""))
    return table


def _cameras(told: dict[str, Any]) -> Table:
    table = _table("camera", "frames", "fps", "skipped", "people seen", "size", "skeleton")
    for name, c in told["cameras"].items():
        fps = "" if c["fps"] is None else f"{c['fps']:.2f}"
        size = "×".join(map(str, c["size_px"]))
        row = (name, str(c["frames"]), fps, str(c["skipped"]), str(c["detections"]), size, c["skeleton"])
        table.add_row(*row)
    return table


def run(args: argparse.Namespace) -> int:
    """Print it. 0 also where the recording was cut short: that is said, and is no mistake of the caller."""
    recording = Recording.open(args.recording)
    told = as_json(recording, summarise(recording))
    if args.json:
        print(json.dumps(told, indent=1))
        return 0
    console = plain_console(soft_wrap=True, highlight=False)
    about, sets = told["about"], told["frame_sets"]
    size = sum(s["bytes"] for s in told["segments"])
    made = f"Kinecast {about.get('version', '?')}, {about.get('made_by', '?')}"
    console.print(
        f"{recording.path}: {told['duration_s']:.2f} s, {size / 1e6:.2f} MB, {len(told['segments'])} segment(s)"
    )
    console.print(f"made by {made}; session {about.get('session', '?')}, {about.get('pace', '?')}")
    for line in recording.damage():
        console.print(f"{line}; `kinecast recover` writes what is left as a whole file")
    for n, outage in enumerate(told["outages_s"], 1):
        console.print(f"nothing was recorded for {outage:.2f} s before {told['segments'][n]['file']}")
    for table in (_topics(told), _cameras(told)):
        print_whole(console, table)
    for name, c in told["cameras"].items():
        console.print(f"{name} is {c['source'] or 'not said'}" + (f", video {c['video']}" if c["video"] else ""))
    reasons = ", ".join(f"{n} {r}" for r, n in sets["reasons"].items())
    console.print(f"frame sets: {sets['count']} ({reasons}), {len(sets['epochs'])} run(s) of fusion")
    people = ", ".join(f"{p} in {n}" for p, n in told["people"].items())
    console.print(f"people: {len(told['people'])}" + (f" (id in sets: {people})" if people else ""))
    for body, n in told["bodies"].items():
        flags = ", ".join(f"{flag} {k}" for flag, k in told["body_flags"].items())
        console.print(f"bodies: {n} person-frames of {body}" + (f" (flags: {flags})" if flags else ""))
    for node, drops in told["drops"].items():
        console.print(f"drops of {node}: {sentences(drops)}")
    if told["refused"]:
        console.print(f"refused by fusion: {sentences(told['refused'])}")
    if told["unreadable"]:
        console.print(f"messages that this version does not read: {told['unreadable']}")
    for name, digest in told["models"].items():
        console.print(f"model {name}: {digest}")
    rig = told["rig"]
    console.print(
        "rig: none attached" if rig is None else f"rig: {rig['name']}, {rig['up']} up: {', '.join(rig['cameras'])}"
    )
    return 0
