"""Recordings as files for other programs."""

from kinecast.nodes.exchange.export.csv_npz import write_csv, write_npz
from kinecast.nodes.exchange.export.person_series import ExportedPeople, read_people
from kinecast.nodes.exchange.export.trc import write_trc

__all__ = ["ExportedPeople", "read_people", "write_csv", "write_npz", "write_trc"]
