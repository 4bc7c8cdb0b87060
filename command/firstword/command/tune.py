"""`firstword tune`: takes one step of the rollout, or one after the other as a service; and what one person does by hand.

It reads what was typed, and prints. `firstword.command.tuner` does the work, and `firstword.tuning.rollout` decides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from firstword.agent.flags.flag_file import FlagFileError
from firstword.agent.flags.location import flag_file
from firstword.command.compare import as_json_object
from firstword.command.environment import load_environment
from firstword.command.observed import Json
from firstword.command.source_options import TraceOptions, reads_traces, say_weighted
from firstword.command.terminal import BAD_INPUT, INTERRUPTED, Columns, console, fail, say, tell, tell_json, warn
from firstword.command.tuner import by_hand
from firstword.command.tuner.api_server import ApiError, ApiServer
from firstword.command.tuner.config_map import ConfigMapStore
from firstword.command.tuner.counts import WorkerCounts
from firstword.command.tuner.decision import Decision, decide
from firstword.command.tuner.evidence import TracesEvidence
from firstword.command.tuner.flag_store import FileStore, FlagStore
from firstword.command.tuner.history import step_entry
from firstword.command.tuner.kubernetes_lease import LEASE_S
from firstword.command.tuner.service import TunerLook
from firstword.command.tuner.watch import watch as watch_flags
from firstword.tuning.compare import gain
from firstword.tuning.rollout import LADDER, Action, Ladder, RolloutStep
from firstword.tuning.sources import SourceError
from firstword.tuning.wording import amount

_PLAIN = (Action.WAIT, Action.DONE)
"""What the table says enough of; any other step has its reason in a line below."""
_STYLES = {Action.TURN_BACK: "bold red", Action.RAMP: "bold green", Action.START: "bold green"}


@reads_traces
def command(
    flags: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The flag file. [default: the one that workers follow here, else the shipped one]"
        ),
    ] = None,
    config_map: Annotated[
        str | None,
        typer.Option(
            "--config-map",
            metavar="NAME",
            help="The flags are in this ConfigMap, in the namespace of the pod that this runs in.",
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the step to the flag file.")] = False,
    watch: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Look again every so many seconds, until Ctrl-C.")
    ] = None,
    prometheus: Annotated[
        str | None,
        typer.Option(
            "--prometheus", metavar="URL", help="With --watch: hold where workers counted another number of starts."
        ),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            "--steps",
            metavar="PERCENT,...",
            help="The shares that a flag goes through. Few calls a day: larger steps, such as 20,50,100. "
            "[default: 5,25,50,100]",
        ),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="FLAG=PERCENT",
            help="Set a share by hand, without a look at any trace. A --flags FILE that isn't there is made: the shipped "
            "flags, all off.",
        ),
    ] = None,
    pause: Annotated[bool, typer.Option("--pause", help="Stop whatever tuner moves these flags.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Let it go on.")] = False,
    all_off: Annotated[bool, typer.Option("--all-off", help="Stop the tuner, and turn every share back to 0.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Print what was done with these flags, and why.")] = False,
    *,
    options: TraceOptions,
) -> None:
    """Say which flag to start, ramp, hold or turn back, and why; with --apply do it.

    A flag goes to 5, 25, 50 and 100 % of the sessions, one flag at a time. It takes the first step when it is surely not much worse, and
    the others when it is surely faster. Each time only sessions since the last move count. It goes back to 0 as soon as errors, callers who left, or
    p90 are surely worse. Sure is: however often one looks. A source that can't be read changes nothing.

    The flag file is flagd's format; it is replaced whole, the one before is kept as FILE.previous, the reason is in
    the flag's metadata. Workers follow without a restart.

    With --watch it is a service (docs/tuner.md): one at a time, tried first on a flag that changes nothing.

    **Examples**

    `firstword tune`

    `firstword tune --flags flags.json --set deferred-setup=50`

    `firstword tune --apply --watch 60 --jaeger http://localhost:16686`

    `firstword tune --all-off`
    """
    load_environment()
    path = None if config_map is not None else flags or flag_file()
    if config_map is not None and flags is not None:
        fail("--flags and --config-map are two places; give one", code=BAD_INPUT)
    if [share is not None, pause, resume, all_off, history].count(True) > 1:
        fail("--set, --pause, --resume, --all-off and --history are five deeds; give one", code=BAD_INPUT)
    store = FileStore(path) if path is not None else _config_map(config_map or "", watch or 0)
    if share is not None:
        by_hand.set_share(store, path, share)
    elif pause:
        by_hand.pause(store, "stopped by hand")
    elif resume:
        by_hand.resume(store)
    elif all_off:
        by_hand.all_off(store)
    elif history:
        by_hand.show_history(store, as_json=options.as_json)
    else:
        counts = None if prometheus is None else _counts(prometheus)
        _tune(store, options, apply=apply, watch=watch, counts=counts, ladder=_ladder(steps))


def _config_map(name: str, watch: float) -> ConfigMapStore:
    try:
        return ConfigMapStore(ApiServer.in_cluster(), name, max(LEASE_S, round(3 * watch)))
    except ApiError as error:
        fail(str(error), code=BAD_INPUT)


def _counts(url: str) -> WorkerCounts:
    try:
        return WorkerCounts(url)
    except ValueError as error:
        fail(f"--prometheus is no address of Prometheus; {error}", code=BAD_INPUT)


def _ladder(steps: str | None) -> Ladder:
    try:
        return LADDER if steps is None else Ladder(tuple(int(share) for share in steps.split(",")))
    except ValueError:
        fail(f"--steps is {steps!r}; expected two to ten percentages that grow to 100, as 5,25,50,100", code=BAD_INPUT)


def _tune(
    store: FlagStore,
    options: TraceOptions,
    *,
    apply: bool,
    watch: float | None,
    counts: WorkerCounts | None,
    ladder: Ladder,
) -> None:
    evidence = TracesEvidence(options.reading(), watching=watch is not None)
    tell(f"Traces: {evidence.name}", err=options.as_json)
    if watch is None:
        _once(store, evidence, apply=apply, as_json=options.as_json, ladder=ladder)
        return

    def looked(look: TunerLook) -> None:
        if options.as_json:
            tell_json(_of_look(evidence.name, look), indent=None)

    try:
        watch_flags(store, evidence, watch, looked, apply=apply, counts=counts, ladder=ladder)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _once(store: FlagStore, evidence: TracesEvidence, *, apply: bool, as_json: bool, ladder: Ladder) -> None:
    """One look, printed; what can't be read ends the command."""
    try:
        stored = store.read()
        decision = decide(stored, evidence, ladder=ladder)
        now, step = time.time(), decision.steps[0]
        moves = decision.moves(now) if apply and stored.paused is None else ()
        words = store.write(moves, [step_entry(now, step)]) if moves else None
    except FlagFileError as error:
        fail(str(error), code=BAD_INPUT)
    except (SourceError, OSError) as error:
        fail(f"{error}; nothing changed")
    by_hand.say_doubts(stored.file, store.name)
    say_weighted(decision.observed.weighted, as_json=as_json)
    if apply and stored.paused is not None:
        warn(
            f"nothing is written, since the tuner is stopped: {stored.paused}; `firstword tune --resume` lets it go on"
        )
    if as_json:
        tell_json(_as_json(evidence.name, decision, applied=step.flag if moves else None))
    else:
        _print(evidence.name, decision, words, apply=apply)


