"""Compiled functions: how they are declared, where what the compiler makes of them is kept, and how far it is.

    @kernel                     # or @kernel(fastmath=FAST): numba.njit with these options
    def centre(points): ...

What was compiled is kept in the user's cache under a name made of its content: the code of the function, of everything
compiled that it calls, the constants it reads, its options and argument types, Python, numba, LLVM and the processor.
So every clone, environment and version shares it, an upgrade compiles only what changed, and a change in a function
that is called is never missed (numba's own cache looks at the caller's file alone). A file that is damaged is compiled
anew; where the cache cannot be written, the work is done for this process only.
"""

import hashlib
import logging
import os
import pickle
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
from numba.core import compiler, config
from numba.core.caching import _Cache
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps
from numba.extending import _Intrinsic

from kinecast.capture.cache import cache_dir

# Said for every kernel: what is not said is taken from whichever kernel calls first, and the result with it. And nobody
# passes a kernel to another as a function of C: that form of it is work for nothing.
DEFAULTS: dict[str, Any] = {"fastmath": False, "error_model": "python", "no_cfunc_wrapper": True}
UNUSED_S = 90 * 86400.0  # what nothing loaded for so long is removed
_CHECK = 32  # bytes of SHA-256 before the content of a file
_log = logging.getLogger("kinecast.kernels")

Kernel = Any  # numba's Dispatcher, untyped like the functions that it holds
KERNELS: dict[str, Kernel] = {}  # module.name → every kernel that was declared so far
_alive: list[Kernel] = []  # one that is declared anew replaces another, whose machine code must not go while it may run
_ready: set[str] = set()  # kernels that are in this process, or that another one says it has put into the cache
_listeners: list[Callable[[], None]] = []
_refused: set[str] = set()  # folders that took no file, said once


def kernel(function: Any = None, **options: Any) -> Any:
    """A function that numba compiles when it is first called, or finds in the cache. options: those of ``njit``."""

    def declare(function: types.FunctionType) -> Kernel:
        made = numba.njit(**(DEFAULTS | options))(function)
        made._cache = KernelCache(made)
        KERNELS[name_of(made)] = made
        _alive.append(made)
        return made

    return declare if function is None else declare(function)


def folder() -> Path:
    """Where compiled kernels are kept: ``KINECAST_KERNELS``, else beside what else this program caches."""
    own = os.environ.get("KINECAST_KERNELS")
    return Path(own) if own else cache_dir() / "kernels"


def name_of(made: Kernel) -> str:
    """``module.function`` of a kernel."""
    return f"{made.py_func.__module__}.{made.py_func.__qualname__}"


