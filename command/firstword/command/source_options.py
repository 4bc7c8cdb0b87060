"""The options of every command that reads traces: which source, and which part of it. Commands print its problems and
sampling alike.

Makes a `firstword.tuning.sources.TraceSource` of what was typed. A rehearsal says where its traces are; `tuning` may
not know rehearsals.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from firstword.command.instants import FORMS, instant_ns
from firstword.command.terminal import BAD_INPUT, fail, tell
from firstword.tuning.files import Files
from firstword.tuning.notes import Report
from firstword.tuning.one_trace import OneTrace
from firstword.tuning.sampling import WEIGHTED, countable
from firstword.tuning.sources import Query, TraceSource
from firstword.tuning.spans import Trace

_HEADER = re.compile(r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(?P<value>[\x20-\x7e]*?)\s*")
_PAGE = re.compile(r"(?P<url>https?://[^?#]+)/trace/(?P<id>[0-9a-fA-F]{1,32})(?:[/?#].*)?")


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """The options shared by all commands that read traces, as typed; one field each."""

    last: Annotated[bool, typer.Option("--last", help="Read the traces of your last rehearsal; the default.")] = False
    jaeger: Annotated[
        str | None, typer.Option("--jaeger", metavar="URL", help="Read from Jaeger's query API; its port is 16686.")
    ] = None
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="NAME:VALUE",
            help="Send this to Jaeger, as `Authorization: Bearer TOKEN`; `@FILE` has one a line. Repeatable.",
        ),
    ] = None
    traces: Annotated[
        str | None,
        typer.Option(
            "--traces",
            metavar="FILE_OR_DIR",
            help="Read OTLP JSON lines or Jaeger JSON; or one trace, by the address of its page in Jaeger.",
        ),
    ] = None
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only what began since: `90s`, `1.5h`, `7d` ago, `14:00`, `yesterday`, or a date and time.",
        ),
    ] = None
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Only what began before: as `--since`.")
    ] = None
    service: Annotated[
        str | None,
        typer.Option(
            "--service", metavar="NAME", help="Only this service's. [default: firstword of Jaeger, any of files]"
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, metavar="N", help="The newest N traces. [default: 1000 of Jaeger, all of files]"
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")] = False

    def of_session(self, session: str | None) -> tuple[str | None, TraceOptions]:
        """Returns the session's id and the options to look for it with.

        An address pasted from Jaeger's page has both: the trace's id and, unless a source is named, the Jaeger to read
        from.
        """
        page = _PAGE.fullmatch(session.strip()) if session is not None else None
        if page is None:
            return session, self
        sourceless = not self.last and self.jaeger is None and self.traces is None
        return page["id"], replace(self, jaeger=page["url"]) if sourceless else self

    def reading(self) -> Reading:
        """Returns the source and the query that the options ask for.

        Ends the command with a message where they contradict each other, or the source isn't there.
        """
        if (self.last, self.jaeger is not None, self.traces is not None).count(True) > 1:
            fail("--last, --jaeger and --traces are three sources; give one", code=BAD_INPUT)
        since_ns, until_ns = _instant("--since", self.since), _instant("--until", self.until)
        if since_ns is not None and until_ns is not None and until_ns <= since_ns:
            fail("--until is not after --since", code=BAD_INPUT)
        return Reading(self._source(), Query(since_ns, until_ns, self.service, self.limit))

    @property
    def files(self) -> Path | None:
        """Returns the file or folder that `--traces` names; None for another source."""
        return None if self.traces is None or _PAGE.fullmatch(self.traces.strip()) else Path(self.traces)

    def _source(self) -> TraceSource:
        if page := _PAGE.fullmatch((self.jaeger or self.traces or "").strip()):
            option = "--traces" if self.jaeger is None else "--jaeger"
            return OneTrace(self._jaeger(option, page["url"]), page["id"])
        if self.jaeger is not None:
            return self._jaeger("--jaeger", self.jaeger)
        if self.files is not None:
            if not self.files.exists():
                expected = "a file or a folder, or the address of a trace's page in Jaeger"
                fail(f"--traces {self.traces} is not there; expected {expected}", code=BAD_INPUT)
            return Files(self.files)
        from firstword.rehearsal.result import TRACES, last_folder

        folder = last_folder()
        if folder is None:
            fail("no last rehearsal to read traces of; run `firstword rehearse`, or give --traces or --jaeger")
        return Files(folder / TRACES, f"the last rehearsal, {folder}")

    def _jaeger(self, option: str, url: str) -> TraceSource:
        from firstword.tuning.jaeger import Jaeger  # what one source needs, the others don't wait for

        try:
            return Jaeger(url, headers=_headers(self.header or []))
        except ValueError as error:
            fail(f"{option} is no address of Jaeger; {error}", code=BAD_INPUT)


def reads_traces(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `TraceOptions`, after its own.

    command: has one parameter annotated `TraceOptions`. Returns the command as typer wants it: an option a parameter.
    """
    signature = inspect.signature(command, eval_str=True)
    (block,) = (p.name for p in signature.parameters.values() if p.annotation is TraceOptions)
    hints = get_type_hints(TraceOptions, include_extras=True)
    options = {
        each.name: inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name]
        )
        for each in fields(TraceOptions)
    }

    @wraps(command)
    def typed(**values: Any) -> None:
        values[block] = TraceOptions(**{name: values.pop(name) for name in options})
        command(**values)

    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
        if parameter.name != block
    ]
    setattr(typed, "__signature__", signature.replace(parameters=[*own, *options.values()]))  # noqa: B010 # typer reads it; its type has no such attribute
    return typed


@dataclass(frozen=True, slots=True)
class Reading:
    """The source that a command reads, and the query for it."""

    source: TraceSource
    query: Query

    def traces(self, report: Report) -> Iterator[Trace]:
        """Yields the traces that were asked for and can be counted (`countable`). Raises SourceError."""
        return countable(self.source.traces(self.query, report), report)


def say_weighted(weighted: bool, *, as_json: bool) -> None:
    """Prints, for a sampled store, that its starts are weighted: the same line in every command. With JSON it goes to standard error."""
    if weighted:
        tell(WEIGHTED, err=as_json)


def _headers(typed: list[str]) -> dict[str, str]:
    """What `--header` names; a secret stays out of the list of processes in a file. Ends the command where it is none."""
    lines: list[str] = []
    for text in typed:
        if not text.startswith("@"):
            lines.append(text)
            continue
        try:
            lines += [line for line in Path(text[1:]).read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeError) as error:
            fail(f"--header {text} can't be read: {getattr(error, 'strerror', None) or 'not text'}", code=BAD_INPUT)
    headers = [_HEADER.fullmatch(line) for line in lines]
    if not all(headers):
        fail("--header is no header; expected NAME: VALUE, or @FILE with one a line", code=BAD_INPUT)
    return {header["name"]: header["value"] for header in headers if header}


def _instant(option: str, text: str | None) -> int | None:
    """When an option says, ns since the Unix epoch; local time where it names no zone."""
    if text is None:
        return None
    try:
        return instant_ns(text, datetime.now().astimezone())
    except ValueError:
        fail(f"{option} is {text!r}; expected {FORMS}", code=BAD_INPUT)
