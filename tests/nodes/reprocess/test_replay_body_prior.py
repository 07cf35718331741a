"""Which pose prior made the bodies: the launch file names it, the journal says which it was, replay follows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.prior.pose_prior import load_prior, save_prior
from kinecast.engines.models.promoted import PRIORS
from kinecast.engines.records import FrameSet
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.fusion.reload import renew
from kinecast.nodes.graph.launch_file import dump, parse
from kinecast.nodes.graph.records import FusionNode
from kinecast.nodes.recording.file import LAUNCH, Recording
from kinecast.nodes.reprocess.replay import replay
from tests.nodes.reprocess.scene import RIGGED, Change, Live, graph

SETTINGS = FusionNode(body="neutral")
FRAMES = 8


@pytest.fixture(autouse=True)
def promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a promoted prior that is in force: the shipped one, surer by a half and about bent knees."""
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    shipped = load_prior()
    mean = shipped.mean.copy()
    mean[:, [9, 12]] += 0.5
    save_prior(replace(shipped, mean=mean, precision=1.5 * shipped.precision), tmp_path / "mine.npz")
    yield PRIORS.install(tmp_path / "mine.npz", "run", shipped.name, "now").name


def session(
    path: Path, settings: FusionNode = SETTINGS, change: Change = lambda topic, record: record, after: int = FRAMES
) -> Recording:
    """A short session with bodies; after so many frames fusion is asked to take up what is in force."""
    live, plain = Live(path, change), graph()
    live.writer.attach(LAUNCH, dump(replace(plain, nodes={**plain.nodes, "fusion": settings})).encode())
    core = FusionCore(RIGGED, settings)
    live.fuse(core, range(after))
    if after < FRAMES:
        PRIORS.roll_back()
        assert renew(core.lifting, settings, core.bodies)
        live.fuse(core, range(after, FRAMES))
    for name in RIGGED.names:
        live.give(core.handle(0, f"end/{name}", None), 0)
    live.close()
    return Recording.open(path)


def named(recording: Recording) -> list[str]:
    return [r.body_prior for _, _, r in recording.messages(("framesets",)) if isinstance(r, FrameSet)]


def test_the_one_in_force_is_taken_and_named_and_followed_when_it_is_not_any_more(
    tmp_path: Path, promoted: str
) -> None:
    recording = session(tmp_path / "a.mcap")
    assert set(named(recording)) == {promoted}
    assert replay(recording).identical
    PRIORS.roll_back()
    assert replay(recording).identical
    # it is the prior that was followed: with the shipped one other bodies come out
    other = replay(recording, overrides=["nodes.fusion.body_prior=shipped"])
    assert other.bodies.parts and not other.diff.parts
    (PRIORS.folder() / "promoted-1.npz").unlink()
    with pytest.raises(KinecastError, match=f"pose prior {promoted}, which is not here: give its file with --set"):
        replay(recording)
    mine = tmp_path / "promoted-1.npz"
    mine.write_bytes((tmp_path / "mine.npz").read_bytes())
    assert replay(recording, overrides=[f"nodes.fusion.body_prior={mine}"]).identical


def test_shipped_is_shipped_and_recordings_that_name_none_were_made_with_it(tmp_path: Path) -> None:
    told = session(tmp_path / "a.mcap", FusionNode(body="neutral", body_prior="shipped"))
    assert set(named(told)) == {load_prior().name} and replay(told).identical

    def old(topic: str, record: Any) -> Any:
        return replace(record, body_prior="") if isinstance(record, FrameSet) else record

    PRIORS.roll_back()
    before = session(tmp_path / "old.mcap", change=old)  # as it was when there was no other
    PRIORS.install(tmp_path / "mine.npz", "run", load_prior().name, "now")
    assert set(named(before)) == {""}
    assert (
        replay(before, tmp_path / "again.mcap").identical and replay(Recording.open(tmp_path / "again.mcap")).identical
    )


def test_a_running_fusion_takes_up_another_between_two_sets(tmp_path: Path, promoted: str) -> None:
    recording = session(tmp_path / "a.mcap", after=4)
    # the set of the last frame before that is still open, and closed by the next one
    assert named(recording) == [promoted] * 3 + [load_prior().name] * 5
    assert replay(recording).identical


def test_a_damaged_file_changes_nothing_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    core = FusionCore(RIGGED, SETTINGS)
    assert core.bodies is not None
    before = core.bodies.prior
    file = PRIORS.folder() / "promoted-1.npz"
    file.write_bytes(file.read_bytes()[:500])
    assert not renew(None, SETTINGS, core.bodies) and core.bodies.renewed() == before
    assert "the pose prior stays" in caplog.text and file.name in caplog.text
    with pytest.raises(KinecastError, match=r"promoted-1\.npz"):
        FusionCore(RIGGED, SETTINGS)


def test_a_path_in_a_launch_file_is_relative_to_it(tmp_path: Path) -> None:
    text = dump(graph()).replace("body_prior: default", "body_prior: mine.npz")
    fusion = parse(text, "launch.yaml", tmp_path).nodes["fusion"]
    assert isinstance(fusion, FusionNode) and fusion.body_prior == str(tmp_path / "mine.npz")
    assert np.isfinite(load_prior(Path(fusion.body_prior)).mean).all()
