"""Prints what was read of a source: each of the first problems in a line, and all there was in one more, which adds up.

Beside `firstword.command.source_options`; on standard error, so that a pipe gets the answer alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from firstword.command.terminal import tell, warn
from firstword.tuning.notes import Given, Note, PassedOver, Problem, Used, Warned
from firstword.tuning.sources import Query
from firstword.tuning.wording import amount

_SHOWN = 5
_MOST_KINDS = 4


class ReadingReport:
    """A context manager that counts what a source reports while it is read (`report`), and prints the sums at its end."""

    def __init__(self, query: Query, *, quiet: bool = False) -> None:
        """quiet: it counts, and prints nothing."""
        self._quiet = quiet
        self.problems = 0
        self.whole_files = 0
        """Of these, files and answers of which nothing could be used."""
        self.traces = 0
        self._query = query
        self._read: Counter[str] = Counter()
        self._spans = self._values = self._warnings = 0
        self._files: Counter[str] = Counter()
        self._pieces: Counter[str] = Counter()

    def report(self, note: Note) -> None:
        """Counts a note of the source. Prints it if it is one of the first problems or warnings."""
        match note:
            case Problem():
                self.problems += 1
                self.whole_files += note.whole_file
                if self.problems <= _SHOWN and not self._quiet:
                    warn(str(note))
            case Warned():
                self._warnings += 1
                if self._warnings <= _SHOWN and not self._quiet:
                    warn(f"{note.where} warns: {note.says}")
            case Used():
                self._read[note.noun] += note.count
                self._spans += note.spans
                self._values += note.values_left_out
            case PassedOver(pieces=0):
                self._files[note.what] += 1
            case Given():
                self.traces += note.traces
            case PassedOver():
                self._pieces[note.what] += note.pieces

    def __enter__(self) -> ReadingReport:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Say how many problems were not said, and what was read; nothing where the source could not be read at all, or in quiet."""
        if self._quiet or (error is not None and not self._read and not self.problems):
            return
        if self.problems > _SHOWN:
            warn(f"... and {amount(self.problems - _SHOWN, 'more problem')}")
        tell("; ".join(self._parts()), err=True)

    def _parts(self) -> Iterator[str]:
        read = [amount(count, noun) for noun, count in self._read.items()] or [amount(0, "file")]
        read += [amount(self._spans, "span"), amount(self.traces, "trace")]
        yield f"Read: {', '.join(read)}{self._query.narrowed}"
        passed_over = [amount(self._files.total(), "file") + f" ({_kinds(self._files)})"] if self._files else []
        passed_over += [f"{count:,} {what}" for what, count in sorted(self._pieces.items())]
        if passed_over:
            yield f"passed over: {', '.join(passed_over)}"
        if self._values:
            yield f"left out: {amount(self._values, 'value')} that can't be kept"
        if self.problems:
            whole = f", {amount(self.whole_files, 'whole file')} among them" if self.whole_files else ""
            yield f"lost: {amount(self.problems, 'problem')}{whole}"


def _kinds(files: Counter[str]) -> str:
    shown = [f"{count} {what}" if count > 1 else what for what, count in files.most_common(_MOST_KINDS)]
    rest = files.total() - sum(count for _, count in files.most_common(_MOST_KINDS))
    return ", ".join(shown) + (f", {rest} more" if rest else "")
