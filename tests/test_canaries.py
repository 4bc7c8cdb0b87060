"""Privacy as a property: a canary in every field that a stranger fills is in no span, line of the log, or name of a file.

With redaction turned off each is found: the search can find.
"""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from livekit.agents.cli.log import JsonFormatter
from livekit.agents.telemetry import trace_types
from opentelemetry.sdk.resources import Resource

from firstword.agent.process.log_redaction import LogRedaction
from firstword.telemetry.export import Exporting, FileExporter
from tests.canaries import found, spellings

FIELDS = {
    "name": "lk.participant_name",
    "number": trace_types.ATTR_SIP_PHONE_NUMBER,
    "trunk number": "lk.sip.trunkPhoneNumber",
    "identity": trace_types.ATTR_PARTICIPANT_IDENTITY,
    "rpc identity": trace_types.ATTR_RPC_CALLER_IDENTITY,
    "room": trace_types.ATTR_ROOM_NAME,
    "header": "lk.sip.h.p-asserted-identity",
    "call id": "lk.sip.callID",
    "speech": trace_types.ATTR_USER_TRANSCRIPT,
    "chat": trace_types.ATTR_USER_INPUT,
    "tool result": trace_types.ATTR_FUNCTION_TOOL_OUTPUT,
    "rpc method": trace_types.ATTR_RPC_METHOD,
    "rpc payload": trace_types.ATTR_RPC_PAYLOAD,
    "exception": "exception.message",
}
"""What a stranger fills, and under which key LiveKit writes it."""
URLS = {"url path": "https://crm.example/customers/{}/orders", "url query": "https://crm.example/?who={}"}


@pytest.fixture
def canaries() -> dict[str, str]:
    """A word for each field, that nothing else holds."""
    return {field: f"Canary{secrets.token_hex(8)}" for field in (*FIELDS, *URLS)}


def exported(canaries: dict[str, str], folder: Path, *, redact: bool) -> bytes:
    """What the file of a process holds, and its name, when each canary is in a span's attributes, events and links."""
    files = FileExporter(folder)
    exporting = Exporting([files], resource=Resource({}), redact=redact)
    attributes = {key: canaries[field] for field, key in FIELDS.items()}
    span = exporting.provider.get_tracer("test").start_span("turn", attributes=attributes)
    span.add_event("linked", attributes)
    for field, url in URLS.items():
        span.set_attribute("url.full", url.format(canaries[field]))
        span.add_event("redirect", {"url.full": url.format(canaries[field])})
    span.record_exception(ValueError(" ".join(canaries.values())))
    span.end()
    exporting.shutdown()
    return files.path.read_bytes() + files.path.name.encode()


def test_no_canary_is_in_a_trace(canaries: dict[str, str], tmp_path: Path) -> None:
    """By the exporter that writes what the collector would be sent."""
    assert found(canaries, exported(canaries, tmp_path / "on", redact=True)) == set()
    assert found(canaries, exported(canaries, tmp_path / "off", redact=False)) == set(canaries)


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, logging.Handler, StringIO]]:
    """A logger whose lines LiveKit's own formatter writes."""
    written = StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("canaries")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, handler, written
    logger.removeHandler(handler)


@pytest.mark.parametrize("redacts", [True, False])
def test_no_canary_is_in_a_log(
    redacts: bool, canaries: dict[str, str], log: tuple[logging.Logger, logging.Handler, StringIO]
) -> None:
    """As a field, in a message and in a traceback: of a call whose people this process knows."""
    logger, handler, written = log
    if redacts:
        redaction = LogRedaction()
        redaction.hide(*canaries.values())
        handler.addFilter(redaction)
    for field, canary in canaries.items():
        logger.warning("lost", extra={f"their_{field}".replace(" ", "_"): canary, "lk.pii.user_input": canary})
        logger.warning("lost %s", canary)
        try:
            raise ValueError(canary)
        except ValueError:
            logger.exception("failed")
    assert found(canaries, written.getvalue().encode()) == (set() if redacts else set(canaries))


@pytest.mark.parametrize("prefix", ["", "a", "ab", "abc"])
def test_the_search_finds_each_spelling(prefix: str) -> None:
    """Else nothing would be proved."""
    word = "Canary é 0a1b2c3d4e5f"
    for content in (
        f"{prefix}{word}x".encode(),
        base64.b64encode(f"{prefix}{word}x".encode()),
        f"{prefix}{word}".encode("utf-16-le"),
        b"Canary%20%C3%A9%200a1b2c3d4e5f",
        b"Canary \\u00e9 0a1b2c3d4e5f",
    ):
        assert found({"it": word}, content) == {"it"}, content
    assert found({"it": word}, b"Canary e 0a1b2c3d4e5f") == set()
    assert all(len(spelling) > 8 for spelling in spellings(word))
