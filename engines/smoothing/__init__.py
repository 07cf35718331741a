"""Smoothing that knows the future, for recordings."""

from engines.smoothing.rts import PSD_M2_S3, Smoothed, smooth

__all__ = ["PSD_M2_S3", "Smoothed", "smooth"]
