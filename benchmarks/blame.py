"""How fast `firstword blame` is, end to end, over a folder of starts, and how much memory it takes.

    python -m benchmarks.blame [STARTS] [--keep FOLDER] [--crisp CHECKOUT] [--rounds N]

Writes 10,000 starts of 19 spans twice, as Jaeger JSON (a file each, what CRISP reads) and as OTLP JSON lines, runs the
command on each in a process of its own, and prints starts a second, imports included, and the peak of memory in MB.
With --crisp, `firstword blame` and CRISP take turns over the Jaeger JSON, and the ratio of their seconds is printed. The
checkout of https://github.com/uber-research/CRISP and the `.venv` in it that its README tells how to make are yours.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from firstword.telemetry.critical_path import analyse
from firstword.telemetry.layout import Attribute, SpanData, lay_out
from firstword.telemetry.record import LoopStep, Outcome, Phase, Start, Task
from firstword.telemetry.vocabulary import ROOT, SAMPLING_PERCENT

SERVICE = "firstword"
T0 = 1_795_000_000_000_000_000
MS = 1_000_000
_DISTINCT = 200
_STAMPED = {SAMPLING_PERCENT: 100.0}
"""By the collector, on every span."""


def a_start(chance: random.Random) -> Start:
    """Seven tasks; the account is waited for, room and components are not."""

    def about(ms: float) -> int:
        return round(ms * MS * chance.lognormvariate(0, 0.3))

    def task(name: str, begin: int, length: int, *needs: str) -> Task:
        held = length // 10
        steps = (LoopStep(begin, begin + held), LoopStep(begin + length - held, begin + length))
        return Task(name, begin, begin, begin + length, needs, steps=steps)

    first = T0 + about(200)
    room = task("room", first, about(80))
    caller = task("caller", room.end, about(1), "room")
    account = task("account", first, about(300))
    components = task("components", first, about(40))
    assistant = task("assistant", account.end, about(2), "account")
    greeting = task("greeting", account.end, about(150), "account")
    begin = max(greeting.end, components.end, caller.end, assistant.end)
    playout = task("playout", begin, about(90), "greeting", "caller", "components", "assistant")
    tasks = (room, caller, account, components, assistant, greeting, playout)
    return Start(
        start=T0,
        end=playout.end,
        first_step=first,
        outcome=Outcome.FIRST_WORD,
        tasks=tasks,
        phases=(
            Phase("connect", T0, room.end),
            Phase("wait", room.end, caller.end),
            Phase("greet", caller.end, playout.end),
        ),
        last="playout",
        first_word_needs=tuple(task.name for task in tasks),
        joined=T0,
        received=T0,
        ready=playout.end,
        flags={"parallel-init": "on", "account-cache": "off"},
    )


def jaeger(spans: Sequence[SpanData], trace_id: str) -> str:
    """The trace as Jaeger's classic API answers it."""
    ids = {span.key: f"{number + 1:016x}" for number, span in enumerate(spans)}

    def tag(key: str, value: Attribute) -> dict[str, object]:
        if isinstance(value, tuple):
            return {"key": key, "type": "string", "value": json.dumps(value)}
        kind = {"bool": "bool", "int": "int64", "float": "float64"}.get(type(value).__name__, "string")
        return {"key": key, "type": kind, "value": value}

    def reference(kind: str, key: str) -> dict[str, str]:
        return {"refType": kind, "traceID": trace_id, "spanID": ids[key]}

    found = [
        {
            "traceID": trace_id,
            "spanID": ids[span.key],
            "operationName": span.name,
            "references": [
                *([reference("CHILD_OF", span.parent_key)] if span.parent_key else []),
                *(reference("FOLLOWS_FROM", key) for key, _ in span.links),
            ],
            "startTime": span.start_us,
            "duration": span.end_us - span.start_us,
            "tags": [
                *(tag(k, v) for k, v in {**span.attributes, **_STAMPED}.items()),
                tag("span.kind", span.kind),
            ],
            "logs": [],
            "processID": "p1",
            "warnings": None,
        }
        for span in spans
    ]
    processes = {"p1": {"serviceName": SERVICE}}
    return json.dumps({"data": [{"traceID": trace_id, "spans": found, "processes": processes}]})


def otlp(spans: Sequence[SpanData], trace_id: str) -> str:
    """The trace as one line of OTLP JSON."""
    ids = {span.key: f"{number + 1:016x}" for number, span in enumerate(spans)}
    kinds = ("", "internal", "server", "client", "producer", "consumer")

    def value(of: Attribute) -> dict[str, Any]:
        if isinstance(of, tuple):
            return {"arrayValue": {"values": [{"stringValue": item} for item in of]}}
        kind = {"bool": "boolValue", "int": "intValue", "float": "doubleValue"}.get(type(of).__name__, "stringValue")
        return {kind: str(of) if kind == "intValue" else of}

    found = [
        {
            "traceId": trace_id,
            "spanId": ids[span.key],
            **({"parentSpanId": ids[span.parent_key]} if span.parent_key else {}),
            "name": span.name,
            "kind": kinds.index(span.kind),
            "startTimeUnixNano": str(span.start_us * 1000),
            "endTimeUnixNano": str(span.end_us * 1000),
            "attributes": [{"key": k, "value": value(v)} for k, v in {**span.attributes, **_STAMPED}.items()],
            "links": [
                {
                    "traceId": trace_id,
                    "spanId": ids[key],
                    "attributes": [{"key": "startup.edge", "value": {"stringValue": edge}}],
                }
                for key, edge in span.links
            ],
        }
        for span in spans
    ]
    resource_spans = {
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": SERVICE}}]},
        "scopeSpans": [{"spans": found}],
    }
    return json.dumps({"resourceSpans": [resource_spans]}) + "\n"


