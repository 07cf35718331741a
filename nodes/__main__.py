"""``python -m kinecast.nodes`` is ``kinecast``."""

import sys

from kinecast.nodes.cli.main import main

sys.exit(main())
