"""Lengths of files: everything here is metres until it is written."""

SCALE = {"m": 1.0, "cm": 100.0, "mm": 1000.0}
