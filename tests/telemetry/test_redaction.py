"""What leaves in a span, held against LiveKit's own list of attributes; and what is left of a URL."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.agents.telemetry import trace_types
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, TraceFlags

from firstword.telemetry import vocabulary
from firstword.telemetry.livekit_attributes import KEPT
from firstword.telemetry.redaction import cleaned, redacted, redacted_resource

STANDARD = {
    "error.type",
    "exception.type",
    "langfuse.observation.completion_start_time",
    "gen_ai.agent.name",
    "gen_ai.conversation.id",
    "gen_ai.evaluation.name",
    "gen_ai.evaluation.score.label",
    "gen_ai.operation.name",
    "gen_ai.output.type",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.response.finish_reasons",
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.token.type",
    "gen_ai.tool.call.id",
    "gen_ai.tool.name",
    "gen_ai.tool.type",
    "gen_ai.usage.audio.cache_read.input_tokens",
    "gen_ai.usage.audio.input_tokens",
    "gen_ai.usage.audio.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.image.cache_read.input_tokens",
    "gen_ai.usage.image.input_tokens",
    "gen_ai.usage.input_audio_tokens",
    "gen_ai.usage.input_cached_tokens",
    "gen_ai.usage.input_text_tokens",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_audio_tokens",
    "gen_ai.usage.output_text_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.text.cache_read.input_tokens",
    "gen_ai.usage.text.input_tokens",
    "gen_ai.usage.text.output_tokens",
    "gen_ai.workflow.name",
}
"""Those of LiveKit's attributes with a standard name that may leave: figures, models, ids."""
LIVEKITS: dict[str, str] = {name: key for name, key in vars(trace_types).items() if name.startswith("ATTR_")}


def test_each_attribute_of_livekits_list_is_kept_or_left_out_on_purpose() -> None:
    """An upgrade that adds one leaves it out if it is `lk.`; fails here if it is not; one that goes leaves no trace here."""
    left = set(cleaned(dict.fromkeys(LIVEKITS.values(), "Ada Whitfield")))
    assert left == (KEPT & set(LIVEKITS.values())) | STANDARD
    assert KEPT - {"lk.decision_error_count"} <= set(LIVEKITS.values())
    assert {key for key in vars(vocabulary).values() if isinstance(key, str) and key.startswith("lk.")} <= KEPT


@pytest.mark.parametrize(
    "key",
    [
        "lk.sip.h.p-asserted-identity",
        "lk.sip.hostname",
        "lk.sip.callID",
        "lk.sip.trunkPhoneNumber",
        "lk.sip.anything.new",
        "lk.rpc.caller_identity",
        "lk.rpc.destination_identity",
        "rpc.method",
        "http.request.header.x-customer",
        "http.response.header.set-cookie",
        "enduser.id",
        "user.email",
        "jwt",
        "url.query",
        "room_name",
        "participant.identity",
    ],
)
def test_what_others_fill_in_is_left_out(key: str) -> None:
    """Carriers, apps and browsers."""
    assert cleaned({key: "Ada"}) == {}


def test_livekits_own_ids_of_a_telephone_call_are_kept() -> None:
    """They lead to the telephone's trace; a token that says something else there is not believed."""
    ids = {
        "lk.sip.callID": "SCL_abcDEF123456",
        "lk.sip.trunkID": "ST_abcDEF123456",
        "lk.sip.ruleID": "SDR_abcDEF123456",
    }
    assert cleaned(ids) == ids
    assert cleaned({"lk.sip.callID": "+4930901820455"}) == {}


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("https://user:pw@api.example.com:8443/v1/listen?token=1#x", "https://api.example.com:8443/v1/listen"),
        ("https://crm.example.com/customers/+4930901820455", "https://crm.example.com/*/*"),
        (
            "see https://a.example/ada and wss://b.example/rtc?access_token=1.",
            "see https://a.example/* and wss://b.example/rtc",
        ),
        (["https://u:p@a.example/x", "plain"], ("https://a.example/*", "plain")),
        ("redis://:secret@cache.example:6379/0", "redis://cache.example:6379/*"),
        ("no URL at all", "no URL at all"),
    ],
)
def test_of_a_url_only_what_no_caller_chooses_is_left(value: object, left: object) -> None:
    """Host and the words of an API; in lists too."""
    assert cleaned({"note": value}) == {"note": left}


def test_a_path_is_cut_likewise() -> None:
    """Instrumentations of servers write it alone."""
    assert cleaned({"http.target": "/v1/chat/ada?q=1", "url.path": "/v1/listen"}) == {
        "http.target": "/v1/chat/*",
        "url.path": "/v1/listen",
    }


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1).filter(lambda text: "canary" not in text)
)
def test_no_part_of_a_path_gets_through(noise: str) -> None:
    """However it is spelled."""
    assert "canary" not in str(
        cleaned({"url.full": f"https://a.example/{noise}canary/{noise}", "url.path": f"/canary{noise}"})
    )


def span(**parts: Any) -> ReadableSpan:
    return ReadableSpan(name="turn", context=SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1)), **parts)


def test_links_events_and_resources_are_cleaned_too() -> None:
    """Wherever attributes can be."""
    context = SpanContext(3, 4, is_remote=True)
    clean = redacted(
        span(links=[Link(context, {"lk.rpc.caller_identity": "Ada"})], events=[Event("x", {"lk.sip.hostname": "Ada"})])
    )
    assert (dict(clean.links[0].attributes or {}), dict(clean.events[0].attributes or {})) == ({}, {})
    assert dict(redacted_resource(Resource({"api_key": "1", "service.name": "a"})).attributes) == {"service.name": "a"}


def test_a_clean_span_is_not_copied() -> None:
    """Most are."""
    clean = span(attributes={"startup.ttfw": 0.3})
    assert redacted(clean) is clean
