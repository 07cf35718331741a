"""The 3D view: upright, on a floor, the same through every renderer, and it does not grow."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kinecast.calibration.camera import Rig
from kinecast.nodes.viewer import scene as scenes
from kinecast.nodes.viewer import scene_open3d
from kinecast.nodes.viewer.overlay import colour_of
from tests.nodes.viewer import world

SIZE = (240, 200)
BALL = scene_open3d.Shape(np.eye(3), np.eye(3), np.array([[0, 1, 2]], np.int32))


@pytest.mark.parametrize("up", ["z", "y", "-y", "x"])
def test_up_is_up_and_the_floor_is_below(up: Any) -> None:
    rig = Rig(world.rig().cameras, up=up)
    scene = scenes.make_scene(rig)
    view = scenes.viewpoint(scene, SIZE, 15.0)
    low, high = view.project(np.stack([scene.centre, scene.centre + 0.5 * scene.up]))[0]
    assert abs(high[0] - low[0]) < 1 and high[1] < low[1] - 5  # straight up in the picture
    assert (view.centre_world - scene.centre) @ scene.up > 0  # seen from above
    np.testing.assert_allclose(scene.lines[0].segments_world @ scene.up, scene.floor_m, atol=1e-9)


def test_the_floor_is_the_world_s_unless_people_stand_elsewhere() -> None:
    assert scenes.make_scene(world.rig(), world.person()).floor_m == 0.0
    sunk = scenes.make_scene(world.rig(), world.person() - np.float32([0, 0, 1.5]))
    assert sunk.floor_m == pytest.approx(-1.45, abs=0.01)  # the toes, 5 cm above the sole


def test_lines_are_cut_at_the_viewer_and_kept_where_they_are_seen() -> None:
    view = scenes.look_at(np.zeros(3), np.array([1.0, 0, 0]), world.UP, SIZE, 100.0)
    ahead = [[2.0, 0.0, 0.0], [2.0, 0.5, 0.0]]
    through, behind = [[-1.0, 0.1, 0.0], [3.0, 0.1, 0.0]], [[-1.0, 0, 0], [-2.0, 0, 0]]
    px = scenes.project_segments(view, np.array([ahead, through, behind]))
    assert px.shape == (2, 2, 2)
    np.testing.assert_allclose(px[0], view.project(ahead)[0], atol=1e-6)
    # the cut end lies where the line is NEAR_M before the viewer: 0.1 m beside it at focal length 100 px
    np.testing.assert_allclose(abs(px[1, 0, 0] - (SIZE[0] - 1) / 2), 100 * 0.1 / scenes.NEAR_M, rtol=1e-6)


def test_line_renderer_draws_each_person_at_the_projection() -> None:
    pose = world.poses(0, {1: world.person(-0.5), 2: world.person(0.5)})
    scene = scenes.make_scene(world.rig(), pose.points_world_m)
    view = scenes.viewpoint(scene, SIZE)
    image = scenes.LineRenderer(scene).render(pose, view).astype(int)
    assert image.shape == (SIZE[1], SIZE[0], 3)
    for p, person in enumerate((1, 2)):
        ends = [pose.points_world_m[p, world.BODY.index(j)] for j in ("left_hip", "left_knee")]
        x, y = np.round(view.project(np.mean(ends, axis=0))[0]).astype(int)
        patch = image[y - 2 : y + 3, x - 2 : x + 3]
        assert (np.abs(patch - colour_of(person)).max(axis=2) < 40).any()


def test_rods_join_their_ends() -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.5, 2.0])
    T = scene_open3d.rod_transform(a, b, 0.1)
    np.testing.assert_allclose([(T @ [0, 0, z, 1])[:3] for z in (-0.5, 0.5)], [a, b], atol=1e-12)
    assert np.linalg.norm(T[:3, 0]) == pytest.approx(0.1)
    assert np.linalg.det(T[:3, :3]) > 0
    assert np.isfinite(scene_open3d.rod_transform(a, a, 0.1)).all()


def test_the_people_s_mesh_stays_near_their_joints() -> None:
    points = world.person()
    points[world.BODY.index("left_wrist")] = np.nan
    mesh, colours = scene_open3d.people_mesh(world.poses(0, {1: points}), BALL, BALL)
    assert np.isfinite(mesh.vertices).all() and len(colours) == len(mesh.vertices)
    assert mesh.triangles.max() == len(mesh.vertices) - 1
    reach = np.linalg.norm(mesh.vertices[:, None] - points[None], axis=2)
    assert np.nanmin(reach, axis=1).max() < 0.6  # half of the longest bone and some
    empty, _ = scene_open3d.people_mesh(world.poses(0, {}), BALL, BALL)
    assert not len(empty.vertices)


class FakeScene:
    """Counts what an Open3DScene would hold."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.most = 0

    def add_geometry(self, name: str, mesh: Any, material: Any) -> None:
        assert name not in self.held
        self.held.add(name)
        self.most = max(self.most, len(self.held))

    def remove_geometry(self, name: str) -> None:
        self.held.remove(name)


def _library() -> Any:
    class Mesh:
        def __init__(self, vertices: Any = BALL.vertices, triangles: Any = BALL.triangles) -> None:
            self.vertices, self.vertex_normals, self.triangles = vertices, BALL.normals, triangles

        def compute_vertex_normals(self) -> None:
            pass

        create_sphere = create_cylinder = staticmethod(lambda *a: Mesh())

    return SimpleNamespace(
        geometry=SimpleNamespace(TriangleMesh=Mesh, LineSet=lambda *a: a),
        utility=SimpleNamespace(Vector3dVector=np.array, Vector3iVector=np.array, Vector2iVector=np.array),
        visualization=SimpleNamespace(rendering=SimpleNamespace(MaterialRecord=SimpleNamespace)),
    )


def test_nothing_grows_over_a_thousand_updates() -> None:
    fake = FakeScene()
    people = scene_open3d.PeopleGeometry(fake, _library())
    people.add_still(scenes.make_scene(world.rig()))
    still = len(fake.held)
    here = [world.person(), world.person(0.5)]
    for k in range(1000):
        # people come and go, every one under a new identity
        people.update(world.poses(k, {k: here[0], k + 1: here[1]} if k % 7 == 0 else {k: here[0]} if k % 3 else {}))
        assert len(fake.held) <= still + 1
    people.update(None)
    assert len(fake.held) == still


@pytest.mark.parametrize(
    "body", ["import os; os.kill(os.getpid(), 11)", "raise ImportError('libusb-1.0.so.0: not found')"]
)
def test_a_renderer_that_crashes_is_replaced_by_lines(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open3d.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "open3d", raising=False)
    scene = scenes.make_scene(world.rig())
    renderer, why = scene_open3d.open_renderer(scene, SIZE)
    try:
        assert isinstance(renderer, scenes.LineRenderer)
        assert "apt-get install" in why and "\n" not in why
        assert ("exit code -11" if "kill" in body else "libusb") in why
        assert renderer.render(None, scenes.viewpoint(scene, SIZE)).std() > 0
    finally:
        renderer.close()
