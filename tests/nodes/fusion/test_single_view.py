"""Which view may keep a person in the room alone: one that others confirmed a moment ago, the one that fits best."""

from types import SimpleNamespace

import numpy as np
import pytest

from kinecast.engines.estimate.tracks import TrackTable
from kinecast.engines.observations import camera_arrays
from kinecast.engines.synth import World, ring_rig
from kinecast.engines.triangulate.left_right import group_table
from kinecast.nodes.fusion.single_view import SingleViewTracks

RIG = ring_rig(3)
CAMERAS = camera_arrays(RIG)
X = World(people=1).points_world(0)[0]
MS = 1_000_000
EVERYBODY, NOBODY = np.zeros(1, np.int64), np.zeros(0, np.int64)


def table() -> TrackTable:
    """One known person, seen now."""
    people = TrackTable(26, group_table("halpe26")[:3], 1, 1.5)
    people.predict(0)
    people.add_tracks(X[None], np.tile(np.eye(3) * 1e-4, (1, 26, 1, 1)), np.array([1.7]), np.array([1]))
    people.confirm()
    return people


def seen(off_m: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """(1, 3, 26, 2) the person in normalised coordinates of each view, moved by so much along its x."""
    local = np.einsum("cij,nj->cni", CAMERAS.P[:, :, :3], X) + CAMERAS.P[:, None, :, 3]
    return ((local[..., :2] + np.array(off_m)[:, None, None] * [1, 0]) / local[..., 2:])[None]


def confirmed(people: TrackTable, views: list[bool]) -> SingleViewTracks:
    """At time 0 joints were triangulated that stand on these views; the person is detection 0 there, named 7."""
    tracks = SingleViewTracks(CAMERAS)
    joints = np.tile(np.array(views)[None, :, None], (1, 1, 26))
    measured = SimpleNamespace(rows=EVERYBODY, solution=SimpleNamespace(used=lambda count: joints[:, :count]))
    tracks.confirm(0, people, measured, np.zeros((1, 3), np.int64), np.array([7]))  # type: ignore[arg-type]
    return tracks


def able(tracks: SingleViewTracks, people: TrackTable, t_ms: int, view: int, local: int = 7) -> bool:
    """Whether the view, which alone sees the person at that time, may keep them."""
    assigned = np.where(np.arange(3) == view, 0, -1)[None]
    none = SimpleNamespace(rows=NOBODY)
    lone, _ = tracks.able(t_ms * MS, people, seen(), np.ones((1, 3, 26)), none, assigned, np.array([local]))  # type: ignore[arg-type]
    return bool(lone[0, view])


@pytest.mark.parametrize(("t_ms", "trusted"), [(33, True), (500, True), (501, False)])
def test_a_view_is_trusted_for_half_a_second_after_others_confirmed_it(t_ms: int, trusted: bool) -> None:
    people = table()
    tracks = confirmed(people, [True, True, False])
    assert able(tracks, people, t_ms, view=0) == trusted
    assert not able(tracks, people, t_ms, view=2), "never confirmed"


@pytest.mark.parametrize("best", [0, 1])
def test_of_several_views_the_one_that_sees_the_person_where_expected_keeps_them(best: int) -> None:
    people = table()
    tracks = confirmed(people, [True, True, False])
    off = (0.0, 0.04, 0.0) if best == 0 else (0.04, 0.0, 0.0)
    fine, assigned = np.array([[True, True, False]]), np.array([[0, 0, -1]])
    chosen = tracks.choose(400 * MS, people, fine, seen(off), np.ones((1, 3, 26)), assigned, np.array([7]))
    assert chosen.tolist() == [best]
    # it alone goes on being trusted
    assert [able(tracks, people, 800, view) for view in (0, 1)] == [best == 0, best == 1]
