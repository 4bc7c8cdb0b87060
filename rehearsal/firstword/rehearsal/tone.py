"""The tone that the floor plays, which rises for a second. A rehearsal looks for it in what a caller heard.

It rises, so that its beginning is not taken for its end; it begins at a wave's peak, so that its first sample is
audible.
"""

from __future__ import annotations

from array import array
from math import cos, pi

SAMPLE_RATE = 24_000
"""Sample rate of the tone in Hz, as of the agent's voice."""
AMPLITUDE = 8_000
"""Peak of the tone, of 32,768: -12 dBFS."""
_FROM_HZ, _TO_HZ = 300, 900


def _turns(sample: int) -> float:
    """Waves so far."""
    seconds = sample / SAMPLE_RATE
    return _FROM_HZ * seconds + (_TO_HZ - _FROM_HZ) * seconds**2 / 2


TONE = array("h", [round(AMPLITUDE * cos(2 * pi * _turns(sample))) for sample in range(SAMPLE_RATE)])
"""One second of the tone, mono at `SAMPLE_RATE` Hz."""
