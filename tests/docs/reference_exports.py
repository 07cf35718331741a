"""The page of export formats, from their one table."""

from kinecast.nodes.exchange.export.bone_names import BONES
from kinecast.nodes.exchange.export.formats import FORMATS
from tests.docs.markdown import table

SHOWN = (0, 1, 4, 7, 3, 12, 16, 18, 20)  # of the 24


def page() -> str:
    """docs/reference/export-formats.md."""
    rows = []
    for name, f in FORMATS.items():
        axes = [f"**{a}**" if a == f.axes else a for a in f.axes_allowed]
        units = [f"**{u}**" if u == f.units else u for u in f.units_allowed]
        files = "one a person" if f.a_person else "one" if f.suffix else "a folder"
        rows.append([f"`{name}`", f.about, f.holds, files, ", ".join(axes), ", ".join(units), f.rotations])
    formats = table(["`--to`", "what", "of", "files", "`--axes`", "`--units`", "rotations"], rows)
    smpl = BONES["smpl"]
    bones = table(
        ["`--bones`", *(smpl[k] for k in SHOWN)],
        [[f"`{which}`", *(f"`{names[k]}`" for k in SHOWN)] for which, names in BONES.items()],
    )
    return f"""# Export formats

How to use them: [export](../how-to/export.md). **Bold** is what is taken where nothing is asked. All are right-handed.
`rig` is the world of the rig, whose up axis `kinecast rig show` tells; `y-up` turns a world with z up by x y z ← y z x,
as Pose2Sim does.

{formats}
The names of bones, some of the 24:

{bones}"""
