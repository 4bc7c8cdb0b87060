"""Sessions in a file as a worker would have written them, for the commands that count them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from firstword.tuning.observation import Observation
from firstword.tuning.sampling import Sampling


def write(path: Path, sessions: Iterable[Observation]) -> Path:
    """OTLP JSON lines, a trace a line: root, tasks and `session.ready`."""
    lines = [json.dumps(export_request(number, session)) for number, session in enumerate(sessions, 1)]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def export_request(number: int, session: Observation) -> dict[str, Any]:
    """The trace of a session as OTLP sends it; its ids are made of `number`."""
    trace_id, start = f"{number:032x}", int(session.time * 1e9)
    told: dict[str, Any] = {"startup.outcome": session.outcome.value, "startup.fallbacks": session.fallbacks}
    told |= {f"startup.flag.{name}": variant for name, variant in session.flags.items()}
    if session.sampling != Sampling():
        told |= {"startup.sampling.percent": session.sampling.percent, "startup.slow": session.sampling.always_kept}
    waited = 5.0 if session.error else session.ttfw
    if not (session.error or session.abandoned):
        told["startup.ttfw"] = session.ttfw

    def span(part: int, name: str, seconds: float, attributes: dict[str, Any]) -> dict[str, Any]:
        return {
            "traceId": trace_id,
            "spanId": f"{number * 100 + part:016x}",
            **({"parentSpanId": f"{number * 100:016x}"} if part else {}),
            "name": name,
            "kind": 2 if part == 0 else 1,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + int(seconds * 1e9)),
            "attributes": [{"key": key, "value": _value(value)} for key, value in attributes.items()],
        }

    spans = [span(0, "session.startup", waited, told)]
    for part, (name, seconds) in enumerate(session.tasks.items(), 1):
        spans.append(span(part, name, seconds, {"startup.critical": 0.0}))
    if session.init is not None:
        spans.append(span(99, "session.ready", session.init, {"startup.init": session.init}))
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "firstword"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": str(value)}
