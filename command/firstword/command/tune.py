"""`firstword tune`: takes one step of the rollout, or one after the other: reads traces and flag file, asks `firstword.tuning.rollout`."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from firstword.agent.flags.flag_file import FlagFile, FlagFileError
from firstword.agent.flags.improvements import SUBJECTS
from firstword.agent.flags.location import flag_file, shipped_file
from firstword.agent.flags.writer import FlagFileWriter, begin
from firstword.command.compare import as_json_object
from firstword.command.environment import load_environment
from firstword.command.flag_shares import predictions, rollouts
from firstword.command.observed import Json, observe
from firstword.command.source_options import Reading, TraceOptions, reads_traces, say_weighted
from firstword.command.terminal import BAD_INPUT, INTERRUPTED, Columns, console, fail, say, tell, tell_json, warn
from firstword.tuning.change import BadChange, nearest, read_changes
from firstword.tuning.compare import gain
from firstword.tuning.notes import ignore
from firstword.tuning.rollout import Action, RolloutStep, plan
from firstword.tuning.sources import SourceError
from firstword.tuning.whatif import NothingToPlay, predict
from firstword.tuning.wording import amount

_FOR_PREDICTIONS = 300
"""Newest starts that are played again under what each flag says it would change."""
_PLAIN = (Action.WAIT, Action.DONE)
"""What the table says enough of; any other step has its reason in a line below."""
_STYLES = {Action.TURN_BACK: "bold red", Action.RAMP: "bold green", Action.START: "bold green"}


@dataclass(frozen=True, slots=True)
class _Round:
    """One look at the traces."""

    steps: tuple[RolloutStep, ...]
    source: str
    """Where the evidence came from."""
    sessions: int
    weighted: bool
    applied: bool
    file: FlagFile
    """As it was before."""


@reads_traces
def command(
    flags: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The flag file. [default: FLAGD_OFFLINE_FLAG_SOURCE_PATH, else the shipped one]"
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the step to the flag file.")] = False,
    watch: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Look again every so many seconds, until Ctrl-C.")
    ] = None,
    by_hand: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="FLAG=PERCENT",
            help="Set a share by hand, without a look at any trace. A --flags FILE that isn't there is made: the shipped "
            "flags, all off.",
        ),
    ] = None,
    *,
    options: TraceOptions,
) -> None:
    """Say which flag to start, ramp, hold or turn back, and why; with --apply do it.

    A flag goes to 5, 25, 50 and 100 % of the sessions, one flag at a time. It goes to 25 % when it is surely not much worse, and further
    when it is surely faster. Each time only sessions since the last move count. It goes back to 0 as soon as errors, callers who left, or
    p90 are surely worse. Sure is: however often one looks. A source that can't be read changes nothing.

    The flag file is flagd's format; it is replaced whole, the one before is kept as FILE.previous, the reason is in
    the flag's metadata. Workers follow without a restart.

    **Examples**

    `firstword tune`

    `firstword tune --flags flags.json --set deferred-setup=50`

    `firstword tune --apply --watch 60 --jaeger http://localhost:16686`
    """
    load_environment()
    path = flags or flag_file()
    if by_hand is not None:
        _set(path, by_hand)
        return
    source = options.reading()
    tell(f"Traces: {source.source.name}", err=options.as_json)
    try:
        while True:
            _look(source, path, apply=apply, as_json=options.as_json, watching=watch is not None)
            if watch is None:
                return
            time.sleep(watch)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _set(path: Path, text: str) -> None:
    """Set one share, as the one who typed `text` wants it."""
    name, _, percent = text.partition("=")
    if not percent.isdecimal() or int(percent) > 100:
        fail(f"--set is {text!r}; expected FLAG=PERCENT, a whole number from 0 to 100", code=BAD_INPUT)
    try:
        if not os.path.exists(path):
            begin(path, shipped_file(), SUBJECTS)
        writer = FlagFileWriter(path, SUBJECTS)
        shares = {rollout.flag: rollout for rollout in rollouts(writer.file, writer.changed)}
        if name not in shares:
            fail(f"--set: {path} has no flag {name!r}; {nearest(name, list(shares))}", code=BAD_INPUT)
        if reason := shares[name].fixed:
            fail(f"--set: {name} has no share to set in {path}: {reason}; change it there", code=BAD_INPUT)
        writer.move(name, int(percent), "set by hand", time.time(), turned_back=False)
    except FlagFileError as error:
        fail(str(error), code=BAD_INPUT)
    _say_doubts(writer.file, path)
    say(f"{name}: from {shares[name].percent} to {percent} %. Written to {writer.path}; before: {writer.previous.name}")


def _say_doubts(file: FlagFile, path: Path) -> None:
    """What workers don't take, or take otherwise than it may be meant."""
    for name, why in file.bad.items():
        warn(f"{path}: workers can't take {name}: {why}")
    for remark in file.remarks:
        warn(f"{path}: {remark}")


