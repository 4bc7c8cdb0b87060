"""`firstword check`: holds the starts of a source against objectives, for CI and deploy gates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer

from firstword.command.observed import Json, number, observed
from firstword.command.source_options import TraceOptions, reads_traces
from firstword.command.terminal import BAD_INPUT, fail, say, tell_json
from firstword.tuning.objectives import ObjectiveError, ObjectiveResult, answer, objective
from firstword.tuning.wording import amount


@reads_traces
def command(
    slo: Annotated[
        list[str], typer.Option("--slo", metavar="NAME<LIMIT", help="An objective, as `ttfw.p90<1500ms`; repeatable.")
    ],
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the answers as JUnit XML too.")] = None,
    *,
    options: TraceOptions,
) -> None:
    """Exit 1 and print one line for each objective missed.

    Times as `1500ms`, `1.5s` or `1.5`: `ttfw`, `init` and `task.NAME`, each with `.p50`, `.p90`, `.p99` or `.max`. Shares as `1%` or `0.01`:
    `errors`, `abandoned` (callers who left before the first word), `fallbacks` (starts in which a task used its own).
    The figure seen decides; where the sessions are too few for it to be sure, the line says so.

    **Examples**

    `firstword check --slo "ttfw.p90<1500ms" --slo "errors<1%"`

    `firstword check --slo "task.account.p90<0.2" --traces rehearsals --junit check.xml`
    """
    try:
        objectives = [objective(text) for text in slo]
    except ObjectiveError as error:
        fail(f"--slo {error}", code=BAD_INPUT)
    found = observed(options.reading(), as_json=options.as_json)
    try:
        answers = [answer(wanted, found.starts) for wanted in objectives]
    except ObjectiveError as error:
        fail(f"--slo {error}", code=BAD_INPUT)
    if junit is not None:
        try:
            junit.write_bytes(_junit(answers))
        except OSError as error:
            fail(f"--junit {junit} can't be written: {error.strerror}", code=BAD_INPUT)
    missed = [each for each in answers if not each.met]
    if options.as_json:
        tell_json({"met": not missed, "method": found.method, "objectives": [_as_json(each) for each in answers]})
    else:
        _print(answers, missed)
    if missed:
        raise typer.Exit(1)


def _print(answers: Sequence[ObjectiveResult], missed: Sequence[ObjectiveResult]) -> None:
    for each in missed:
        say(str(each), "bold red")
    met = len(answers) - len(missed)
    unsure = sum(each.met and not each.sure for each in answers)
    doubt = f"; of {unsure} the sessions are too few to be sure" if unsure else ""
    say(f"{met} of {amount(len(answers), 'objective')} met{doubt}")


def _as_json(each: ObjectiveResult) -> Json:
    """The stable keys of one objective (docs/tuning.md)."""
    return {
        "objective": each.objective.text,
        "name": each.objective.name,
        "limit": each.objective.limit,
        "value": number(each.value),
        "low": number(each.interval.low),
        "high": number(each.interval.high),
        "sessions": each.sessions,
        "met": each.met,
        "sure": each.sure,
    }


def _junit(answers: Sequence[ObjectiveResult]) -> bytes:
    missed = sum(not each.met for each in answers)
    suite = ElementTree.Element("testsuite", name="firstword check", tests=str(len(answers)), failures=str(missed))
    for each in answers:
        case = ElementTree.SubElement(suite, "testcase", classname="firstword", name=each.objective.text)
        if not each.met:
            ElementTree.SubElement(case, "failure", message=str(each))
        else:
            ElementTree.SubElement(case, "system-out").text = str(each)
    return ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
