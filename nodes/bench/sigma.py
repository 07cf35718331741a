"""``kinecast bench sigma``: are stated deviations as large as errors are, where a detector errs all the time?

People of known bodies live before cameras; the fusion core takes what a detector with habits, and one without, says of
them. Errors of triangulated joints and of body joints, axis by axis of their stated covariance, should lie inside 1, 2
and 3 σ in 68, 95 and 99.7 of a hundred cases. The random part is judged alone as well: against errors less what each
joint's error keeps over ``LASTING_S`` in the limb's own axes.
"""

import argparse
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError
from kinecast.engines.habits.limb_frames import limb_frames
from kinecast.engines.records import Bodies, Poses, unpack_covariance
from kinecast.engines.synth.habitual import detector_names
from kinecast.engines.synth.lasting import LastingScene, lasting_scene
from kinecast.engines.synth.rigs import ring_rig
from kinecast.nodes.bench import Row
from kinecast.nodes.bench.report import add_json, check_json, emit
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.records import FusionNode

Float = NDArray[np.float64]
HONEST = (0.683, 0.954, 0.997)
SETTLED_S = 5.0
NEAR_M = 0.5  # of the truth: whose a person is


@dataclass(slots=True)
class Errors:
    """What fusion said beside the truth, joint by joint: rows of numbers, put together by :meth:`arrays`."""

    error: list[Float] = field(default_factory=list)  # (n, 3) m
    covariance: list[Float] = field(default_factory=list)  # (n, 3, 3) m²
    bias: list[Float] = field(default_factory=list)  # (n,) m
    local: list[Float] = field(default_factory=list)  # (n, 3) the error in the limb's axes
    key: list[NDArray[np.int64]] = field(default_factory=list)  # (n,) whose joint

    def arrays(self) -> tuple[Float, Float, Float, Float, NDArray[np.int64]]:
        """All of them."""
        return tuple(np.concatenate(c) for c in (self.error, self.covariance, self.bias, self.local, self.key))  # type: ignore[return-value]


def fused(life: LastingScene, settings: FusionNode) -> tuple[Errors, Errors]:
    """Errors of joints and of bodies' joints."""
    core = FusionCore(life.rig, settings)
    joints, bodies = Errors(), Errors()
    for view in life.messages():
        for out in core.handle(0, f"keypoints/{view.camera}", view):
            if isinstance(out.record, Poses) and out.record.t_set_ns > SETTLED_S * 1e9:
                _joints(life, out.record, joints)
            elif isinstance(out.record, Bodies) and out.record.t_set_ns > SETTLED_S * 1e9:
                _bodies(life, out.record, bodies)
    return joints, bodies


def _joints(life: LastingScene, poses: Poses, into: Errors) -> None:
    truth = life.people.points_world(poses.t_set_ns)
    frames = limb_frames(truth)
    covariance = unpack_covariance(poses.covariance_m2)
    for p in range(len(poses.person_ids)):
        error = poses.points_world_m[p] - truth
        gap = np.nanmedian(np.linalg.norm(error, axis=-1), axis=-1)
        who = int(gap.argmin())
        if not gap[who] < NEAR_M:
            continue
        ok = np.isfinite(error[who]).all(axis=-1) & ~poses.derived[p] & np.isfinite(covariance[p]).all(axis=(1, 2))
        if poses.lifted.size:
            ok &= ~poses.lifted[p]
        into.error.append(error[who][ok])
        into.covariance.append(covariance[p][ok])
        into.bias.append(poses.bias_sd_m[p][ok].astype(np.float64) if poses.bias_sd_m.size else np.zeros(int(ok.sum())))
        into.local.append(np.einsum("jab,ja->jb", frames[who], error[who])[ok])
        into.key.append(np.flatnonzero(ok) + 100 * who)


