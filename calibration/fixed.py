"""Products of small matrices that are summed in one order wherever they run.

BLAS, which ``@`` calls, picks its kernels by the processor and by the number of threads, and with them the last bit.
What a fusion or a replay is made of must not depend on either; numpy's own loops do not.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def times(a: Floats, b: Floats) -> Floats:
    """(…, n, k) and (…, k, m) → (…, n, m)."""
    return np.asarray(np.einsum("...ij,...jk->...ik", a, b))


def applied(a: Floats, v: Floats) -> Floats:
    """(…, n, k) and (…, k) → (…, n)."""
    return np.asarray(np.einsum("...ij,...j->...i", a, v))
