"""Where the time of many sessions goes: a bar for each percentile session, by what its caller waited for.

After `firstword.tuning.costs`, before `firstword.tuning.svg`; for `firstword plot --many`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from firstword.telemetry.vocabulary import EVENT_LOOP
from firstword.tuning.costs import Among, Cause, Kind, costs_of
from firstword.tuning.palette import style_of
from firstword.tuning.sampling import WEIGHTED, place
from firstword.tuning.spans import Trace
from firstword.tuning.start import Method
from firstword.tuning.svg import Bar, Key, Picture, Section, Strip, duration
from firstword.tuning.wording import amount, date

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
_MOST_NAMED = 12
"""Causes that are drawn by name, the greatest; the rest is grey."""
_ROOM = 0.62
"""Of the axis, for the longest bar: its label stands beside it."""


@dataclass(frozen=True, slots=True)
class DrawnSessions:
    """A picture of some sessions, and which sessions it shows."""

    picture: Picture
    trace_ids: tuple[str, ...]
    """Trace ids of the sessions shown, in the picture's order."""
    began_ns: tuple[int, ...]
    """When each session shown began, in ns since the Unix epoch."""
    weighted: bool
    """Whether the store was sampled, so that each session counted in the ranking for as many as it stands for."""
    methods: frozenset[Method]
    """How the sessions' paths were found."""


class NothingToPlot(LookupError):
    """Raised where there is no trace to draw: none, or none in which a caller was there. The message says so."""


@dataclass(frozen=True, slots=True)
class _Waited:
    """What is kept of one session."""

    waited_us: float
    trace_id: str
    began_ns: int
    causes: dict[str, int]
    """Name -> µs on its path; all delays of the event loop have one."""
    weight: float
    method: Method


def percentiles(traces: Iterable[Trace]) -> DrawnSessions:
    """Draws one bar for each session at p10 to p99 of the time to first word: what its caller waited for.

    Ranks the sessions with a first word. Where none had one, ranks those without. Where no trace is a start of ours,
    ranks all by duration. Raises NothingToPlot, and what `traces` raises.
    """
    seen: dict[Among, list[_Waited]] = {among: [] for among in Among}
    for trace in traces:
        costs = costs_of(trace)
        if costs.among is not None:
            causes: dict[str, int] = {}
            for cause, _, us in costs.path:
                causes[_name(cause)] = causes.get(_name(cause), 0) + us
            waited = _Waited(
                costs.waited * 1e6, trace.trace_id, trace.root.start_ns, causes, costs.weight, costs.method
            )
            seen[costs.among].append(waited)
    for among, sessions in seen.items():
        if sessions:
            ordered = sorted(sessions, key=lambda session: (session.waited_us, session.trace_id))
            return _many(among, ordered)
    raise NothingToPlot("no trace in which a caller was there")


def _many(among: Among, ordered: Sequence[_Waited]) -> DrawnSessions:
    shown: dict[str, list[int]] = {}
    count, weights = len(ordered), [session.weight for session in ordered]
    for percent in PERCENTILES:
        shown.setdefault(ordered[place(weights, percent / 100)].trace_id, []).append(percent)
    sessions = [session for session in ordered if session.trace_id in shown]
    whole = sum(weights)
    means: dict[str, float] = {}
    for session in ordered:
        for name, us in session.causes.items():
            means[name] = means.get(name, 0.0) + session.weight * us / whole
    names = sorted(means, key=lambda name: (-means[name], name))
    styles = {name: style_of(name) if i < _MOST_NAMED else "rest" for i, name in enumerate(names)}
    legend = [Key("Mean of each, of all sessions:")]
    legend += [Key(f"{name} {duration(means[name])}", styles[name]) for name in names[:_MOST_NAMED]]
    if rest := names[_MOST_NAMED:]:
        legend.append(Key(f"{amount(len(rest), 'other')} {duration(sum(means[name] for name in rest))}", "rest"))
    weighted = any(weight != 1.0 for weight in weights)
    began = [session.began_ns for session in ordered]
    return DrawnSessions(
        Picture(
            title=_title(among, count),
            lines=(
                "Critical paths: what callers waited for",
                f"{date(min(began))} to {date(max(began))}" if count > 1 else date(began[0]),
                *((WEIGHTED,) if weighted else ()),
            ),
            legend=tuple(legend),
            sections=(Section("", tuple(_stacked(each, shown[each.trace_id], names, styles) for each in sessions)),),
            length=max(max(sum(session.causes.values()) for session in sessions) / _ROOM, 1),
        ),
        tuple(session.trace_id for session in sessions),
        tuple(session.began_ns for session in sessions),
        weighted,
        frozenset(session.method for session in ordered),
    )


def _name(cause: Cause) -> str:
    return EVENT_LOOP if cause.kind is Kind.EVENT_LOOP else cause.name


def _title(among: Among, count: int) -> str:
    match among:
        case Among.HEARD:
            return f"Time to first word of {amount(count, 'session')}"
        case Among.UNHEARD:
            return f"{amount(count, 'session')} without a first word"
        case Among.OTHERS:
            return amount(count, "trace")


def _stacked(session: _Waited, percents: Sequence[int], names: Sequence[str], styles: Mapping[str, str]) -> Strip:
    bars: list[Bar] = []
    reached = 0
    for name in names:
        if us := session.causes.get(name, 0):
            bars.append(Bar(reached, us, styles[name], f"{name}: {duration(us)}; {date(session.began_ns)}"))
            reached += us
    return Strip(", ".join(f"p{percent}" for percent in percents), duration(session.waited_us), tuple(bars))
