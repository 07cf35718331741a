"""The page itself: HTML with its style and its pictures inside it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import Any

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.sub { color: #57606a; margin-top: 0; }
.warn { background: #fff4d6; border-left: 5px solid #c98a00; padding: .6rem 1rem .6rem .4rem; }
.good { background: #e4f4e8; border-left: 5px solid #1d7a3a; padding: .6rem 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .5rem; border-bottom: 1px solid #d0d7de; text-align: right; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; } th { background: #f6f8fa; font-weight: 600; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; border: 1px solid #d0d7de; }
figcaption, .note { color: #57606a; font-size: .9rem; max-width: 60rem; }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """head: column titles. rows: texts, as many a row as columns. note: what the columns mean, below it."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG, its caption, and what it shows in words for who cannot see it."""

    png: bytes
    caption: str
    alt: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it, in order; a plain text is a paragraph."""

    title: str
    parts: tuple[Table | Picture | str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """headline: what came out, in one or two sentences. warnings: in plain words, each with its remedy."""

    title: str
    subtitle: str
    headline: tuple[str, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...] = field(default=())

    def html(self) -> str:
        """The whole page."""
        out = [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head><body>",
            f'<h1>{escape(self.title)}</h1><p class="sub">{escape(self.subtitle)}</p>',
        ]
        if self.warnings:
            count = f"{len(self.warnings)} warning{'s' if len(self.warnings) > 1 else ''}"
            items = "".join(f"<li>{escape(w)}</li>" for w in self.warnings)
            out.append(f'<div class="warn"><strong>&nbsp; {count}</strong><ul>{items}</ul></div>')
        else:
            out.append('<p class="good">Nothing was found that speaks against this calibration.</p>')
        out += [f"<p>{escape(line)}</p>" for line in self.headline]
        for section in self.sections:
            out.append(f"<h2>{escape(section.title)}</h2>")
            out += [_part(p) for p in section.parts]
        return "\n".join([*out, "</body></html>", ""])


def _part(part: Table | Picture | str) -> str:
    if isinstance(part, str):
        return f"<p>{escape(part)}</p>"
    if isinstance(part, Picture):
        data = base64.b64encode(part.png).decode()
        return (
            f'<figure><img src="data:image/png;base64,{data}" alt="{escape(part.alt)}">'
            f"<figcaption>{escape(part.caption)}</figcaption></figure>"
        )
    head = "".join(f"<th>{escape(h)}</th>" for h in part.head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in part.rows)
    note = f'<p class="note">{escape(part.note)}</p>' if part.note else ""
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>{note}'


def png_of(figure: Any) -> bytes:
    """A matplotlib figure as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def named(names: Sequence[str]) -> str:
    """Names in a sentence: ``a, b and c``."""
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1] if names else ""
