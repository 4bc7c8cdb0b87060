"""Opportunities in how the agent says its first words: who writes them, who speaks them, and what it does before.

A family of the rules of `firstword.tuning.audit.opportunities`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from firstword.telemetry.vocabulary import EVENT_LOOP, LOOP_IS_HELD
from firstword.tuning.audit.facts import FirstVoice
from firstword.tuning.audit.rule import AuditedStart, OpportunityRule, RuleFinding, without
from firstword.tuning.audit.statements import Statement
from firstword.tuning.start import Piece

_WRITING = re.compile(r"LLMStream\.|\._pipeline_reply_task_impl\..*_produce_segments")
_PREPARING = re.compile(r"TTS\.(_ensure_session|_connect_ws|prewarm)")
_SPEAKING = re.compile(r"(SynthesizeStream|ChunkedStream|TTS|StreamAdapterWrapper)\.")
_CONNECTING = re.compile(r"(TTS|LLM|STT|\w*Stream|ConnectionPool|RealtimeSession)\.\w*connect")
_JOINING = re.compile(r"(JobContext|Room)\.connect|connect$")
SPEAKING = ("generate_reply", "say")


def written_by_the_llm(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds a greeting that the language model writes: from the question to the model until the voice is asked.

    Yields nothing for an agent that answers, since it needs the model. A streamed voice may be asked with the first
    words already, and the trace does not tell. So the expected saving counts half of the waits between the model's own
    pieces, the least none, the most all. While the model wrote, the voice may have been connecting in the background.
    What would be left of that is subtracted.
    """
    if start.first_voice is not FirstVoice.GREETS or not (pieces := _written(start)):
        return
    others = [piece for piece in pieces if not _is_writing(piece)]
    played_s = start.chain.played_s()
    most_s = played_s - start.chain.without(pieces)
    others_s = most_s - (played_s - start.chain.without([piece for piece in pieces if piece not in others]))
    saving_s = max(most_s - others_s / 2 - _still_connecting_s(start, pieces[0].start_us), 0.0)
    least_s = max(most_s - others_s - (start.agent.connecting_s or 0.0), 0.0)
    yield RuleFinding(tuple(pieces), saving_s, min(least_s, saving_s), most_s)


def connected_at_first_use(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds the time in which the first word waited until a connection to a provider was made."""
    yield from without(start, start.chain.pieces(_is_connecting))


def session_before_greeting(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds what `session.start` did before an agent that greets said anything.

    Joining the room is left out, since the greeting needs it. So are connecting to providers and the language model's
    writing.
    """
    pieces: list[Piece] = []
    if start.first_voice is not FirstVoice.GREETS:
        return
    for stretch in start.chain.stretches[:-1]:
        if starts_session(stretch.statement):
            pieces += [piece for piece in stretch.pieces if not _JOINING.search(piece.inside or "")]
    written = _written(start)
    yield from without(start, [piece for piece in pieces if piece not in written and not _is_connecting(piece)])


def starts_session(statement: Statement | None) -> bool:
    """Returns whether a statement starts LiveKit's session: by `session.start`, or by any `start` with an argument `room`."""
    if statement is None:
        return False
    return statement.calls_any("session.start") or (statement.calls_any("start") and "room" in statement.keywords)


def _written(start: AuditedStart) -> list[Piece]:
    """What ran in the language model's stream, and the waits behind it until the voice: for the rest of the first sentence."""
    found: list[Piece] = []
    for piece in start.chain.pieces(lambda _: True):
        if found and (_SPEAKING.match(piece.inside or "") or _is_connecting(piece)):
            break
        if _is_writing(piece) or (found and piece.kind not in LOOP_IS_HELD):
            found.append(piece)
    return found


def _is_writing(piece: Piece) -> bool:
    who = piece.held_by if piece.kind == EVENT_LOOP else piece.inside
    return bool(_WRITING.search(who or ""))


def _still_connecting_s(start: AuditedStart, asked_us: int) -> float:
    """How long after an instant (µs) the voice's connection is ready that was begun in the background before it."""
    begun = [
        piece.start_us + piece.duration_us
        for piece in start.chain.pieces(lambda piece: piece.start_us < asked_us)
        if _PREPARING.match(piece.inside or "") or _PREPARING.match(piece.held_by or "")
    ]
    if not begun or start.agent.connecting_s is None:
        return 0.0
    return max(start.agent.connecting_s - max(asked_us - max(begun), 0) / 1e6, 0.0)


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
