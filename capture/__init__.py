"""Floor 1, light → Frame: frame record, clock, the Source contract and the sources."""

import os

# BLAS with a thread for each core spins on arrays as small as those here: a step of 31 ms took 481. It reads this when
# numpy is loaded, so whoever loads numpy first sets it; what the user has set stands.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
