"""`firstword compare`: hands the starts of a source to `firstword.tuning.compare` and prints both variants, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from firstword.command.completion import flag_names
from firstword.command.observed import Json, number, observed
from firstword.command.source_options import TraceOptions, reads_traces
from firstword.command.terminal import BAD_INPUT, Columns, console, fail, say, tell_json
from firstword.tuning.compare import Comparison, ComparisonRow, NotComparable, Verdict, compare, sentence
from firstword.tuning.wording import agree, amount

_STYLES = {
    Verdict.FASTER: "bold green",
    Verdict.SLOWER: "bold red",
    Verdict.FAILS_MORE: "bold red",
    Verdict.MISMATCH: "bold red",
    Verdict.DEPENDENT: "bold red",
}


@reads_traces
def command(
    by: Annotated[
        str,
        typer.Option("--by", metavar="FLAG", autocompletion=flag_names, help="The flag whose variants are compared."),
    ],
    share: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, metavar="PERCENT", help="Of the sessions that should have it on; checks the split."
        ),
    ] = None,
    *,
    options: TraceOptions,
) -> None:
    """Compare the variants of a flag: time to first word, initialization, errors, and a verdict in words.

    Each difference has the range that it surely lies in. The ranges hold however often you look: stop when you like. An error is infinitely
    late; a caller who left was watched until then. p50, p90, errors and callers who left make the verdict, which is false with a
    probability of 5 % at most. p99 and initialization are for information.

    **Examples**

    `firstword compare --by parallel-init`

    `firstword compare --by smart-greeting --share 50 --jaeger http://localhost:16686 --since 7d`
    """
    read = options.reading()
    found = observed(read, as_json=options.as_json)
    try:
        result = compare(found.starts, by, share=None if share is None else share / 100)
    except NotComparable as error:
        fail(str(error), code=BAD_INPUT)
    if options.as_json:
        tell_json({**as_json_object(result), "method": found.method})
    else:
        _print(result)


def as_json_object(found: Comparison) -> Json:
    """Returns the data of `compare --json` under its stable keys (docs/tuning.md), without `method`."""
    return {
        "flag": found.flag,
        "before": found.before,
        "after": found.after,
        "sessions": dict(found.sessions),
        "units": dict(found.units),
        "drawn": found.drawn.value,
        "unnamed": found.unnamed,
        "ttfw_s": {row.name: _row(row) for row in found.ttfw},
        "init_s": {row.name: _row(row) for row in found.init},
        "errors": _row(found.errors),
        "abandoned": _row(found.abandoned),
        "split": found.split
        and {"share": found.split.share, "seen": found.split.seen, "mismatch": found.split.mismatch},
        "among": dict(found.among),
        "together_with": list(found.together_with),
        "sampled_percent": found.sampled,
        "verdict": found.verdict.value,
        "sentence": sentence(found),
        "more_sessions": found.more,
    }


def _row(row: ComparisonRow) -> Json:
    difference = {"low": number(row.difference.low), "high": number(row.difference.high)}
    return {"before": number(row.before), "after": number(row.after), "difference": difference}


def _print(found: Comparison) -> None:
    counts = " and ".join(f"{number} {variant}" for variant, number in found.sessions.items())
    say(f"{found.flag}: {counts} sessions, drawn by {found.drawn.value}")
    if found.unnamed:
        say(
            f"{amount(found.unnamed, 'session')} {agree(found.unnamed, 'does', 'do')}n't say of which account: below, each counts as if no "
            "other were of the same"
        )
    elif found.drawn.value != "session":
        units = " and ".join(f"{number} {variant}" for variant, number in found.units.items())
        say(f"What counts is the {found.drawn.value}: {units}")
    if found.among:
        alike = ", ".join(f"{name} {variant}" for name, variant in found.among.items())
        say(f"Only sessions with {alike}: the others are spread unevenly")
    if found.together_with:
        say(f"Changed with it, so it can't be told apart: {', '.join(found.together_with)}")
    for title, rows in (("Time to first word, s", found.ttfw), ("Initialization, s", found.init)):
        say()
        console().print(_table(title, found, rows, _seconds, 1.0))
    say()
    console().print(_table("Share, %", found, (found.errors, found.abandoned), _percent, 0.01))
    if found.split is not None:
        say(f"Split: {100 * found.split.seen:.1f} % {found.after}, {100 * found.split.share:g} % asked for")
    say()
    text = sentence(found)
    say(text[0].upper() + text[1:] + ".", _STYLES.get(found.verdict))


def _table(
    title: str, found: Comparison, rows: Sequence[ComparisonRow], shown: Callable[[float], str], unit: float
) -> Columns:
    table = Columns()
    table.add_column(title, width=21, overflow="fold")
    for heading in (found.before, found.after):
        table.add_column(heading, min_width=7, justify="right", overflow="fold")
    table.add_column("difference", min_width=16, justify="right", overflow="fold")
    for row in rows:
        table.add_row(row.name, shown(row.before), shown(row.after), _range(row, unit))
    return table


def _seconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}" if math.isfinite(value) else "never"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _range(row: ComparisonRow, unit: float) -> str:
    """What the difference surely is; open where nothing bounds it."""
    low, high = row.difference.low / unit, row.difference.high / unit
    shown = "+.2f" if unit == 1 else "+.1f"
    if math.isinf(low) and math.isinf(high):
        return "unknown"
    if math.isinf(high):
        return f"{low:{shown}} or more"
    if math.isinf(low):
        return f"{high:{shown}} or less"
    return f"{low:{shown}} to {high:{shown}}"
