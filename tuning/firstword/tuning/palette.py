"""The colour of each name: the same in every picture, so that two of them can lie side by side.

Below `firstword.tuning.svg`. Red is left to the critical path, grey to whatever belongs to no task.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Iterable

from firstword.telemetry import vocabulary as words

_HUES, _TONES = 12, 2
_FIRST_HUE, _LAST_HUE = 30, 330
"""Degrees: between them lies no red."""
_SALT = 19405
"""Chosen so that the tasks of the shipped plan that take longest have colours of their own."""
_LIGHT_TONES = ((0.40, 0.58), (0.58, 0.55))
"""Lightness and saturation on a light ground."""
_DARK_TONES = ((0.68, 0.62), (0.48, 0.52))

_OTHERS = {
    words.EVENT_LOOP: ("#6b7682", "#8e99a5"),
    words.DISPATCH: ("#a08a6f", "#a9957c"),
    f"{words.STAGE_PREFIX}{words.OFFER}": ("#c9b79c", "#6f5f49"),
    f"{words.STAGE_PREFIX}{words.ACCEPTANCE}": ("#b8a182", "#7f6d54"),
    f"{words.STAGE_PREFIX}{words.ASSIGNMENT}": ("#a68c69", "#907c61"),
    f"{words.STAGE_PREFIX}{words.PROCESS_WAIT}": ("#6e5433", "#d6bf9d"),
    f"{words.STAGE_PREFIX}{words.PROCESS_START}": ("#8b6b41", "#bfa680"),
    f"{words.STAGE_PREFIX}{words.ENTRYPOINT}": ("#94795a", "#a28c6d"),
}
"""What is no task's: on a light ground, on a dark one."""


def style_of(name: str) -> str:
    """Returns the CSS class with the colour of a name: of a task, of a span, or of another wait such as the event loop."""
    if name in _OTHERS:
        return f"o{list(_OTHERS).index(name)}"
    return f"n{zlib.crc32(f'{_SALT} {name}'.encode(errors='backslashreplace')) % (_HUES * _TONES)}"


def css(styles: Iterable[str]) -> str:
    """Returns the CSS rules of these classes, for light and dark schemes. Classes that `style_of` does not give are passed over."""
    colours = {style: _colours(style) for style in sorted(set(styles)) if style[:1] in "no" and style[1:].isdigit()}
    light, dark = (
        "".join(f".{style}{{fill:{pair[i]};stroke:{pair[i]}}}" for style, pair in colours.items()) for i in (0, 1)
    )
    return f"{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _colours(style: str) -> tuple[str, str]:
    number = int(style[1:])
    if style.startswith("o"):
        return list(_OTHERS.values())[number]
    hue = (_FIRST_HUE + (number % _HUES) * (_LAST_HUE - _FIRST_HUE) / (_HUES - 1)) / 360
    tone = number // _HUES
    return _hex(hue, *_LIGHT_TONES[tone]), _hex(hue, *_DARK_TONES[tone])


def _hex(hue: float, lightness: float, saturation: float) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, lightness, saturation))
