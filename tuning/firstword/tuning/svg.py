"""Draws rows of bars over a time axis as SVG, alone or in a page of HTML: the pictures of `firstword plot`.

Pure text, nothing from elsewhere: no script, no font, no image. Places along the axis are per cent and letters keep
their size, so one picture fits a phone and a wide screen. A label stands beside its bar where a phone has room for it,
else above. A line that goes through all rows stops short of it. Colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Final, Literal

from firstword.tuning import palette
from firstword.tuning.wording import shown

LETTERS = 50
"""Letters in a line at most: what the narrowest screen (360 px) holds."""
NARROWEST = 345
"""Pixels of the axis on the narrowest screen."""
LETTER = 7.1
"""Pixels of a letter, more than most have."""
_STRONG = 1.12
"""Letters of a plain text that one of a strong text takes the place of."""
_BESIDE = 9
"""Pixels between a bar and its label."""
_LINE, _BAR, _GAP, _UNDER = 17, 14, 9, 4
_TICKS = 6

_LIGHT = (
    "--ink:#1d2329;--dim:#59636e;--grid:#d5dae0;--back:#fff;--critical:#c9252d;--absent:#9aa4af;"
    "--phase0:#d3d9df;--phase1:#e4e8ec;--rest:#c3cad2"
)
_DARK = (
    "--ink:#e8edf2;--dim:#9ba6b2;--grid:#343c46;--back:#12161b;--critical:#ff6259;--absent:#66717d;"
    "--phase0:#3a444f;--phase1:#2a323b;--rest:#4a5460"
)
_STYLE = """
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink);paint-order:stroke;stroke:var(--back);stroke-width:9px;stroke-linejoin:round}
.head{font-size:16px;font-weight:600}.name{font-weight:600}.dim{fill:var(--dim)}.small,.inside{font-size:12px}.inside{stroke:none}
.grid{stroke:var(--grid)}.mark{stroke:var(--ink);stroke-dasharray:4 3}.back{fill:var(--back)}
.critical{fill:var(--critical);stroke:var(--critical)}.rest{fill:var(--rest);stroke:var(--rest)}
.phase0{fill:var(--phase0);stroke:var(--phase0)}.phase1{fill:var(--phase1);stroke:var(--phase1)}
.absent{fill:none;stroke:var(--absent);stroke-dasharray:3 2}
.pale{fill-opacity:.32;stroke-opacity:.5}.slack{fill:none;stroke-width:2;stroke-dasharray:2 3}
g rect{stroke:var(--back);stroke-width:.7}g.absent rect{stroke:var(--absent)}
.beyond{fill:var(--ink);stroke:var(--back);stroke-width:2;paint-order:stroke}
"""

Shape = Literal["full", "pale", "under", "slack"]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in a row: start and length in µs on the axis, colour, and the text that hovering shows."""

    start: float
    duration: float
    style: str
    """A class of `firstword.tuning.palette`, or `critical`, `absent`, `rest`, `phase0`, `phase1`."""
    told: str
    """Text that hovering over the bar shows."""
    shape: Shape = "full"
    """`pale`: it only waited; `under`: a line below; `slack`: a dotted line at half the height."""
    inside: str = ""
    """Text that is written on the bar where a phone has room."""


@dataclass(frozen=True, slots=True)
class Strip:
    """One row of a picture: its bars, and a label beside them."""

    name: str
    note: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of a picture under one heading."""

    heading: str
    rows: tuple[Strip, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the legend: a meaning, and a sample of its colour and shape."""

    meaning: str
    style: str = ""
    """Class of the sample's colour; empty for a line without a sample."""
    shape: Shape = "full"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as data: title, axis, sections and bars. `svg` and `html` draw it."""

    title: str
    lines: tuple[str, ...]
    """Lines of text under the title."""
    legend: tuple[Key, ...]
    sections: tuple[Section, ...]
    length: float
    """Length of the axis, in µs."""
    mark: tuple[float, str] | None = None
    """A line through all rows: its instant in µs, and what it says."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a label stands beside or above its bars."""

    beside: bool
    """Whether it is in the bars' own line, else in a line above."""
    at: float
    """Position of its anchor, as a share of the axis."""
    anchor: Literal["start", "middle", "end"]


