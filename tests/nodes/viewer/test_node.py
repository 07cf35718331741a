"""The viewer node without a display: pictures of the newest pose, and it never holds a stop up."""

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.nodes.fusion.meshes import Mesher
from kinecast.nodes.graph.records import ViewerNode
from kinecast.nodes.viewer import node
from kinecast.nodes.viewer.scene import LineRenderer, make_scene
from tests.nodes.fusion.toys import bodies
from tests.nodes.viewer import world

SIZE = (200, 160)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "open_renderer", lambda scene, size: (LineRenderer(scene), "drawn with lines"))


@pytest.mark.usefixtures("lines")
def test_pictures_are_written_whole_and_the_last_pose_stays(tmp_path: Path) -> None:
    path = tmp_path / "viewer.png"
    snapshots = node.Snapshots(make_scene(world.rig()), SIZE, path)
    assert snapshots.offer(world.poses(0, {1: world.person()}))
    assert snapshots._idle.wait(10)
    first = cv2.imread(str(path))
    snapshots.finish(world.poses(1, {1: world.person(0.5)}))
    last = cv2.imread(str(path))
    snapshots.close()
    assert first.shape == last.shape == (SIZE[1], SIZE[0], 3) and (first != last).any()
    assert [p.name for p in tmp_path.iterdir()] == ["viewer.png"] and snapshots.note == "drawn with lines"


def test_a_renderer_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, started = threading.Event(), threading.Event()

    def hang(scene: object, size: object) -> tuple[LineRenderer, str]:
        started.set()
        release.wait(30)
        return LineRenderer(make_scene(world.rig())), ""

    monkeypatch.setattr(node, "open_renderer", hang)
    monkeypatch.setattr(node, "FINISH_S", 0.02)
    snapshots = node.Snapshots(make_scene(world.rig()), SIZE, tmp_path / "viewer.png")
    pose = world.poses(0, {1: world.person()})
    assert snapshots.offer(pose) and started.wait(10)
    assert not snapshots.offer(pose)  # busy: left out, not waited for
    snapshots.finish(world.poses(7, {1: world.person()}))
    assert (tmp_path / "viewer.png").is_file() and not release.is_set()
    release.set()
    assert snapshots._idle.wait(10)
    snapshots.close()


@pytest.mark.usefixtures("lines")
def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    snapshots = node.Snapshots(make_scene(world.rig()), SIZE, blocked / "viewer.png")
    pose = world.poses(0, {1: world.person()})
    snapshots.offer(pose)
    assert snapshots._idle.wait(10)
    with pytest.raises(KinecastError, match=r"viewer\.png"):
        snapshots.offer(pose)
    snapshots.close()


def test_a_window_that_must_be_and_cannot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    scene = make_scene(world.rig())
    assert node.open_window(ViewerNode(window="auto"), scene, "t") == (None, "there is no display")
    assert node.open_window(ViewerNode(window="off"), scene, "t") == (None, "")
    with pytest.raises(KinecastError, match="no display"):
        node.open_window(ViewerNode(window="on"), scene, "t")


@pytest.mark.usefixtures("lines")
def test_the_newest_bodies_are_in_the_picture(tmp_path: Path) -> None:
    people = node.Newest(Mesher())
    snapshots = node.Snapshots(make_scene(world.rig()), SIZE, tmp_path / "viewer.png")
    pictures = []
    for said in (None, bodies()):
        people.take(world.poses(len(pictures), {1: world.person()}), said)
        snapshots.finish(people.poses, people.mesh)
        pictures.append(cv2.imread(str(tmp_path / "viewer.png")).astype(int))
    snapshots.close()
    below = [p[20:] for p in pictures]  # the bar says the number of the set
    assert (abs(below[0] - below[1]).max(axis=2) > 40).sum() > 200
    assert people.mesh is people.mesh  # posed once


def test_a_body_that_is_not_at_hand_is_noted_and_skeletons_stay() -> None:
    people = node.Newest(Mesher("bodies"))
    people.take(world.poses(0, {1: world.person()}), replace(bodies(), body_id="smpl-male-0123456789abcdef"))
    assert people.mesh is None and "smpl-male-0123456789abcdef" in people.note
    assert people.poses is not None
