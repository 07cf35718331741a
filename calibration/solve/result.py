"""Everything that a calibration knows about itself, as numbers: what reports draw, and the same as JSON."""

import json
import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from kinecast.calibration.camera import Camera, Float, Rig


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """One number of a lens and its standard deviation (NaN: it was not estimated)."""

    name: str
    value: float
    sd: float


@dataclass(frozen=True, slots=True, eq=False)
class CameraResult:
    """One camera.

    lens: the kind that was estimated (``calibration.lens.KINDS``), or ``given``. looked: pictures looked at; views:
    those with the board. used: views that the numbers below are over.
    px (n, 2) where corners were seen, residual_px (n, 2) seen − projected, weight (n,) 0–1 of the robust fit,
    frame_set (n,) which picture or frame set each corner belongs to.
    coverage: (6, 8) corners by cell of the picture. tilt_deg: (v,) of the board towards the camera.
    held_out_px: typical distance in pictures that the lens was not fitted to, NaN where that could not be tried;
    tried_px: the same by kind of lens.
    position_m (3,), position_sd_m: where it stands, and the root of the summed variances (relative to the whole rig).
    rotation_sd_rad: the same of its attitude. offset_s: how much later than its stamps it sees, with its standard
    deviation; 0 and NaN where that was not estimated. halves_mm: how far the rigs of either half of the frame sets
    put it apart, NaN where there are too few.
    """

    camera: Camera
    lens: str
    looked: int
    views: int
    used: int
    parameters: tuple[Parameter, ...]
    px: Float
    residual_px: Float
    weight: Float
    frame_set: Float
    coverage: Float
    tilt_deg: Float
    held_out_px: float
    tried_px: dict[str, float]
    edge_px: float
    position_m: Float
    position_sd_m: float = math.nan
    rotation_sd_rad: float = math.nan
    offset_s: float = 0.0
    offset_sd_s: float = math.nan
    halves_mm: float = math.nan

    @property
    def median_px(self) -> float:
        """Median distance of all corners from their projections."""
        return float(np.median(np.linalg.norm(self.residual_px, axis=1))) if len(self.residual_px) else math.nan

    @property
    def rms_px(self) -> float:
        """Root mean square distance of all corners."""
        return float(np.sqrt((self.residual_px**2).sum(axis=1).mean())) if len(self.residual_px) else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class LinkResult:
    """Two cameras by name: frame sets in which both saw the board, those that agreed on the first relative pose, and
    whether the rig was first put together by this link."""

    a: str
    b: str
    shared: int
    agree: int
    used: bool


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """The board measured in the rig's world: error_m (n,) of every pair of triangulated corners, true_m (n,).

    median_px: of the triangulated corners from where they were seen.
    """

    error_m: Float
    true_m: Float
    bias_mm: float
    rmse_mm: float
    scale: float
    median_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """A rival explanation of the same pictures, in short: its rig and how well it does."""

    name: str
    rig: Rig
    median_px: float
    lengths: Lengths


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A calibration. rig: None where only lenses were estimated.

    scale_px: σ of one coordinate of a corner, of the robust fit. lengths: of the board, at one instant (time offsets
    applied); lengths_stamped: as if the stamps were right. rival: the rig without time offsets, where they are used.
    """

    rig: Rig | None
    board: str
    cameras: tuple[CameraResult, ...]
    links: tuple[LinkResult, ...]
    frame_sets: int
    scale_px: float
    lengths: Lengths | None
    lengths_stamped: Lengths | None
    rival: Variant | None
    warnings: tuple[str, ...]
    seconds: float

    @property
    def median_px(self) -> float:
        """Median distance of all corners of all cameras from their projections."""
        all_px = np.concatenate([np.linalg.norm(c.residual_px, axis=1) for c in self.cameras])
        return float(np.median(all_px)) if len(all_px) else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 9) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    raise TypeError(f"{type(value).__name__} has no place in a calibration")


def to_json(result: Calibration) -> str:
    """All of it as JSON; what is not known is null."""
    out = {"kinecast_calibration": 1, "median_px": _plain(result.median_px), **_plain(result)}
    for camera, table in zip(result.cameras, out["cameras"], strict=True):
        table["median_px"], table["rms_px"] = _plain(camera.median_px), _plain(camera.rms_px)
    return json.dumps(out, allow_nan=False) + "\n"
