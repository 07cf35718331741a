"""Floor 3, pixels → people: models, decoders and the stages of fusion. Engines return records and know no sockets."""

import kinecast.capture  # noqa: F401  (before numpy: see there)
