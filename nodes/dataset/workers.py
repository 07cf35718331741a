"""The same function of many things, in this process or on Ray over any number of workers and machines."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from kinecast.capture.errors import KinecastError

Job = TypeVar("Job")
Result = TypeVar("Result")

RETRIES = 3  # of a job whose worker died; a job that raises is not tried again
REACH_S = 10.0  # to be answered at an address; Ray itself tries for minutes
# How HTTP/2 begins, which Ray speaks: a preface and settings, none; the other side answers with its own (RFC 9113, 3.4)
HELLO, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", b"\x04"


def map_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int = 1, address: str = ""
) -> Iterator[tuple[int, Result | KinecastError]]:
    """(number of the job, what came of it) as they are done. A KinecastError of a job is its result.

    workers: 1 runs here, in order; more run on Ray, on this machine or on the cluster at ``address``. A worker that is
    killed is replaced and its job done again. Raises KinecastError where Ray is asked for and is not there, or nobody
    listens at the address.
    """
    if workers < 1:
        raise KinecastError(f"--workers is {workers}: give 1 or more")
    if workers <= 1 and not address:
        for i, job in enumerate(jobs):
            try:
                yield i, function(job)
            except KinecastError as e:
                yield i, e
        return
    check_ray_address(address)
    try:
        import ray
    except ImportError:
        raise KinecastError("several workers need Ray: pip install 'kinecast[ray]', or use --workers 1") from None
    begun = not ray.is_initialized()
    if begun:
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address=address or None, num_cpus=None if address else workers, include_dashboard=False,
                log_to_driver=False, configure_logging=False,
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError) as e:
            why = str(e).partition("\n")[0]
            where = f"at {address}" if address else "here"
            raise KinecastError(f"Ray does not start {where}: {why}: check the address, or use --workers 1") from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray puts its own in place, for as long as the process lives
    try:
        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_or_error)
        waiting = {remote.remote(function, job): i for i, job in enumerate(jobs)}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            i = waiting.pop(ready[0])
            try:
                yield i, ray.get(ready[0])
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError):
                yield i, KinecastError(f"its worker died {RETRIES + 1} times; is there enough memory?")
    finally:
        if begun:
            ray.shutdown()


def check_ray_address(address: str) -> None:
    """Raise KinecastError where no Ray answers at ``HOST:PORT`` or ``ray://HOST:PORT``. "", auto: Ray's own to find."""
    if address in ("", "auto"):
        return
    try:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        host, port = parts.hostname, parts.port
        whole = address.removeprefix("ray://") == parts.netloc
    except ValueError:  # a port beyond 65535, or no number
        host, port, whole = None, None, False
    if not (host and port and whole):
        raise KinecastError(
            f"--ray is {address!r}: give HOST:PORT as `ray start --head` says it, ray://HOST:PORT, or auto"
        )
    try:
        with socket.create_connection((host, port), REACH_S) as connection:
            tls = os.environ.get("RAY_USE_TLS", "0") not in ("", "0")
            connection.sendall(b"" if tls else HELLO)
            answer = SETTINGS if tls else connection.recv(9)[3:4]
    except (OSError, UnicodeError) as e:  # UnicodeError: a host of more than 63 letters
        why = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise KinecastError(
            f"nobody answers at {address} ({why}): start Ray there (`ray start --head`), or use --workers 1"
        ) from None
    if answer != SETTINGS:
        raise KinecastError(f"who answers at {address} is not Ray: give HOST:PORT as `ray start --head` says it")


def _or_error(function: Callable[[Job], Result], job: Job) -> Result | KinecastError:
    """A KinecastError as a value: Ray would wrap it."""
    try:
        return function(job)
    except KinecastError as e:
        return e
