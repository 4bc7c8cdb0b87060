"""`firstword what-if`: hands changes and starts to `firstword.tuning.whatif` and prints what callers would have waited."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from firstword.command.environment import load_environment
from firstword.command.observed import Json, number
from firstword.command.reading_report import ReadingReport
from firstword.command.source_options import Reading, TraceOptions, reads_traces
from firstword.command.terminal import BAD_INPUT, Columns, console, fail, say, tell, tell_json
from firstword.tuning.change import BadChange, Effect, TaskChange, changes_of_flag, read_changes
from firstword.tuning.sources import SourceError
from firstword.tuning.statistics import Interval
from firstword.tuning.whatif import Forecast, NothingToPlay, Prediction, predict

_FEW = 30
"""Sessions: with fewer a range of p90 is hardly one."""


@reads_traces
def command(
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TASK=CHANGE",
            help="CHANGE is `0.5` (times as long), `-80ms`, `gone`, `earlier`, `before-job` or `deferred`.",
            show_default=False,
        ),
    ] = None,
    flag: Annotated[
        str | None, typer.Option("--flag", metavar="NAME", help="The changes that this flag says it makes.")
    ] = None,
    flags: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The flag file. [default: the one that workers follow here, else the shipped one]"
        ),
    ] = None,
    *,
    options: TraceOptions,
) -> None:
    """Predict the time to first word if tasks were shorter, earlier, deferred or gone.

    Plays each recorded start again with the changes: needs kept, and two tasks that both compute one after the other.
    `gone`: nothing waits for the task. `earlier`: as soon as its needs allow, out of the declared order.
    `before-job`: its work is done before the job. `deferred`: after the first word.

    With `--flag` the changes are what the flag's metadata says; starts that have it on are left out. With neither,
    the flags are listed, also those whose effect no trace without them can tell.

    **Examples**

    `firstword what-if account=0.5 greeting=gone`

    `firstword what-if session=-80ms --traces rehearsals/2026-11-23-101500/traces/baseline`

    `firstword what-if --flag parallel-init`
    """
    typed = _changes(changes or [], flag, flags)
    read_from = options.reading()
    tell(f"Traces: {read_from.source.name}", err=options.as_json)
    found = _predict(read_from, typed, flag)
    if options.as_json:
        tell_json(as_json_object(found, flag))
    else:
        _print(found, flag)


def as_json_object(found: Prediction, flag: str | None) -> Json:
    """Returns the data of `what-if --json` under its stable keys (docs/what-if.md)."""
    return {
        "flag": flag,
        "changes": [
            {
                "task": change.task,
                "effect": change.effect.value,
                "factor": change.amount if change.effect is Effect.SCALED else None,
                "shift_s": change.amount / 1e6 if change.effect is Effect.SHIFTED else None,
            }
            for change in found.changes
        ],
        "sessions": found.sessions,
        "played": found.played,
        "left_out": found.left_out,
        "moved": found.moved,
        "already_on": found.already,
        "also_waits_for": [{"task": use.by, "of": use.of, "left_running": use.left} for use in found.uses],
        "ttfw_s": {f"p{100 * forecast.p:.0f}": _forecast(forecast) for forecast in found.forecasts},
    }


def _forecast(of: Forecast) -> Json:
    return {
        "now": number(of.now),
        "predicted": number(of.predicted),
        "predicted_range": _interval(of.predicted_range),
        "difference_range": _interval(of.difference_range),
    }


def _interval(of: Interval | None) -> Json | None:
    return None if of is None else {"low": number(of.low), "high": number(of.high)}


def _told(path: Path | None) -> tuple[Path, dict[str, str]]:
    """The flag file, and what each flag in it says that it changes. Ends the command where it can't be read."""
    # imported here: they bring flagd, which the changes that are typed don't need
    from firstword.agent.flags.flag_file import FlagFileError, read
    from firstword.agent.flags.improvements import SUBJECTS
    from firstword.agent.flags.location import flag_file
    from firstword.command.flag_shares import predictions

    load_environment()
    path = path or flag_file()
    try:
        return path, predictions(read(path, SUBJECTS))
    except FlagFileError as error:
        fail(str(error), code=BAD_INPUT)


