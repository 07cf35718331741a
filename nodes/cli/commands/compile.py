"""``kinecast compile``: what live fusion compiles, now, so that a first session starts at once."""

import argparse
import time

from kinecast.capture import compiled
from kinecast.engines.lift.lifter import shipped_lifters
from kinecast.nodes.fusion.warm_up import warm_up_shown

CAMERAS = 4  # how many there are decides nothing that is compiled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing is asked."""


def run(args: argparse.Namespace) -> int:
    """Compile what is not in the cache, with a bar."""
    began = time.monotonic()
    warm_up_shown(CAMERAS, "neutral", "shipped" if shipped_lifters() else "off")
    took = f"{compiled.compiled_here()} compiled here in {time.monotonic() - began:.1f} s"
    print(f"{compiled.folder()}: every kernel of live fusion is there; {took}")
    return 0
