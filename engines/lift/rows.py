"""The whole network one frame at a time: both trunks and the heads, in numpy or through an exported session."""

from typing import NamedTuple

import numpy as np

from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.lift.stream import F32, Affine, TrunkRows, fold_trunk, relu
from kinecast.engines.lift.weights import LifterFile, Tensors
from kinecast.engines.products import Weights, plain, product
from kinecast.engines.runtime.session import Session


class Outputs(NamedTuple):
    """Of N rows; None where the lifter has no such head. As network.Lift, and the pose after correction.

    relative_m: (N, J, 3). corrected_m: (N, J, 3), the same where there is no projector. log_variance: (N, J, 3).
    root_code, root_log_variance: (N, 3). log_gamma: (N, 2), log γ and the log of its variance.
    """

    relative_m: F32
    corrected_m: F32
    log_variance: F32 | None
    root_code: F32 | None
    root_log_variance: F32 | None
    log_gamma: F32 | None


class Rows:
    """N rows of one lifter, all on one clock: :meth:`enter`, :meth:`step`, :meth:`peek`, :meth:`leave`.

    session: the exported step (engines.lift.export), where it is to compute instead of numpy.
    """

    def __init__(self, file: LifterFile, session: Session | None = None) -> None:
        config, tensors = file.config, file.tensors
        self.config, self._session = config, session
        self._pose = TrunkRows(fold_trunk(tensors, "pose", config, ("log_variance",) if config.variance else ()))
        self._way: TrunkRows | None = None
        if config.trajectory_channels:
            self._way = TrunkRows(fold_trunk(tensors, "trajectory", config, ("trajectory_log_variance",)))
        self._trunks = [self._pose] if self._way is None else [self._pose, self._way]
        self._gamma = _weights(perceptron_of(tensors, "gamma") if config.gamma_hidden else [])
        projector = perceptron_of(tensors, "projector") if config.projector_hidden else []
        self._projector, self._back = _weights(projector), _weights(_backward(projector, config))
        self._lengths = np.exp(tensors["projector.log_step"]) if self._projector else None

    @property
    def count(self) -> int:
        return self._pose.count

    def enter(self, features: F32, context: F32) -> None:
        """Rows (n, J, 3), (n, 5) are born, with their first frame as their past."""
        for trunk, x in zip(self._trunks, self._inputs(features, context), strict=True):
            trunk.enter(x)

    def leave(self, row: int) -> None:
        """A row goes; the last one takes its place."""
        for trunk in self._trunks:
            trunk.leave(row)

    def advance(self, features: F32, context: F32) -> None:
        """The next frame of all rows, of which no output is wanted."""
        if self._session is not None:
            self.step(features, context)
            return
        for trunk, x in zip(self._trunks, self._inputs(features, context), strict=True):
            trunk.advance(x)

    def advance_block(self, features: F32, context: F32, output: bool) -> Outputs | None:
        """The next F frames (F, N, J, 3), (F, N, 5) of all rows at once; outputs of the last, where wanted.

        The numbers of as many steps, in numpy whatever the session is.
        """
        xs = self._inputs(features.reshape(-1, *features.shape[2:]), context.reshape(-1, context.shape[-1]))
        shape = features.shape[:2]
        outs = [t.advance_block(x.reshape(*shape, -1), output) for t, x in zip(self._trunks, xs, strict=True)]
        return self._heads([o for o in outs if o is not None], features[-1], context[-1]) if output else None

    def enter_with_past(self, features: F32, context: F32) -> None:
        """Rows (F, n, J, 3), (F, n, 5) are born with F frames behind them, of which the last is the last of all."""
        xs = self._inputs(features.reshape(-1, *features.shape[2:]), context.reshape(-1, context.shape[-1]))
        for trunk, x in zip(self._trunks, xs, strict=True):
            x = x.reshape(*features.shape[:2], -1)
            newborn = TrunkRows(trunk.trunk)
            newborn.enter(x[0])
            newborn.advance_block(x, False)
            trunk.adopt(newborn)

    def step(self, features: F32, context: F32) -> Outputs:
        """The next frame (N, J, 3), (N, 5) of all rows."""
        if self._session is not None:
            return self._run(self._session, features, context, 1.0, keep=True)
        xs = self._inputs(features, context)
        return self._heads([t.advance(x) for t, x in zip(self._trunks, xs, strict=True)], features, context)

    def peek(self, features: F32, context: F32, part: float) -> Outputs:
        """As :meth:`step` for a frame that comes ``part`` of a period after the last one; nothing is kept."""
        if self._session is not None:
            return self._run(self._session, features, context, part, keep=False)
        xs = self._inputs(features, context)
        return self._heads([t.peek(x, part) for t, x in zip(self._trunks, xs, strict=True)], features, context)

    def _inputs(self, features: F32, context: F32) -> list[F32]:
        x = (features if self.config.confidence else features[..., :2]).reshape(len(features), -1)
        return [x, np.concatenate([x, context], 1)][: len(self._trunks)]

    def _heads(self, trunks: list[F32], features: F32, context: F32) -> Outputs:
        n, j = features.shape[:2]
        pose = self._pose.head(trunks[0])
        relative = pose[:, : 3 * j].reshape(n, j, 3)
        log_variance = pose[:, 3 * j :].reshape(n, j, 3) if self.config.variance else None
        code = log_var = gamma = None
        if self._way is not None:
            way = self._way.head(trunks[1])
            code, log_var = way[:, :3], way[:, 3:]
        if self._gamma:
            x = self._inputs(features, context)[0]
            gamma = perceptron(self._gamma, np.concatenate([trunks[0], x, context], 1))[-1]
        return Outputs(relative, self.correct(relative, features, context), log_variance, code, log_var, gamma)

    def correct(self, relative: F32, features: F32, context: F32) -> F32:
        """The correction steps of network.Projector.correct; nothing where there is no projector."""
        if self._lengths is None:
            return relative
        n, j = features.shape[:2]
        say = np.repeat(features[..., 2], 2, axis=1)
        seen = np.ascontiguousarray(features[..., :2]).reshape(n, -1)
        x = np.concatenate([relative.reshape(n, -1), features[..., 2], context], 1)
        pose = x[:, : 3 * j]
        for lengths in self._lengths:
            h1, h2, projected = perceptron(self._projector, x)
            projected -= seen
            projected *= say
            back = product(projected, self._back[2]) * (h2 > 0)
            back = product(back, self._back[1]) * (h1 > 0)
            pose -= lengths.reshape(-1) * product(back, self._back[0])
        return np.ascontiguousarray(pose).reshape(n, j, 3)

    def _run(self, session: Session, features: F32, context: F32, part: float, keep: bool) -> Outputs:
        feed = {"features": features, "context": context}
        for name, trunk in zip(("pose", "trajectory"), self._trunks, strict=False):
            feed |= {f"{name}_tap_{i}": tap for i, tap in enumerate(trunk.taps(part))}
        out = session.run(feed)
        if keep:
            for name, trunk in zip(("pose", "trajectory"), self._trunks, strict=False):
                inputs = self._inputs(features, context)[0 if name == "pose" else 1]
                count = len(self.config.widths)
                trunk.keep([inputs, *(out[f"{name}_present_{i}"] for i in range(1, count))])
        return Outputs(**{name: out.get(name) for name in Outputs._fields})  # type: ignore[arg-type]


def perceptron_of(tensors: Tensors, name: str) -> list[tuple[F32, F32]]:
    """The three layers of a head, (inputs, outputs) and (outputs,) each."""
    return [
        (np.ascontiguousarray(tensors[f"{name}.layers.{i}.weight"].T), tensors[f"{name}.layers.{i}.bias"])
        for i in range(3)
    ]


def _weights(layers: list[Affine]) -> list[Weights]:
    return [plain(*layer) for layer in layers]


def _backward(layers: list[Affine], config: LifterConfig) -> list[Affine]:
    """The layers from their outputs to their inputs, without biases; of the first's inputs the pose alone."""
    kept = [w[: 3 * config.joints] if i == 0 else w for i, (w, _) in enumerate(layers)]
    return [(np.ascontiguousarray(w.T), np.zeros(len(w), np.float32)) for w in kept]


def perceptron(layers: list[Weights], x: F32) -> tuple[F32, F32, F32]:
    """The activations of a head of three layers."""
    h1 = relu(product(x, layers[0]))
    h2 = relu(product(h1, layers[1]))
    return h1, h2, product(h2, layers[2])
