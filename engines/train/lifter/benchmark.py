"""The standing benchmark of lifters: predictions on the clips of ``data/heldout_clips.py``, and their measures."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinecast.engines.metrics import ap_root, auc, limb_joints, mpjpe, mrpe, n_mpjpe, p_mpjpe, pck
from kinecast.engines.metrics.joints import joint_errors
from kinecast.engines.train.data.heldout_clips import ROOT, HeldoutClip
from kinecast.engines.train.lifter.validate import LiftedBatch
from kinecast.engines.virtual_camera import out_of_virtual

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

LIMBS = list(limb_joints("halpe26"))
HALF = 9  # of the twelve limb joints: with fewer somebody counts as half seen
AGES = ((0, 1), (1, 9), (9, 27), (27, 81), (81, 243), (243, 10**9))
DEPTHS = ("k", "k, best constant", "gamma", "trajectory")


@dataclass(slots=True)
class ClipPredictions:
    """What one lifter answered, frames that count end to end. Points in each frame's virtual camera, metres."""

    rate_hz: float
    lifted: list[Float] = field(default_factory=list)
    corrected: list[Float] = field(default_factory=list)
    truth: list[Float] = field(default_factory=list)
    root: list[Float] = field(default_factory=list)
    roots: dict[str, list[Float]] = field(default_factory=dict)
    sd: list[Float] = field(default_factory=list)
    log_depth_sd: dict[str, list[Float]] = field(default_factory=dict)
    score: list[Float] = field(default_factory=list)
    age: list[NDArray[np.int64]] = field(default_factory=list)
    groups: dict[str, list[Bool]] = field(default_factory=dict)
    action: list[NDArray[np.str_]] = field(default_factory=list)
    velocity: list[Float] = field(default_factory=list)

    def add(self, clip: HeldoutClip, out: LiftedBatch) -> None:
        """Take down one answer."""
        b = clip.batch
        on = b.weight[0] > 0
        if not on.any():
            return
        truth = b.relative_m[0].astype(np.float64)
        self.lifted.append(out.relative_m[0][on])
        self.corrected.append(out.corrected_m[0][on])
        self.truth.append(truth[on])
        self.root.append(b.root_m[0][on].astype(np.float64))
        for name, root in out.root_m.items():
            self.roots.setdefault(name, []).append(root[0][on])
        for name, sd in out.log_depth_sd.items():
            self.log_depth_sd.setdefault(name, []).append(sd[0][on])
        if out.sd_m is not None:
            self.sd.append(out.sd_m[0][on])
        self.score.append(b.features[0, on, :, 2].mean(-1).astype(np.float64))
        self.age.append(b.age[0][on])
        self.action.append(np.full(int(on.sum()), clip.action))
        half = (b.features[0, :, LIMBS, 2] > 0).sum(0) < HALF
        usual = ~clip.lying & ~clip.rare & ~half
        for name, flags in (
            ("usual", usual), ("lying", clip.lying), ("rare", clip.rare), ("half seen", half),
        ):  # fmt: skip
            self.groups.setdefault(name, []).append(flags[on])
        error = out_of_virtual(b.cam_from_virtual[0].astype(np.float64), out.corrected_m[0] - truth)
        moved = np.linalg.norm(np.diff(error, axis=0), axis=-1).mean(-1)
        self.velocity.append(moved[on[1:] & on[:-1]] * self.rate_hz)

    def report(self, sigma: dict[str, object]) -> dict[str, object]:
        """All figures as JSON; metres, shares. sigma: the calibration that came with the weights."""
        lifted, corrected, truth, root = (
            np.concatenate(v) for v in (self.lifted, self.corrected, self.truth, self.root)
        )
        errors = joint_errors(corrected, truth).mean(-1)
        age, action = np.concatenate(self.age), np.concatenate(self.action)
        out: dict[str, object] = {
            "frames": len(truth),
            "mpjpe_m": mpjpe(corrected, truth, ROOT).value,
            "mpjpe_uncorrected_m": mpjpe(lifted, truth, ROOT).value,
            "p_mpjpe_m": p_mpjpe(corrected, truth).value,
            "n_mpjpe_m": n_mpjpe(corrected, truth, ROOT).value,
            "velocity_m_s": float(np.concatenate(self.velocity).mean()),
            "pck_150": pck(corrected, truth, root=ROOT).value,
            "auc": auc(corrected, truth, root=ROOT).value,
            "by_action": {a: float(errors[action == a].mean()) for a in sorted(set(action.tolist()))},
            "by_age": {_span(lo, hi): _mean(errors[(age >= lo) & (age < hi)]) for lo, hi in AGES},
            "by_pose": {n: _mean(errors[np.concatenate(f)]) for n, f in self.groups.items()},
            "root": {
                d: self._placed(self._roots(d, root), corrected, truth, root)
                for d in DEPTHS
                if d.partition(",")[0] in self.roots
            },
        }
        if self.sd:
            out["inside_sigma"] = self._inside(corrected - truth, root, sigma)
        return out

    def _roots(self, depth: str, root: Float) -> Float:
        """(T, 3) roots. The constant is the one that suits these very frames best: what k can be worth without γ."""
        name, _, constant = depth.partition(",")
        root_m = np.concatenate(self.roots[name])
        return root_m * np.median(root[:, 2] / root_m[:, 2]) if constant else root_m

    def _placed(self, placed: Float, corrected: Float, truth: Float, root: Float) -> dict[str, float]:
        ours, theirs = corrected + placed[:, None], truth + root[:, None]
        score = np.concatenate(self.score)
        frames = [(ours[i : i + 1], score[i : i + 1], theirs[i : i + 1]) for i in range(len(ours))]
        off = np.abs(placed[:, 2] - root[:, 2])
        return {
            "mrpe_m": mrpe(ours, theirs, ROOT).value,
            "median_root_m": float(np.median(np.linalg.norm(placed - root, axis=-1))),
            "depth_m": float(off.mean()),
            "depth_share": float((off / root[:, 2]).mean()),
            "pck_abs_150": pck(ours, theirs).value,
            "ap_root_25cm": ap_root(frames, ROOT),
            "mpjpe_abs_m": mpjpe(ours, theirs).value,
        }

    def _inside(self, error: Float, root: Float, sigma: dict[str, object]) -> dict[str, list[float]]:
        """Shares of errors inside 1, 2, 3 σ, for each axis alone: 0.683, 0.954, 0.997 if errors were normal."""
        others = [j for j in range(error.shape[1]) if j != ROOT]  # the root is 0 by definition
        ratio = np.abs(error) / np.concatenate(self.sd)
        out = {"joints, as the network says": _shares(ratio[:, others])}
        if "joints" in sigma:
            out["joints"] = _shares((ratio / np.array(sigma["joints"]))[:, others])
        for name, factor in (("gamma", sigma.get("log_gamma")), ("trajectory", sigma.get("root_code"))):
            if name in self.log_depth_sd and factor is not None:
                depth = np.concatenate(self.roots[name])[:, 2]
                off = np.abs(np.log(depth / root[:, 2])) / np.concatenate(self.log_depth_sd[name])
                out[f"depth by {name}"] = _shares(off / np.ravel(np.array(factor, np.float64))[-1])
        return out


def _shares(ratio: Float) -> list[float]:
    return [float((ratio <= k).mean()) for k in (1, 2, 3)]


def _mean(values: Float) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _span(low: int, high: int) -> str:
    return str(low) if high == low + 1 else f"{low}–{high - 1}" if high < 10**9 else f"{low}+"
