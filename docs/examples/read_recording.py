"""Read a recording: who was seen, for how long, and how far each person walked.

python docs/examples/read_recording.py session.mcap
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from kinecast.engines.records import Poses
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.recording.file import Recording


def paths_of(recording: Recording) -> dict[int, tuple[list[int], list[np.ndarray]]]:
    """Identity → times in ns and positions (3,) in metres of the middle of the hips, where it was seen."""
    out: dict[int, tuple[list[int], list[np.ndarray]]] = defaultdict(lambda: ([], []))
    for _topic, _stamp, poses in recording.messages(("poses",)):
        assert isinstance(poses, Poses)
        hips = skeleton(poses.skeleton).index("mid_hip")
        for identity, joints in zip(poses.person_ids.tolist(), poses.points_world_m, strict=True):
            if np.isfinite(joints[hips]).all():  # missing is NaN, never (0, 0, 0)
                times, places = out[identity]
                times.append(poses.t_set_ns)
                places.append(joints[hips])
    return dict(out)


def main() -> None:
    """Print one line a person."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    recording = Recording.open(parser.parse_args().recording)
    print(f"cameras: {', '.join(recording.rig.names)}; {recording.rig.up} is up")
    for identity, (times, places) in paths_of(recording).items():
        seconds = (times[-1] - times[0]) / 1e9
        walked_m = np.linalg.norm(np.diff(places, axis=0), axis=1).sum()
        print(f"person {identity}: {len(times)} poses in {seconds:.2f} s, {walked_m:.2f} m walked")
    for line in recording.damage():  # a file that was cut short is read up to its last whole chunk
        print(line)


if __name__ == "__main__":
    main()
