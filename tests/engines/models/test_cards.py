"""Cards and profiles: the built-in ones, those that the manual shows, and a folder of wrong ones."""

import hashlib
import re
from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.models import (
    DECODERS,
    builtin_names,
    find_card,
    load_card,
    load_profile,
    model_path,
    profile_names,
)
from kinecast.engines.models.card import read_card
from kinecast.engines.skeleton import SKELETONS

HERE = Path(__file__).parent
PAGES = [HERE.parents[2] / "docs" / p for p in ("reference/models.md", "how-to/use-your-own-model.md")]
INVALID = sorted((HERE / "cards_invalid").glob("*.toml"))
SHOWN = [t for page in PAGES for t in re.findall(r"```toml\n(.*?)```", page.read_text(), re.S)]


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_card_is_pinned_and_says_its_licence(name: str) -> None:
    card = load_card(name)
    assert card.name == name and card.builtin and card.reference == name
    pinned = bool(card.sha256 and card.expected_sha256)
    assert pinned == (card.origin.registry != "user"), "what is fetched is pinned, origin and result"
    assert card.licence and card.licence_note
    assert card.skeleton in SKELETONS or not DECODERS[card.decoder].poses
    assert card.onnx_path.name == f"{name}{Path(card.file).suffix if card.is_torch else '.onnx'}"


@pytest.mark.parametrize("name", builtin_names())
def test_a_cached_model_has_the_ends_that_its_card_says(name: str) -> None:
    import onnxruntime

    card = load_card(name)
    if not card.onnx_path.is_file():
        pytest.skip(f"{name} is not in the cache: run `kinecast models pull`")
    session = onnxruntime.InferenceSession(model_path(card), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    width, height = card.input.size_px
    assert (entry.name, entry.shape, entry.type) == (card.input.name, [1, height, width, 3], "tensor(float)")
    assert [o.name for o in session.get_outputs()] == list(card.outputs.values())


def test_the_profiles_are_the_three_of_the_manual() -> None:
    assert profile_names() == ["lightweight", "balanced", "performance"]
    light, balanced, best = map(load_profile, profile_names())
    assert {load_card(c).origin.registry for c in light.cards} == {"pip"}
    assert light.finder_for((1080, 1920)) == light.finder_for((1920, 1080)) == "pose_detection"
    for profile in (balanced, best):
        portrait, landscape = profile.finder_for((1080, 1920)), profile.finder_for((1920, 1080))
        assert load_card(portrait).input.size_px == load_card(landscape).input.size_px[::-1]
    assert (balanced.pose, best.pose, best.refine) == ("pose_landmark_full", "pose_landmark_heavy", True)


@pytest.mark.parametrize("path", INVALID, ids=lambda p: p.stem)
def test_a_wrong_card_is_refused_by_file_and_key(path: Path) -> None:
    wanted = path.read_text().splitlines()[0].removeprefix("# expect: ").split(" | ")
    with pytest.raises(KinecastError) as e:
        read_card(path)
    message = str(e.value)
    assert str(path) in message and "\n" not in message
    assert all(word in message for word in wanted), message


def test_there_are_wrong_cards() -> None:
    assert len(INVALID) >= 20


@pytest.mark.parametrize("text", SHOWN, ids=[t.splitlines()[0] for t in SHOWN])
def test_the_examples_of_the_manual_are_taken(text: str, tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text(text)
    if "finder =" in text:
        assert load_profile(path).find_every_s == 0.5
        return
    card = find_card(path)
    if DECODERS[card.decoder].poses:
        profile = load_profile(path)
        alone = DECODERS[card.decoder].finds
        assert (profile.finder == str(path), profile.pose == str(path)) == (alone, not alone)
    else:
        with pytest.raises(KinecastError, match="gives no joints: write a profile file"):
            load_profile(path)


def test_the_manual_shows_all_that_it_promises() -> None:
    assert len(SHOWN) == 4


def test_options_are_filled_with_the_decoders_defaults(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    text = (HERE / "cards_invalid" / "zero_size.toml").read_text().replace("[0, 256]", "[192, 256]")
    card.write_text(text)
    assert find_card(card).options == {"split_ratio": 2.0}
    card.write_text(text + "\n[options]\nsplit_ratio = 3\n")
    assert find_card(card).options == {"split_ratio": 3.0}


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(KinecastError, match=r"no model card 'pose_detect' \(did you mean 'pose_detection'"):
        load_card("pose_detect")
    with pytest.raises(KinecastError, match=r"no profile 'lightwieght' \(did you mean 'lightweight'"):
        load_profile("lightwieght")
    with pytest.raises(KinecastError, match="does not exist"):
        load_card("./nowhere.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('finder = "pose_landmark_full"', "does not find people"),
        ('finder = "pose_detection"', "gives no joints"),
        ('finder = "pose_detection"\npose = "pose_landmark_ful"', "did you mean 'pose_landmark_full'"),
        ('finder = "movenet_multipose_256"\nfind_every = 0', "find_every is 0"),
        ('finder = "movenet_multipose_256"\nfind_min_score = 2', "find_min_score is 2"),
        ('finder = "movenet_multipose_256"\nfind_evry = 3', "did you mean 'find_every'"),
    ],
)
def test_a_wrong_profile_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text(f'name = "p"\nsummary = ""\n{text}\n')
    with pytest.raises(KinecastError, match=re.escape(words)):
        load_profile(path)


def test_a_profile_names_cards_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "rtmpose.toml").write_text(next(t for t in SHOWN if "simcc_x" in t))
    path = tmp_path / "profile.toml"
    path.write_text('name = "p"\nsummary = ""\nfinder = "pose_detection"\npose = "sub/rtmpose.toml"\n')
    assert load_card(load_profile(path).pose).name == "rtmpose_m_halpe26"


def test_a_second_card_of_the_same_file_is_held_to_its_own_hash(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"weights")
    text = 'name = "{}"\nsummary = "s"\nfile = "m.onnx"\nlicence = "none"\ndecoder = "simcc"\nskeleton = "coco17"\n{}'
    rest = '[origin]\nregistry = "file"\npath = "m.onnx"\n[input]\nname = "x"\nsize_px = [192, 256]\n'
    rest += '[outputs]\nsimcc_x = "a"\nsimcc_y = "b"\n'
    for name, sha in (("right", hashlib.sha256(b"weights").hexdigest()), ("wrong", "0" * 64)):
        (tmp_path / f"{name}.toml").write_text(text.format(name, f'sha256 = "{sha}"\n{rest}'))
    assert model_path(load_card(str(tmp_path / "right.toml"))).name == "m.onnx"
    with pytest.raises(KinecastError, match="is damaged"):
        model_path(load_card(str(tmp_path / "wrong.toml")))
