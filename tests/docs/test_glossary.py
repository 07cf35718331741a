"""The glossary names what is in the code, once each."""

import re
from pathlib import Path

from kinecast.nodes.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| term")
]


def test_every_term_is_there_once_and_told() -> None:
    terms = [row[0] for row in ROWS]
    assert len(terms) >= 60 and len(set(terms)) == len(terms)
    assert all(len(row) == 3 and all(row) for row in ROWS)


def test_what_it_names_is_in_the_code() -> None:
    sources = "\n".join(
        file.read_text(encoding="utf-8")
        for floor in ("capture", "calibration", "engines", "nodes")
        for file in (ROOT / floor).rglob("*.py")
    )
    words = set(re.findall(r"\w+", sources))
    for term, _, where in ROWS:
        for name in re.findall(r"`([^`]+)`", where):
            if "/" in name:
                assert (ROOT / name).is_file(), f"{term}: {name}"
            elif name.startswith("kinecast "):
                assert name.split()[1] in COMMANDS, f"{term}: {name}"
            else:
                assert set(name.split(".")) <= words, f"{term}: {name}"
