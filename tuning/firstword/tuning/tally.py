"""Keeps the account of one file or answer while it is read, and reports it: each loss with its line, the rest in sums.

Between the readers of formats, which say what they meet, and `firstword.tuning.notes`.
"""

from __future__ import annotations

import re
from collections import Counter

from firstword.tuning.notes import PassedOver, Problem, Report, Used, Warned

EXPECTED = "OTLP JSON lines (`resourceSpans`) or Jaeger JSON (`data`)"
"""What a file of traces is, for messages about files that are something else."""
_MOST_HELD_BACK = 100


class Tally:
    """Counts what is read of one file, and reports it. Losses are held back until a span is there: a picture has a thousand bad lines."""

    def __init__(self, where: str, report: Report, *, asked_for: bool = True, may_be_empty: bool = False) -> None:
        """where: the name of the file. asked_for: somebody named it, so that a file of another kind is a loss.

        may_be_empty: no spans are none lost, as in an answer to a question; so it is too in a file nobody named.
        """
        self.line = 0
        """Of the document that is being read; 0: the whole file is meant."""
        self._where, self._report, self._asked_for = where, report, asked_for
        self._may_be_empty = may_be_empty or not asked_for
        self._documents = self._spans = self._values = self._losses = self._strange = 0
        self._held: list[Problem] = []
        self._signals: Counter[str] = Counter()
        self._warnings: dict[str, str] = {}
        self._as_one: Problem | None = None
        self._broken_off = False

    def document(self, line: int) -> None:
        """Counts a JSON document that begins at a line; line 0: it is the whole file."""
        self.line = line
        self._documents += 1

    def span(self) -> None:
        """Counts a span that was read, and reports the losses that were held back."""
        self._spans += 1
        for problem in self._held:
            self._report(problem)
        self._held.clear()

    def value_left_out(self) -> None:
        """Counts a value of a span that could not be kept; the span itself is."""
        self._values += 1

    def signal(self, name: str) -> None:
        """Counts a document, or a part of one, of another signal, such as metrics."""
        self._signals[name] += 1

    def warning(self, says: str) -> None:
        """Keeps a warning of the source for `finish`. Warnings that differ only in their numbers count once."""
        self._warnings.setdefault(re.sub(r"\d+", "", says), says)

    def loss(self, found: str, expected: str = EXPECTED) -> None:
        """Counts something that should be a span and could not be read. Reports it at once where the file has a span,
        else holds it back."""
        self._losses += 1
        problem = Problem(f"{self._where} line {self.line}" if self.line else self._where, found, expected)
        if self._spans:
            self._report(problem)
        elif len(self._held) < _MOST_HELD_BACK:
            self._held.append(problem)

    def strange(self, found: str, expected: str = EXPECTED) -> None:
        """Counts a JSON document that has no traces. Beside spans it is a loss; a file of nothing else is of another kind."""
        self._strange += 1
        self.loss(found, expected)

    def broken_as_one(self, line: int, found: str) -> None:
        """Notes what is wrong with the file as one document. It is reported where no line by itself is a document either."""
        self._as_one = Problem(f"{self._where} line {line}", found, EXPECTED, whole_file=True)

    def broke_off(self, found: str, expected: str) -> None:
        """Reports that nothing can be read past this point."""
        self._broken_off = True
        self._report(Problem(self._where, found, expected, whole_file=True))

    def finish(self) -> None:
        """Reports the sums. To be called once, at the file's end."""
        for says in self._warnings.values():
            self._report(Warned(self._where, says))
        if self._spans:
            self._report(Used(self._where, self._spans, self._values))
            for signal, count in sorted(self._signals.items()):
                self._report(PassedOver(self._where, f"documents of {signal}", count))
        elif not self._broken_off:
            self._report(self._without_spans())

    def _without_spans(self) -> Used | PassedOver | Problem:
        if not self._losses and self._signals:
            return PassedOver(self._where, f"only {' and '.join(sorted(self._signals))}")
        if not self._losses and self._may_be_empty:
            return Used(self._where, 0)
        if not self._losses:
            return Problem(self._where, "it has no span" if self._documents else "it is empty", EXPECTED, True)
        first = self._held[0]
        if self._strange == self._losses and not self._asked_for:
            return PassedOver(self._where, first.found)
        if self._as_one is not None:
            return self._as_one
        more = f" (and {self._losses - 1} more)" if self._losses > 1 else ""
        return Problem(first.where, first.found + more, first.expected, whole_file=True)
