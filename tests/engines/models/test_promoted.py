"""What is in force: promoted, rolled back, gone or damaged; and lifters found by the name that a recording has."""

from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.lift.lifter import find_lifter, named_lifter
from kinecast.engines.lift.weights import read_lifter
from kinecast.engines.models.promoted import LIFTERS as store
from kinecast.engines.models.promoted import State, Store
from tests.engines.lift.toy_lifter import write

NOW = "2026-01-01T00:00:00+00:00"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and one shipped lifter."""
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kinecast.engines.lift.lifter.FOLDER", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    write(tmp_path / "shipped/lifter-causal-243.safetensors")
    return tmp_path / "cache"


def weights(folder: Path, channels: int) -> Path:
    return write(folder / f"{channels}.safetensors", channels=channels)


def test_the_promoted_one_is_the_default_until_it_is_rolled_back(tmp_path: Path) -> None:
    shipped = find_lifter("default")
    assert shipped == find_lifter("shipped") and shipped.parent.name == "shipped"
    over, names = read_lifter(shipped).name, []
    for channels in (8, 12):
        new = store.install(weights(tmp_path, channels), "run", over, NOW)
        assert read_lifter(find_lifter("default")).name == new.name
        over = new.name
        names.append(new.name)
    assert [n.partition("@")[0] for n in names] == ["promoted-1", "promoted-2"]
    assert find_lifter("shipped") == shipped
    assert store.roll_back()[1] == names[0] and read_lifter(find_lifter("default")).name == names[0]
    third = store.install(weights(tmp_path, 16), "run", names[0], NOW)
    assert third.file == "promoted-3.safetensors"  # none is ever written over: recordings name them
    assert store.roll_back()[1] == names[0]
    assert store.roll_back()[1] == read_lifter(shipped).name and find_lifter("default") == shipped
    with pytest.raises(KinecastError, match="nothing to roll back"):
        store.roll_back()
    for name in (*names, third.name, read_lifter(shipped).name):
        found = named_lifter(name)
        assert found is not None and read_lifter(found).name == name
    assert named_lifter("promoted-1@000000000000") is None


def test_a_kill_while_installing_leaves_the_old_one_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store.install(weights(tmp_path, 8), "run", "shipped", NOW)

    def die(self: Store, state: State) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(Store, "_write", die)
        store.install(weights(tmp_path, 12), "run", first.name, NOW)
    assert read_lifter(find_lifter("default")).name == first.name
    assert store.install(weights(tmp_path, 12), "run", first.name, NOW).file == "promoted-3.safetensors"


def test_one_that_is_gone_gives_way_to_the_shipped_one_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = store.install(weights(tmp_path, 8), "run", "shipped", NOW)
    (store.folder() / new.file).unlink()
    assert find_lifter("default") == find_lifter("shipped")
    assert "is gone" in caplog.text


def test_one_that_is_damaged_is_named_and_rolled_back(tmp_path: Path) -> None:
    new = store.install(weights(tmp_path, 8), "run", read_lifter(find_lifter("shipped")).name, NOW)
    file = store.folder() / new.file
    file.write_bytes(file.read_bytes()[:-1] + b"x")  # still a lifter, with another weight
    with pytest.raises(KinecastError, match=r"promoted-1\.safetensors is damaged.*train rollback.*promote run again"):
        find_lifter("default")
    assert named_lifter(new.name) is None
    store.roll_back()
    assert find_lifter("default") == find_lifter("shipped")


def test_nothing_is_in_force_before_all_is_in_its_place(tmp_path: Path) -> None:
    def refuse(new: object) -> None:
        assert store.read_state() == State() and len(list(store.folder().glob("promoted-*"))) == 1
        with pytest.raises(KinecastError, match="another process is putting a lifter in force there"):
            store.install(weights(tmp_path, 12), "run", "shipped", NOW)
        raise KinecastError("no room")

    with pytest.raises(KinecastError, match="no room"):
        store.install(weights(tmp_path, 8), "run", "shipped", NOW, refuse)
    assert store.read_state() == State() and find_lifter("default") == find_lifter("shipped")


EMPTY = '{"format": "kinecast lifters", "version": 1, "promoted": [], "in_force": 0}'


@pytest.mark.parametrize("text", ["{", "[]", EMPTY, EMPTY.replace("1,", "2,")])
def test_a_damaged_list_is_named(cache: Path, text: str) -> None:
    (cache / "lifters").mkdir(parents=True)
    (cache / "lifters/current.json").write_text(text)
    with pytest.raises(KinecastError, match=r"current\.json.*delete it to go back"):
        find_lifter("default")
