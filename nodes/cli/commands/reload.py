"""``kinecast reload``: a running graph takes up the lifter that is in force now."""

import argparse

from kinecast.nodes.graph import launch_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kinecast reload``."""
    parser.add_argument("launch", nargs="?", default="launch.yaml", help="the launch file that is running")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="as given to `kinecast run`")


def run(args: argparse.Namespace) -> int:
    """Ask, and wait until a frame set says so. Raises KinecastError where it does not come to that."""
    from kinecast.nodes.fusion.reload import reload

    before, after = reload(launch_file.load(args.launch, args.set))
    print(f"in force: {after}" + (f" (before: {before})" if before != after else ", as before"))
    return 0
