"""Products of a few rows with float16 weights, in float32: what a step is made of when few people are there.

With one row every weight is read once and used once, so the time is that of memory, and half as many bytes (which may
then stay in the cache) are several times as fast as BLAS on float32. Shipped weights are float16 already: with the
batch norm's gain applied after the product nothing is rounded that was not.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Half = tuple[NDArray[np.uint16], F32, F32]  # bits of float16 (inputs, outputs), gain and bias (outputs,)

MOST_ROWS = 16  # beyond, BLAS on float32 is as fast, or faster


def converts() -> bool:
    """Whether this processor turns float16 into float32 by itself."""
    features = binding.get_host_cpu_features()
    return bool(features.get("f16c") or features.get("fullfp16"))


def halved(w: F32, gain: F32, bias: F32) -> Half | None:
    """Weights (inputs, outputs) for :func:`product`; None where float16 does not hold them exactly."""
    with np.errstate(over="ignore"):
        half = w.astype(np.float16)
    if not converts() or not np.array_equal(half.astype(np.float32), w):
        return None
    return np.ascontiguousarray(half).view(np.uint16), np.ascontiguousarray(gain), np.ascontiguousarray(bias)


def product(x: F32, layer: Half) -> F32:
    """x (N, inputs) → x @ w · gain + bias, (N, outputs). Each row comes out the same whatever rows are beside it."""
    w, gain, bias = layer
    y = np.empty((len(x), w.shape[1]), np.float32)
    _product(np.ascontiguousarray(x), w, gain, bias, y)
    return y


@intrinsic
def _float(context: Any, half: Any) -> Any:
    """The float16 whose bits are given, as float32: one instruction for eight or sixteen of them."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@numba.njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _product(x, w, gain, bias, y):  # type: ignore[no-untyped-def]
    # two rows at a time, so that a weight is converted half as often; a pair's accumulators must not depend on an inner
    # loop, else the compiler cannot tell that they do not overlap, and leaves the loop as it is
    n, outputs, inputs = x.shape[0], w.shape[1], w.shape[0]
    y[:] = 0
    whole = inputs // 4 * 4
    for r in range(0, n // 2 * 2, 2):
        x0, x1, y0, y1 = x[r], x[r + 1], y[r], y[r + 1]
        for k in range(0, whole, 4):
            w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
            a, b, c, d = x0[k], x0[k + 1], x0[k + 2], x0[k + 3]
            e, f, g, h = x1[k], x1[k + 1], x1[k + 2], x1[k + 3]
            for j in range(outputs):
                v0, v1, v2, v3 = _float(w0[j]), _float(w1[j]), _float(w2[j]), _float(w3[j])
                y0[j] += a * v0 + b * v1 + c * v2 + d * v3
                y1[j] += e * v0 + f * v1 + g * v2 + h * v3
    if n % 2:
        x0, y0 = x[n - 1], y[n - 1]
        for k in range(0, whole, 4):
            w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
            a, b, c, d = x0[k], x0[k + 1], x0[k + 2], x0[k + 3]
            for j in range(outputs):
                y0[j] += a * _float(w0[j]) + b * _float(w1[j]) + c * _float(w2[j]) + d * _float(w3[j])
    for k in range(whole, inputs):
        for r in range(n):
            for j in range(outputs):
                y[r, j] += x[r, k] * _float(w[k, j])
    for r in range(n):
        for j in range(outputs):
            y[r, j] = y[r, j] * gain[j] + bias[j]
