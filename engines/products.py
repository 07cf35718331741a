"""Products of rows with the weights of a network, in float32, summed in one order wherever they run.

BLAS sums in an order that depends on its threads and on the kernels that it has for a processor; here every output is
the sum over the inputs, first to last, whatever rows are beside it. Weights that float16 holds exactly, as
shipped ones do, stay float16: with few rows the time is that of memory, and half as many bytes (which may then stay in
the cache) are several times as fast as BLAS on float32. With the batch norm's gain applied after the product nothing is
rounded that was not.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from kinecast.capture.compiled import kernel

F32 = NDArray[np.float32]
# (inputs, outputs), bits of float16 or float32; gain and bias (outputs,)
Weights = tuple[NDArray[np.uint16] | F32, F32, F32]

_INPUTS = 64  # taken over all rows before the next: so many rows of 512 weights stay in the second cache


def converts() -> bool:
    """Whether this processor turns float16 into float32 by itself."""
    features = binding.get_host_cpu_features()
    return bool(features.get("f16c") or features.get("fullfp16"))


def halved(w: F32, gain: F32, bias: F32) -> Weights | None:
    """Weights (inputs, outputs) for :func:`product` as float16; None where that does not hold them exactly."""
    with np.errstate(over="ignore"):
        half = w.astype(np.float16)
    if not converts() or not np.array_equal(half.astype(np.float32), w):
        return None
    return np.ascontiguousarray(half).view(np.uint16), np.ascontiguousarray(gain), np.ascontiguousarray(bias)


def plain(w: F32, bias: F32) -> Weights:
    """Weights (inputs, outputs) without a gain, as float16 where that holds them."""
    gain = np.ones(w.shape[1], np.float32)
    return halved(w, gain, bias) or (np.ascontiguousarray(w, np.float32), gain, np.ascontiguousarray(bias, np.float32))


def product(x: F32, layer: Weights) -> F32:
    """x (N, inputs) → x @ w · gain + bias, (N, outputs). Each row comes out the same whatever rows are beside it."""
    w, gain, bias = layer
    y = np.empty((len(x), w.shape[1]), np.float32)
    _product(np.ascontiguousarray(x), w, gain, bias, y)
    return y


@intrinsic
def _float(context: Any, weight: Any) -> Any:
    """A weight as float32; of the bits of a float16 that is one instruction for eight or sixteen of them."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    def itself(_: Any, __: Any, ___: Any, args: Any) -> Any:
        return args[0]

    return types.float32(weight), itself if weight == types.float32 else generate


@kernel(fastmath={"contract"}, error_model="numpy")
def _product(x, w, gain, bias, y):  # type: ignore[no-untyped-def]
    # four rows at a time, or two, so that a weight is read and converted less often; their accumulators must not
    # depend on an inner loop, else the compiler cannot tell that they do not overlap, and leaves the loop as it is
    n, outputs, inputs = x.shape[0], w.shape[1], w.shape[0]
    y[:] = 0
    whole = inputs // 4 * 4
    for first in range(0, whole, _INPUTS):
        last = min(first + _INPUTS, whole)
        for r in range(0, n // 4 * 4, 4):
            x0, x1, x2, x3, y0, y1, y2, y3 = x[r], x[r + 1], x[r + 2], x[r + 3], y[r], y[r + 1], y[r + 2], y[r + 3]
            for k in range(first, last, 4):
                w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
                a0, b0, c0, d0 = x0[k], x0[k + 1], x0[k + 2], x0[k + 3]
                a1, b1, c1, d1 = x1[k], x1[k + 1], x1[k + 2], x1[k + 3]
                a2, b2, c2, d2 = x2[k], x2[k + 1], x2[k + 2], x2[k + 3]
                a3, b3, c3, d3 = x3[k], x3[k + 1], x3[k + 2], x3[k + 3]
                for j in range(outputs):
                    v0, v1, v2, v3 = _float(w0[j]), _float(w1[j]), _float(w2[j]), _float(w3[j])
                    y0[j] = y0[j] + a0 * v0 + b0 * v1 + c0 * v2 + d0 * v3
                    y1[j] = y1[j] + a1 * v0 + b1 * v1 + c1 * v2 + d1 * v3
                    y2[j] = y2[j] + a2 * v0 + b2 * v1 + c2 * v2 + d2 * v3
                    y3[j] = y3[j] + a3 * v0 + b3 * v1 + c3 * v2 + d3 * v3
        for r in range(n // 4 * 4, n // 2 * 2, 2):
            x0, x1, y0, y1 = x[r], x[r + 1], y[r], y[r + 1]
            for k in range(first, last, 4):
                w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
                a, b, c, d = x0[k], x0[k + 1], x0[k + 2], x0[k + 3]
                e, f, g, h = x1[k], x1[k + 1], x1[k + 2], x1[k + 3]
                for j in range(outputs):
                    v0, v1, v2, v3 = _float(w0[j]), _float(w1[j]), _float(w2[j]), _float(w3[j])
                    y0[j] = y0[j] + a * v0 + b * v1 + c * v2 + d * v3
                    y1[j] = y1[j] + e * v0 + f * v1 + g * v2 + h * v3
        if n % 2:
            x0, y0 = x[n - 1], y[n - 1]
            for k in range(first, last, 4):
                w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
                a, b, c, d = x0[k], x0[k + 1], x0[k + 2], x0[k + 3]
                for j in range(outputs):
                    y0[j] = y0[j] + a * _float(w0[j]) + b * _float(w1[j]) + c * _float(w2[j]) + d * _float(w3[j])
    for k in range(whole, inputs):
        for r in range(n):
            for j in range(outputs):
                y[r, j] += x[r, k] * _float(w[k, j])
    for r in range(n):
        for j in range(outputs):
            y[r, j] = y[r, j] * gain[j] + bias[j]
