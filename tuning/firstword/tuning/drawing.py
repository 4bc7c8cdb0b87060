"""Rows of bars over a time axis as SVG, alone or in a page of HTML: what both pictures of `firstword.tuning.plot` are drawn with.

Pure text, nothing from elsewhere: no script, no font, no image. Places along the axis are per cent and letters keep their
size, so one picture fits a phone and a wide screen; each label has lines of its own above its bar, so none is cut.
Colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, field
from html import escape

from firstword.tuning.wording import shown

LETTERS = 50
"""Of a line at most: what the narrowest screen (400 px) holds."""
SERIES = 8
"""How many colours there are to tell series apart: classes `s0` to `s7`; `rest` is for what is left."""
_LINE, _BAR, _GAP = 17, 12, 9
_TICKS = 6

_LIGHT = (
    "--ink:#1d2329;--dim:#59636e;--grid:#d5dae0;--back:#fff;--critical:#c9252d;--beside:#9aa4af;--after:#4c8ed9;"
    "--detached:#8d6fc4;--phase0:#7d8894;--phase1:#a9b2bc;--phase2:#596470;--rest:#c3cad2;--s0:#3b6fb6;--s1:#e08a1e;--s2:#2f9e73;--s3:#b24c9c;"
    "--s4:#8a6d3b;--s5:#5aa9c9;--s6:#d1605e;--s7:#7a6fc0"
)
_DARK = (
    "--ink:#e8edf2;--dim:#9ba6b2;--grid:#343c46;--back:#12161b;--critical:#ff6259;--beside:#66717d;--after:#5b9ee8;"
    "--detached:#a98de0;--phase0:#7d8995;--phase1:#4d5762;--phase2:#a3aeb9;--rest:#4a5460;--s0:#6ea3e8;--s1:#f0a94a;--s2:#56c596;--s3:#d77fc4;"
    "--s4:#b99a66;--s5:#7fcbe8;--s6:#f08a86;--s7:#a69cf0"
)
_STYLE = """
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink);paint-order:stroke;stroke:var(--back);stroke-width:4px;stroke-linejoin:round}
.head{font-size:16px;font-weight:600}.name{font-weight:600}.dim{fill:var(--dim)}.small{font-size:12px}
.grid{stroke:var(--grid)}.mark{stroke:var(--ink);stroke-dasharray:4 3}
.back{fill:var(--back)}.absent,g.absent rect{fill:none;stroke:var(--beside);stroke-dasharray:3 2}
g rect{stroke:var(--back);stroke-width:.7}
"""
BARS = (
    "critical",
    "beside",
    "after",
    "detached",
    "phase0",
    "phase1",
    "phase2",
    "rest",
    *(f"s{i}" for i in range(SERIES)),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of a row; µs on the axis."""

    start: float
    duration: float
    style: str
    """One of BARS."""
    told: str
    """What hovering says."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A row: a label with lines of its own, and the bars below it."""

    name: str
    note: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under a heading."""

    heading: str
    rows: tuple[Strip, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """All there is to draw."""

    title: str
    lines: tuple[str, ...]
    """Under the title."""
    legend: tuple[tuple[str, str], ...]
    """Style and meaning."""
    sections: tuple[Section, ...]
    length: float
    """Of the axis, µs."""
    mark: tuple[float, str] | None = None
    """A line through all rows, and what it says."""


def svg(picture: Picture) -> str:
    """The picture as an SVG document."""
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _svg(picture)


def html(picture: Picture) -> str:
    """The picture as a page."""
    page = "body{margin:0;background:var(--back)}svg{display:block;min-width:360px;max-width:1600px;margin:auto}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{_text(picture.title)}</title>'
        f"<style>{_colours()}{page}</style></head>\n<body>\n{_svg(picture)}</body></html>\n"
    )


def duration(us: float) -> str:
    """A time as people read it: 1.234 s, 56 ms, 7.8 ms."""
    if us >= 999_500:
        return f"{us / 1e6:.3f} s"
    return f"{us / 1e3:.0f} ms" if us >= 10_000 or not us else f"{us / 1e3:.1f} ms" if us >= 100 else f"{us:.0f} µs"


def _svg(picture: Picture) -> str:
    head = _Column()
    head.text(picture.title, "head", 22)
    for line in picture.lines:
        head.text(line, "dim")
    head.y += 6
    for style, meaning in picture.legend:
        head.add(f'<rect class="{style}" x="0" y="{head.y + 4}" width="12" height="12" rx="2"/>')
        head.text(meaning, "small", x=20)
    body = _Column(y=head.y + 8)
    top = body.y
    if picture.mark is not None:
        body.y += _LINE + 4
    for section in picture.sections:
        if section.heading:
            body.y += 6
            body.text(section.heading, "dim small")
        for row in section.rows:
            _strip(body, row, picture.length)
    bottom = body.y
    _axis(body, picture.length, bottom)
    height = body.y + 14
    grid = _grid(picture, top, bottom)
    # x and width in per cent, so that the margin is one on every screen
    inner = "\n".join([*head.parts, *grid, *body.parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{height}" role="img">\n'
        f"<title>{_text(picture.title)}</title>\n<style>{_colours()}{_STYLE}</style>\n"
        f'<rect class="back" width="100%" height="100%"/>\n'
        f'<svg x="2%" y="10" width="96%" overflow="visible">\n{inner}\n</svg>\n</svg>\n'
    )


@dataclass(slots=True)
class _Column:
    """What has been drawn from top to bottom."""

    y: int = 0
    parts: list[str] = field(default_factory=list[str])

    def add(self, part: str) -> None:
        self.parts.append(part)

    def text(self, text: str, style: str, height: int = _LINE, *, x: int = 0) -> None:
        """Lines of text; they are broken, never cut."""
        letters = LETTERS - x // 7 - (LETTERS // 5 if "head" in style else 0)
        for line in textwrap.wrap(text, letters, break_on_hyphens=False) or [""]:
            self.y += height
            self.add(f'<text class="{style}" x="{x}" y="{self.y - 4}">{_text(line)}</text>')


def _strip(column: _Column, row: Strip, length: float) -> None:
    name, *more = textwrap.wrap(row.name, LETTERS) or [""]
    for line in (name, *more)[:-1] if more else ():
        column.text(line, "name")
    last = more[-1] if more else name
    if len(last) + 2 + len(row.note) <= LETTERS:
        column.y += _LINE
        note = f'<tspan class="dim" dx="8" font-weight="400">{_text(row.note)}</tspan>' if row.note else ""
        column.add(f'<text class="name" x="0" y="{column.y - 4}">{_text(last)}{note}</text>')
    else:
        column.text(last, "name")
        column.text(row.note, "dim")
    for bar in row.bars:
        start = min(max(bar.start, 0.0), length)
        end = min(max(bar.start + bar.duration, start), length)
        x, top = _share(start, length), column.y
        # the line keeps the shortest visible
        column.add(
            f'<g class="{bar.style}"><title>{_text(bar.told)}</title>'
            f'<rect x="{x}" y="{top}" width="{_share(end - start, length)}" height="{_BAR}"/>'
            f'<line x1="{x}" x2="{x}" y1="{top}" y2="{top + _BAR}"/></g>'
        )
    column.y += _BAR + _GAP


def _grid(picture: Picture, top: int, bottom: int) -> list[str]:
    lines = [
        f'<line class="grid" x1="{_share(tick, picture.length)}" x2="{_share(tick, picture.length)}" y1="{top}" y2="{bottom}"/>'
        for tick in _ticks(picture.length)
    ]
    if picture.mark is not None:
        at, says = picture.mark
        x = _share(at, picture.length)
        anchor = "end" if at > picture.length / 2 else "start"
        lines.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
        nudge = -6 if anchor == "end" else 6
        lines.append(
            f'<text class="name" x="{x}" y="{top + 12}" dx="{nudge}" text-anchor="{anchor}">{_text(says)}</text>'
        )
    return lines


def _axis(column: _Column, length: float, bottom: int) -> None:
    column.y = bottom + _LINE
    for tick in _ticks(length):
        anchor = "start" if not tick else "end" if tick > 0.93 * length else "middle"
        column.add(
            f'<text class="dim small" x="{_share(tick, length)}" y="{column.y - 3}" text-anchor="{anchor}">'
            f"{_text(_tick(tick))}</text>"
        )


def _ticks(length: float) -> list[float]:
    """Round instants, at most seven with 0."""
    if length <= 0:
        return [0.0]
    rough = length / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    return [step * i for i in range(math.floor(length / step + 1e-9) + 1)]


def _tick(us: float) -> str:
    return "0" if not us else f"{us / 1e6:g} s" if us >= 1e6 else f"{us / 1e3:g} ms" if us >= 1e3 else f"{us:g} µs"


def _share(part: float, length: float) -> str:
    return f"{100 * part / length if length else 0:.3f}%"


def _colours() -> str:
    bars = "".join(f".{name}{{fill:var(--{name})}}g.{name} line{{stroke:var(--{name})}}" for name in BARS)
    return f":root{{{_LIGHT}}}@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}{bars}"


def _text(text: str) -> str:
    """For XML, which has no place for most control characters."""
    return escape(shown(text))