def svg(picture: Picture) -> str:
    """Returns the picture as an SVG document."""
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _svg(picture)


def html(picture: Picture) -> str:
    """Returns the picture as a complete HTML page."""
    page = (
        "body{margin:0;background:var(--back)}svg{display:block}body>svg{min-width:360px;max-width:1600px;margin:auto}"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{_text(picture.title)}</title>'
        f"<style>{SCHEMES}{page}</style></head>\n<body>\n{_svg(picture)}</body></html>\n"
    )


def embedded(picture: Picture) -> str:
    """Returns the picture as an SVG element for an HTML page."""
    return _svg(picture)


def duration(us: float) -> str:
    """Returns a time in µs as people read it: 1.234 s, 56 ms, 7.8 ms."""
    if us >= 999_500:
        return f"{us / 1e6:.3f} s"
    return f"{us / 1e3:.0f} ms" if us >= 10_000 or not us else f"{us / 1e3:.1f} ms" if us >= 100 else f"{us:.0f} µs"


def place(letters: int, first: float, last: float) -> Place:
    """Returns where a label of so many letters stands, whose bars lie from `first` to `last` (shares of the axis).

    It stands behind the bars, else before them, where the narrowest screen has room. Else it stands above: from the
    first bar on, up to the last, or in the middle.
    """
    wide = letters * LETTER / NARROWEST
    gap = _BESIDE / NARROWEST
    if last + gap + wide <= 1:
        return Place(True, last, "start")
    if first - gap - wide >= 0:
        return Place(True, first, "end")
    if first + wide <= 1:
        return Place(False, first, "start")
    if last - wide >= 0:
        return Place(False, last, "end")
    if wide > 1:
        return Place(False, 0.0, "start")
    middle = (first + last) / 2
    if middle < wide / 2:
        return Place(False, 1 - wide, "start")
    return Place(False, middle, "middle") if middle <= 1 - wide / 2 else Place(False, wide, "end")


