"""``docs/reference/launch-file.md`` and ``recipe.md``: every key that the strict readers take, from their records."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from kinecast.engines.train.recipe import BOUNDS, Recipe
from kinecast.nodes.graph.launch_file import RANGES, VERSION
from kinecast.nodes.graph.records import KINDS, BusSettings, Restart, Session
from tests.docs.markdown import default, described, hints, kind, summary, table, word

HEADS = ("key", "type", "default", "range", "meaning")


def _range(limits: tuple[float, float] | None) -> str:
    return "" if limits is None else " … ".join(str(int(n)) if n == int(n) else f"{n:g}" for n in limits)


def keys(cls: type, prefix: str = "", leave: tuple[type, ...] = ()) -> Iterator[tuple[str, ...]]:
    """A row for each key of a record of the launch file, those below it too; ``leave`` are told elsewhere."""
    about, types = described(cls), hints(cls)
    for f in fields(cls):
        hint = types[f.name]
        if is_dataclass(hint) and isinstance(hint, type):
            if hint not in leave:
                yield from keys(hint, f"{prefix}{f.name}.", leave)
            continue
        limits = RANGES.get(f.name)
        yield f"`{prefix}{f.name}`", kind(hint), word(default(f)), _range(limits), about[f.name]


def launch_file() -> str:
    """The page of the launch file."""
    text = f"""# The launch file

`launch.yaml` is the only wiring of a [graph](running-graph.md): its nodes, where their pictures come from, and how they
are restarted.

```yaml
version: {VERSION}
session: {{name: studio, out: out/studio, rig: rig.toml, pace: realtime}}
bus: {{base_port: 5600}}
defaults:
  camera: {{detector: {{profile: lightweight}}}}
nodes:
  cam01: {{kind: camera, source: {{kind: usb, uri: /dev/video0, fps_hz: 30}}, rate_hz: 30}}
  cam02: {{kind: camera, source: {{kind: video, uri: cam02.mp4}}}}
  fusion: {{kind: fusion}}
  recorder: {{kind: recorder}}
```

- `version: {VERSION}` must be there. `nodes` maps the name of each node to its settings, of which `kind` must be given.
- `defaults` maps a kind to settings of all its nodes; what a node says itself wins, key by key.
- A key that is not known, of the wrong type or out of range is refused with the file, the line and the nearest right
  word.
- Paths are relative to the file, those after `--set KEY=VALUE` to the working directory.
- More on [cameras](../how-to/use-usb-rtsp-http-cameras.md), [detector models](models.md),
  [runtimes](../how-to/run-on-a-gpu.md), [clocks](../explanation/clocks.md), [lifting](../explanation/lifter.md),
  [bodies](../explanation/body-solver.md), their [regressor](../explanation/regressor.md),
  [meshes and pictures](../how-to/render-and-watch.md), and the
  [page](../how-to/watch-in-the-browser.md).

## session

{table(HEADS, keys(Session))}
## bus

{table(HEADS, keys(BusSettings))}
"""
    for name, cls in KINDS.items():
        text += f"## {name}\n\n{summary(cls)}\n\n{table(HEADS, keys(cls, leave=(Restart,)))}\n"
    return text + f"## restart\n\nOf every kind of node.\n\n{table(HEADS, keys(Restart, 'restart.'))}"


def _recipe_keys(cls: type, prefix: str = "") -> Iterator[tuple[str, ...]]:
    about, types = described(cls), hints(cls)
    for f in fields(cls):
        if is_dataclass(types[f.name]) and isinstance(types[f.name], type):
            yield from _recipe_keys(types[f.name], f"{prefix}{f.name}.")
            continue
        name = f"{prefix}{f.name}"
        yield f"`{name}`", kind(types[f.name]), word(default(f)), _range(BOUNDS.get(name)), about[f.name]


def recipe() -> str:
    """The page of the recipe of a retraining."""
    return f"""# The recipe of a retraining

A TOML file for `kinecast train retrain`; an example is in [retrain, promote, roll
back](../how-to/retrain-promote-roll-back.md). A key `a.b` stands as `b` in the table `[a]`. It begins with
`kinecast_recipe = 1`. Paths are relative to the file. `motion` or `datasets` must name something. An unknown key, a
value of another type or one that is out of range is refused by name; keys of earlier versions are read as well.

{table(HEADS, _recipe_keys(Recipe))}"""
