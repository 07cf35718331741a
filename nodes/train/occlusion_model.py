"""``kinecast train occlusion``: what hidden joints' own motion and lifted poses are worth, on held-out motion."""

import argparse
from pathlib import Path

from kinecast.capture.atomic_write import require_suffix
from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.lifter import find_lifter
from kinecast.engines.lift.sigma import read_sigma
from kinecast.engines.lift.weights import read_lifter
from kinecast.engines.train.data.detector_noise import FITTED, load_noise
from kinecast.nodes.train.inputs import clips_of
from kinecast.nodes.train.libraries import training_libraries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which motion, which lifter, and where the table goes."""
    parser.add_argument("motion", type=Path, nargs="+", help="folders of .bvh, .asf with .amc, or motion archives")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="TOML", help="the table of covariances")
    parser.add_argument("--lifter", default="shipped", metavar="NAME", help="name or file of the lifter")
    parser.add_argument("--held-out", type=Path, metavar="TOML", help="which clips count; default: our list")
    parser.add_argument("--noise", type=Path, default=FITTED, metavar="TOML", help="of the detectors")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="bodies and sets of cameras for every clip")


def run(args: argparse.Namespace) -> int:
    """Measure, and write the table; KinecastError where no clip is held out, or too few for some joint."""
    with training_libraries():
        import torch

        from kinecast.engines.lift.network import LifterNetwork
        from kinecast.engines.train.lifter import occlusion_model
    torch.set_num_threads(1)
    require_suffix(args.out, ".toml")
    file = read_lifter(find_lifter(args.lifter), "halpe26")
    _, held = clips_of(args.motion, args.held_out)
    network = LifterNetwork(file.config)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in file.tensors.items()}, strict=False)
    sigma = read_sigma(file.meta.get("sigma", {}), file.config.joints)
    try:
        scenes = list(occlusion_model.occluded_clips(network, sigma, held, load_noise(args.noise), rounds=args.rounds))
        found = occlusion_model.cases(scenes, file.config.rate_hz)
        shares = occlusion_model.fit_shares(found)
    except ValueError as e:
        raise KinecastError(f"not enough held-out motion: {e}") from None
    errors, tau_s = occlusion_model.fit_errors(scenes, file.config.rate_hz)
    clips = len({s.clip for s in scenes})
    source = f"{len(found.clip)} joints hidden in {len(scenes)} stretches of {clips} held-out clips, {file.name}"
    occlusion_model.write_shares(args.out, shares, errors, tau_s, source)
    print(f"{source}\n{args.out}")
    return 0
