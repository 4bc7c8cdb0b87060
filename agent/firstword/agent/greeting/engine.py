"""Finds what speaks in a session (its TTS or its realtime model), reads whose voice it is, and lets it say a text.

Between the session that a user has made and the greeting, which is said and recorded before that session starts.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final, TypeAlias, cast

from livekit import rtc
from livekit.agents import NOT_GIVEN, Agent, AgentSession, llm, tts
from livekit.agents.utils import is_given
from pydantic import BaseModel  # LiveKit brings it

from firstword.agent import livekit_private
from firstword.agent.audio.speaking import spoken
from firstword.agent.greeting.session_recorder import said_by_model

Engine: TypeAlias = "tts.TTS[Any] | llm.RealtimeModel"

_SECRET: Final = ("key", "secret", "token", "credential", "password")
"""An option whose name has one of these is no part of a voice."""
_READABLE: Final = ("livekit.plugins.", "livekit.agents.inference.")
"""Modules of engines that keep all their options in one place: LiveKit's own."""
_HARMLESS: Final = "livekit.agents.tokenize"
"""Objects of these modules cut text; they don't change who speaks."""


class _Unreadable(Exception):
    """An option is an object that says nothing of itself."""


def engine_of(session: AgentSession[Any], agent: Agent) -> Engine | None:
    """Returns what speaks in this session: the TTS, else a realtime model with audio output. None if nothing speaks.

    The agent's own TTS or model comes before the session's.
    """
    own: Any = agent  # the types of its engines are partly unknown
    voice = cast("tts.TTS[Any] | None", own.tts if is_given(own.tts) else session.tts)
    if voice is not None:
        return voice
    model = cast("object", own.llm if is_given(own.llm) else session.llm)
    return model if isinstance(model, llm.RealtimeModel) and model.capabilities.audio_output else None


def speaks_differently(agent: Agent, engine: Engine | None) -> bool:
    """Returns whether the agent overrides the node that makes the engine's audio. Then only its session can say a text
    as it does.

    engine: None if it isn't known yet. Then it may be of either kind.
    """
    nodes = ["tts_node"] if isinstance(engine, tts.TTS) else ["realtime_audio_output_node"]
    if engine is None:
        nodes.append("tts_node")
    return any(getattr(type(agent), node) is not getattr(Agent, node) for node in nodes)


def voice_key(engine: Engine, agent: Agent) -> str | None:
    """Returns the engine's class, provider, model and options as one text: the same for the same voice. None if they
    cannot be read.

    For a realtime model the agent's instructions are part of it, as it speaks by them. Secrets are left out.
    """
    kind = type(engine)
    options = livekit_private.ENGINE_OPTIONS.of(engine)
    if options is None or not kind.__module__.startswith(_READABLE):
        return None
    urls = {name: value for name, value in vars(engine).items() if "url" in name and isinstance(value, str)}
    by = str(agent.instructions) if isinstance(engine, llm.RealtimeModel) else ""
    try:
        parts = [f"{kind.__module__}.{kind.__qualname__}", engine.provider, engine.model, _plain(options), urls, by]
    except _Unreadable:
        return None
    return json.dumps(parts, sort_keys=True)


def said_by(
    engine: Engine, text: str, instructions: str, told: Callable[[str], object], *, patience: float
) -> AsyncIterator[rtc.AudioFrame]:
    """Yields the text's audio as the engine speaks it, frame by frame, mono at `SAMPLE_RATE`.

    Raises what the engine raises, and TimeoutError. instructions: the agent's, for a realtime model. told: called with
    the words that are said, as soon as they are known. patience: seconds that a TTS may make no sound after its first
    frame.
    """
    if isinstance(engine, tts.TTS):
        told(text)
        return spoken(engine, text, patience=patience)
    return said_by_model(engine, text, instructions, told)


def _plain(value: object) -> object:
    """The value as JSON has it, without secrets. Raises _Unreadable."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, type(NOT_GIVEN)):
        return "not given"
    if isinstance(value, Mapping):
        options = cast("Mapping[object, object]", value)
        return {str(name): _plain(each) for name, each in options.items() if not _is_secret(str(name))}
    if isinstance(value, Sequence):
        return [_plain(each) for each in cast("Sequence[object]", value)]
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"))
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if not _is_secret(field.name)}
    kind = type(value)
    if kind.__module__.startswith(_HARMLESS):
        return kind.__qualname__
    raise _Unreadable


def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in _SECRET)
