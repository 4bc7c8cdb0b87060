"""How many starts one in a tail-sampled store stands for, by the rule by which `otel-collector.yaml` kept it.

Between `firstword.tuning.spans` and all that counts, ranks or adds up: the only place that reads the share off a trace. It is the
policy `failed-or-slow` seen from the other side; who changes one changes both.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from firstword.telemetry import vocabulary as words
from firstword.telemetry.record import Outcome
from firstword.tuning.notes import PassedOver, Report
from firstword.tuning.sources import SourceError
from firstword.tuning.spans import Trace, plausible
from firstword.tuning.wording import amount

WEIGHTED = "The store was sampled: each session counts for as many as it stands for"
"""What every command prints that counts the starts of such a store."""
_ROUNDING = 1e-9
_LEAST_PERCENT = 1e-6
"""With less, one start would stand for more than a hundred million."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the store of a trace is sampled, as the trace says it."""

    percent: float = 100.0
    """Percent of the traces that the store keeps, not counting those that are always kept; more than 0."""
    always_kept: bool = False
    """Whether the start was slow, or had no first word: then it is in the store whatever `percent` is."""

    @property
    def weight(self) -> float:
        """Returns how many starts this one stands for."""
        return 1.0 if self.always_kept else self.heaviest

    @property
    def heaviest(self) -> float:
        """Returns the largest weight that a start of this store can have."""
        return 100.0 / self.percent


def countable(traces: Iterable[Trace], report: Report) -> Iterator[Trace]:
    """Yields the traces that figures can be made of, each session once. Others are passed over and reported.

    Passed over are those of a store that keeps no ordinary starts: what it keeps is slow or failed. So are observed
    starts that were declared too. Raises SourceError at the end if the store's were all there was.
    """
    given = left_out = second = 0
    for trace in traces:
        if trace.is_second:
            second += 1
        elif is_countable(trace):
            given += 1
            yield trace
        else:
            left_out += 1
    if second:
        report(PassedOver("", "observed starts beside their declared ones", second))
    if left_out:
        report(PassedOver("", "starts of a store that keeps 0 % of ordinary starts", left_out))
    if left_out and not given:
        raise SourceError(
            f"no figure can be made of {amount(left_out, 'trace')} in a store that keeps 0 % of ordinary starts; "
            "expected FIRSTWORD_KEEP_PERCENT above 0, up to 100"
        )


def is_countable(trace: Trace) -> bool:
    """Returns whether the trace's store keeps ordinary starts too, so that figures can be made of it."""
    return _percent(trace) >= _LEAST_PERCENT


def sampling_of(trace: Trace) -> Sampling:
    """Returns the sampling that the attributes of the trace's root tell of; where they tell of none, all are kept.

    Any trace but a countable one is taken for one of a store that keeps next to none.
    """
    told = trace.root.attributes
    outcome = told.get(words.OUTCOME)
    always_kept = told.get(words.SLOW) is True or (outcome is not None and outcome != Outcome.FIRST_WORD)
    return Sampling(min(max(_percent(trace), _LEAST_PERCENT), 100.0), always_kept)


def _percent(trace: Trace) -> float:
    percent = plausible(trace.root.attributes.get(words.SAMPLING_PERCENT))
    return 100.0 if percent is None else percent


def place(weights: Sequence[float], share: float) -> int:
    """Returns the index of the quantile at `share` (0 to 1) among sorted starts, each counting for its weight."""
    reached = list(accumulate(weights))
    return bisect_left(reached, share * reached[-1] * (1 - _ROUNDING))
