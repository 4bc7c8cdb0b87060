"""What a line of the log holds of the people in a call: nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest
from livekit.agents.cli.log import JsonFormatter

from firstword.agent.process.log_redaction import HIDDEN, LogRedaction

ROOM = "call-_+4930901820455_AbCdEf"


@pytest.fixture
def redaction() -> LogRedaction:
    return LogRedaction()


@pytest.fixture
def lines(redaction: LogRedaction) -> Iterator[StringIO]:
    """What LiveKit's own formatter writes of the logger `strangers`."""
    written = StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(redaction)
    logger = logging.getLogger("strangers")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield written
    logger.removeHandler(handler)


def test_fields_that_others_fill_in_are_left_out(lines: StringIO) -> None:
    """Rooms, identities, what was said; ids and figures stay, so that a line leads to its trace."""
    extra = {"room": ROOM, "participant": "ada@example.org", "identity": "Ada", "payload": {"x": "Ada"}}
    kept = {"job_id": "AJ_1", "trace_id": "ab" * 16, "attempt": 2}
    logging.getLogger("strangers").warning("lost", extra={**extra, **kept, "lk.pii.user_input": "I am Ada"})
    line = json.loads(lines.getvalue())
    assert line.items() >= kept.items()
    assert "Ada" not in lines.getvalue()
    assert "ada" not in lines.getvalue()
    assert "4930901820455" not in lines.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "+4930901820455",
        "+49 30 9018-20455",
        "4930901820455",
        "ada.whitfield@example.org",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "Bearer abc.def",
        "sk-0123456789abcdef0123",
        "https://u:p@h.example/customers/ada?x=ada",
        "room Whitfield-room left",
    ],
)
def test_what_looks_private_is_hidden_in_messages_and_tracebacks(
    text: str, redaction: LogRedaction, lines: StringIO
) -> None:
    """By its form, or since this process knows that it is somebody's."""
    redaction.hide("Whitfield-room", "ada", None, "")
    logger = logging.getLogger("strangers")
    logger.warning("it was %s", text)
    logger.warning(f"it was {text}")
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("failed")
    for secret in (text, "p@h", "x=ada", "customers", "Whitfield-room"):
        assert secret not in lines.getvalue()
    assert "ValueError" in lines.getvalue()
    assert HIDDEN in lines.getvalue() or "h.example" in lines.getvalue()


@pytest.mark.parametrize("text", ["2026-11-29 19:20:01.123456", "first word after 0.355 s", "127.0.0.1:50513", "1.8.9"])
def test_what_an_operator_needs_stays(text: str, lines: StringIO) -> None:
    """Times, figures, addresses, versions."""
    logging.getLogger("strangers").warning("it was %s", text)
    assert text in lines.getvalue()


def test_arguments_that_do_not_fit_are_not_printed(lines: StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """logging would print the record with them to the standard error."""
    logging.getLogger("strangers").warning("it was %d", "Ada")
    assert "Ada" not in lines.getvalue() + capsys.readouterr().err


@pytest.mark.parametrize("identity", ["caller", "user"])
def test_an_identity_that_names_nobody_costs_no_line_its_words(
    redaction: LogRedaction, lines: StringIO, identity: str
) -> None:
    """Demos and rehearsals call as `caller`; our own line says that the caller hung up."""
    redaction.hide(identity, "Ada Whitfield")
    logging.getLogger("strangers").info("the call of Ada Whitfield ended: %s hung up", identity)
    assert json.loads(lines.getvalue())["message"] == f"the call of {HIDDEN} ended: {identity} hung up"
