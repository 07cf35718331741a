"""The same body in the ``smplx`` package: a second opinion on our own skinning, and the other side of the benchmark.

smplx's code is licensed for non-commercial research only; it is an extra, and nothing but tests and ``make bench`` asks
for it. It is given our arrays, so that files are read by one reader and no pickle is opened by it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinecast.calibration.rigid import rotation
from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import BodyModel

Float = NDArray[np.float64]


def twin(body: BodyModel, people: int = 1) -> Any:
    """A ``smplx.SMPL`` module (float64) of this body for so many people. KinecastError where it is not installed."""
    try:
        import smplx
        import torch
        from smplx.utils import Struct
    except ImportError as e:
        raise KinecastError(f"{e.name} is not installed: pip install '.[smplx]' (non-commercial licence)") from None
    vertices = len(body.v_template)
    none = np.zeros((vertices, 3, 207), np.float32)
    arrays = Struct(
        v_template=np.array(body.v_template),
        shapedirs=np.array(body.shapedirs),
        posedirs=none if body.posedirs is None else np.array(body.posedirs),
        J_regressor=np.array(body.J_regressor),
        weights=np.array(body.weights),
        kintree_table=np.stack([body.parents, np.arange(24)]),
        f=np.array(body.faces),
    )
    # vertex_ids: without them it looks for its own landmarks at SMPL's vertex numbers, which a smaller mesh lacks
    return smplx.SMPL(
        "", data_struct=arrays, num_betas=body.betas, batch_size=people, dtype=torch.float64, vertex_ids=_NO_MARKS
    )


_NO_MARKS = dict.fromkeys(
    "nose reye leye rear lear LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel "
    "lthumb lindex lmiddle lring lpinky rthumb rindex rmiddle rring rpinky".split(),
    0,
)


def forward_smplx(body: BodyModel, pose: Float, betas: Float, trans: Float) -> tuple[Float, Float]:
    """:func:`engines.body.model.body.forward` by smplx: (P, 24, 3) joints and (P, V, 3) vertices, float64 metres.

    pose (P, 24, 3) rotation vectors in radians, betas (P, B), trans (P, 3).
    """
    import torch

    # matrices: its own Rodrigues adds 1e-8 to the vector, which moves a wrist by micrometres
    local = torch.from_numpy(rotation(pose))
    with torch.no_grad():
        out = twin(body, len(pose))(
            betas=torch.from_numpy(np.asarray(betas, np.float64)),
            global_orient=local[:, :1],
            body_pose=local[:, 1:],
            transl=torch.from_numpy(np.asarray(trans, np.float64)),
            pose2rot=False,
        )
    return out.joints[:, :24].numpy(), out.vertices.numpy()
