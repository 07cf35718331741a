"""Rigs from people whose detector has habits: what is stated covers what is off."""

from kinecast.nodes.bench.calibration_from_people import table


def test_stated_millimetres_hold_under_habits() -> None:
    """25 s of one walk: centres within 3 of the stated σ (of 12 coordinates that are not independent), metres within
    the 8 % that a stature is good to."""
    row = [next(iter(column.cells)) for column in table([25.0], 4, 1, "blazepose-heavy").columns]
    assert row[-1] == "1 of 1"
    off, sigma, inside = float(row[1]), float(row[4]), float(row[5].split()[0])
    assert 1.0 < sigma < 40.0 and off < 3 * sigma and inside >= 75
    assert float(row[7].split()[0]) < 8.0
