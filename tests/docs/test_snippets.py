"""Files and code that the pages show are read by the program itself; pages use the field's words."""

import ast
import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from kinecast.engines.train.recipe import FORMAT, recipe_of
from kinecast.nodes.graph import launch_file
from tests.docs.pages import PAGES, ROOT, name

# what the glossary calls older words; pages that tell of words, and those made from the code, may have them
OLD_WORDS = ("in force", "who is who", "made harder", "nat a pose", "foretold", "begun anew", "born quiet")
TELL_OF_WORDS = ("docs/reference/", "docs/contributing.md")


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every block in that language, without the indent of the list that it stands in."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for indent, body in re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
            found.append((name(page), "\n".join(line.removeprefix(indent) for line in body.splitlines())))
    return found


def launch_of(text: str) -> dict[str, Any]:
    """A launch file of the part that a page shows, with what it leaves out."""
    shown: dict[str, Any] = yaml.safe_load(text)
    nodes = shown.setdefault("nodes", {})
    kinds = [node["kind"] for node in nodes.values()]
    if "camera" not in kinds:
        nodes["cam99"] = {"kind": "camera", "source": {"kind": "synthetic"}}
    if "fusion" not in kinds:
        nodes["fusion99"] = {"kind": "fusion"}
    return {"version": 1, **shown}


@pytest.mark.parametrize(("page", "text"), blocks("yaml"))
def test_launch_files_on_the_pages_are_read(page: str, text: str, tmp_path: Path) -> None:
    graph = launch_file.parse(yaml.safe_dump(launch_of(text)), page, tmp_path)
    assert graph.of_kind("camera")


def test_a_wrong_key_in_a_shown_launch_file_is_found(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="smoth"):
        launch_file.parse(yaml.safe_dump(launch_of("nodes: {f: {kind: fusion, smoth: true}}")), "page", tmp_path)


@pytest.mark.parametrize(("page", "text"), [b for b in blocks("toml") if FORMAT in b[1]])
def test_recipes_on_the_pages_are_read(page: str, text: str) -> None:
    table = tomllib.loads(text)
    assert table.pop(FORMAT) == 1
    assert recipe_of(table, page).train.steps == 600


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_code_on_the_pages_imports_what_is_there(page: str, text: str) -> None:
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    assert imports, f"{page}: a block of code says where its names come from"
    for node in imports:
        module = importlib.import_module(node.module or "")
        assert [a.name for a in node.names if not hasattr(module, a.name)] == []


@pytest.mark.parametrize("page", [p for p in PAGES if not name(p).startswith(TELL_OF_WORDS)], ids=name)
def test_pages_use_the_words_of_the_field(page: Path) -> None:
    text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8").lower())
    assert [w for w in OLD_WORDS if w in text] == []


def test_the_readme_is_short_and_shows_what_the_demo_made() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) < 120
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert pictures
    assert all((ROOT / p).stat().st_size <= 300_000 for p in pictures)