class KernelCache(_Cache):  # type: ignore[misc]
    """The cache of one kernel, as numba asks for it: a file for each signature, its name is its content's."""

    def __init__(self, made: Kernel) -> None:
        self._made = made
        self.compiled = 0  # here, not loaded
        self.key = b""
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(folder())

    def path(self, signature: Any, codegen: Any) -> Path:
        """The file of one signature."""
        key = hashlib.sha256(content_key(self._made) + _platform(codegen) + _types(signature).encode())
        return folder() / f"{self._made.py_func.__name__}-{key.hexdigest()[:40]}.kernel"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for ``sig``; None where there is none, or none that can be used."""
        target_context.refresh()
        if not self._enabled:
            return None
        path = self.path(sig, target_context.codegen())
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data[_CHECK:]).digest() != data[:_CHECK]:
            _log.warning("%s is damaged: compiled anew", path)
            return None
        try:  # what this program wrote itself, in the user's own cache
            found = compiler.CompileResult._rebuild(target_context, *pickle.loads(data[_CHECK:]))
        except (ImportError, AttributeError) as e:
            _log.warning("%s names what is gone (%s): compiled anew", path, e)
            return None
        with suppress(OSError):  # used, so that `forget_unused` leaves it
            os.utime(path)
        self._say()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for ``sig``; where the folder refuses it, it is compiled again another time."""
        self.compiled += 1
        if self._enabled and not data.library.has_dynamic_globals:
            content = dumps(data._reduce())
            _write(self.path(sig, data.codegen), hashlib.sha256(content).digest() + content)
        self._say()

    def _say(self) -> None:
        _ready.update(name_of(k) for k in _called(self._made))
        for listener in tuple(_listeners):
            listener()

    def enable(self) -> None:
        """Use the cache."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor write."""
        self._enabled = False

    def flush(self) -> None:
        """Files whose content changed are never found again: nothing is to be thrown away."""


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all; two processes that compile the same write the same."""
    temporary = ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except OSError as e:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if str(path.parent) not in _refused:
            _refused.add(str(path.parent))
            _log.warning("%s cannot be written (%s): kernels are compiled at every start", path.parent, e.strerror)


# ── the content of a kernel ──


def content_key(made: Kernel) -> bytes:
    """SHA-256 of all that decides what a kernel compiles to, but for the types of its arguments and the machine."""
    cache: KernelCache = made._cache
    if not cache.key:  # not when it is declared: what it calls may be declared after it
        parts = hashlib.sha256()
        for each in sorted(_called(made), key=name_of):
            parts.update(name_of(each).encode() + _own_content(each))
        cache.key = parts.digest()
    return cache.key


def _called(made: Kernel) -> list[Kernel]:
    """The kernel and every kernel that it calls, directly or not."""
    found: dict[int, Kernel] = {}
    todo = [made]
    while todo:
        each = todo.pop()
        if id(each) not in found:
            found[id(each)] = each
            todo += [v for v in _globals(each.py_func).values() if isinstance(v, Dispatcher)]
    return list(found.values())


def _own_content(made: Kernel) -> bytes:
    options = {k: sorted(v) if isinstance(v, set) else v for k, v in made.targetoptions.items()}
    parts = [repr(sorted(options.items(), key=lambda item: item[0])), *_code(made.py_func)]
    for name, value in sorted(_globals(made.py_func).items()):
        parts.append(f"{name}={_constant(value)}")
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _code(function: types.FunctionType) -> list[str]:
    """Code, names and constants, without what only the reader sees: docstring, line numbers, path."""
    parts = [repr(function.__defaults__)]
    todo = [function.__code__]
    while todo:
        code = todo.pop()
        constants = [c for c in code.co_consts if not isinstance(c, types.CodeType) and c != function.__doc__]
        parts += [code.co_code.hex(), repr(code.co_names), repr(code.co_varnames), repr(constants)]
        todo += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return parts


def _globals(function: types.FunctionType) -> dict[str, Any]:
    """The names outside that the code reads, and what they stand for now."""
    names: set[str] = set()
    todo = [function.__code__]
    while todo:
        code = todo.pop()
        names.update(code.co_names)
        todo += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    known: dict[str, Any] = {n: function.__globals__[n] for n in names if n in function.__globals__}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return known | {n: cell.cell_contents for n, cell in cells}


def _constant(value: Any) -> str:
    """What of a value decides the compiled code. TypeError for one that nobody has thought of."""
    if isinstance(value, Dispatcher):
        return name_of(value)
    if isinstance(value, _Intrinsic):
        return "\0".join(_code(value._defn))
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type):  # a named tuple, or a dtype
        return f"{value.__module__}.{value.__qualname__}{getattr(value, '_fields', '')}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    if isinstance(value, bool | int | float | str | tuple | np.generic | type(None)):
        return repr(value)
    raise TypeError(f"a kernel reads {value!r}: teach capture.compiled what of it is compiled in")


def _types(signature: Any) -> str:
    """Argument types, those of named tuples with the module that unpickling looks for them in."""
    todo, modules = list(signature), []
    while todo:
        each = todo.pop()
        made: Any = getattr(each, "instance_class", None)
        modules += [f"{made.__module__}.{made.__qualname__}{made._fields}"] if hasattr(made, "_fields") else []
        todo += list(getattr(each, "types", ()))
    return f"{signature} {modules}"


def _platform(codegen: Any) -> bytes:
    versions = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
    flags = (config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT)
    return repr((*versions, *map(str, flags), *codegen.magic_tuple())).encode()


# ── how far it is ──


def ready() -> tuple[int, int]:
    """How many of the kernels that were declared are there, and how many there are."""
    return len(_ready & KERNELS.keys()), len(KERNELS)


def compiled_here() -> int:
    """Signatures that this process compiled instead of loading them."""
    return sum(made._cache.compiled for made in KERNELS.values())


def note_ready(name: str) -> None:
    """Another process has put this kernel into the cache."""
    _ready.add(name)
    for listener in tuple(_listeners):
        listener()


@contextmanager
def listening(listener: Callable[[], None]) -> Iterator[None]:
    """``listener`` is called, in the thread that it happens in, whenever :func:`ready` has changed."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def ready_names() -> frozenset[str]:
    """The kernels that are there."""
    return frozenset(_ready)


class Complete:
    """Whether all kernels that a kind of work needs were compiled here before, by a mark in the cache."""

    def __init__(self, work: str) -> None:
        from numba.core.registry import cpu_target

        parts = hashlib.sha256(work.encode() + _platform(cpu_target.target_context.codegen()))
        for name in sorted(KERNELS):
            parts.update(content_key(KERNELS[name]))
        self._path = folder() / f"complete-{parts.hexdigest()[:40]}"

    def __bool__(self) -> bool:
        return self._path.exists()

    def mark(self) -> None:
        """They are all there."""
        _write(self._path, b"")


def forget_unused(now_s: float | None = None) -> int:
    """Remove what nothing loaded for three months, and what a process left half written; returns how many files."""
    oldest_s = (time.time() if now_s is None else now_s) - UNUSED_S
    removed = 0
    with suppress(OSError):
        for path in folder().iterdir():
            with suppress(OSError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()
                    removed += 1
    return removed
