"""Parquet, for tables of data: a row a person-frame-joint, columns typed, by the library pyarrow."""

from pathlib import Path
from typing import Any

import numpy as np

from kinecast.capture.atomic_write import atomic_path
from kinecast.capture.errors import KinecastError
from kinecast.nodes.exchange.export.person_series import ExportedPeople


def write_parquet(people: ExportedPeople, path: Path) -> list[Path]:
    """Columns: t_capture_ns, set_index, person_id, joint, x_m y_m z_m, cov_xx … cov_zz (m²), confidence, residual_px,
    views (bit c: camera c), n_views, and the flags measured, derived, lifted, occluded (no view sees it, yet it has a
    place), filled (put into a gap by ``kinecast clean``). Missing numbers are null. The file's metadata names skeleton,
    cameras, up axis and unit.

    KinecastError where pyarrow is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise KinecastError("Parquet needs the package pyarrow: pip install 'kinecast[parquet]'") from None
    joints = len(people.skeleton)
    rows = len(people.person_id)
    names = pa.DictionaryArray.from_arrays(
        pa.array(np.tile(np.arange(joints, dtype=np.int8), rows)), pa.array(people.skeleton.joints)
    )
    here = np.isfinite(people.points_world_m[..., 0])
    views = people.views.ravel()
    columns: dict[str, Any] = {
        "t_capture_ns": np.repeat(people.t_capture_ns, joints),
        "set_index": np.repeat(people.set_index, joints),
        "person_id": np.repeat(people.person_id, joints),
        "joint": names,
    }
    columns |= {f"{a}_m": _nullable(pa, people.points_world_m[..., i]) for i, a in enumerate("xyz")}
    pairs = ("xx", "xy", "xz", "yy", "yz", "zz")
    columns |= {f"cov_{p}_m2": _nullable(pa, people.covariance_m2[..., i]) for i, p in enumerate(pairs)}
    columns |= {
        "confidence": people.confidence.ravel(),
        "residual_px": _nullable(pa, people.residual_px),
        "views": views,
        "n_views": np.bitwise_count(views).astype(np.uint8),
        "measured": (here & ~people.derived & ~people.lifted & (people.views > 0)).ravel(),
        "derived": people.derived.ravel(),
        "lifted": people.lifted.ravel(),
        "occluded": (here & (people.views == 0)).ravel(),
        "filled": people.filled.ravel(),
    }
    table = pa.table(columns).replace_schema_metadata(
        {
            "skeleton": people.skeleton.name,
            "cameras": ",".join(people.cameras),
            "up": people.up,
            "units": "m",
            "filtered": people.filtered,
        }
    )
    with atomic_path(path, overwrite=True) as file:
        pq.write_table(table, file, compression="zstd")
    return [path]


def _nullable(pa: Any, values: "np.typing.NDArray[np.floating]") -> Any:
    flat = values.ravel()
    return pa.array(flat, mask=~np.isfinite(flat))
