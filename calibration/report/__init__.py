"""A calibration as one page that opens anywhere: warnings first, then numbers, then pictures; no network, no script."""

from kinecast.calibration.report.board import write_report

__all__ = ["write_report"]
