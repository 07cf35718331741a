"""Meshes in pictures: where the lens puts them, the nearer before the farther, and nothing that is not seen."""

from dataclasses import replace

import numpy as np

from kinecast.nodes.fusion.meshes import Mesher, PeopleMesh
from kinecast.nodes.viewer.mesh_raster import draw_mesh
from kinecast.nodes.viewer.overlay import project_scaled
from kinecast.nodes.viewer.raster_kernels import fill
from tests.nodes.fusion.toys import bodies
from tests.nodes.viewer import world

LEVEL = 90


def _picture(scale: float = 4.0) -> np.ndarray:
    return np.full((round(world.SIZE[1] * scale), round(world.SIZE[0] * scale), 3), LEVEL, np.uint8)


def _moved(mesh: PeopleMesh, by: tuple[float, float, float]) -> PeopleMesh:
    return replace(mesh, vertices_world_m=mesh.vertices_world_m + np.float32(by))


def test_triangles_are_filled_as_by_the_slow_twin() -> None:
    random = np.random.default_rng(4)
    px = random.uniform(-5, 45, (60, 2)).astype(np.float32)
    near, shade = (random.uniform(0.2, 1, 60).astype(np.float32) for _ in range(2))
    faces = random.permutation(60).reshape(20, 3).astype(np.int32)
    depth, light = np.zeros((40, 40), np.float32), np.zeros((40, 40), np.float32)
    owner = np.zeros((40, 40), np.uint8)
    fill(px, near, shade, faces, 7, depth, light, owner)
    want, want_light = np.zeros((40, 40)), np.zeros((40, 40))
    x, y = np.meshgrid(np.arange(40), np.arange(40))
    drawn = 0
    for face in faces:
        corners = np.vstack([px[face].T.astype(np.float64), np.ones(3)])
        if np.linalg.det(corners) >= 0:  # turned away: y points down
            continue
        drawn += 1
        weights = np.einsum("ij,jyx->iyx", np.linalg.inv(corners), np.stack([x, y, np.ones_like(x)]))
        z = np.einsum("i,iyx->yx", near[face], weights)
        better = (weights >= 0).all(axis=0) & (z > want)
        want[better] = z[better]
        want_light[better] = np.einsum("i,iyx->yx", shade[face], weights)[better]
    assert 5 <= drawn <= 15
    same = np.abs(depth - want) < 1e-4
    assert same.mean() > 0.995  # a sample on an edge may go either way in single precision
    np.testing.assert_allclose(light[same], want_light[same], atol=1e-3)
    np.testing.assert_array_equal(owner > 0, depth > 0)


def test_a_mesh_lies_where_the_lens_puts_it() -> None:
    mesh = Mesher().mesh(bodies())
    for camera in world.rig():
        image = _picture()
        draw_mesh(image, camera, mesh)
        px = project_scaled(camera, mesh.vertices_world_m, image)[0]
        rows, columns = np.nonzero((image != LEVEL).any(axis=2))
        inside = ((px >= 0) & (px <= np.array(image.shape[1::-1]) - 1)).all(axis=1)
        assert inside.mean() > 0.9
        for found, axis in ((columns, 0), (rows, 1)):
            # the outline of a mesh passes through vertices; a pixel is covered where its samples are
            assert abs(found.min() - px[inside, axis].min()) < 1.5 and abs(found.max() - px[inside, axis].max()) < 1.5


def test_the_nearer_person_hides_the_other() -> None:
    camera = world.rig()["cam1"]  # looks along -x from x = 3
    front = Mesher().mesh(bodies())
    both = PeopleMesh(
        np.array([1, 2], np.int32),
        np.concatenate([front.vertices_world_m, _moved(front, (-0.8, 0.12, 0.0)).vertices_world_m]),
        np.tile(front.normals_world, (2, 1, 1)),
        front.faces,
        np.zeros(2, np.bool_),
    )
    turned = replace(
        both, person_ids=both.person_ids[::-1], vertices_world_m=np.ascontiguousarray(both.vertices_world_m[::-1])
    )
    pictures = []
    for mesh in (front, both, turned):
        image = _picture()
        draw_mesh(image, camera, mesh, opacity=1.0)
        pictures.append(image.astype(int))
    own = (pictures[0] != LEVEL).any(axis=2)
    middle = pictures[0][own].mean(axis=0)
    for image in pictures[1:]:  # whoever comes first in the message
        assert np.abs(image[own].mean(axis=0) - middle).max() < 12  # but for its edges
    assert (pictures[1] != pictures[0]).any(axis=2).sum() > 0.1 * own.sum()  # the one behind is seen beside


def test_what_is_behind_or_outside_is_not_drawn() -> None:
    camera = world.rig()["cam1"]
    mesh = Mesher().mesh(bodies())
    for by in ((9.0, 0.0, 0.0), (0.0, 40.0, 0.0)):
        image = _picture()
        draw_mesh(image, camera, _moved(mesh, by))
        assert (image == LEVEL).all()
    image = _picture()
    draw_mesh(image, camera, _moved(mesh, (2.9, 0.0, 0.0)))  # the camera is inside of it
    draw_mesh(image, camera, Mesher().mesh(bodies(people=0)))


def test_a_doubtful_body_is_faint() -> None:
    camera = world.rig()["cam2"]
    mesh = Mesher().mesh(bodies())
    moved = []
    for doubtful in (False, True):
        image = _picture()
        draw_mesh(image, camera, replace(mesh, doubtful=np.array([doubtful])))
        moved.append(np.abs(image.astype(int) - LEVEL).sum())
    assert 0.2 < moved[1] / moved[0] < 0.5  # 0.35, rounding aside
