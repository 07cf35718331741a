"""The parts that make the free body, on shapes whose answers are known; Anny itself is not needed."""

import numpy as np

from kinecast.engines.body.make.free_decimate import nearest
from kinecast.engines.body.make.free_joint_regressors import corrected, moved, ring
from kinecast.engines.body.make.free_rest_pose import align, direction
from kinecast.engines.skeleton import skeleton


def ball(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A sphere of 10 cm: vertices (V, 3) and triangles."""
    lat, lon = np.meshgrid(np.linspace(0.05, np.pi - 0.05, rows), np.arange(2 * rows) * np.pi / rows, indexing="ij")
    points = 0.1 * np.stack([np.sin(lat) * np.cos(lon), np.cos(lat), np.sin(lat) * np.sin(lon)], axis=-1)
    index = np.arange(rows * 2 * rows).reshape(rows, 2 * rows)
    a, b = index[:-1], index[1:]
    c, d = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    faces = np.concatenate([np.stack([a, b, c], axis=-1), np.stack([b, d, c], axis=-1)]).reshape(-1, 3)
    return points.reshape(-1, 3), faces


def test_nearest_place_on_a_mesh() -> None:
    vertices, faces = ball(16)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), 200)
    on_it = np.einsum("nc,ncd->nd", shares, vertices[faces[rng.integers(0, len(faces), 200)]])
    places = nearest(on_it, vertices, faces)
    assert places.distance_m.max() < 1e-12
    assert np.allclose(places.carry(vertices), on_it, atol=1e-12)
    # of a point outside: no sampled place of the mesh is nearer
    outside = on_it * rng.uniform(1.1, 2.0, (200, 1))
    places = nearest(outside, vertices, faces)
    assert (places.shares >= 0).all() and np.allclose(places.shares.sum(axis=1), 1)
    corners = np.linalg.norm(outside[:, None] - vertices, axis=-1).min(axis=1)
    assert (places.distance_m <= corners + 1e-12).all()


def test_ring_puts_its_mean_on_the_point() -> None:
    vertices, _ = ball(12)
    point = np.array([0.02, -0.03, 0.01])
    weights = ring(point, vertices, 0.05)
    assert np.allclose(weights @ vertices, point, atol=1e-12) and abs(weights.sum() - 1) < 1e-12
    # flesh that grows and shifts takes the point along
    assert np.allclose(weights @ (1.2 * vertices + 0.3), 1.2 * point + 0.3, atol=1e-12)


def test_regressor_moves_to_another_mesh_and_is_put_right() -> None:
    fine, _ = ball(30)
    coarse, faces = ball(10)
    bend = lambda v: np.stack([v * [1.0, 0.2, 0.0], (v * v)[:, [1, 2, 0]]], axis=-1)  # noqa: E731
    regressor = np.stack([ring(p, fine, 0.05) for p in ([0.0, 0.02, 0.0], [0.03, 0.0, 0.05])])
    joints, joint_dirs = regressor @ fine, np.einsum("jv,vdb->jdb", regressor, bend(fine))
    rough = moved(regressor, fine, coarse, faces)
    first = np.abs(rough @ coarse - joints).max()
    exact = corrected(rough, coarse, bend(coarse), joints, joint_dirs)
    assert first < 5e-3  # the coarse ball is up to 1 mm inside the fine one, and the weights are far from even
    assert np.abs(exact @ coarse - joints).max() < 1e-5
    assert np.abs(np.einsum("jv,vdb->jdb", exact, bend(coarse)) - joint_dirs).max() < 1e-5
    assert np.allclose(exact.sum(axis=1), 1, atol=1e-5)


def test_align_is_the_smallest_rotation() -> None:
    rng = np.random.default_rng(1)
    for u, v in rng.normal(size=(20, 2, 3)):
        turn = align(u, v)
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.allclose(turn @ u / np.linalg.norm(u), v / np.linalg.norm(v), atol=1e-12)
        axis = np.cross(u, v)
        assert np.allclose(turn @ axis, axis, atol=1e-12)


def test_directions_are_mirror_images() -> None:
    for name in skeleton("smpl24").joints[1:]:
        other = name.replace("left_", "right_")
        assert np.allclose(direction(name) * [-1, 1, 1] if other != name else direction(name), direction(other))