def _bodies(life: LastingScene, bodies: Bodies, into: Errors) -> None:
    k = int(np.searchsorted(life.people.t_ns, bodies.t_set_ns).clip(0, len(life.people.t_ns) - 1))
    truth = np.stack([m.joints[k] for m in life.people.motions])
    for p in range(len(bodies.person_ids)):
        error = bodies.joints_world_m[p] - truth
        gap = np.median(np.linalg.norm(error, axis=-1), axis=-1)
        who = int(gap.argmin())
        sd = bodies.joint_sd_m[p].astype(np.float64)
        if not gap[who] < NEAR_M:
            continue
        into.error.append(error[who])
        into.covariance.append(sd[:, None, None] ** 2 * np.eye(3))
        into.bias.append(np.zeros(24))
        into.local.append(error[who])
        into.key.append(np.arange(24) + 100 * who)


def shares(error: Float, covariance: Float) -> tuple[float, ...]:
    """Of the errors (n, 3), whitened by (n, 3, 3), the shares of axes inside 1, 2 and 3 σ."""
    L = np.linalg.cholesky(covariance)
    z = np.abs(np.linalg.solve(L, error[..., None]))[..., 0]
    return tuple(float((z < k).mean()) for k in (1, 2, 3))


def told(inside: tuple[float, ...]) -> str:
    """Shares for people to read."""
    return ", ".join(f"{100 * s:.0f}" if s < 0.99 else f"{100 * s:.1f}" for s in inside)


def rows_of(name: str, life: LastingScene, settings: FusionNode) -> list[Row]:
    """The rows of one detector."""
    joints, bodies = fused(life, settings)
    if not joints.error:
        raise KinecastError(f"{name}: nobody was fused")
    error, covariance, bias, local, key = joints.arrays()
    whole = covariance + bias[:, None, None] ** 2 * np.eye(3)
    lasting = np.zeros_like(local)
    for j in np.unique(key):
        lasting[key == j] = local[key == j].mean(axis=0)
    rms = 1000 * float(np.sqrt((error**2).mean()))
    kept = 1000 * float(np.sqrt((lasting**2).mean()))
    rows = [
        Row(f"{name}: joints, covariance alone", *_inside(error, covariance)),
        Row(f"{name}: joints, with bias_sd_m", *_inside(error, whole)),
        Row(f"{name}: joints, error per axis", rms, "mm", note=f"of which {kept:.1f} lasts; bias_sd_m {_mm(bias)}"),
    ]
    if bodies.error:
        e, cov, *_ = bodies.arrays()
        rows.append(Row(f"{name}: body joints", *_inside(e, cov)))
    return rows


def _inside(error: Float, covariance: Float) -> tuple[float, str, None, str]:
    """Value, unit, aim and note of a row."""
    inside = shares(error, covariance)
    sd = 1000 * float(np.sqrt(np.trace(covariance, axis1=1, axis2=2).mean() / 3))
    return 100 * inside[0], "%", None, f"{told(inside)} % in 1, 2, 3 σ; says ± {sd:.1f} mm per axis"


def _mm(bias: Float) -> str:
    return f"{1000 * float(np.sqrt((bias**2).mean())):.1f}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """For how long, with which detectors."""
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of each scene; default 60")
    parser.add_argument("--people", type=int, default=1, metavar="N", help="in each scene; default 1")
    parser.add_argument(
        "--detectors", nargs="+", metavar="NAME", default=["white", "blazepose-heavy"],
        help=f"of {', '.join(detector_names())}, or tables (.toml); default: white blazepose-heavy",
    )  # fmt: skip
    parser.add_argument("--cameras", type=int, default=4, metavar="N", help="of the rig; default 4")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the people and the noise")
    parser.add_argument("--bodies", action="store_true", help="fit bodies too")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the rows."""
    check_json(args)
    rows = []
    for name in args.detectors:
        rig = ring_rig(args.cameras, (1920, 1080), radius_m=4.5, focal_of_width=0.625)
        life = lasting_scene(name, seconds=args.seconds + SETTLED_S, people=args.people, rig=rig, seed=args.seed)
        rows += rows_of(name, life, FusionNode(body="neutral" if args.bodies else "off", lift="off"))
    print(f"honest is {told(HONEST)} % in 1, 2, 3 σ")
    emit(args, rows)
    return 0
