"""How fast `firstword blame` is, end to end, over a folder of starts, and how much memory it takes.

    python -m benchmarks.blame [STARTS] [--keep FOLDER]

Writes 10,000 starts of 19 spans twice, as Jaeger JSON (a file each, what CRISP reads) and as OTLP JSON lines, runs the
command on each in a process of its own, and prints starts a second, imports included, and the peak of memory in MB.
docs/results.md has CRISP's figures on the same folder.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from telemetry.critical_path import analyse
from telemetry.layout import Attribute, SpanData, lay_out
from telemetry.record import Outcome, Phase, Start, Step, Task
from telemetry.vocabulary import SAMPLING_PERCENT

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
        steps = (Step(begin, begin + held), Step(begin + length - held, begin + length))
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
    processes = {"p1": {"serviceName": "firstword"}}
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
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "firstword"}}]},
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


def measure(folder: Path, starts: int) -> None:
    """Print the figures of one folder."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "firstword", "blame", "--json", "--traces", str(folder)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    took = time.perf_counter() - begun
    if answer["sessions"] != starts:
        sys.exit(f"{folder}: {answer['sessions']} of {starts} starts were read")
    # of the largest child so far: the folder with the most memory comes last
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{folder.name:8} {starts / took:8.0f} starts/s {took:6.1f} s {peak:6.0f} MB")


def main() -> None:
    """Measure both formats."""
    arguments = argparse.ArgumentParser(prog="benchmarks.blame")
    arguments.add_argument("starts", nargs="?", type=int, default=10_000)
    arguments.add_argument("--keep", type=Path, help="where the folders stay; a second run reads them again")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary) / "starts"
        if not folder.exists():
            write(folder, given.starts)
        for name in ("jaeger", "otlp"):
            measure(folder / name, given.starts)


if __name__ == "__main__":
    main()
