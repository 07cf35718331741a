"""Pulling into a cache of its own, from registries that are functions: no network, no package manager."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.models import find_card, model_path
from kinecast.engines.models.card import Card, Origin
from kinecast.engines.models.fetch import NODE_PACKAGE, extract, fetch_origin
from kinecast.engines.models.pull import cards_of, pull, verify
from kinecast.nodes.cli.main import main
from tests.children import Start
from tests.engines.models.toys import run_onnx, small_tfjs, toy_onnx

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of this test alone. At the end there is no work folder left and no half-written file."""
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    models = tmp_path / "cache" / "models"
    yield models
    assert not list(models.glob(".*"))


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Registry:
    """A registry with one package: counts what is fetched of it."""

    def __init__(self, folder: Path, kind: str = "npm") -> None:
        self.folder, self.kind = folder, kind
        self.fetched: list[str] = []
        self.files: dict[str, bytes] = {}

    def __call__(self, origin: Origin, work: Path) -> Path:
        self.fetched.append(f"{origin.package}@{origin.version}")
        (work / "archive").mkdir(exist_ok=True)
        if self.kind == "npm":
            path = work / "archive" / "package.tgz"
            with tarfile.open(path, "w:gz") as t:
                for name, data in self.files.items():
                    info = tarfile.TarInfo(f"package/{name}")
                    info.size = len(data)
                    t.addfile(info, io.BytesIO(data))
        else:
            path = work / "archive" / "package.whl"
            with zipfile.ZipFile(path, "w") as z:
                for name, data in self.files.items():
                    z.writestr(name, data)
        return path


def card_text(name: str, registry: str, path: str, digest: str, convert: str = "none", also: str = "") -> str:
    return f"""
name = "{name}"
summary = "a toy"
file = "{path}"
sha256 = "{digest}"
licence = "CC0"
decoder = "heatmap"
skeleton = "coco17"
[origin]
registry = "{registry}"
package = "toys"
version = "1.0"
path = "{path}"
{also}
[input]
name = "input"
size_px = [4, 3]
[outputs]
heatmap = "out"
[convert]
kind = "{convert}"
"""


@pytest.fixture
def toys(tmp_path: Path) -> tuple[list[Card], Registry]:
    """Two cards of one npm package: a tfjs graph and an ONNX file."""
    model = small_tfjs(tmp_path / "src")
    onnx = toy_onnx(tmp_path / "src" / "toy.onnx")
    registry = Registry(tmp_path)
    registry.files = {
        "m/toy.json": model.read_bytes(),
        "m/toy.bin": (tmp_path / "src" / "toy.bin").read_bytes(),
        "toy.onnx": onnx.read_bytes(),
        "unused.bin": b"x" * 1000,
    }
    weights = f'[origin.also]\n"m/toy.bin" = "{sha(tmp_path / "src" / "toy.bin")}"'
    (tmp_path / "graph.toml").write_text(card_text("graph", "npm", "m/toy.json", sha(model), "tfjs", weights))
    (tmp_path / "plain.toml").write_text(card_text("plain", "npm", "toy.onnx", sha(onnx)))
    return [find_card(tmp_path / "graph.toml"), find_card(tmp_path / "plain.toml")], registry


def names(models: Path) -> set[str]:
    return {p.name for p in models.iterdir()} if models.exists() else set()


def test_two_cards_of_a_package_are_one_fetch_and_work(toys: tuple[list[Card], Registry], cache: Path) -> None:
    cards, registry = toys
    assert pull(cards, registry) == cards
    assert registry.fetched == ["toys@1.0"]
    # the ONNX files, the notes of their hashes, and nothing of the package
    graph, plain = cards
    assert names(cache) == {c.onnx_path.with_suffix(s).name for c in cards for s in (".onnx", ".sha256")}
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 3)).astype(np.float32)
    (out,) = run_onnx(model_path(graph).read_bytes(), input=picture)
    np.testing.assert_allclose(out, 2 * picture.sum(3), rtol=1e-6)
    (y,) = run_onnx(model_path(plain).read_bytes(), x=np.ones((1, 3, 4, 4), np.float32))
    assert (y == 2).all()


def no_network(origin: Origin, work: Path) -> Path:
    raise AssertionError(f"fetched {origin}")


def test_a_warm_cache_needs_no_network(toys: tuple[list[Card], Registry]) -> None:
    cards, registry = toys
    pull(cards, registry)
    assert pull(cards, no_network) == []
    assert all(model_path(card).is_file() for card in cards)


