"""Floor 2, who stands where: cameras, rigs, projection and rig files."""

import kinecast.capture  # noqa: F401  (before numpy: see there)
