"""Lab Streaming Layer: one outlet a person, for experiments that put motion beside EEG, forces or eye tracking.

Kothe et al., *The Lab Streaming Layer for synchronized multimodal recording* (Imaging Neuroscience, 2025). The library
is pylsl (MIT), which brings liblsl.
"""

import time
from typing import Any

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.nodes.stream.frame import StreamFrame

GONE_S = 10.0  # who is away for longer has no outlet


class LslSender:
    """Outlets ``<name> person <id>`` of type MoCap: x y z of each joint, then x y z w of each rotation where there are
    bodies. Stamps are those of the capture, on LSL's clock. KinecastError where pylsl is missing.
    """

    def __init__(self, name: str, joints: tuple[str, ...], rate_hz: float) -> None:
        try:
            import pylsl
        except ImportError:
            raise KinecastError("LSL needs the package pylsl: pip install 'kinecast[lsl]'") from None
        self._lsl: Any = pylsl
        self._name, self._joints, self._rate_hz = name, joints, rate_hz
        self._outlets: dict[int, tuple[Any, int]] = {}
        self._seen: dict[int, float] = {}

    def send(self, frame: StreamFrame) -> None:
        """Push a sample of everybody; NaN where a joint is missing."""
        now_s = time.monotonic()
        age_s = (time.time_ns() - frame.t_capture_ns) * 1e-9
        for person in frame.people:
            sample = np.concatenate([person.joints_m.ravel(), person.quaternions_xyzw.ravel()])
            outlet, width = self._outlets.get(person.person, (None, 0))
            if width != len(sample):
                outlet = self._open(person.person, len(person.joints_m), len(person.quaternions_xyzw))
                self._outlets[person.person] = (outlet, len(sample))
            self._seen[person.person] = now_s
            assert outlet is not None
            outlet.push_sample(sample.tolist(), self._lsl.local_clock() - age_s)
        for who in [w for w, s in self._seen.items() if now_s - s > GONE_S]:
            del self._seen[who], self._outlets[who]

    def _open(self, person: int, joints: int, rotations: int) -> Any:
        names = [f"{self._joints[j]}_{a}" for j in range(joints) for a in "xyz"]
        names += [f"{self._joints[j]}_q{a}" for j in range(rotations) for a in "xyzw"]
        info = self._lsl.StreamInfo(
            f"{self._name} person {person}", "MoCap", len(names), self._rate_hz, "float32", f"kinecast-{person}"
        )
        channels = info.desc().append_child("channels")
        for n, name in enumerate(names):
            channel = channels.append_child("channel")
            channel.append_child_value("label", name)
            channel.append_child_value("unit", "meters" if n < joints * 3 else "quaternion")
        return self._lsl.StreamOutlet(info)

    def close(self) -> None:
        """Close the outlets."""
        self._outlets.clear()
