"""Recordings that no data set can be made of: each is named with what is wrong, and leaves nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import native
from kinecast.engines.synth import ring_rig
from kinecast.nodes.cli import main as cli
from kinecast.nodes.recording.file import LAUNCH, RIG, About, Recording, RecordingWriter
from tests.nodes.dataset.toy import record

pytest.importorskip("torch")

CAMERAS = ring_rig(4).cameras
Change = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("walk") / "walk.mcap", 1)


def changed(walk: Path, out: Path, change: Change, rig: Rig | None) -> Path:
    """The recording with every record changed, left out where it becomes None, and perhaps another rig."""
    recording = Recording.open(walk)
    with out.open("wb") as stream:
        writer = RecordingWriter(stream, About(out.stem, out.stem), out.name)
        writer.attach(RIG, native.dumps(rig).encode() if rig else recording.attachment(RIG) or b"")
        writer.attach(LAUNCH, recording.attachment(LAUNCH) or b"")
        for topic, stamp, message in recording.messages():
            if (other := change(topic, message)) is not None:
                writer.record(stamp, other)
        writer.finish()
    return out


def of(topic: str, **others: Any) -> Change:
    """Fields of the messages of a topic, each a value or a function of the field."""

    def change(name: str, message: Any) -> Any:
        if name.partition("/")[0] != topic:
            return message
        return replace(message, **{k: v(getattr(message, k)) if callable(v) else v for k, v in others.items()})

    return change


def without(topic: str) -> Change:
    return lambda name, message: None if name.partition("/")[0] == topic else message


def same(_: str, message: Any) -> Any:
    return message


def nothing(a: np.ndarray) -> np.ndarray:
    return np.full_like(a, np.nan)


OTHERS = Rig(tuple(replace(c, name=f"{c.name}-east") for c in CAMERAS))
SMALLER = Rig(tuple(replace(c, size_px=(640, 480)) for c in CAMERAS))


@pytest.mark.parametrize(
    ("change", "rig", "told"),
    [
        (of("poses", skeleton="coco17"), None, "its people are coco17, a data set holds halpe26"),
        (of("keypoints", skeleton="unicorn"), None, "96 messages of keypoints/cam01, keypoints/cam02, "),
        (of("keypoints", skeleton="coco17"), None, "cannot be read: they are damaged, or of a skeleton that"),
        (same, OTHERS, "camera cam01 is not in its rig; was it recorded with another one?"),
        (same, Rig(CAMERAS[:3]), "camera cam04 is not in its rig"),
        (same, SMALLER, "pictures of cam01 are 1280×720, but its rig says 640×480"),
        (of("keypoints", size_px=(640, 480)), None, "pictures of cam01 are 640×480, but its rig says 1280×720"),
        (without("poses"), None, "nobody is in it for 10 frames"),
        (without("framesets"), None, "nobody is in it for 10 frames"),
        (without("keypoints"), None, "no body could be fitted to anybody in it"),
        (of("keypoints", keypoints_px=nothing), None, "no body could be fitted to anybody in it"),
        (of("keypoints", confidence=nothing), None, "96 messages of keypoints/cam01"),
        (of("poses", points_world_m=nothing), None, "no body could be fitted to anybody in it"),
    ],
)
def test_what_does_not_fit_is_named(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change, rig: Rig | None, told: str
) -> None:
    odd = changed(walk, tmp_path / "odd.mcap", change, rig)
    assert cli.main(["dataset", "build", str(odd), "-o", str(tmp_path / "set"), "--device", "cpu"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{odd}: refused: {odd}: ") and told in said[0] and len(said) == 2
    assert not list((tmp_path / "set").rglob("*.*"))


def test_a_rig_whose_cameras_are_exchanged_gives_no_ground_truth(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It fits by its names: only the residuals and the other views tell."""
    names = [CAMERAS[i - 1].name for i in range(len(CAMERAS))]
    turned = Rig(tuple(replace(c, name=n) for c, n in zip(CAMERAS, names, strict=True)))
    odd = changed(walk, tmp_path / "odd.mcap", same, turned)
    assert cli.main(["dataset", "build", str(odd), "-o", str(tmp_path / "set"), "--device", "cpu"]) == 0
    assert "24 person-frames, 0 ground truth; refused: " in capsys.readouterr().out
