"""Opportunities in how the agent says its first words: who writes them, who speaks them, and what it does before.

A family of the rules of `firstword.tuning.audit.opportunities`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from firstword.telemetry.vocabulary import EVENT_LOOP, LOOP_IS_HELD
from firstword.tuning.audit.facts import FirstVoice
from firstword.tuning.audit.played import ObservedChain
from firstword.tuning.audit.rule import LEAST_S, AuditedStart, OpportunityRule, RuleFinding, found, without
from firstword.tuning.audit.statements import Statement
from firstword.tuning.start import Piece

_WRITING = re.compile(r"LLMStream\.|\._pipeline_reply_task_impl\..*_produce_segments")
_SPEAKING = re.compile(r"(SynthesizeStream|ChunkedStream|TTS|StreamAdapterWrapper)\.")
_CONNECTING = re.compile(r"(TTS|LLM|STT|\w*Stream|ConnectionPool|RealtimeSession)\.\w*connect")
_MAKING = re.compile(
    r"(TTS|LLM|STT|\w*Stream|ConnectionPool|RealtimeSession)\.(_ensure_session|prewarm)|ClientSession\._ws_connect"
    r"|BaseSelectorEventLoop\.sock_connect|BaseEventLoop\._?create_connection"
)
"""What belongs to connecting, as the plugin's session of HTTP, which is slow where it reads certificates."""
_JOINING = re.compile(r"(JobContext|Room)\.connect|connect$")
CONNECT = ("ctx.connect", "job.connect", "context.connect", "room.connect")
SPEAKING = ("generate_reply", "say")
WAIT = ("wait_for_participant",)
NEEDS_THE_ROOM = (*SPEAKING, *WAIT)


def written_by_the_llm(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds a greeting that the language model writes: from the question to the model until the voice is asked.

    Yields nothing for an agent that answers, since it needs the model. While the model wrote, the voice may have been
    connecting in the background. What would be left of that is still waited for.
    """
    if start.first_voice is FirstVoice.GREETS:
        yield from without(start, _written(start))


def connected_at_first_use(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds connections to providers that were made on the path, and yields one finding for all that were made.

    Each is begun before the agent's first line instead, beside what the path waits for then, and is there when it is
    needed. A connection that the first word's last wait is part of cannot be told from its use, and is left out.
    """
    made = _made(start)
    if made:
        saved_s = sum(start.chain.played_s() - start.chain.ahead(pieces) for pieces in made)
        yield found([piece for pieces in made for piece in pieces], saved_s)


def session_before_greeting(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds what `session.start` did before an agent that greets said anything.

    Joining the room is left out, since the greeting needs it. So are connecting to providers and the language model's
    writing. But the room is joined beside them then, where the agent joins it by a line of its own.
    """
    pieces: list[Piece] = []
    if start.first_voice is not FirstVoice.GREETS:
        return
    chain = start.chain
    for stretch in chain.stretches[:-1]:
        if starts_session(stretch.statement):
            pieces += [piece for piece in stretch.pieces if not _JOINING.search(piece.inside or "")]
    others = {piece.span_id for piece in (*_written(start), *(piece for made in _made(start) for piece in made))}
    pieces = [piece for piece in pieces if piece.span_id not in others]
    joining = _first_that_calls(chain, CONNECT)
    for finding in without(start, pieces):
        last = len(chain.stretches) - 1
        if finding.saving_s < LEAST_S / 2 or joining is None or joining == last:
            yield finding
            continue
        needed = _first_that_calls(chain, NEEDS_THE_ROOM, joining + 1) or last
        before = joining - 1 if joining else None
        yield found(pieces, chain.played_s() - chain.beside(joining, before, needed, gone=pieces))


def starts_session(statement: Statement | None) -> bool:
    """Returns whether a statement starts LiveKit's session: by `session.start`, or by any `start` with an argument `room`."""
    if statement is None:
        return False
    return statement.calls_any("session.start") or (statement.calls_any("start") and "room" in statement.keywords)


def is_connecting(piece: Piece) -> bool:
    """Returns whether a piece is of making a connection to a provider."""
    return bool(_CONNECTING.match(piece.inside or ""))


def _first_that_calls(chain: ObservedChain, names: tuple[str, ...], since: int = 0) -> int | None:
    """The index of the first stretch, from `since` on, whose statement calls one of these; None for none."""
    for i, stretch in enumerate(chain.stretches[since:], since):
        if stretch.statement is not None and stretch.statement.calls_any(*names):
            return i
    return None


def _written(start: AuditedStart) -> list[Piece]:
    """What ran in the language model's stream, and the waits behind it until the voice: for the rest of the first sentence."""
    found: list[Piece] = []
    for piece in start.chain.all_pieces:
        waits = piece.kind not in LOOP_IS_HELD
        if found and waits and (_SPEAKING.match(piece.inside or "") or is_connecting(piece)):
            break
        if _is_writing(piece) or (found and waits):
            found.append(piece)
    return found


def _made(start: AuditedStart) -> list[list[Piece]]:
    """The pieces of each connection that was made on the path: from what begins it to the provider's answer."""
    made: list[list[Piece]] = []
    here: list[Piece] = []
    for piece in start.chain.all_pieces[:-1]:
        belongs = is_connecting(piece) or bool(_MAKING.match(piece.inside or ""))
        if belongs or (here and piece.kind in LOOP_IS_HELD):
            here.append(piece)
            continue
        made.append(here)
        here = []
    made.append(here)
    return [pieces for each in made if (pieces := _until_answered(each))]


def _until_answered(pieces: list[Piece]) -> list[Piece]:
    """Without what follows the last answer; nothing where there is none."""
    answers = [i for i, piece in enumerate(pieces) if piece.kind not in LOOP_IS_HELD and is_connecting(piece)]
    return pieces[: answers[-1] + 1] if answers else []


def _is_writing(piece: Piece) -> bool:
    who = piece.held_by if piece.kind == EVENT_LOOP else piece.inside
    return bool(_WRITING.search(who or ""))


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
            "# in place of ctx.connect(), session.start(...) and session.say(...); new_session() returns the session,\n"
            "# and is called while the room connects\n"
            'await speak_first(ctx, new_session, agent=agent, greeting="Hello, how can I help you?")'
        ),
        link="https://docs.livekit.io/agents/multimodality/audio/",
        find=session_before_greeting,
    ),
)
