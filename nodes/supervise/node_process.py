"""A node's process as the supervisor holds it: spawned, heard, signalled, restarted by its policy."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kinecast.capture.urls import redacted
from kinecast.nodes.bus import start_barrier
from kinecast.nodes.bus.messages import Health
from kinecast.nodes.graph.records import Restart

State = Literal["starting", "running", "waiting", "done", "failed", "stopped"]

# Every numeric library gets one thread: a node's own threads are those its settings ask for.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
    ),
    "1",
)
# a secret of this run of the graph: nodes that are started anew have it again
SESSION_TOKEN = "KINECAST_SESSION_TOKEN"
_token = secrets.token_urlsafe(24)
ASKS = (signal.SIGINT, signal.SIGTERM)
STACKS = signal.SIGUSR2  # makes a node print the stacks of its threads
STACKS_S = 0.3  # for that, before it is killed
PATIENT_S = 120.0  # of silence, while it loads and compiles, or writes its last files
STEP_S = 0.25  # of silence at most between two looks: where the supervisor itself was held up, nobody else is blamed
MINUTE_S = 60.0
SHORT_S = 300.0  # a crash after a longer life is not the same again
REFUSED = 2  # exit status of a node that says what to put right: it cannot get better by itself


@dataclass(frozen=True, slots=True)
class _Crash:
    """How a life ended: its last words, how long it was, and what had come of it."""

    why: str
    life_s: float
    found: dict[str, int]


class Process:
    """One node. ``state``: starting and running while it lives, waiting between two lives, then done, failed (for
    good) or stopped (because it was told to). ``reason``: its last line on standard error.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        policy: Restart,
        launch_text: str,
        session_start_ns: int,
        on_line: Callable[[str, str], None],
        module: str | None = None,
    ) -> None:
        self.name, self.kind, self.policy = name, kind, policy
        self.state: State = "starting"
        self.incarnation = -1
        self.exit_code: int | None = None
        self.reason = ""
        self._text, self._session_start_ns, self._on_line = launch_text.encode(), session_start_ns, on_line
        self._module = module
        self._popen: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._deaths: deque[float] = deque()
        self._crashes: deque[_Crash] = deque(maxlen=policy.cap + 1)
        self._born_s = self._looked_s = self._silent_s = 0.0
        self._found: dict[str, int] = {}
        self._patient = True  # with its silence: it loads, or writes its last files
        self._hung: float | None = None  # when its stacks were asked for
        self._due_s = 0.0
        self._asked_to_stop = False
        self._started = False

    @property
    def pid(self) -> int | None:
        """Of the living process."""
        return self._popen.pid if self._popen is not None and self._popen.returncode is None else None

    @property
    def final(self) -> bool:
        """Whether it is over for good."""
        return self.state in ("done", "failed", "stopped")

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.incarnation)

    def start(self) -> None:
        """Start the first life, or the next."""
        self.incarnation += 1
        self.state = "starting"
        self.begin()
        command = [sys.executable, "-m", "kinecast.nodes.supervise.child", self.name]
        command += ["--incarnation", str(self.incarnation), "--session-start", str(self._session_start_ns)]
        command += ["--module", self._module] if self._module else []
        # a session of its own: Ctrl-C at the terminal reaches the supervisor alone, which stops the nodes in order
        # and signals wait until the child has its handlers
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKS)
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | ONE_THREAD | {SESSION_TOKEN: _token},
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert self._popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; poll will say so
            self._popen.stdin.write(b"%d\n" % len(self._text) + self._text)
            self._popen.stdin.flush()
        if self._started:
            self._say_start()
        self._reader = threading.Thread(target=self._read, args=(self._popen,), daemon=True)
        self._reader.start()

    def begin(self) -> None:
        """A new life: nothing is known of it yet."""
        self._born_s = self._looked_s = time.monotonic()
        self._silent_s, self._hung, self._found, self._patient = 0.0, None, {}, True

    def _read(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stderr is not None
        with popen.stderr:
            for raw in popen.stderr:
                line = redacted(raw.decode(errors="replace").rstrip())
                if line:
                    if self._hung is None:
                        self.reason = line
                    self._on_line(self.name, line)

    def tell_start(self, session_start_ns: int) -> None:
        """Tell this life, and those to come, when the session began."""
        self._session_start_ns, self._started = session_start_ns, True
        self._say_start()

    def _say_start(self) -> None:
        if self._popen is not None and self._popen.stdin is not None and not self._popen.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it died; poll will say so
                self._popen.stdin.write(start_barrier.line(self._session_start_ns))
                self._popen.stdin.flush()

    def poll(self) -> None:
        """Note an exit, and start the next life when it is due."""
        if self.state == "waiting":
            if time.monotonic() >= self._due_s:
                self.start()
        elif not self.final and self._popen is not None and self._popen.poll() is not None:
            self._ended(self._popen.returncode)

    def watch(self, health: Health | None) -> None:
        """Make an end of a life that hangs, so that ``poll`` starts the next.

        health: of this life, where it came since the last call; else None.
        """
        now = time.monotonic()
        self._silent_s = 0.0 if health else self._silent_s + min(STEP_S, now - self._looked_s)
        self._looked_s = now
        if health is not None:
            self._found, self._patient = health.found, health.state in ("starting", "ended")
        if self.pid is None:
            return
        if self._hung is not None:
            if now - self._hung > STACKS_S:
                os.kill(self.pid, signal.SIGKILL)
        elif self._silent_s > (PATIENT_S if self._patient else self.policy.silent_s):
            self._hung = now
            self.reason = f"said nothing for {self._silent_s:.1f} s"
            self._on_line(self.name, f"{self.reason}: it hangs, and is started again; its stacks, if it has any left:")
            os.kill(self.pid, STACKS)

    def _ended(self, code: int) -> None:
        self.exit_code = code
        self.release()
        if self._asked_to_stop:
            if code < 0:
                self.reason = f"killed by signal {-code}, while {self.state}"
            # one that was still starting (compiling, loading) has nothing to lose
            self.state = "stopped" if code == 0 or self.state == "starting" else "failed"
        elif code == 0 and self.policy.policy != "always":
            self.state = "done"
        elif code == REFUSED or self.policy.policy == "never":
            self.state = "failed"
        else:
            self._again(code)

    def _again(self, code: int) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > MINUTE_S:
            self._deaths.popleft()
        why = self.reason if self._hung else f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        alike = self._alike(code, why)
        often = f"within a minute ({why})" if len(self._deaths) > self.policy.cap else ""
        if often or alike:
            self.state = "failed"
            self.reason = f"given up after {self.policy.cap} restarts {often or alike}"
            self._on_line(self.name, self.reason)
            return
        wait_s = min(self.policy.backoff_max_s, self.policy.backoff_s * 2 ** (len(self._deaths) - 1))
        self._due_s = now + wait_s
        self.state = "waiting"
        self._on_line(self.name, f"{why}; starting again in {wait_s:.1f} s")

    def _alike(self, code: int, why: str) -> str:
        """What the last lives had in common, where each was short and crashed in the same way; else ""."""
        life_s = time.monotonic() - self._born_s
        if life_s > SHORT_S or (code < 0 and self._hung is None):
            self._crashes.clear()  # who is killed from outside may be killed again
            return ""
        self._crashes.append(_Crash(f"{why}: {self.reason}", life_s, self._found))
        if len(self._crashes) <= self.policy.cap or len({c.why for c in self._crashes}) > 1:
            return ""
        lives = sorted(c.life_s for c in self._crashes)
        met = {what for c in self._crashes for what, n in c.found.items() if n}
        return (
            f"that all ended alike, {lives[0]:.1f} to {lives[-1]:.1f} s after the start"
            f"{'' if met else ', before anybody was seen'} ({self._crashes[-1].why})"
        )

    def signal(self, number: int) -> None:
        """Tell it to stop (SIGINT) or make it (SIGKILL). One that waits for its next life has none."""
        if self._asked_to_stop and number != signal.SIGKILL:
            return
        self._asked_to_stop = True
        if self.state == "waiting":
            self.state = "stopped"
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Make an end of it, whatever it does."""
        self.signal(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait()
            if not self.final:
                self._ended(self._popen.returncode)

    def release(self) -> None:
        """Close the pipes of a life that is over."""
        if self._popen is not None and self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.close()
        if self._reader is not None:
            self._reader.join(1.0)