def _look(source: Reading, path: Path, *, apply: bool, as_json: bool, watching: bool) -> None:
    """One look, printed; what can't be read ends the command, or, while watching, waits for the next look.

    While watching no error ends it: a share that is out would be turned back by nobody.
    """
    try:
        look = _round(source, path, apply=apply)
    except FlagFileError as error:
        if not watching:
            fail(str(error), code=BAD_INPUT)
        warn(f"{error}; nothing changed")
    except (SourceError, OSError) as error:
        if not watching:
            fail(f"{error}; nothing changed")
        warn(f"{error}; nothing changed")
    except Exception as error:
        if not watching:
            raise
        warn(f"this look failed, and the next may not: {type(error).__name__}: {error}")
    else:
        _say_doubts(look.file, path)
        say_weighted(look.weighted, as_json=as_json)
        if as_json:
            tell_json(_as_json(look), indent=None if watching else 2)
        else:
            _print(look, path, apply=apply)


def _round(source: Reading, path: Path, *, apply: bool) -> _Round:
    """Raises FlagFileError, SourceError, OSError; nothing is written then."""
    writer = FlagFileWriter(path, SUBJECTS)
    known = rollouts(writer.file, writer.changed)
    if not known:
        raise FlagFileError(f"{path}: expected a flag of ours, such as {next(iter(SUBJECTS))}")
    # what began before the last move does not count, so it is not read
    moved = max(int(rollout.since * 1e9) for rollout in known)
    query = replace(source.query, since_ns=max(moved, source.query.since_ns or 0) or None)
    found = observe(replace(source, query=query))
    steps = plan(found.starts, known, _predicted(source, predictions(writer.file)), reliable=found.reliable)
    step = steps[0]
    applied = apply and step.moves
    if applied:
        writer.move(step.flag, step.to, step.reason, time.time(), turned_back=step.action is Action.TURN_BACK)
    return _Round(steps, source.source.name, len(found.starts), found.weighted, applied, writer.file)


def _predicted(source: Reading, told: Mapping[str, str]) -> dict[str, float]:
    """Flag -> seconds of the median time to first word that it should save, of the flags that say what they change."""
    query = replace(source.query, limit=_FOR_PREDICTIONS)
    recent = list(islice(replace(source, query=query).traces(ignore), _FOR_PREDICTIONS))
    saved: dict[str, float] = {}
    for flag, changes in told.items():
        if not changes:
            continue
        try:
            median = predict(recent, read_changes(changes.split()), flag=flag).forecasts[0]
        except (NothingToPlay, BadChange):
            continue  # every start has it on already, or none has such a task
        if math.isfinite(median.now) and math.isfinite(median.predicted):
            saved[flag] = median.now - median.predicted
    return saved


def _as_json(look: _Round) -> Json:
    """The stable keys of `tune --json` (docs/tuning.md)."""
    return {
        "source": look.source,
        "sessions": look.sessions,
        "applied": look.steps[0].flag if look.applied else None,
        "steps": [
            {
                "flag": step.flag,
                "action": step.action.value,
                "percent": step.percent,
                "to": step.to,
                "reason": step.reason,
                "predicted_s": step.predicted,
                "comparison": step.comparison and as_json_object(step.comparison),
            }
            for step in look.steps
        ],
    }


def _print(look: _Round, path: Path, *, apply: bool) -> None:
    now = datetime.now().astimezone()
    say(f"{now:%H:%M:%S}: {amount(look.sessions, 'session')} since the last move, from {look.source}")
    say()
    console().print(_table(look.steps))
    say()
    for step in [step for step in look.steps if step.action not in _PLAIN] or look.steps[:1]:
        doing = f"{step.flag}: {step.action.value}"
        if step.moves:
            doing += f" from {step.percent} to {step.to} %"
        say(f"{doing}; {step.reason}.", _STYLES.get(step.action))
    if look.applied:
        say(f"Written to {path}; before: {path.name}.previous")
    elif look.steps[0].moves and not apply:
        say("Nothing written; --apply does it.")


def _table(steps: Sequence[RolloutStep]) -> Columns:
    table = Columns()
    table.add_column("flag", width=18, overflow="fold")
    table.add_column("at", width=5, justify="right")
    table.add_column("next", width=10)
    table.add_column(Text("predicted,\nms earlier"), width=10, justify="right")
    table.add_column("measured", overflow="fold")
    for step in steps:
        predicted = "-" if step.predicted is None else f"{1000 * step.predicted:.0f}"
        measured = "-" if step.comparison is None else gain(step.comparison)
        cells = (step.flag, f"{step.percent} %", step.action.value, predicted, measured)
        table.add_row(*cells, style=_STYLES.get(step.action))
    return table
