"""Writes the pages of reference that follow from the code: ``python -m tests.docs.generate``."""

from collections.abc import Callable
from pathlib import Path

from tests.docs import reference_cli, reference_data, reference_exports, reference_files

FOLDER = Path(__file__).resolve().parents[2] / "docs/reference"
PAGES: dict[str, Callable[[], str]] = {
    "cli.md": reference_cli.page,
    "launch-file.md": reference_files.launch_file,
    "topics.md": reference_data.topics,
    "recipe.md": reference_files.recipe,
    "summary.md": reference_data.summary_page,
    "refusals.md": reference_data.refusals,
    "export-formats.md": reference_exports.page,
}
MADE = "<!-- made by `python -m tests.docs.generate`: change the code, not this page -->\n"


def text_of(page: str) -> str:
    """A page as it should be."""
    return MADE + PAGES[page]()


if __name__ == "__main__":
    for page in PAGES:
        (FOLDER / page).write_text(text_of(page), encoding="utf-8")
        print(FOLDER / page)
