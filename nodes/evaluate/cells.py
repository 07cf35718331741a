"""Numbers as cells of a table for a person, and as plain numbers for a file; what could not be measured is told so."""

import math
from collections.abc import Iterable

NOTHING = "–"


def cell(value: float | None, digits: int = 1, unit: str = "") -> str:
    """``12.3 mm`` of 12.34 and "mm"; a dash for None and for what is no number."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.{digits}f} {unit}" if unit else f"{value:.{digits}f}"


def millimetres(metres: float | None, unit: str = "mm") -> str:
    """Metres as millimetres; unit "": where the column says it."""
    return cell(None if metres is None else 1e3 * metres, 1, unit)


def percent(share: float | None) -> str:
    """``39.3 %`` of 0.393."""
    return cell(None if share is None else 100 * share, 1, "%")


def percents(shares: Iterable[float]) -> str:
    """``39.3, 86.5, 98.9 %``."""
    return ", ".join(f"{100 * s:.1f}" for s in shares) + " %"


def rounded(value: float | None, digits: int) -> float | None:
    """As a file keeps it; None for what is no number, which JSON does not have."""
    return round(value, digits) if value is not None and math.isfinite(value) else None