def _changes(typed: list[str], flag: str | None, path: Path | None) -> tuple[TaskChange, ...]:
    """What was asked for. Ends the command where that is nothing, or wrong."""
    if typed and flag is not None:
        fail("TASK=CHANGE and --flag are two questions; give one", code=BAD_INPUT)
    try:
        if typed:
            return read_changes(typed)
    except BadChange as error:
        fail(str(error), code=BAD_INPUT)
    file, told = _told(path)
    if flag is None:
        _list(told)
        fail(
            "nothing to predict; expected TASK=CHANGE, as `firstword what-if account=0.5`, or --flag with one of those above",
            code=BAD_INPUT,
        )
    try:
        changes = changes_of_flag(told, flag)
    except BadChange as error:
        fail(f"{file}: {error}", code=BAD_INPUT)
    if not changes:
        fail(
            f"{flag} leaves no evidence in a trace without it, so nothing is predicted; `firstword compare` measures it"
        )
    return changes


def _list(told: dict[str, str]) -> None:
    for name, changes in told.items():
        tell(f"{name}: {changes or 'no evidence in a trace without it; measure it'}", err=True)


def _predict(read_from: Reading, changes: tuple[TaskChange, ...], flag: str | None) -> Prediction:
    try:
        with ReadingReport(read_from.query) as account:
            return predict(read_from.traces(account.report), changes, flag=flag)
    except BadChange as error:
        fail(str(error), code=BAD_INPUT)
    except NothingToPlay as error:
        fail(f"{error} ({read_from.source.name})")
    except (SourceError, OSError) as error:
        fail(str(error))


def _print(found: Prediction, flag: str | None) -> None:
    say(f"{flag or 'Changed'}: {', '.join(map(str, found.changes))}")
    say(_counted(found))
    say()
    table = Columns()
    table.add_column("", width=3)
    for heading in ("now, s", "predicted", "difference"):
        table.add_column(heading, justify="right", overflow="fold")
    for of in found.forecasts:
        gain = of.predicted - of.now if math.isfinite(of.now) and math.isfinite(of.predicted) else math.nan
        table.add_row(
            f"p{100 * of.p:.0f}",
            _seconds(of.now),
            f"{_seconds(of.predicted)}{_between(of.predicted_range, '.3f')}",
            "-" if math.isnan(gain) else f"{_shown(gain, '+.3f')}{_between(of.difference_range, '+.3f')}",
        )
    console().print(table)
    for line in _caveats(found):
        say(line)


def _counted(found: Prediction) -> str:
    parts = [f"{found.played:,} {'start' if found.played == 1 else 'starts'} played again"]
    if unheard := found.sessions - found.played - found.left_out:
        parts.append(f"{unheard:,} without a first word {'stays as it was' if unheard == 1 else 'stay as they were'}")
    if found.left_out:
        parts.append(f"{found.left_out:,} left out: spans are lost")
    if found.already:
        parts.append(f"{found.already:,} with the flag on left out")
    return "; ".join(parts)


def _caveats(found: Prediction) -> list[str]:
    lines: list[str] = []
    left: dict[tuple[str, str], list[str]] = {}
    for use in found.uses:
        left.setdefault((use.by, use.of), []).append(use.left)
    for (by, of), what in left.items():
        lines.append(f"{by} is taken to wait for what {of} left running: {', '.join(what)}.")
    if not found.moved:
        lines.append("No caller would have waited a millisecond more or less.")
    if found.played == 1:
        lines.append("One start: no telling how sure that is.")
    elif all(
        of.predicted_range is not None and of.predicted_range.low == of.predicted_range.high for of in found.forecasts
    ):
        lines.append("All starts come out the same, so the ranges say nothing.")
    elif found.played < _FEW:
        lines.append(f"Fewer than {_FEW} starts: the range of p90 is a guess.")
    return lines


def _seconds(value: float) -> str:
    return _shown(value, ".3f")


def _between(of: Interval | None, form: str) -> str:
    return "" if of is None else f" ({_shown(of.low, form)} to {_shown(of.high, form)})"


def _shown(value: float, form: str) -> str:
    # no minus before what rounds to nothing
    return f"{round(value, 3) + 0.0:{form}}" if math.isfinite(value) else "never"
