"""Observed starts, written by hand as `docs/startup-trace.md` says: what the tests of the readers read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from firstword.telemetry import vocabulary as words
from tests.tuning.written import otlp_span, request

Stretch = tuple[str, int, dict[str, Any]]
"""Name, ms, attributes."""


def line(
    kind: str, number: int, function: str = "entrypoint", file: str = "my_agent.py", **more: Any
) -> dict[str, Any]:
    """The attributes of a piece that is of a line of the user's."""
    return {words.KIND: kind, words.FILE: file, words.LINE: number, words.FUNCTION: function, **more}


CONNECT: tuple[Stretch, ...] = (
    ("dispatch", 100, {}),
    ("entrypoint", 20, line(words.COMPUTING, 6)),
    ("entrypoint", 80, line(words.NETWORK, 7)),
)
GREET: tuple[Stretch, ...] = (
    ("Assistant.on_enter", 3, line(words.COMPUTING, 3, "Assistant.on_enter")),
    (
        "Assistant.on_enter",
        400,
        line(words.NETWORK, 3, "Assistant.on_enter", **{words.INSIDE: "LLMStream._run"}),
    ),
    ("event loop", 17, {words.KIND: words.EVENT_LOOP, words.HELD_BY: "LLM.prewarm"}),
    ("Assistant.on_enter", 180, line(words.NETWORK, 3, "Assistant.on_enter")),
    ("outside", 30, {words.KIND: words.OUTSIDE}),
)
"""830 ms in all; the caller was there when the room was connected."""


def marks(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP JSON has them."""
    kinds: dict[type, str] = {bool: "boolValue", str: "stringValue", float: "doubleValue", int: "intValue"}
    return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in told.items()]


def observed_start(
    number: int = 1,
    *,
    connect: tuple[Stretch, ...] = CONNECT,
    greet: tuple[Stretch, ...] = GREET,
    root: Mapping[str, Any] | None = None,
) -> str:
    """One observed start with its first word, as an export request on one line; `number` is its trace id.

    connect: the dispatch first. root: more attributes of the root.
    """
    took = sum(ms for _, ms, _ in (*connect, *greet))
    told = {
        words.METHOD: words.OBSERVED,
        words.OUTCOME: "first_word",
        words.TTFW: took / 1000,
        words.DURATION: took / 1000,
        words.SLOW: False,
        words.DISPATCH_KIND: "join",
        words.FALLBACKS: 0,
        words.CLOCK_SKEW: 0.0,
        words.ROOM_SID: f"RM_{number}",
        words.JOB_ID: f"AJ_{number}",
        **(root or {}),
    }
    spans = [otlp_span(words.ROOT, 1, None, 0, took * 1000, kind=2, attributes=marks(told))]
    reached, ids = 0, iter(range(10, 100))
    phases = (
        (2, words.DISPATCH, connect[:1]),
        (3, words.CONNECT, connect[1:]),
        (4, words.WAIT, ()),
        (5, words.GREET, greet),
    )
    for span_id, phase, stretches in phases:
        end = reached + sum(ms for _, ms, _ in stretches) * 1000
        last = phase == words.GREET
        spans.append(otlp_span(phase, span_id, 1, reached, max(end - (not last), reached)))
        for index, (name, ms, attributes) in enumerate(stretches):
            ends = reached + ms * 1000 - (not last or index < len(stretches) - 1)
            spans.append(
                otlp_span(words.CRITICAL_PREFIX + name, next(ids), span_id, reached, ends, attributes=marks(attributes))
            )
            reached += ms * 1000
    for span in spans:
        span["traceId"] = f"{number:032x}"
    return request(spans, "my-agent")
