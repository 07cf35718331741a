"""A recipe is read whole or refused by the key that is wrong."""

from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.train.recipe import Recipe, read_recipe, recipe_of

TEXT = """
kinecast_recipe = 1
base = "default"
motion = ["clips"]
seeds = [3, 4]
[train]
steps = 40
rate = 1e-3
[semi_supervised]
bones = 2
[stop]
patience = 0
"""


def written(folder: Path, text: str) -> Path:
    (folder / "clips").mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def test_paths_begin_at_the_recipe_and_the_config_is_as_told(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, TEXT))
    assert recipe.motion == (str(tmp_path / "clips"),) and recipe.base == "default"
    config = recipe.config(LifterConfig(channels=8), 4)
    assert (config.steps, config.rate, config.seed, config.lifter.channels) == (40, 1e-3, 4, 8)
    assert config.weights.bones == 2.0 and config.weights.pose == 1.0 and config.patience == 0
    assert recipe_of(recipe.to_dict(), "again") == recipe


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rate", "rat", "unknown key train.rat; did you mean train.rate"),
        ("base", "zzz", "unknown key zzz; known are base"),
        ("[3, 4]", "[3, 3]", "each once"),
        ("[3, 4]", '["a"]', "seeds is .* expected a list of int"),
        ("steps = 40", "steps = 0", "train.steps is 0"),
        ("steps = 40", "steps = true", "train.steps is True: expected int"),
        ('["clips"]', '["nowhere"]', "nowhere does not exist"),
        ('["clips"]', "[]", "nothing to learn from"),
        ("kinecast_recipe = 1", "kinecast_recipe = 2", "kinecast_recipe is 2, this Kinecast reads 1"),
        ('["clips"]', '[""]', "motion holds an empty path"),
        ("[3, 4]", "[-3, 4]", "seeds is -3"),
        ("rate = 1e-3", "decay = nan", "train.decay is nan"),
        ("rate = 1e-3", "rate = 1e3", "train.rate is 1000.0: expected 1e-09 to 1"),
        ("bones = 2", "bones = -2", "semi_supervised.bones is -2"),
        ("[stop]", "[stop", "not TOML"),
        ("[stop]\npatience = 0", "", ""),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = written(tmp_path, TEXT.replace(old, new))
    if not told:
        assert read_recipe(path).stop == Recipe().stop
        return
    with pytest.raises(KinecastError, match=told):
        read_recipe(path)
    with pytest.raises(KinecastError, match="cannot read the recipe"):
        read_recipe(tmp_path / "none.toml")


def test_a_section_must_be_a_table(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="stop is 3: expected a table"):
        read_recipe(written(tmp_path, "kinecast_recipe = 1\nmotion = ['clips']\nstop = 3\n"))
