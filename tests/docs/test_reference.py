"""The pages that follow from the code are what the code says now, on every machine the same."""

from dataclasses import dataclass

import pytest

from tests.docs import reference_cli
from tests.docs.generate import FOLDER, PAGES, text_of
from tests.docs.markdown import described


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_what_the_code_says(page: str) -> None:
    assert (FOLDER / page).read_text(encoding="utf-8") == text_of(page), "run: python -m tests.docs.generate"


def test_every_command_and_every_argument_says_what_it_is_for() -> None:
    def silent(name: str, parser: reference_cli.argparse.ArgumentParser) -> list[str]:
        found = [f"{name} {argument}" for argument, _, about in reference_cli.rows(parser) if not about]
        for sub, about, sub_parser in reference_cli.subcommands(parser):
            found += silent(f"{name} {sub}", sub_parser) + ([] if about else [f"{name} {sub}"])
        return found

    assert not [s for name in reference_cli.COMMANDS for s in silent(name, reference_cli.parser_of(name))]


def test_no_default_is_of_this_machine() -> None:
    for name in reference_cli.COMMANDS:
        for argument, default, _ in reference_cli.rows(reference_cli.parser_of(name)):
            assert not default.startswith(("`/", "`~")), f"{name} {argument}"


@dataclass
class _Told:
    """What it is for.

    first: a text, with words. second, third: of both; more
    of them. fourth and fifth: the end
    """

    first: int
    second: int
    third: int
    fourth: int
    fifth: int


@dataclass
class _Silent:
    """one: is told."""

    one: int
    two: int


def test_a_docstring_is_read_field_by_field() -> None:
    told = {"first": "a text, with words", "second": "of both; more of them", "third": "of both; more of them"}
    assert described(_Told) == told | {"fourth": "the end", "fifth": "the end"}
    with pytest.raises(AssertionError, match="_Silent says nothing of two"):
        described(_Silent)
