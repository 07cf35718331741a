"""Recordings as files for other programs."""

from nodes.export.people import People, read_people
from nodes.export.tables import write_csv, write_npz
from nodes.export.trc import write_trc

__all__ = ["People", "read_people", "write_csv", "write_npz", "write_trc"]
