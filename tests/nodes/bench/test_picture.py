"""``kinecast bench picture`` on the real clip, where it and the models are in the user's cache."""

import json
from pathlib import Path

import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.models import find_card, load_profile
from kinecast.engines.models.cache import fault
from kinecast.nodes.cli.main import main
from kinecast.nodes.exchange.sample_clip import clip


def need() -> None:
    """Skip where the clip or a model is not there."""
    try:
        clip(1)
    except KinecastError as e:
        pytest.skip(str(e))
    for reference in load_profile("lightweight").cards:
        if why := fault(find_card(reference)):
            pytest.skip(why)


def test_ways_of_looking_are_compared_on_the_real_clip(tmp_path: Path) -> None:
    need()
    out = tmp_path / "ways.json"
    assert main(["bench", "picture", "planes", "planes3", "--pictures", "45", "--json", str(out)]) == 0
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    looked = float(rows["planes3: detect, model"]["note"].split()[1])
    assert 1 / 3 <= looked < 0.6, "two of three pictures are left to optical flow, but for those that it cannot follow"
    # what is stated of keypoints is honest, whoever made them
    for kind in ("planes: keypoints looked at", "planes3: keypoints looked at", "planes3: keypoints followed"):
        assert rows[f"{kind}, inside 2 σ"]["value"] >= 95.0
    assert rows["planes3: identities"]["value"] == rows["planes: identities"]["value"] == 1
    assert rows["planes3: reprojection"]["value"] < 1.05 * rows["planes: reprojection"]["value"]


def test_a_way_that_there_is_not_is_named() -> None:
    assert main(["bench", "picture", "sideways"]) == 2
