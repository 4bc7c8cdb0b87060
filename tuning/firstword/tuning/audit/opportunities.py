"""What could be done about the waiting: the rules applied to all starts of an audit, each with what it is predicted to save.

After the three families of rules, before `firstword.tuning.audit.report`. A saving is predicted for each start by playing it again
(`firstword.tuning.audit.played`). What is said of all is the difference of medians, before and after, as two audits would measure it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from firstword.telemetry.source_lines import SourceLine
from firstword.telemetry.vocabulary import EVENT_LOOP
from firstword.tuning.audit import dispatch_rules, entrypoint_rules, greeting_rules
from firstword.tuning.audit.rule import LEAST_S, AuditedStart, OpportunityRule, RuleFinding
from firstword.tuning.start import Piece
from firstword.tuning.statistics import Floats, Interval
from firstword.tuning.wording import short_name

RULES = (*greeting_rules.RULES, *entrypoint_rules.RULES, *dispatch_rules.RULES)
_RESAMPLES = 2000
_ERROR = 0.05
_SEED = 1
_MODEL_ERROR_S = 0.033
"""How far the predictions of `benchmarks.opportunities` were from what was saved: root mean square, on two cores."""
_MOST_EVIDENCE, _LEAST_EVIDENCE = 4, 0.02
"""Rows, and how long each is at least, as a share of the longest."""


class Evidence(NamedTuple):
    """One line or stage in which callers waited, as evidence of an opportunity. Its seconds are a median over the opportunity's starts."""

    what: str
    """For a line the kind of wait, else the name of the stage or piece."""
    source: SourceLine | None
    text: str | None
    """The line, as it stands in the file; None where it can't be shown."""
    inside: str | None
    """The library's function that was at work; for a busy event loop, what held it."""
    seconds: float

    @property
    def where(self) -> str:
        """Returns the line with its function; for evidence without a line, the name of the stage or piece."""
        return self.what if self.source is None else str(self.source)

    @property
    def told(self) -> str:
        """Returns what was waited for at the line, in words; empty for evidence without a line, since `where` says it."""
        if self.source is None:
            return ""
        if self.inside is None:
            return self.what
        return f"{self.what} {'held by' if self.what == EVENT_LOOP else 'in'} {short_name(self.inside)}"


@dataclass(frozen=True, slots=True)
class Opportunity:
    """One change to an agent that an audit suggests, with its evidence and its predicted saving."""

    rule: OpportunityRule
    subject: str
    starts: int
    """In how many starts it was found."""
    of: int
    """In how many starts it was looked for."""
    saving_s: float | None
    """By how many seconds the median time until something is heard should fall; None where no start tells (`rule.unpredicted`)."""
    saving_range: Interval | None
    """Where the difference of two audits with as many sessions will lie, in 95 of 100 cases; None for a single start, and
    where nothing is predicted."""
    evidence: tuple[Evidence, ...]

    @property
    def title(self) -> str:
        """Returns what to do, for people: the rule's title with the subject in it."""
        return self.rule.title.format(subject=self.subject)

    def as_json(self) -> dict[str, object]:
        """Returns the opportunity as data for JSON, under stable keys (docs/opportunities.md)."""
        return {
            "name": self.rule.name,
            "subject": self.subject or None,
            "title": self.title,
            "why": self.rule.why,
            "saving_s": self.saving_s and round(self.saving_s, 4),
            "saving_range_s": self.saving_range and [round(self.saving_range.low, 4), round(self.saving_range.high, 4)],
            "starts": self.starts,
            "of": self.of,
            "evidence": [
                {
                    "what": each.what,
                    "file": each.source and each.source.file,
                    "line": each.source and each.source.line,
                    "function": each.source and (each.source.function or None),
                    "text": each.text,
                    "inside": each.inside,
                    "seconds": round(each.seconds, 6),
                }
                for each in self.evidence
            ],
            "how": self.rule.how,
            "code": self.rule.code,
            "link": self.rule.link,
        }


