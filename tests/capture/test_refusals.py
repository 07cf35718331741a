"""Causes: codes that do not change, sentences for people, and what recordings said before there were codes."""

import re
from pathlib import Path
from typing import get_args

import pytest

from kinecast.capture import refusals
from kinecast.capture.refusals import REFUSALS, Code, cause, code_of, current, currently, sentence, sentences

ROOT = Path(refusals.__file__).parents[1]


def test_every_code_is_a_word_that_stands_in_a_table_and_in_the_code_that_counts_it() -> None:
    assert list(REFUSALS) == list(get_args(Code))
    sources = "\n".join(
        file.read_text()
        for floor in ("capture", "engines", "nodes")
        for file in (ROOT / floor).rglob("*.py")
        if file != ROOT / "capture/refusals.py"
    )
    for code, refusal in REFUSALS.items():
        assert re.fullmatch("[a-z]+(_[a-z]+)*", code)
        assert f'"{code}"' in sources, f"nobody counts {code}"
        assert refusal.sentence and refusal.about and refusal.counted


def test_no_two_causes_are_told_alike() -> None:
    told = [r.sentence for r in REFUSALS.values()]
    former = [r.former or r.sentence for r in REFUSALS.values()]
    assert len(set(told)) == len(told) and len(set(former)) == len(former)


KEYS = ("cam01", "keypoints/cam01", "keypoints cam01")


@pytest.mark.parametrize("code", REFUSALS)
def test_a_cause_is_told_and_a_former_sentence_is_the_same_cause(code: Code) -> None:
    refusal = REFUSALS[code]
    for about in KEYS if len(refusal.parts) == 1 else KEYS[:1]:
        keys = ("poses", about)[2 - len(refusal.parts) :]
        key = cause(code, *keys)
        told = refusal.sentence.format(**dict(zip(refusal.parts, keys, strict=True)))
        former = refusal.former.format(*keys) or told
        assert sentence(key) == sentence(former) == told
        assert current(former) == current(key) == key and code_of(former) == code_of(key) == code


@pytest.mark.parametrize(
    "key", ["", "late", "late/", "gap", "damaged/cam1", "a newer cause", "newer_code/cam1", "/", "{}"]
)
def test_what_is_not_known_is_told_as_it_is(key: str) -> None:
    assert sentence(key) == current(key) == key


def test_counts_of_two_versions_add_up_and_are_told_in_one_line() -> None:
    counts = currently({"late cam1": 2, "late/cam1": 3, "scene_full": 1, "birth: scene full": 1})
    assert counts == {"late/cam1": 5, "scene_full": 2}
    assert sentences(counts) == "late cam1 5, birth: scene full 2"


def test_a_cause_of_no_camera_in_particular_is_told_without_one() -> None:
    told = {code: refusal.general for code, refusal in REFUSALS.items()}
    assert told["late"] == "late" and told["single_view"] == "alone" and told["damaged"] == "damaged"
    assert told["picture_size"] == "size of a camera is not the rig's"
    assert not any("{" in sentence for sentence in told.values())
