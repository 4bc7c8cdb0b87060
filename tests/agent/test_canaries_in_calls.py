"""Privacy over whole calls, on virtual time: strangers fill every field, and none of it is in a trace, log, metric or name of a file.

With redaction turned off each is found, so the search can find. `tests/test_canaries.py` tries LiveKit's keys one by one,
`tests/calls/test_strangers.py` real calls.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import telemetry as livekit_telemetry
from livekit.agents.cli.log import JsonFormatter
from livekit.agents.telemetry import otel_metrics
from opentelemetry import trace as otel
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from firstword.agent import entrypoint, run_folder
from firstword.agent.account_call import identification
from firstword.agent.process.log_redaction import LogRedaction
from firstword.telemetry.export import Exporting, FileExporter
from firstword.telemetry.vocabulary import ROOT
from tests.agent.virtual_calls import ADA, BASELINE, TUNED, Shape, VirtualCall, VirtualCalls
from tests.canaries import found

CALLS = 100
KINDS = ("standard", "sip", "connector")
TEXTS = (
    "identity",
    "name",
    "metadata",
    "attribute",
    "header",
    "host",
    "room",
    "key",
    "data",
    "speech",
    "chat",
    "tool",
    "path",
)
DIGITS = ("number", "keys")


WORD = f"Canary{secrets.token_hex(8)}"
"""What each text begins with: one search for all of them."""
NUMBER = "".join(secrets.choice("123456789") for _ in range(12))
"""What each number begins with."""


def filled() -> dict[str, str]:
    """What a stranger fills into each field: nothing else holds it."""
    texts = {field: f"{WORD}{secrets.token_hex(4)}" for field in TEXTS}
    return texts | {field: f"{NUMBER}{secrets.randbelow(900) + 100}" for field in DIGITS}


def token(kind: str, canaries: dict[str, str]) -> dict[str, Any]:
    """A caller's, who may write what they like into it."""
    attributes = {
        "note": canaries["attribute"],
        "sip.h.x-customer": canaries["header"],
        "sip.hostname": canaries["host"],
    }
    if kind == "sip":
        attributes |= {"sip.callStatus": "active", "sip.phoneNumber": f"+{canaries['number']}"}
    else:
        attributes["phone"] = f"+{canaries['number']}"
    return {
        "kind": kind,
        "attributes": attributes,
        "metadata": canaries["metadata"],
        "name": canaries["name"],
        "can_update_own_metadata": True,
    }


async def talk(call: VirtualCall, canaries: dict[str, str], exporting: Exporting) -> None:
    """A stranger speaks, types, presses keys and sends, and a tool finds something."""
    await call.heard()
    await call.at(6.0)
    participant = call.caller.room.local_participant
    await participant.publish_dtmf(code=1, digit=canaries["key"])
    for digit in canaries["keys"]:
        await participant.publish_dtmf(code=int(digit), digit=digit)
    await participant.publish_data(canaries["data"])
    await call.at(12.0)
    call.llm.calls = [("look_up", f'{{"query": "{canaries["tool"]}"}}')]
    await participant.send_text(canaries["chat"], topic="lk.chat")
    await call.at(18.0)
    call.vad.begin()
    call.stt.say(canaries["speech"])
    call.vad.end()
    await call.at(24.0)
    url = f"https://crm.example/customers/{canaries['path']}"
    # as LiveKit's lines do where something of a participant fails
    theirs = {
        "payload": canaries["data"],
        "digit": canaries["key"],
        "user": canaries["name"],
        "of": token("", canaries),
    }
    logging.getLogger("livekit.agents").warning("a message could not be handled", extra=theirs)
    with exporting.provider.get_tracer("http").start_as_current_span("GET", attributes={"url.full": url}):
        logging.getLogger("firstword").info("a request to %s failed", url)
    await call.caller.leave()