def opportunities(starts: Sequence[AuditedStart], rules: Sequence[OpportunityRule] = RULES) -> tuple[Opportunity, ...]:
    """Applies the rules to the starts of one agent. Returns the opportunities, the greatest saving first.

    An opportunity that saves less than `LEAST_S` at the median is left out. One without a prediction is last.
    """
    found: list[Opportunity] = []
    for rule in rules:
        by_subject: dict[str, dict[int, RuleFinding]] = {}
        for i, start in enumerate(starts):
            for finding in rule.find(start):
                if rule.unpredicted or finding.saving_s >= LEAST_S / 2:
                    by_subject.setdefault(finding.subject, {})[i] = finding
        found += [_opportunity(rule, subject, findings, starts) for subject, findings in by_subject.items()]
    worth = [each for each in found if each.saving_s is None or each.saving_s >= LEAST_S]
    return tuple(sorted(worth, key=lambda each: (-(each.saving_s or 0.0), each.rule.name, each.subject)))


def _opportunity(
    rule: OpportunityRule, subject: str, findings: dict[int, RuleFinding], starts: Sequence[AuditedStart]
) -> Opportunity:
    heard = np.array([start.heard_s for start in starts])

    def saved(of: str) -> Floats:
        return np.array([getattr(findings[i], of) if i in findings else 0.0 for i in range(len(starts))])

    expected = heard - saved("saving_s")
    saving = None if rule.unpredicted else float(np.median(heard) - np.median(expected))
    return Opportunity(
        rule=rule,
        subject=subject,
        starts=len(findings),
        of=len(starts),
        saving_s=saving,
        saving_range=None
        if len(starts) == 1 or saving is None
        else _range(heard, heard - saved("least_s"), heard - saved("most_s"), saving),
        evidence=_evidence(list(findings.values()), starts),
    )


def _range(heard: Floats, latest: Floats, soonest: Floats, saving: float) -> Interval:
    """The percentile bootstrap (Efron 1979) of a difference of medians of two runs, each with sessions of its own.

    What a prediction is off by, however many sessions there are, is drawn too. latest, soonest: what would be heard, at
    the least saving and at the most.
    """
    random = np.random.default_rng(_SEED)
    shape = (_RESAMPLES, len(heard))
    before, after = (random.integers(0, len(heard), shape) for _ in range(2))
    medians = np.median(heard[before], axis=1) + random.normal(0.0, _MODEL_ERROR_S, _RESAMPLES)
    low = np.quantile(medians - np.median(latest[after], axis=1), _ERROR / 2)
    high = np.quantile(medians - np.median(soonest[after], axis=1), 1 - _ERROR / 2)
    return Interval(min(float(low), saving), max(float(high), saving))


def _evidence(findings: Sequence[RuleFinding], starts: Sequence[AuditedStart]) -> tuple[Evidence, ...]:
    """The lines and stages that took longest."""
    took: dict[tuple[str, SourceLine | None], list[list[Piece]]] = {}
    for finding in findings:
        here: dict[tuple[str, SourceLine | None], list[Piece]] = {}
        for piece in finding.pieces:
            here.setdefault((piece.kind or piece.name, piece.source), []).append(piece)
        for what, pieces in here.items():
            took.setdefault(what, []).append(pieces)
    source = starts[0].chain.source
    rows = [
        Evidence(
            what=what,
            source=line,
            text=None if line is None else source.text(line),
            inside=_inside([piece for of in each for piece in of]),
            seconds=_median_s(each, len(findings)),
        )
        for (what, line), each in took.items()
    ]
    longest = sorted(rows, key=lambda row: -row.seconds)[:_MOST_EVIDENCE]
    return tuple(row for row in longest if row.seconds >= _LEAST_EVIDENCE * longest[0].seconds)


def _inside(pieces: Sequence[Piece]) -> str | None:
    longest = max(pieces, key=lambda piece: piece.duration_us)
    return longest.held_by if longest.kind == EVENT_LOOP else longest.inside


def _median_s(of: Sequence[Sequence[Piece]], starts: int) -> float:
    """Of so many starts, in those that have none of it 0."""
    took = [sum(piece.duration_us for piece in each) / 1e6 for each in of]
    return float(np.median([*took, *[0.0] * (starts - len(took))]))
