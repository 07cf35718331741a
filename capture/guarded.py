"""One guard around what parses a file of the user's: whatever a parser raises becomes one line that names the file.

Parsers say themselves what is wrong where they can. What they did not think of (nesting without end, a number of a
million digits, a table that is a list) is caught here, so that no file ends a program with a traceback.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from kinecast.capture.errors import KinecastError

P = ParamSpec("P")
R = TypeVar("R")
LONGEST = 1000  # characters of a refusal that quotes the file
SHOWN = 200  # characters of what a parser says


def guarded(kind: str, at: int = 0) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for readers. kind: what the file should be, in words; at: which positional argument is its path.

    KinecastError and OSError pass, the first shortened where it quotes too much; any other exception becomes a
    KinecastError of one line with the path, and is kept as its cause.
    """

    def around(read: Callable[P, R]) -> Callable[P, R]:
        @wraps(read)
        def reads(*args: P.args, **settings: P.kwargs) -> R:
            try:
                return read(*args, **settings)
            except OSError:
                raise
            except KinecastError as e:
                said = str(e)
                if len(said) <= LONGEST and len(said.splitlines()) <= 1:
                    raise
                raise KinecastError(" ".join(said.split())[:LONGEST] + " …") from e
            except Exception as e:
                path: Any = args[at] if len(args) > at else next(iter(settings.values()), "")
                raise KinecastError(f"{str(path)[:SHOWN]}: not {kind} that can be read: {_said(e)}") from e

        return reads

    return around


def _said(e: Exception) -> str:
    if isinstance(e, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(e, RecursionError):
        return "it is nested without end"
    words = " ".join(str(e).split())[:SHOWN]
    return f"{type(e).__name__}: {words}" if words else type(e).__name__