def _svg(picture: Picture) -> str:
    head = _Column()
    head.text(picture.title, "head", 22)
    for line in picture.lines:
        head.text(line, "dim")
    head.y += 6
    for key in picture.legend:
        if key.style:
            head.parts += _shape(key.style, key.shape, "0", "18", head.y + 4, 12)
        head.text(key.meaning, "small", x=26 if key.style else 0)
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
    used = [bar.style for section in picture.sections for row in section.rows for bar in row.bars]
    # x and width in per cent, so that the margin is one on every screen
    inner = "\n".join([*_grid(picture, top, bottom), *head.parts, *body.parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{body.y + 14}" role="img">\n'
        f"<title>{_text(picture.title)}</title>\n"
        f"<style>{SCHEMES}{palette.css([*used, *(key.style for key in picture.legend)])}{_STYLE}</style>\n"
        f'<rect class="back" width="100%" height="100%"/>\n'
        f'<svg x="2%" y="10" width="96%" overflow="visible">\n{inner}\n</svg>\n</svg>\n'
    )


@dataclass(slots=True)
class _Column:
    """What has been drawn from top to bottom."""

    y: int = 0
    parts: list[str] = field(default_factory=list[str])

    def text(self, text: str, style: str, height: int = _LINE, *, x: int = 0) -> None:
        """Lines of text; they are broken, never cut."""
        letters = LETTERS - x // 7 - (LETTERS // 5 if "head" in style else 0)
        for line in textwrap.wrap(text, letters, break_on_hyphens=False) or [""]:
            self.y += height
            self.parts.append(f'<text class="{style}" x="{x}" y="{self.y - 4}">{_text(line)}</text>')


def _strip(column: _Column, row: Strip, length: float) -> None:
    spans = [_shares(bar, length) for bar in row.bars] or [(0.0, 0.0)]
    first, last = min(begin for begin, _ in spans), max(end for _, end in spans)
    label = _label(row)
    stands = place(max(_letters(strong, rest) for strong, rest in label), first, last)
    if len(label) > 1 and stands.beside:
        stands = Place(False, 0.0, "start")
    if not stands.beside:
        for strong, rest in label:
            column.y += _LINE
            column.parts.append(_line(strong, rest, stands, column.y - 4))
    for bar in row.bars:
        column.parts += _bar(bar, length, column.y)
    if stands.beside:
        column.parts.append(_line(*label[0], stands, column.y + _BAR - 2))
    column.y += _BAR + _GAP


def _label(row: Strip) -> list[tuple[str, str]]:
    """Its lines: of each what is strong, and what is not."""
    most, rest = int(NARROWEST / LETTER), f" {row.note}" if row.note else ""
    if _letters(row.name, rest) <= most:
        return [(row.name, rest)]
    names = [(line, "") for line in textwrap.wrap(row.name, int(most / _STRONG))]
    return [*names, *(("", line) for line in textwrap.wrap(row.note, LETTERS))]


def _letters(strong: str, rest: str) -> int:
    """How many letters of a plain text have their place."""
    return math.ceil(_STRONG * len(strong)) + len(rest)


def _line(strong: str, rest: str, stands: Place, y: int) -> str:
    nudge = (_BESIDE if stands.anchor == "start" else -_BESIDE) if stands.beside else 0
    note = f'<tspan class="dim" font-weight="400">{_text(rest)}</tspan>' if rest else ""
    return (
        f'<text class="name" x="{100 * stands.at:.3f}%" dx="{nudge}" y="{y}" text-anchor="{stands.anchor}">'
        f"{_text(strong)}{note}</text>"
    )


def _bar(bar: Bar, length: float, top: int) -> Iterator[str]:
    begin, end = _shares(bar, length)
    x, width = f"{100 * begin:.3f}%", f"{100 * (end - begin):.3f}%"
    yield f"<g><title>{_text(bar.told)}</title>"
    yield from _shape(bar.style, bar.shape, x, width, top, _BAR)
    yield "</g>"
    if bar.inside and (end - begin) * NARROWEST >= len(bar.inside) * LETTER + 6:
        yield f'<text class="inside" x="{x}" dx="4" y="{top + _BAR - 3}">{_text(bar.inside)}</text>'
    if bar.start + bar.duration > length and bar.shape != "under":
        yield f'<svg x="100%" y="{top}" overflow="visible"><path class="beyond" d="M-8 0V{_BAR}L0 {_BAR / 2}Z"/></svg>'


def _shape(style: str, shape: Shape, x: str, width: str, top: int, height: int) -> Iterator[str]:
    if shape == "slack":
        middle = top + height / 2
        yield f'<svg x="{x}" y="0" width="{width}" overflow="visible"><line class="{style} slack" x2="100%" y1="{middle}" y2="{middle}"/></svg>'
        return
    y, tall = (top + height - _UNDER + 2, _UNDER) if shape == "under" else (top, height)
    classes = f"{style} pale" if shape == "pale" else style
    # the line keeps the shortest visible
    yield (
        f'<g class="{classes}"><rect x="{x}" y="{y}" width="{width}" height="{tall}"/>'
        f'<line x1="{x}" x2="{x}" y1="{y}" y2="{y + tall}"/></g>'
    )


def _shares(bar: Bar, length: float) -> tuple[float, float]:
    """Where it begins and ends, shares of the axis; what lies beyond is cut."""
    start = min(max(bar.start, 0.0), length)
    end = min(max(bar.start + bar.duration, start), length)
    return start / length, end / length


def _grid(picture: Picture, top: int, bottom: int) -> Iterator[str]:
    for tick in _ticks(picture.length):
        x = _share(tick, picture.length)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
    if picture.mark is not None:
        at, says = picture.mark
        x = _share(at, picture.length)
        anchor, nudge = ("end", -6) if at > picture.length / 2 else ("start", 6)
        yield f'<line class="mark" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
        yield f'<text class="name" x="{x}" y="{top + 12}" dx="{nudge}" text-anchor="{anchor}">{_text(says)}</text>'


def _axis(column: _Column, length: float, bottom: int) -> None:
    column.y = bottom + _LINE
    for tick in _ticks(length):
        anchor = "start" if not tick else "end" if tick > 0.93 * length else "middle"
        column.parts.append(
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


def _text(text: str) -> str:
    """For XML, which has no place for most control characters."""
    return escape(shown(text))


SCHEMES: Final = f":root{{{_LIGHT}}}@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
"""CSS variables with the colours of a picture, for light and dark schemes as the reader's system is."""