def write(folder: Path, starts: int) -> None:
    """The folders `jaeger` (a file a start) and `otlp` (one file)."""
    chance = random.Random(1)
    templates = [(jaeger(s, "TRACE"), otlp(s, "TRACE")) for s in (_spans(chance) for _ in range(_DISTINCT))]
    (folder / "jaeger").mkdir(parents=True)
    (folder / "otlp").mkdir()
    with (folder / "otlp" / "traces.jsonl").open("w") as lines:
        for number in range(starts):
            as_jaeger, as_otlp = templates[number % _DISTINCT]
            trace_id = f"{number + 1:032x}"
            (folder / "jaeger" / f"{trace_id}.json").write_text(as_jaeger.replace("TRACE", trace_id))
            lines.write(as_otlp.replace("TRACE", trace_id))


def _spans(chance: random.Random) -> tuple[SpanData, ...]:
    start = a_start(chance)
    return lay_out(start, analyse(start))


@dataclass(frozen=True, slots=True)
class Run:
    """One process from its beginning to its end."""

    seconds: float
    cpu: float
    """Seconds; says the same beside other work on the machine."""
    peak_mb: float
    said: str


def run(command: Sequence[str | Path], **more: Any) -> Run:
    """Run it and wait. Ends the benchmark where it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=errors, **more)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, errors):
            file.seek(0)
        if process.returncode:
            sys.exit(f"{command[0]} ended with {process.returncode}: {errors.read()[-2000:]}")
        return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.read())


def ours(folder: Path, starts: int) -> Run:
    """`firstword blame` over a folder."""
    found = run([sys.executable, "-m", "firstword", "blame", "--json", "--traces", folder])
    if (read := json.loads(found.said)["sessions"]) != starts:
        sys.exit(f"{folder}: {read} of {starts} starts were read")
    return found


def crisp(checkout: Path, folder: Path, starts: int) -> Run:
    """CRISP over a folder, in an interpreter of its own. It writes its reports among its input, so it gets links."""
    python = checkout.absolute() / ".venv" / "bin" / "python"
    if not python.exists():
        sys.exit(f"--crisp {checkout} has no .venv; make it as CRISP's README says")
    with tempfile.TemporaryDirectory() as temporary:
        for path in folder.iterdir():
            (Path(temporary) / path.name).symlink_to(path.absolute())
        asked = ("-a", ROOT, "-s", SERVICE, "-i", temporary)
        found = run([python, "-m", "crisp.process_trace", *asked], cwd=checkout)
        if f"({starts})" not in (Path(temporary) / "crisp.json").read_text():
            sys.exit(f"CRISP did not read {starts} starts")
    return found


def show(name: str, starts: int, runs: Sequence[Run]) -> None:
    """Print the figures of one command: medians, with the least and the most of the seconds."""
    seconds = [each.seconds for each in runs]
    middle = median(seconds)
    cpu = median(each.cpu for each in runs)
    peak = max(each.peak_mb for each in runs)
    print(
        f"{name:8} {starts / middle:8.0f} starts/s {middle:6.2f} s ({min(seconds):.2f} to {max(seconds):.2f}),"
        f" CPU {cpu:.2f} s, {peak:4.0f} MB"
    )


def main() -> None:
    """Measure both formats, or, with --crisp, Jaeger's JSON against CRISP."""
    arguments = argparse.ArgumentParser(prog="benchmarks.blame")
    arguments.add_argument("starts", nargs="?", type=int, default=10_000)
    arguments.add_argument("--keep", type=Path, help="where the folders stay; a second run reads them again")
    arguments.add_argument(
        "--crisp", type=Path, help="a checkout of uber-research/CRISP with its .venv; runs it in turn"
    )
    arguments.add_argument("--rounds", type=int, default=5, help="runs of each")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary) / "starts"
        if not folder.exists():
            write(folder, given.starts)
        if given.crisp is None:
            for name in ("jaeger", "otlp"):
                show(name, given.starts, [ours(folder / name, given.starts) for _ in range(given.rounds)])
            return
        pairs = [
            (ours(folder / "jaeger", given.starts), crisp(given.crisp, folder / "jaeger", given.starts))
            for _ in range(given.rounds)
        ]
        show("blame", given.starts, [pair[0] for pair in pairs])
        show("CRISP", given.starts, [pair[1] for pair in pairs])
        for name in ("seconds", "cpu"):
            ratios = [getattr(other, name) / getattr(own, name) for own, other in pairs]
            print(f"ratio of {name}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {len(pairs)} pairs")


if __name__ == "__main__":
    main()
