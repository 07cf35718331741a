"""Names of recordings and of their segments."""

import re
from pathlib import Path


def segment_path(first: Path, number: int) -> Path:
    """``session.mcap`` → ``session-001.mcap``; number 0 is the file itself."""
    return first if number == 0 else first.with_name(f"{first.stem}-{number:03d}{first.suffix}")


def recordings(file: Path) -> list[Path]:
    """The recordings that were written under this name, oldest first: ``session.mcap``, ``session_2.mcap`` …"""
    pattern = re.compile(re.escape(file.stem) + r"_(\d+)" + re.escape(file.suffix))
    others = sorted((int(m[1]), p) for p in file.parent.glob("*") if (m := pattern.fullmatch(p.name)))
    return [p for p in [file] if p.exists()] + [p for _, p in others]


def next_path(file: Path, again: bool) -> tuple[Path, int]:
    """Where a recorder may write, and the segment's number: never a file that exists.

    again: this recorder was restarted and goes on in a new segment of the newest recording; else a recording of an
    earlier session under the same name is left alone and the next name is taken.
    """
    there = recordings(file)
    if not again:
        last = re.fullmatch(r".*_(\d+)", there[-1].stem) if there and there[-1] != file else None
        return (file, 0) if not there else (file.with_name(f"{file.stem}_{int(last[1]) + 1 if last else 2}.mcap"), 0)
    first = there[-1] if there else file
    number = 0
    while segment_path(first, number).exists():
        number += 1
    return segment_path(first, number), number
