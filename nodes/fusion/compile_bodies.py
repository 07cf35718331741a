"""``python -m kinecast.nodes.fusion.compile_bodies BODY``: compile what fits bodies into the cache.

:mod:`nodes.fusion.warm_up` starts it beside its own work. It writes the names of kernels that are there to standard
output, a line each, and is gone as soon as standard input closes, which is when that process is.
"""

import os
import sys
import threading
from collections.abc import Sequence

from kinecast.capture import compiled
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.synth.moving_body import BENCH_RIG, body_observations, moving_body
from kinecast.nodes.fusion.bodies import body_stage
from kinecast.nodes.fusion.set_views import SKELETON
from kinecast.nodes.graph.records import FusionNode

FRAMES = 3  # the first begins a body, the next continue it


def main(argv: Sequence[str] | None = None) -> None:
    """Fit somebody who moves, for a moment."""
    (body,) = sys.argv[1:] if argv is None else argv
    told: set[str] = set()

    def tell() -> None:
        for name in sorted(compiled.ready_names() - told):
            told.add(name)
            print(name, flush=True)

    with compiled.listening(tell):
        fit(body)


def fit(body: str) -> None:
    """Everything that a body's fits compile, but what its stage shares with the rest of fusion."""
    stage = body_stage(BENCH_RIG, FusionNode(body=body, body_prior="shipped"))
    assert stage is not None
    motion = moving_body(stage.body, keypoint_terms(stage.body, SKELETON), FRAMES)
    for seen in body_observations(motion, 0, FRAMES):
        stage.solver.fit_all(seen.t_ns, seen.ids, seen.xy, seen.w)


def _follow_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_follow_parent, daemon=True).start()
    main()
