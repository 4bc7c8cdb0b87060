"""`firstword diff`: prints what became of the figures in a file, by task, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from firstword.command.observed import Json, number, observed
from firstword.command.source_options import TraceOptions, reads_traces
from firstword.command.terminal import BAD_INPUT, Columns, console, fail, say, tell_json
from firstword.tuning.difference import BETTER, WORSE, Change, Difference, diff
from firstword.tuning.saved import ERRORS, Figure, Saved, SavedError, load, saved_of
from firstword.tuning.wording import amount

_STYLES = {**dict.fromkeys(WORSE, "bold red"), **dict.fromkeys(BETTER, "green")}


@reads_traces
def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `firstword save` wrote.")],
    *,
    options: TraceOptions,
) -> None:
    """Say what became of each figure since `firstword save`: faster, slower, the same, or not sure yet.

    `faster` and `slower` are sure: the ranges in which both figures lie don't meet. `the same within` says how large a
    difference could still be. `not sure` says about how many more starts would tell. Exit code 0 either way;
    `firstword check` is the gate.

    **Examples**

    `firstword diff startup.json`
    """
    try:
        then = load(file)
    except SavedError as error:
        fail(str(error), code=BAD_INPUT)
    now = saved_of(observed(options.reading(), as_json=options.as_json).starts)
    changes = diff(then, now)
    if options.as_json:
        sessions = {"then": then.sessions, "now": now.sessions}
        methods = {"then": then.method, "now": now.method}
        tell_json({"sessions": sessions, "method": methods, "figures": [_as_json(each) for each in changes]})
    else:
        _print(then, now, changes)


def _as_json(each: Difference) -> Json:
    """The stable keys of one figure (docs/tuning.md)."""
    return {
        "name": each.name,
        "then": each.then and number(each.then.value),
        "now": each.now and number(each.now.value),
        "low": number(each.interval.low),
        "high": number(each.interval.high),
        "change": each.change.value,
        "more_starts": each.more and each.more.starts,
        "saved_too": each.more and each.more.saved_too,
    }


def _print(then: Saved, now: Saved, changes: Sequence[Difference]) -> None:
    say(f"Starts: {then.sessions:,} then, {now.sessions:,} now")
    say()
    table = Columns()
    table.add_column("Figure, s", width=26, overflow="fold")
    for heading in ("then", "now"):
        table.add_column(heading, min_width=7, justify="right", overflow="fold")
    table.add_column("change", min_width=18, overflow="fold")
    for each in changes:
        table.add_row(
            each.name, _value(each, each.then), _value(each, each.now), _change(each), style=_STYLES.get(each.change)
        )
    console().print(table)
    say()
    say(_summary(changes))


def _summary(changes: Sequence[Difference]) -> str:
    by_change = {change: [each.name for each in changes if each.change is change] for change in Change}
    said = [f"{change.value.capitalize()}: {', '.join(by_change[change])}" for change in _SURE if by_change[change]]
    for change in (Change.SAME, Change.UNSURE):
        if by_change[change]:
            said.append(f"{change.value.capitalize()}: {amount(len(by_change[change]), 'figure')}")
    return ". ".join(said) + "."


_SURE = (Change.SLOWER, Change.MORE, Change.FASTER, Change.FEWER, Change.NEW, Change.GONE)


def _value(each: Difference, figure: Figure | None) -> str:
    if figure is None or math.isnan(figure.value):
        return "-"
    if math.isinf(figure.value):
        return "never"
    return f"{100 * figure.value:.1f} %" if each.name == ERRORS else f"{figure.value:.3f}"


def _change(each: Difference) -> str:
    if each.then is None or each.now is None:
        return each.change.value
    if each.change is Change.SAME:
        return f"the same within {_size(each, each.within)}" if each.within else "the same"
    by = each.now.value - each.then.value
    told = f"{_size(each, by, '+')} {each.change.value}" if math.isfinite(by) else each.change.value
    if each.change is not Change.UNSURE:
        return told
    if each.more is None:
        return f"{told}: many more starts"
    return f"{told}: about {each.more.starts:,} more starts{', saved too' if each.more.saved_too else ''}"


def _size(each: Difference, by: float, sign: str = "") -> str:
    return f"{100 * by:{sign}.1f} %" if each.name == ERRORS else f"{by:{sign}.3f}"
