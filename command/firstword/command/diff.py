"""`firstword diff`: what changed since the figures in a file, by task, and whether it is noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from firstword.command.observed import Json, number, observed
from firstword.command.source_options import TraceOptions, reads_traces
from firstword.command.terminal import BAD_INPUT, Columns, console, fail, say, tell_json
from firstword.tuning.saved import Change, Difference, Figure, Saved, SavedError, diff, figures, load

_STYLES = {Change.WORSE: "bold red", Change.BETTER: "green"}


@reads_traces
def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `firstword save` wrote.")],
    *,
    options: TraceOptions,
) -> None:
    """Say what changed since `firstword save`, by task, and whether it is noise.

    `worse` and `better` are sure: the ranges in which both figures lie don't meet. `noise` may be chance: with more
    sessions, then and now, it may turn out to be more. Exit code 0 either way; `firstword check` is the gate.

    **Examples**

    `firstword diff startup.json`
    """
    try:
        then = load(file)
    except SavedError as error:
        fail(str(error), code=BAD_INPUT)
    now = figures(observed(options.reading(), as_json=options.as_json).starts)
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
    }


def _print(then: Saved, now: Saved, changes: Sequence[Difference]) -> None:
    say(f"Sessions: {then.sessions} then, {now.sessions} now")
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
    worse = [each.name for each in changes if each.change is Change.WORSE]
    better = [each.name for each in changes if each.change is Change.BETTER]
    if not worse and not better:
        return "Nothing surely changed."
    said = [f"{kind}: {', '.join(names)}" for kind, names in (("Worse", worse), ("Better", better)) if names]
    return "; ".join(said) + "."


def _value(each: Difference, figure: Figure | None) -> str:
    if figure is None or math.isnan(figure.value):
        return "-"
    if math.isinf(figure.value):
        return "never"
    return f"{100 * figure.value:.1f} %" if each.name == "errors" else f"{figure.value:.3f}"


def _change(each: Difference) -> str:
    if each.then is None or each.now is None:
        return each.change.value
    by = each.now.value - each.then.value
    if not math.isfinite(by):
        return each.change.value
    return f"{100 * by:+.1f} {each.change.value}" if each.name == "errors" else f"{by:+.3f} {each.change.value}"
