"""A recipe is read whole or refused by the key that is wrong."""

from dataclasses import fields
from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.config import LifterConfig
from kinecast.engines.train.recipe import Recipe, read_recipe, recipe_of

RECIPES = Path(__file__).parent / "recipes"
TEXT = """
kinecast_recipe = 1
base = "default"
motion = ["clips"]
seeds = [3, 4]
[train]
steps = 40
learning_rate = 1e-3
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
    assert (config.steps, config.learning_rate, config.seed, config.lifter.channels) == (40, 1e-3, 4, 8)
    assert config.weights.bones == 2.0 and config.weights.pose == 1.0 and config.patience == 0
    assert recipe_of(recipe.to_dict(), "again") == recipe


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("learning_rate", "rat", "unknown key train.rat; did you mean train.learning_rate"),
        ("learning_rate", "lerning_rate", "unknown key train.lerning_rate; did you mean train.learning_rate"),
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
        ("learning_rate = 1e-3", "decay = nan", "train.decay is nan"),
        ("learning_rate = 1e-3", "learning_rate = 1e3", "train.learning_rate is 1000.0: expected 1e-09 to 1"),
        ("bones = 2", "bones = -2", "semi_supervised.bones is -2"),
        ("[stop]", "[stop", "not TOML"),
        ("learning_rate = 1e-3", "learning_rate = 1e-3\nrate = 1e-3", "train.rate is the old name of learning_rate"),
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


def test_old_and_new_keys_are_the_same_recipe() -> None:
    """One file with every key of a section by its old name, one by its new name; no value is a default."""
    recipes = [read_recipe(RECIPES / name) for name in ("old_keys.toml", "new_keys.toml")]
    assert recipes[0] == recipes[1]
    told = recipes[0].to_dict()
    for section in ("train", "pseudo", "semi_supervised", "stop"):
        default = getattr(Recipe(), section)
        assert told[section].keys() == {f.name for f in fields(default)}
        assert all(told[section][f.name] != getattr(default, f.name) for f in fields(default)), section
    assert (RECIPES / "old_keys.toml").read_text() != (RECIPES / "new_keys.toml").read_text()


def test_a_section_must_be_a_table(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="stop is 3: expected a table"):
        read_recipe(written(tmp_path, "kinecast_recipe = 1\nmotion = ['clips']\nstop = 3\n"))
