"""The pages that are tested, and what they are called."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "engines/artifacts").glob("*.md")),
    ROOT / "calibration/README.md",
]


def name(page: Path) -> str:
    """Of a test: the page's path from the root."""
    return page.relative_to(ROOT).as_posix()
