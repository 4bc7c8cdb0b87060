"""Runs of an audit, written by hand: what the tests of its report, page and lines read."""

from __future__ import annotations

from pathlib import Path

from firstword.telemetry import vocabulary as words
from firstword.tuning.audit.facts import AgentFacts, AuditedSession, AuditRun, FirstVoice
from firstword.tuning.files import Files
from firstword.tuning.sources import Query
from firstword.tuning.start import RecordedStart, start_of
from tests.tuning.observed import Stretch, line, observed_start
from tests.tuning.written import no_problem

SOURCE = """\
from livekit.agents import Agent, AgentSession


async def entrypoint(ctx):
    await ctx.connect(single_peer_connection=True)
    account = await read_account("<b>&")
    session = AgentSession()
    await session.start(Agent(instructions=account), room=ctx.room)
    await session.generate_reply(instructions="Greet.")
"""
EAR_S = 0.05


def greeting(token_ms: int) -> tuple[Stretch, ...]:
    """The agent's start after the room is connected: 320 ms, and the language model's `token_ms` until its first token."""
    return (
        ("entrypoint", 120, line(words.NETWORK, 6)),
        ("entrypoint", token_ms, line(words.NETWORK, 9, **{words.INSIDE: "LLMStream._run"})),
        ("entrypoint", 100, line(words.NETWORK, 9, **{words.INSIDE: "BufferedTokenStream.__anext__"})),
        ("entrypoint", 100, line(words.NETWORK, 9, **{words.INSIDE: "SynthesizeStream._run.<locals>._recv_task"})),
    )


def starts(folder: Path, *greetings: tuple[Stretch, ...], beside: str = "") -> list[RecordedStart]:
    """Starts of the agent that differ in what comes after the room, and its file in `folder`. beside: as the root tells of it."""
    (traces := folder / "traces").mkdir(parents=True)
    (folder / "my_agent.py").write_text(SOURCE)
    connect: tuple[Stretch, ...] = (("dispatch", 100, {}), ("entrypoint", 80, line(words.NETWORK, 5)))
    (traces / "starts.jsonl").write_text(
        "".join(
            observed_start(i, connect=connect, greet=greet, root={words.BESIDE: beside})
            for i, greet in enumerate(greetings, 1)
        )
    )
    found = [start_of(trace) for trace in Files(traces).traces(Query(), no_problem)]
    return sorted(found, key=lambda start: start.trace_id)


def audited_session(folder: Path, greet: tuple[Stretch, ...], beside: str = "") -> AuditedSession:
    """One session of the agent."""
    (start,) = starts(folder, greet, beside=beside)
    return AuditedSession((start.ttfw_s or 0.0) + EAR_S, start=start)


def facts_of(folder: Path) -> AgentFacts:
    """Of the agent in a folder."""
    return AgentFacts(
        folder / "my_agent.py",
        "3.11.7",
        "1.8.9",
        idle_processes=2,
        simulated=("LiveKit Inference LLM",),
        not_simulated={"ElevenLabs TTS": "Give --real, with ELEVEN_API_KEY set."},
    )


def audit_run(folder: Path, *tokens_ms: int, unheard: int = 0, voice: FirstVoice = FirstVoice.GREETS) -> AuditRun:
    """An audit of the agent, a session for each time that its language model took. unheard: so many callers more heard nothing."""
    found = starts(folder, *map(greeting, tokens_ms))
    sessions = [AuditedSession((start.ttfw_s or 0.0) + EAR_S, voice, start=start) for start in found]
    sessions += [AuditedSession(None, silence="no frame within 20 s")] * unheard
    return AuditRun(facts_of(folder), tuple(sessions), (0.3,) * len(sessions))
