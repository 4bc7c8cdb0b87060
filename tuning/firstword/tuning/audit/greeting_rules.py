"""Opportunities in how the agent says its first words: who writes them, who speaks them, and what it does before.

A family of the rules of `firstword.tuning.audit.opportunities`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from firstword.telemetry.vocabulary import COMPUTING, EVENT_LOOP
from firstword.tuning.audit.facts import FirstVoice
from firstword.tuning.audit.rule import AuditedStart, OpportunityRule, RuleFinding, without
from firstword.tuning.start import Piece

_WRITING = re.compile(r"LLMStream\.")
_SPEAKING = re.compile(r"(SynthesizeStream|ChunkedStream|TTS|StreamAdapterWrapper)\.")
_CONNECTING = re.compile(r"(TTS|LLM|STT|\w*Stream|ConnectionPool|RealtimeSession)\.\w*connect")
_JOINING = re.compile(r"(JobContext|Room)\.connect|connect$")
_STARTING = ("session.start", "AgentSession.start")
SPEAKING = ("generate_reply", "say")


def written_by_the_llm(start: AuditedStart) -> Iterator[RuleFinding]:
    """All from the question to the language model until the voice is asked; an agent that answers needs it."""
    if start.first_voice is FirstVoice.GREETS:
        yield from without(start, _written(start))


def connected_at_first_use(start: AuditedStart) -> Iterator[RuleFinding]:
    """The making of a connection to a provider that the first word waited for."""
    yield from without(start, start.chain.pieces(_is_connecting))


def session_before_greeting(start: AuditedStart) -> Iterator[RuleFinding]:
    """What `session.start` did before anything was said, but for joining the room, which the greeting needs."""
    pieces: list[Piece] = []
    if start.first_voice is not FirstVoice.GREETS:
        return
    for stretch in start.chain.stretches[:-1]:
        if stretch.statement is not None and stretch.statement.calls_any(*_STARTING):
            pieces += [piece for piece in stretch.pieces if not _JOINING.search(piece.inside or "")]
    written = _written(start)
    yield from without(start, [piece for piece in pieces if piece not in written and not _is_connecting(piece)])


def _written(start: AuditedStart) -> list[Piece]:
    """What ran in the language model's stream, and the waits behind it until the voice: for the rest of the first sentence."""
    found: list[Piece] = []
    for piece in start.chain.pieces(lambda _: True):
        inside = piece.inside or ""
        if found and (_SPEAKING.match(inside) or _is_connecting(piece)):
            break
        if _WRITING.match(inside) or (found and piece.kind not in (COMPUTING, EVENT_LOOP)):
            found.append(piece)
    return found


def _is_connecting(piece: Piece) -> bool:
    return bool(_CONNECTING.match(piece.inside or ""))


RULES = (
    OpportunityRule(
        name="greeting-written-by-llm",
        title="Let no language model write the greeting",
        why="The first sentence is asked of the language model while the caller waits, and speech begins only after it.",
        how="Say a text of your own. It may name the caller, and the model knows afterwards what was said.",
        code='await session.say("Hello, how can I help you?")  # in place of generate_reply',
        link="https://docs.livekit.io/agents/multimodality/audio/",
        find=written_by_the_llm,
    ),
    OpportunityRule(
        name="provider-connected-at-first-use",
        title="Connect to the provider before its first use",
        why="The connection is made when the first words are already due.",
        how="Open it while the room connects: `prewarm` does that for LiveKit's plugins, before `ctx.connect`.",
        code="tts = ...\ntts.prewarm()  # opens the connection in the background\nawait ctx.connect()",
        link="https://docs.livekit.io/agents/models/tts/",
        find=connected_at_first_use,
    ),
    OpportunityRule(
        name="session-started-before-greeting",
        title="Speak before the session is up",
        why="Nothing is said until `session.start` is done, and the greeting needs little of it.",
        how="firstword's `speak_first` publishes the voice, says the greeting, and starts the session after it "
        "(docs/speak-first.md).",
        code=(
            "from firstword.agent import speak_first\n\n"
            "# in place of ctx.connect(), session.start(...) and session.say(...)\n"
            'await speak_first(ctx, session, agent=agent, greeting="Hello, how can I help you?")'
        ),
        link="https://docs.livekit.io/agents/multimodality/audio/",
        find=session_before_greeting,
    ),
)
