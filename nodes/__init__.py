"""Floor 4, what runs: processes, the bus between them, and everything that reaches a user."""

import kinecast.capture  # noqa: F401  (before numpy: see there)
