"""Calls of `speak_first` on virtual time: an entrypoint with engines of its own, and what became of it."""

from __future__ import annotations

from typing import Any, cast

from livekit.agents import Agent, AgentSession, JobContext, llm
from livekit.agents.voice.speech_handle import SpeechHandle

from firstword.agent import speak_first
from firstword.agent.testing import GreetedCall
from firstword.agent.testing.providers import FakeLLM, FakeSTT, FakeTTS, FakeVAD

HELLO = "Hello, how can I help you?"
VOICE = "a fake voice"


class Kind(Agent):
    """An agent that says nothing by itself."""

    def __init__(self) -> None:
        super().__init__(instructions="Be kind.")


class Conversation:
    """An entrypoint that speaks first, and what became of it."""

    def __init__(self, **options: Any) -> None:
        self.tts, self.stt, self.llm = FakeTTS(), FakeSTT(), FakeLLM()
        self.options: dict[str, Any] = {"greeting": HELLO, "cache_key": VOICE, **options}
        self.handle: SpeechHandle | None = None
        self.session: AgentSession[None] = cast("AgentSession[None]", None)
        self.returned = False

    def new_session(self) -> AgentSession[None]:
        return AgentSession[None](
            stt=self.stt,
            llm=self.llm,
            tts=self.tts,
            vad=FakeVAD(),
            turn_handling={"turn_detection": "stt"},
            aec_warmup_duration=0,
        )

    def given(self) -> Any:
        """What `speak_first` is given as the session."""
        return self.session

    async def before(self, job: JobContext, session: AgentSession[None]) -> None:
        """What the agent does before it speaks."""

    async def __call__(self, job: JobContext) -> None:
        self.session = self.new_session()
        await self.before(job, self.session)
        options: dict[str, Any] = {"agent": Kind(), **self.options}
        self.handle = await speak_first(job, self.given(), **options)
        self.returned = True

    @property
    def said(self) -> list[str]:
        """What the chat context says that the assistant has said."""
        items = [item for item in self.session.history.items if isinstance(item, llm.ChatMessage)]
        return [item.text_content or "" for item in items if item.role == "assistant"]


def attributes(call: GreetedCall) -> dict[str, Any]:
    return dict(call.root.attributes or {})


def events(call: GreetedCall) -> dict[str, Any]:
    """Those of the start, by name, with their reason."""
    return {event.name: (event.attributes or {}).get("reason") for event in call.root.events}
