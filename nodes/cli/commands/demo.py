"""``kinecast demo``: run the main job on the real sample clip."""

import argparse
from collections.abc import Callable
from pathlib import Path

from kinecast.capture.console import plain_console
from kinecast.nodes.exchange import sample_clip
from kinecast.nodes.recording.file import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kinecast demo``."""
    parser.add_argument(
        "--people", type=int, choices=sorted(sample_clip.TRIALS), default=1, help="in the clip: one or two"
    )
    parser.add_argument(
        "--profile", default="performance", help="lightweight, balanced, performance (default), or the path of a card"
    )
    parser.add_argument("--realtime", action="store_true", help="at the clip's 60 Hz, dropping what does not fit")
    parser.add_argument("--refine", action="store_true", help="refine the rig from the people first, if that is better")
    parser.add_argument("--body", default="neutral", help="neutral, male, female, the path of a body file, or off")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="default: out/demo")
    parser.add_argument("--fetch-only", action="store_true", help="have the clip in the cache, and stop")
    parser.add_argument("--no-render", dest="render", action="store_false", help="leave out the video")


def _draw(recording: Recording, path: Path, progress: Callable[[int, int], None]) -> list[str]:
    from kinecast.nodes.viewer.video import render  # not needed to fetch

    return render(recording, path, progress=progress).notes


def run(args: argparse.Namespace) -> int:
    """Exit status 0 where it all worked."""
    console = plain_console()
    fetched = sample_clip.fetch()
    if args.fetch_only:
        print(f"{'fetched into' if fetched else 'already in'} {sample_clip.clip_dir()}")
        return 0
    from kinecast.nodes.demo.demo import DemoOptions, run_demo  # the graph and its libraries are not needed to fetch
    from kinecast.nodes.evaluate.session_quality import table

    body = str(Path(args.body).resolve()) if Path(args.body).suffix else args.body
    ask = DemoOptions(args.people, args.profile, args.realtime, args.out, args.refine, body)
    result = run_demo(ask, console, _draw if args.render else None)
    console.print(table(result.figures))
    for note in result.notes:
        console.print(note, markup=False, highlight=False)
    files = {"recording": result.recording, "video": result.video, "summary": result.summary}
    for name, path in files.items():
        if path is not None:
            print(f"{name:<10} {path}")
    for path in result.exports:
        print(f"{path.suffix[1:]:<10} {path}")
    return 0
