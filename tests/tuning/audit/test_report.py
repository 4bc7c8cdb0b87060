"""An audit's report as data: figures against the floor, two paths, what was not seen, and stable keys."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from firstword.tuning.audit.facts import AuditRun, FirstVoice
from firstword.tuning.audit.report import audit_report
from firstword.tuning.objectives import objective
from firstword.tuning.start import Method
from tests.tuning.audit.audited import EAR_S, audit_run

TOKENS = (300, 400, 500, 600)
"""Starts of 800 to 1,100 ms."""


def test_figures_are_of_the_callers_ears(tmp_path: Path) -> None:
    """By nearest rank, an unheard caller infinitely late; as multiples of the floor, and two starts shown."""
    report = audit_report(audit_run(tmp_path, *TOKENS, unheard=1))
    assert report.heard is not None
    assert (report.heard.p50, report.heard.p90) == (pytest.approx(1.0 + EAR_S), math.inf)
    assert report.times_the_floor("p50") == pytest.approx((1.0 + EAR_S) / 0.3)
    assert report.times_the_floor("p90") is None
    assert (report.sessions, report.unheard) == (5, 1)
    assert report.silences == (("no frame within 20 s", 1),)
    assert report.median is not None
    assert report.slowest is not None
    assert (report.median.ttfw_s, report.slowest.ttfw_s) == (0.9, 1.1)


def test_objectives_are_of_what_was_heard_or_sent(tmp_path: Path) -> None:
    """The second of four was sent after 0.9 s, and heard 50 ms later."""
    run = audit_run(tmp_path, *TOKENS)
    texts = ("heard.p50<0.94", "heard.p50<0.96", "ttfw.p50<0.94", "errors<1%")
    report = audit_report(run, [objective(text) for text in texts])
    assert [result.met for result in report.objectives] == [False, True, True, True]
    assert report.missed
    assert not audit_report(run, [objective("heard.p50<0.96")]).missed


def test_opportunities_are_sorted_by_what_they_save(tmp_path: Path) -> None:
    """The saving is that of the median, the evidence has the line; its interval holds it."""
    first, second = audit_report(audit_run(tmp_path, *TOKENS)).opportunities
    assert (first.rule.name, second.rule.name) == ("greeting-written-by-llm", "read-waits-in-line")
    assert first.saving_s == pytest.approx(0.55, abs=0.001)
    assert first.saving_range is not None
    assert first.saving_s is not None
    assert first.saving_s in first.saving_range
    assert second.saving_s == pytest.approx(0.08, abs=0.001)
    (row,) = second.evidence
    assert (row.what, row.text) == ("network", 'account = await read_account("<b>&")')
    assert row.seconds == pytest.approx(0.12, abs=0.001)


def test_an_agent_that_answers_is_counted_from_the_callers_speech(tmp_path: Path) -> None:
    """Of the start only what came after is shown, and its language model is no opportunity."""
    run = audit_run(tmp_path, *TOKENS, voice=FirstVoice.ANSWERS)
    answered = [replace(session, heard_s=0.5) for session in run.sessions]
    report = audit_report(replace(run, sessions=tuple(answered)))
    assert report.first_voice is FirstVoice.ANSWERS
    assert report.median is not None
    assert (report.median.duration_us, report.median.ttfw_s) == (500_000, 0.5)
    assert [piece.duration_us for piece in report.median.path] == pytest.approx([300_000, 100_000, 100_000], abs=2)
    assert report.opportunities == ()
    assert report.times_the_floor("p50") is None
    assert any("did not speak first" in each for each in report.unseen)


def test_those_who_answer_and_those_who_greet_are_no_one_figure(tmp_path: Path) -> None:
    """The others are said."""
    run = audit_run(tmp_path, *TOKENS)
    mixed = (replace(run.sessions[0], first_voice=FirstVoice.ANSWERS, heard_s=0.2), *run.sessions[1:])
    report = audit_report(replace(run, sessions=mixed))
    assert report.heard is not None
    assert (report.sessions, report.heard.p50) == (3, pytest.approx(1.0 + EAR_S))
    assert "1 of 4 sessions answered where the others did not; it is in no figure." in report.unseen


def test_what_was_not_seen_is_said(tmp_path: Path) -> None:
    """Providers, few sessions, starts without a trace."""
    run = audit_run(tmp_path, *TOKENS)
    sessions = (replace(run.sessions[0], start=None), *run.sessions[1:])
    assert audit_report(replace(run, sessions=sessions)).unseen == (
        "Simulated: LiveKit Inference LLM. Their times are the simulators', not your providers'.",
        "Not simulated: ElevenLabs TTS. Give --real, with ELEVEN_API_KEY set.",
        "p90 of 4 sessions is the slowest of them; --sessions 10 or more say how often that is.",
        "1 of 4 sessions left no trace of the start; the figures have it, the paths do not.",
    )


def test_real_providers_and_what_the_audit_did_are_said(tmp_path: Path) -> None:
    """Who was called with whose keys, and what the run adds."""
    run = audit_run(tmp_path, *TOKENS)
    agent = replace(
        run.agent, simulated=(), real=("OpenAI LLM", "elevenlabs TTS"), not_simulated={}, unseen=("It rained.",)
    )
    assert audit_report(replace(run, agent=agent)).unseen[:2] == (
        "Real: OpenAI LLM, elevenlabs TTS. They were called with the agent's own keys.",
        "It rained.",
    )


def test_json_has_stable_keys(tmp_path: Path) -> None:
    """Those of `critical-chain --json` are the median session's; null is never."""
    document = audit_report(audit_run(tmp_path, *TOKENS, unheard=1), [objective("ttfw.p90<1s")]).as_json()
    assert list(document) == [
        *("trace_id", "root_span_id", "began", "ttfw_s", "duration_us", "method", "path"),
        *("agent", "first_voice", "sessions", "unheard", "heard_s", "floor_s", "times_the_floor", "objectives"),
        *("opportunities", "slowest", "unseen"),
    ]
    assert (document["method"], document["duration_us"]) == ("observed", 900_000)
    assert document["heard_s"] == {"p50": pytest.approx(1.0 + EAR_S), "p90": None, "p99": None, "max": None}
    assert document["objectives"] == [{"objective": "ttfw.p90<1s", "met": False, "sure": False, "value": None}]


def test_a_run_in_which_nothing_was_heard(tmp_path: Path) -> None:
    """Has no path and nothing to do, and the same keys."""
    run = audit_run(tmp_path, *TOKENS, unheard=2)
    nothing = AuditRun(run.agent, run.sessions[-2:], (None, None))
    report = audit_report(nothing, [objective("ttfw.p90<1s")])
    assert (report.median, report.slowest, report.opportunities) == (None, None, ())
    assert report.missed
    assert report.as_json().keys() == audit_report(run).as_json().keys()


def test_starts_that_could_not_be_observed(tmp_path: Path) -> None:
    """Nothing was looked at, which is not nothing found."""
    run = audit_run(tmp_path, *TOKENS)
    guessed = [
        replace(each, start=replace(each.start, method=Method.GUESSED, unobserved="uvloop"))
        for each in run.sessions
        if each.start is not None
    ]
    report = audit_report(replace(run, sessions=tuple(guessed)))
    assert (report.observed, report.opportunities) == (0, ())
    assert report.nothing_found == "no start was observed"
    assert any("4 starts could not be observed: uvloop." in each for each in report.unseen)
