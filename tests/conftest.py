"""Before any test imports a numeric library: one thread for each of them, as in every process of the graph.

With two threads on two cores that others use too, OpenMP's pool spins: fits of a second take minutes.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from kinecast.capture import compiled  # noqa: E402

# a test that has a cache of its own does not compile everything anew
os.environ["KINECAST_KERNELS"] = str(compiled.folder())

from hypothesis import HealthCheck, settings  # noqa: E402

# a neighbour makes an example slow; how long one takes is asserted nowhere
settings.register_profile("kinecast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kinecast")

pytest_plugins = ["tests.children", "tests.parallel"]