@pytest.mark.parametrize("moment", ["fetching", "converting"])
def test_interrupted_it_leaves_nothing_and_the_next_pull_succeeds(
    moment: str, toys: tuple[list[Card], Registry], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards, registry = toys

    def stop(*_: object) -> bytes:
        raise KeyboardInterrupt

    def half(origin: Origin, work: Path) -> Path:
        registry(origin, work)
        raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        if moment == "converting":
            m.setattr("kinecast.engines.models.pull._to_onnx", stop)
        pull(cards, half if moment == "fetching" else registry)
    assert names(cache) == set()
    pull(cards, registry)
    assert all(model_path(card).is_file() for card in cards)


def test_interrupted_while_writing_the_old_file_stays(
    toys: tuple[list[Card], Registry], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards, registry = toys
    pull(cards, registry)
    target = cards[1].onnx_path
    target.write_bytes(b"old and wrong")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr("kinecast.capture.atomic_write.os.fsync", full)
        with pytest.raises(KinecastError, match="No space left on device: free some space"):
            pull(cards, registry)
    assert target.read_bytes() == b"old and wrong"


@pytest.mark.skipif(os.name != "posix", reason="a killed process, by signal")
def test_what_a_killed_pull_left_is_swept_by_the_next(
    toys: tuple[list[Card], Registry], cache: Path, start_child: Start
) -> None:
    cards, registry = toys
    code = "\n".join([
        "import sys",
        "from kinecast.engines.models.pull import _work_folder",
        "with _work_folder() as work:",
        "    (work / 'package.tgz').write_bytes(b'half')",
        "    print(work, flush=True)",
        "    sys.stdin.read()",
    ])  # fmt: skip
    child = start_child([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout and child.stdin
    work = Path(child.stdout.readline().decode().strip())
    pull(cards[:1], registry)
    assert (work / "package.tgz").exists(), "the work of a living pull is left alone"
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdin.close()
    child.stdout.close()
    pull(cards[1:], registry)
    assert not work.exists()


def test_a_file_that_is_not_what_the_card_says_is_refused(toys: tuple[list[Card], Registry], cache: Path) -> None:
    cards, registry = toys
    registry.files["m/toy.bin"] = b"\0" * len(registry.files["m/toy.bin"])
    with pytest.raises(KinecastError, match=r"model graph: toy.bin from toys@1.0 has sha256 .* nothing was kept"):
        pull(cards[:1], registry)
    assert names(cache) == set()


def test_a_conversion_that_differs_from_the_card_is_refused(
    toys: tuple[list[Card], Registry], cache: Path, tmp_path: Path
) -> None:
    text = (tmp_path / "graph.toml").read_text() + f'onnx_sha256 = "{"0" * 64}"\n'
    (tmp_path / "graph.toml").write_text(text)
    with pytest.raises(KinecastError, match="the conversion gave sha256"):
        pull([find_card(tmp_path / "graph.toml")], toys[1])
    assert names(cache) == set()


def test_one_failing_origin_does_not_stop_the_others(
    toys: tuple[list[Card], Registry], tmp_path: Path, cache: Path
) -> None:
    cards, registry = toys
    (tmp_path / "gone.toml").write_text(card_text("gone", "pip", "a.onnx", "0" * 64))

    def fetch(origin: Origin, work: Path) -> Path:
        if origin.registry == "pip":
            raise KinecastError("pip could not fetch toys==1.0")
        return registry(origin, work)

    with pytest.raises(KinecastError, match=r"pip could not fetch toys==1\.0"):
        pull([find_card(tmp_path / "gone.toml"), *cards], fetch)
    assert all(model_path(card).is_file() for card in cards)


def test_a_damaged_or_missing_model_is_named_with_what_to_do(toys: tuple[list[Card], Registry]) -> None:
    cards, registry = toys
    with pytest.raises(
        KinecastError, match=r"model plain is not in the cache: run `kinecast models pull .*plain.toml`"
    ):
        model_path(cards[1])
    pull(cards, registry)
    path = model_path(cards[1])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))  # another time than the one seen before, whatever the clock's step is
    with pytest.raises(KinecastError, match=r"model plain is damaged: .* run `kinecast models pull"):
        model_path(cards[1])
    assert [bool(wrong) for wrong in verify(cards).values()] == [False, True]
    assert pull(cards, registry) == [cards[1]]
    assert not any(verify(cards).values())


def test_verify_finds_what_no_card_names(toys: tuple[list[Card], Registry], cache: Path) -> None:
    cards, registry = toys
    pull(cards, registry)
    (cache / "stray.onnx").write_bytes(b"?")
    found = verify([])
    assert [found[card.onnx_path.name] for card in cards] == ["", ""], "known by their notes"
    assert "belongs to no card" in found["stray.onnx"]
    cards[0].onnx_path.write_bytes(b"?")
    assert "not what was put there" in verify([])[cards[0].onnx_path.name]


def test_a_model_is_hashed_once_a_process(toys: tuple[list[Card], Registry], monkeypatch: pytest.MonkeyPatch) -> None:
    cards, registry = toys
    pull(cards, registry)
    model_path(cards[0])
    monkeypatch.setattr("kinecast.engines.models.cache.sha256_of", lambda path: pytest.fail("hashed again"))
    model_path(cards[0])


def test_a_file_of_the_users_own_is_used_where_it_lies(tmp_path: Path, cache: Path) -> None:
    model = toy_onnx(tmp_path / "mine.onnx")
    text = card_text("mine", "file", "mine.onnx", sha(model))
    (tmp_path / "mine.toml").write_text(text)
    card = find_card(tmp_path / "mine.toml")
    assert pull([card], no_network) == [] and names(cache) == set()
    assert model_path(card) == model.resolve()
    toy_onnx(model, gain=3)
    os.utime(model, ns=(1, 1))
    with pytest.raises(KinecastError, match="put the right file there or correct sha256"):
        model_path(card)
    (tmp_path / "mine.toml").write_text(text.replace(card.sha256, ""))
    assert model_path(find_card(tmp_path / "mine.toml")) == model.resolve()
    model.unlink()
    with pytest.raises(KinecastError, match=r"mine.onnx does not exist: correct origin.path in"):
        pull([card], no_network)


def test_a_file_of_the_users_own_is_converted_into_the_cache(tmp_path: Path, cache: Path) -> None:
    model = small_tfjs(tmp_path / "m")
    weights = f'[origin.also]\n"m/toy.bin" = "{sha(tmp_path / "m" / "toy.bin")}"'
    (tmp_path / "own.toml").write_text(card_text("own", "file", "m/toy.json", sha(model), "tfjs", weights))
    card = find_card(tmp_path / "own.toml")
    assert pull([card], no_network) == [card]
    assert model_path(card).parent == cache
    assert model.is_file(), "the user's own file is left alone"


def test_a_url_is_fetched_by_urllib(tmp_path: Path, cache: Path) -> None:
    model = toy_onnx(tmp_path / "far.onnx")
    text = card_text("far", "url", "far.onnx", sha(model)).replace('package = "toys"', f'url = "{model.as_uri()}"')
    (tmp_path / "far.toml").write_text(text)
    card = find_card(tmp_path / "far.toml")
    pull([card])
    assert model_path(card).read_bytes() == model.read_bytes()
    model_path(card).unlink()
    model.unlink()
    with pytest.raises(KinecastError, match="could not be fetched"):
        pull([card])


@pytest.mark.parametrize("kind", ["npm", "pip"])
def test_extract_takes_what_is_wanted_and_names_what_is_missing(kind: str, tmp_path: Path) -> None:
    registry = Registry(tmp_path, kind)
    registry.files = {"a/b.bin": b"1", "c.bin": b"2"}
    archive = registry(Origin("npm", "toys", "1"), tmp_path)
    extract(archive, ["a/b.bin"], tmp_path / "out")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.bin")] == ["a/b.bin"]
    with pytest.raises(KinecastError, match=r"holds no file 'd.bin': correct origin.path"):
        extract(archive, ["d.bin"], tmp_path / "out")
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(KinecastError, match="cannot be unpacked"):
        extract(archive, ["a/b.bin"], tmp_path / "out")


def test_what_pip_and_npm_say_reaches_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "npm"
    fake.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setattr("kinecast.engines.models.fetch.shutil.which", lambda _: str(fake))
    with pytest.raises(KinecastError, match=r"npm could not fetch toys@1 \(status 3: npm error code ENOTFOUND\)"):
        fetch_origin(Origin("npm", "toys", "1", "a"), tmp_path)


def test_a_wheel_is_asked_for_that_exists_on_any_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        (tmp_path / "archive" / "toys-1.whl").write_bytes(b"")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("kinecast.capture.fetch.subprocess.run", pip)
    assert fetch_origin(Origin("pip", "toys", "1", "a"), tmp_path).name == "toys-1.whl"
    assert asked[0][-1] == "toys==1" and {"--no-deps", "--platform=any", "--python-version=3.11"} <= set(asked[0])


def test_the_version_of_node_is_that_of_the_constraints() -> None:
    assert NODE_PACKAGE in (ROOT / "constraints.txt").read_text().split()


def test_profiles_and_paths_stand_for_their_cards(tmp_path: Path) -> None:
    assert [c.name for c in cards_of(["lightweight"])] == ["pose_detection", "pose_landmark_full"]
    assert len(cards_of([])) >= 7
    path = tmp_path / "profile.toml"
    path.write_text('name = "p"\nsummary = ""\nfinder = "pose_detection"\npose = "pose_landmark_lite"\n')
    assert [c.name for c in cards_of([str(path), "pose_detection"])] == ["pose_detection", "pose_landmark_lite"]


def test_the_command_says_what_is_wrong_by_its_status(
    toys: tuple[list[Card], Registry], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cards, registry = toys
    pull(cards, registry)
    paths = [str(tmp_path / "graph.toml"), str(tmp_path / "plain.toml")]
    assert main(["models", "pull", *paths]) == 0
    assert "all 2 models are in the cache and sound" in capsys.readouterr().out
    assert main(["models", "verify", *paths]) == 0
    cards[1].onnx_path.write_bytes(b"?")
    assert main(["models", "verify", *paths]) == 1
    assert "model plain is damaged" in capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert "pose_landmark_heavy" in capsys.readouterr().out
    assert main(["models", "pull", "pose_detektion"]) == 2
    assert "did you mean 'pose_detection'" in capsys.readouterr().err
