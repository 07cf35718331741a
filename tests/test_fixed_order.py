"""What a result is made of is summed in one order: nothing that fusion or a replay runs calls BLAS or LAPACK.

Both sum in an order that depends on the processor and on the number of threads. The check parses the code, as that of
the imports does; ``tests/engines/body/fit/test_determinism.py`` runs it with several kernels and numbers of threads.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIVE = (
    "calibration/camera.py", "calibration/fixed.py", "calibration/rigid.py", "engines/fixed.py", "engines/products.py",
    "engines/observations.py", "engines/virtual_camera*.py",
    "engines/associate/*.py", "engines/triangulate/*.py", "engines/estimate/*.py",
    *(f"engines/lift/{n}.py" for n in ("depth", "lifter", "rows", "sigma", "stream")),
    *(f"engines/body/model/{n}.py" for n in ("body", "keypoints", "landmarks", "rotations", "skinning")),
    "engines/body/prior/pose_prior.py", "engines/body/prior/twist_uncertainty.py", "engines/body/fit/*.py",
    *(f"engines/timing/{n}.py" for n in ("rig_watch", "clock_watch", "joint")),
    "engines/synth/moving_body.py", "engines/synth/rigs.py",
    "nodes/fusion/core.py", "nodes/fusion/lifting.py", "nodes/fusion/single_view.py", "nodes/fusion/bodies.py",
    "nodes/fusion/detector_habits.py",
    "nodes/reprocess/replay.py",
)  # fmt: skip
# What no live result is made of: meshes, which are shown, and what training, making priors and their exams ask.
ELSEWHERE = {
    "engines/body/model/body.py": ("forward", "shape_vertices"),
    "engines/body/prior/pose_prior.py": ("log_likelihood", "coordinates", "from_other_rest", "_wrong"),
    "engines/body/fit/regressor.py": ("place",),
    "calibration/rigid.py": ("angle_rad", "inverse", "nearest_rotation", "similarity"),  # only rotation() is live
    # the offline smoother; six rows at a time are no work for a second thread
    "engines/estimate/rts.py": ("_pass", "_path"),
}
PRODUCTS = {"dot", "matmul", "vdot", "inner", "tensordot"}


def named(node: ast.expr) -> str:
    """A name with its dots; empty where it is none."""
    if isinstance(node, ast.Attribute):
        return f"{named(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def within(tree: ast.AST, without: tuple[str, ...]) -> Iterator[ast.AST]:
    """All nodes but those of the functions that are named."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.FunctionDef) and node.name in without):
            yield node
            yield from within(node, without)


def faults(source: str, without: tuple[str, ...] = ()) -> list[str]:
    found = []
    for node in within(ast.parse(source), without):
        at = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            found.append(f"{at}: @")
        if isinstance(node, ast.ImportFrom) and "linalg" in (node.module or ""):
            found.append(f"{at}: {node.module}")
        if isinstance(node, ast.Call):
            name, keys = named(node.func), {k.arg for k in node.keywords}
            if name.rpartition(".")[2] in PRODUCTS or (name.endswith("einsum") and "optimize" in keys):
                found.append(f"{at}: {name}")
            if ".linalg." in name and not (
                name.endswith(".norm") and "axis" in keys
            ):  # along an axis it is a plain sum
                found.append(f"{at}: {name}")
    return found


def test_what_is_live_calls_no_blas() -> None:
    files = {p.relative_to(ROOT).as_posix() for pattern in LIVE for p in ROOT.glob(pattern)}
    assert len(files) > 40 and all(any(ROOT.glob(pattern)) for pattern in LIVE)
    found = [f"{f} {w}" for f in sorted(files) for w in faults((ROOT / f).read_text(), ELSEWHERE.get(f, ()))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "y = x @ w", "y @= w", "y = np.dot(x, w)", "y = x.dot(w)", "np.linalg.solve(A, b)", "np.linalg.norm(v)",
        "np.einsum('ij,jk', a, b, optimize=True)", "from scipy.linalg import solve", "def f():\n    return a @ b",
    ],
)  # fmt: skip
def test_a_poisoned_line_is_found(source: str) -> None:
    assert faults(source)


def test_a_sound_line_passes() -> None:
    assert not faults("times(a, b)\nnp.linalg.norm(v, axis=-1)\nnp.einsum('ij,jk', a, b)\n@decorated\ndef f(): ...")
