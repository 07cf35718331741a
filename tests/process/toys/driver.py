"""``python -m tests.process.toys.driver``: runs the launch file on standard input with the toy nodes.

Prints one line when every node runs: name=pid …; then one with the exit code when it is over.
"""

import sys
from pathlib import Path

from kinecast.nodes.graph import launch_file
from kinecast.nodes.supervise.supervisor import NodeStatus, Supervisor
from tests.process.toys import MODULES


def main() -> int:
    told = False

    def on_health(nodes: dict[str, NodeStatus]) -> None:
        nonlocal told
        if not told and all(n.state == "running" for n in nodes.values()):
            told = True
            print(" ".join(f"{n.name}={n.pid}" for n in nodes.values()), flush=True)

    outcome = Supervisor(launch_file.parse(sys.stdin.read(), "stdin", Path.cwd()), MODULES).run(on_health)
    print(outcome.code, outcome.stopped, flush=True)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