def _of_look(source: str, look: TunerLook) -> Json:
    """A look of the service: the keys of `_as_json`, and why it holds."""
    applied = look.written[0].flag if look.written else None
    held = look.held and {"reason": look.held.holding.value, "words": look.held.words}
    if look.decision is None:
        return {"source": source, "sessions": None, "applied": applied, "steps": [], "holding": held}
    return {**_as_json(source, look.decision, applied=applied), "holding": held}


def _as_json(source: str, decision: Decision, *, applied: str | None) -> Json:
    """The stable keys of `tune --json` (docs/tuning.md)."""
    return {
        "source": source,
        "sessions": len(decision.observed.starts),
        "applied": applied,
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
            for step in decision.steps
        ],
    }


def _print(source: str, decision: Decision, written: str | None, *, apply: bool) -> None:
    now, steps = datetime.now().astimezone(), decision.steps
    say(f"{now:%H:%M:%S}: {amount(len(decision.observed.starts), 'session')} since the last move, from {source}")
    say()
    console().print(_table(steps))
    say()
    for step in [step for step in steps if step.action not in _PLAIN] or steps[:1]:
        doing = f"{step.flag}: {step.action.value}"
        if step.moves:
            doing += f" from {step.percent} to {step.to} %"
        say(f"{doing}; {step.reason}.", _STYLES.get(step.action))
    if written is not None:
        say(written)
    elif steps[0].moves and not apply:
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
