"""From messages of the bus to what the page draws: plain maps of numbers, small enough to go out ten times a second."""

import math
import shutil
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.camera import Rig
from kinecast.engines.records import Bodies, Poses
from kinecast.engines.skeleton.tables import SKELETONS
from kinecast.nodes.bus.messages import Health, Preview, RigHealth
from kinecast.nodes.exchange.export.person_series import turn_to
from kinecast.nodes.graph.records import CameraNode, Graph, RecorderNode

STALE_NS = 2_000_000_000  # a node that said nothing for so long is no longer called alive
LOG_LINES = 200
MISSING = 1_000_000  # in millimetres and pixels


def _flat(values: NDArray[Any], scale: float) -> list[int]:
    """Whole numbers of values · scale in one list, MISSING where there is none, as JSON knows no NaN."""
    scaled = np.rint(values.astype(np.float64) * scale)
    return [int(v) for v in np.where(np.abs(scaled) < MISSING, scaled, MISSING).ravel().tolist()]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


class Feed:
    """Keeps the newest of everything. Messages come in by :meth:`take`, what is sent goes out by the others."""

    def __init__(self, graph: Graph, rig: Rig) -> None:
        self._graph, self._rig = graph, {c.name: c for c in rig.cameras}
        self._turn = turn_to(rig, "z-up")
        self._health: dict[str, Health] = {}
        self._poses: Poses | None = None
        self._bodies: Bodies | None = None
        self._rig_health: RigHealth | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._notes: dict[str, str] = {}

    def take(self, topic: str, record: Any) -> None:
        """A message from the bus."""
        if isinstance(record, Health):
            self._health[record.node] = record
            if record.note != self._notes.get(record.node, ""):
                self._notes[record.node] = record.note
                if record.note:
                    self._log.append(f"{record.node}: {record.note}")
        elif isinstance(record, Poses):
            self._poses = record
        elif isinstance(record, Bodies):
            self._bodies = record
        elif isinstance(record, RigHealth):
            self._rig_health = record

    def about(self) -> dict[str, Any]:
        """Said once to each page: cameras and where they stand, joints and bones. Metres, z up."""
        cameras = []
        for name in self._graph.of_kind("camera"):
            camera = self._graph.camera_of(name)
            node = self._graph.nodes[name]
            assert isinstance(node, CameraNode)
            seen = self._rig[camera]
            cameras.append({
                "node": name, "camera": camera, "size_px": list(seen.size_px), "rate_hz": node.rate_hz,
                "centre_m": (self._turn @ seen.centre_world).tolist(), "axes": (self._turn @ seen.R.T).tolist(),
                "focal_px": [float(seen.K[0, 0]), float(seen.K[1, 1])],
            })  # fmt: skip
        return {"type": "about", "session": self._graph.session.name, "cameras": cameras,
                "missing": MISSING, "bones": {name: s.bones for name, s in SKELETONS.items()}}  # fmt: skip

    def marks(self, seen: Preview) -> dict[str, Any]:
        """Who is in a picture: keypoints in pixels, and the fused identity, -1 where there is none."""
        ids = [self._who(seen.camera, px) for px in seen.keypoints_px]
        return {"camera": seen.camera, "skeleton": seen.skeleton, "ids": ids,
                "px": [_flat(px, 1) for px in seen.keypoints_px]}  # fmt: skip

    def _who(self, camera: str, px: NDArray[np.float32]) -> int:
        """The fused person whose middle is nearest to that of keypoints (J, 2), within a third of their height."""
        if self._poses is None or not len(self._poses.person_ids) or not np.isfinite(px).any():
            return -1
        middles = np.nanmedian(self._poses.points_world_m, axis=1)
        away = np.linalg.norm(self._rig[camera].project(middles)[0] - np.nanmedian(px, axis=0), axis=1)
        height = float(np.nanmax(px[:, 1]) - np.nanmin(px[:, 1]))
        nearest = int(np.argmin(np.where(np.isfinite(away), away, np.inf)))
        return int(self._poses.person_ids[nearest]) if away[nearest] < height / 3 else -1

    def scene(self) -> dict[str, Any]:
        """The people in 3D: joints, and those of the body where there is one; metres, z up."""
        people = []
        poses, bodies = self._poses, self._bodies
        if poses is not None:
            joints = (
                {int(i): b for i, b in zip(bodies.person_ids, bodies.joints_world_m, strict=True)} if bodies else {}
            )
            for p, person in enumerate(poses.person_ids.tolist()):
                body = joints.get(person)
                points, name = (poses.points_world_m[p], poses.skeleton) if body is None else (body, "smpl24")
                people.append({"id": person, "skeleton": name, "mm": _flat(points @ self._turn.T, 1000)})
        return {"type": "scene", "people": people}

    def state(self, now_ns: int) -> dict[str, Any]:
        """How every node does, what the cameras' clocks and places do, the log, and how long the disk lasts."""
        nodes = []
        for name in self._graph.nodes:
            h = self._health.get(name)
            if h is None:
                nodes.append({"node": name, "state": "unheard", "alive": False})
                continue
            nodes.append({
                "node": name, "kind": h.kind, "state": h.state, "alive": now_ns - h.t_ns < STALE_NS, "note": h.note,
                "rate_hz": round(max(h.rate_hz.values(), default=0.0), 1), "drops": h.drops,
                "latency_ms": {step: [round(a, 1), round(b, 1)] for step, (a, b) in h.latency_ms.items()},
            })  # fmt: skip
        rig: dict[str, Any] = {}
        if (r := self._rig_health) is not None:
            for c, camera in enumerate(r.cameras):
                rig[camera] = {"moved_px": _number(float(r.moved_px[c])), "moved": int(r.moved_since_ns[c]) > 0,
                               "offset_ms": _number(float(r.offset_ms[c]))}  # fmt: skip
        return {"type": "state", "nodes": nodes, "rig": rig, "log": list(self._log), **self._disk()}

    def _disk(self) -> dict[str, Any]:
        """What records, and for how many minutes the disk lasts at the pace so far."""
        recorders = self._graph.of_kind("recorder")
        if not recorders:
            return {"recording": None}
        settings = self._graph.nodes[recorders[0]]
        assert isinstance(settings, RecorderNode)
        out = Path(self._graph.session.out)
        try:
            written = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
            free = shutil.disk_usage(out).free
        except OSError:
            return {"recording": settings.file, "free_bytes": None}
        return {"recording": settings.file, "written_bytes": written, "free_bytes": free}
