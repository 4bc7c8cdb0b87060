"""What a listener would notice in samples: silences, and jumps of the wave."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from firstword.agent.audio.splice import QUIET, Samples

_FULL_SCALE: Final = 32768
_CLICK_NEIGHBOURHOOD: Final = 0.004
"""Seconds on either side of a step with whose steps it is compared: half a period of a low voice."""
_CLICK_FACTOR: Final = 3.0
_CLICK_FLOOR: Final = 0.03
"""Smaller steps, as a share of full scale, are not heard as clicks."""


def largest_gap(samples: Samples, rate: int, quiet: float = QUIET) -> float:
    """Seconds of the longest silence between sounds; what lies before the first and after the last doesn't count."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= quiet * _FULL_SCALE)
    return float(np.max(np.diff(loud) - 1)) / rate if loud.size > 1 else 0.0


def clicks(samples: Samples, rate: int) -> NDArray[np.intp]:
    """Where the wave jumps: indices of samples whose step from the one before is out of proportion to those around it."""
    steps = np.abs(np.diff(samples.astype(np.int32)))
    around = max(round(_CLICK_NEIGHBOURHOOD * rate), 1)
    edge = np.zeros(around, np.int32)
    # By the larger side: where a sound sets in, the steps before it are small and those after it are not.
    largest = np.lib.stride_tricks.sliding_window_view(np.concatenate([edge, steps, edge]), around).max(axis=1)
    usual = np.maximum(largest[: len(steps)], largest[around + 1 :])
    return np.flatnonzero((steps > _CLICK_FLOOR * _FULL_SCALE) & (steps > _CLICK_FACTOR * usual)) + 1
