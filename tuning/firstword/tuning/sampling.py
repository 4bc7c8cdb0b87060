"""How many starts one in a tail-sampled store stands for, by the rule by which `otel-collector.yaml` kept it.

Between `firstword.tuning.spans` and all that counts, ranks or adds up: the only place that reads the share off a trace. It is the
policy `failed-or-slow` seen from the other side; who changes one changes both.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from firstword.telemetry import vocabulary as words
from firstword.telemetry.record import Outcome
from firstword.tuning.sources import SourceError
from firstword.tuning.spans import Trace

WEIGHTED = "The store was sampled: each session counts for as many as it stands for"
"""What every command says that counts the starts of such a store."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a trace says of the store that it is in."""

    percent: float = 100.0
    """Of all traces but those that are always kept, how many the store keeps; more than 0."""
    always_kept: bool = False
    """A start that was slow, or had no first word: in the store whatever `percent` is."""

    @property
    def weight(self) -> float:
        """How many starts it stands for."""
        return 1.0 if self.always_kept else self.heaviest

    @property
    def heaviest(self) -> float:
        """What a start in the same store weighs at most."""
        return 100.0 / self.percent


def sampling_of(trace: Trace) -> Sampling:
    """What the trace's root says. Raises SourceError where only slow and failed starts are kept: nothing can be counted."""
    told = trace.root.attributes
    percent = told.get(words.SAMPLING_PERCENT)
    if not isinstance(percent, int | float) or not math.isfinite(percent):
        percent = 100.0
    if percent <= 0:
        raise SourceError(
            f"trace {trace.trace_id} is from a store that keeps 0 % of ordinary starts, so no figure can be made of it; "
            "FIRSTWORD_KEEP_PERCENT may be: more than 0, up to 100. --since leaves out what came before"
        )
    outcome = told.get(words.OUTCOME)
    always_kept = told.get(words.SLOW) is True or (outcome is not None and outcome != Outcome.FIRST_WORD)
    return Sampling(min(float(percent), 100.0), always_kept)


def place(weights: Sequence[float], share: float) -> int:
    """Which of sorted starts, each counting for its weight, is their quantile at `share`: the first to reach it."""
    reached = list(accumulate(weights))
    return bisect_left(reached, share * reached[-1] * (1 - _ROUNDING))
