"""A console that prints names as they are: ``[red]`` in a camera's name, a file's or a session's is text."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def plain_console(**settings: Any) -> "Console":
    """A console of rich without markup and emoji codes; what is to be coloured is a ``Text`` with a style."""
    from rich.console import Console

    return Console(markup=False, emoji=False, **settings)
