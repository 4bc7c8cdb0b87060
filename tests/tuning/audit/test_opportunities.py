"""The rules of an audit, each on a small agent that has its fault and no other, and what they predict against what the mended agent takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from firstword.telemetry.vocabulary import OFFER
from firstword.tuning.audit.facts import AgentFacts, FirstVoice, ImportTime
from firstword.tuning.audit.opportunities import RULES, Opportunity, opportunities
from firstword.tuning.audit.played import observed_chain
from firstword.tuning.audit.rule import AuditedStart
from firstword.tuning.audit.statements import AgentSource
from firstword.tuning.source_text import SourceText
from firstword.tuning.start import RecordedStart
from tests.tuning.audit.agents import Studio
from tests.tuning.audit.faulty_agents import AGENTS, SOUND, FaultyAgent

EAR_S = 0.05
"""From the first frame to the caller's ear."""


def audited(
    start: RecordedStart, folder: Path, agent: FaultyAgent | None = None, voice: FirstVoice = FirstVoice.GREETS
) -> AuditedStart:
    """The start as the rules look at it."""
    chain = observed_chain(start, AgentSource(SourceText(folder), "my_agent.py"))
    assert chain is not None
    assert start.ttfw_s is not None
    livekits = ImportTime("livekit.agents", 0.1)
    imports = (ImportTime("heavy", agent.imports_s), livekits) if agent is not None and agent.imports_s else (livekits,)
    idle = None if agent is None else agent.idle_processes
    facts = AgentFacts(folder / "my_agent.py", "3.11", "1.8.9", idle_processes=idle, imports=imports)
    return AuditedStart(chain, voice, facts, start.ttfw_s + EAR_S, 0.3)


def found(agent: FaultyAgent, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Opportunity, ...]:
    start = Studio(folder, monkeypatch).start(agent.source, dispatch=agent.dispatch)
    return opportunities([audited(start, folder, agent)])


@pytest.mark.parametrize("name", AGENTS)
def test_a_rule_finds_its_own_fault(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no other rule finds anything; what it saves is what the agent's construction says."""
    agent = AGENTS[name]
    (only,) = found(agent, tmp_path, monkeypatch)
    assert only.rule.name == agent.rule
    assert only.saving_s == pytest.approx(agent.saving_s, abs=0.002)
    assert only.saving_range is None
    assert only.evidence


@pytest.mark.parametrize("name", AGENTS)
def test_an_unchanged_chain_takes_what_the_start_took(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the microsecond that the trace leaves between pieces."""
    start = Studio(tmp_path, monkeypatch).start(AGENTS[name].source, dispatch=AGENTS[name].dispatch)
    chain = audited(start, tmp_path).chain
    assert chain.played_s() == pytest.approx(start.ttfw_s, abs=len(start.path) * 2e-6)
    assert chain.without(()) == chain.played_s()


def test_every_rule_has_an_agent() -> None:
    assert {agent.rule for agent in AGENTS.values()} == {rule.name for rule in RULES}


@pytest.mark.parametrize("dispatch", [None, {OFFER: 0.05}])
def test_a_sound_agent_is_offered_nothing(
    dispatch: dict[str, float] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Studio(tmp_path, monkeypatch).start(SOUND, dispatch=dispatch)
    assert opportunities([audited(start, tmp_path)]) == ()


def test_a_session_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is LiveKit's all the same, and no read of the agent's own."""
    agent = AGENTS["session started before the greeting"]
    named = agent._replace(source=agent.source.replace("session", "voice"))
    (only,) = found(named, tmp_path, monkeypatch)
    assert only.rule.name == agent.rule


def test_a_room_is_joined_beside_what_the_session_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the agent that speaks before its session is up: 0.15 s of the session's start, and 0.02 s of its making."""
    agent = AGENTS["session started before the greeting"]
    made_late = agent._replace(source=agent.source.replace("    session =", "    hold(0.02)\n    session ="))
    saved = {each.rule.name: each.saving_s for each in found(made_late, tmp_path, monkeypatch)}
    assert saved[agent.rule] == pytest.approx(0.17, abs=0.002)


def test_a_room_that_is_joined_last_is_beside_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session's start is all that is saved."""
    agent = AGENTS["session started before the greeting"]
    start = audited(Studio(tmp_path, monkeypatch).start(agent.source), tmp_path, agent)
    joins, starts, *_ = start.chain.stretches
    joined_last = replace(start, chain=replace(start.chain, stretches=(starts, joins)))
    saved = {each.rule.name: each.saving_s for each in opportunities([joined_last])}
    assert saved[agent.rule] == pytest.approx(0.15, abs=0.002)


def test_a_prediction_is_never_sure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts that take alike to the microsecond leave what predictions are off by."""
    agent = AGENTS["VAD loaded in the entrypoint"]
    start = audited(Studio(tmp_path, monkeypatch).start(agent.source), tmp_path, agent)
    (only,) = opportunities([start] * 10)
    assert only.saving_s is not None
    assert only.saving_range is not None
    assert only.saving_range.low < only.saving_s - 0.04
    assert only.saving_range.high > only.saving_s + 0.04


@pytest.mark.parametrize("name", [name for name, agent in AGENTS.items() if agent.after])
def test_the_mended_agent_saves_what_was_predicted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are run: the difference is the prediction."""
    agent = AGENTS[name]
    starts: list[RecordedStart] = []
    for version, source in (("before", agent.source), ("after", agent.after)):
        (folder := tmp_path / version).mkdir()
        starts.append(Studio(folder, monkeypatch).start(source, dispatch=agent.dispatch))
    before, after = starts
    (only,) = opportunities([audited(before, tmp_path / "before", agent)])
    assert before.ttfw_s is not None
    assert after.ttfw_s is not None
    assert before.ttfw_s - after.ttfw_s == pytest.approx(only.saving_s, abs=0.002)
