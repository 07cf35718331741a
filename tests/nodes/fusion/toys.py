"""Bodies whose place is known."""

from dataclasses import fields, replace

import numpy as np

from kinecast.engines.body.model.body import forward
from kinecast.engines.body.model.load import load_body
from kinecast.engines.records import Bodies


def bodies(name: str = "neutral", people: int = 1, flags: int = 0, seq: int = 0, t_ns: int = 0) -> Bodies:
    """People in a T-pose side by side, upright in a world whose z points up, the first one over its origin."""
    model = load_body(name)
    turn = np.zeros((people, 24, 3), np.float32)
    turn[:, 0] = (np.pi / 2, 0, 0)  # y up to z up
    if not people:
        return nobody(bodies(name))
    trans = np.array([[0.0, 0.22 + 0.9 * p, 0.95] for p in range(people)], np.float32).reshape(people, 3)
    betas = np.zeros((people, 10), np.float32)
    joints, _ = forward(model, turn.astype(np.float64), betas.astype(np.float64), trans.astype(np.float64))
    plain = np.zeros(people, np.float32)
    return Bodies(
        seq, 0, t_ns, model.id, model.gender, np.arange(1, people + 1, dtype=np.int32), betas, turn, trans,
        joints.astype(np.float32), np.full((people, 24), 0.01, np.float32), np.full((people, 24, 3), 0.1, np.float32),
        plain, plain + 1, np.full(people, flags, np.uint32), np.zeros((people, 2), np.bool_),
    )  # fmt: skip


def nobody(said: Bodies) -> Bodies:
    """The same message without anybody in it."""
    arrays = {f.name: getattr(said, f.name) for f in fields(said) if isinstance(getattr(said, f.name), np.ndarray)}
    return replace(said, **{name: value[:0] for name, value in arrays.items()})