@contextmanager
def logged(redaction: LogRedaction | None) -> Generator[StringIO]:
    """Every line of every logger, as a worker writes it."""
    written, root = StringIO(), logging.getLogger()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    if redaction is not None:
        handler.addFilter(redaction)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def livekit_instruments(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    """What LiveKit's own instruments are told, which otherwise go to a provider that a process sets once."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("livekit-agents")
    for name, instrument in list(vars(otel_metrics).items()):
        if isinstance(instrument, Histogram):
            monkeypatch.setattr(otel_metrics, name, meter.create_histogram(name.lstrip("_")))
        elif isinstance(instrument, Counter):
            monkeypatch.setattr(otel_metrics, name, meter.create_counter(name.lstrip("_")))
    return reader


def left_behind(
    calls: VirtualCalls, folder: Path, monkeypatch: pytest.MonkeyPatch, *, number: int, redact: bool
) -> tuple[list[dict[str, str]], bytes]:
    """What strangers filled in, each call's, and all that was exported, logged, measured and sent to the worker's metrics, with names of files."""
    redaction = LogRedaction()
    for module in (identification, entrypoint):
        monkeypatch.setattr(module, "REDACTION", redaction)
    sent: list[bytes] = []

    def send(datagram: bytes) -> bool:
        sent.append(datagram)
        return True

    monkeypatch.setattr(run_folder, "send", send)
    instruments = livekit_instruments(monkeypatch)
    exporting = Exporting([FileExporter(folder)], resource=Resource({}), redact=redact)
    livekit_telemetry.set_tracer_provider(exporting.outside)
    everybody: list[dict[str, str]] = []
    try:
        with logged(redaction if redact else None) as log:
            for call in range(number):
                canaries = filled()
                everybody.append(canaries)
                one_call(calls, call, canaries, exporting)
    finally:
        livekit_telemetry.set_tracer_provider(otel.NoOpTracerProvider())
        exporting.shutdown()
    measured = instruments.get_metrics_data()
    assert measured is not None
    metrics = measured.to_json()
    assert '"genai_operation_duration"' in metrics
    files = list(folder.rglob("*"))
    names = "\n".join(map(str, files)).encode()
    spans = b"".join(file.read_bytes() for file in files)
    assert spans.count(f'"name":"{ROOT}"'.encode()) == number
    assert spans.count(b'"name":"user_turn"') >= number
    assert len(sent) >= number
    return everybody, b"\n".join([names, spans, log.getvalue().encode(), metrics.encode(), *sent])


def one_call(calls: VirtualCalls, number: int, canaries: dict[str, str], exporting: Exporting) -> None:
    """Both profiles and every kind in turn."""
    shape: Shape = (BASELINE, TUNED)[number % 2]
    kind = KINDS[number % len(KINDS)]

    async def scenario(call: VirtualCall) -> None:
        await talk(call, canaries, exporting)

    async def prepare(call: VirtualCall) -> None:
        call.store.holder = replace(ADA, knowledge=(f"They said {canaries['tool']}.",))
        await call.caller.join()

    calls.run(
        scenario,
        shape,
        prepare=prepare,
        token=token(kind, canaries),
        room=canaries["room"],
        identity=canaries["identity"],
        exporting=exporting,
        departure=20.0,
    )


def test_nothing_that_a_stranger_fills_in_is_left_behind(
    virtual_calls: VirtualCalls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a hundred calls, telephones and connectors among them, as bytes, percent-, base64-, JSON- or UTF-16-encoded."""
    _, held = left_behind(virtual_calls, tmp_path / "traces", monkeypatch, number=CALLS, redact=True)
    assert found({"a text": WORD, "a number": NUMBER}, held) == set()


def test_without_redaction_it_is_found(
    virtual_calls: VirtualCalls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each field, of each kind of caller, in what the same calls leave behind: the search can find it."""
    everybody, held = left_behind(virtual_calls, tmp_path / "traces", monkeypatch, number=2 * len(KINDS), redact=False)
    for canaries in everybody:
        assert set(canaries) - found(canaries, held) == set()
