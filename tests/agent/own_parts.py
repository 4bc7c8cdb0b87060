"""Parts of a user's own, as `FIRSTWORD_PARTS` names them: fakes of known delays, and what can be wrong with parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

from livekit.agents import function_tool, llm

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.audio.refusals import Refusals
from firstword.agent.parts import (
    Account,
    AccountStore,
    Assistant,
    Engine,
    HangUp,
    LastSession,
    MakeTool,
    Parts,
    SessionRow,
)
from firstword.agent.settings import Settings
from firstword.agent.testing.providers import FakeLLM, FakeSTT, FakeTTS
from firstword.agent.testing.realtime import FakeRealtimeModel

HOUSE_RULE = "Never say never."
ADA = replace(ACCOUNTS[0], tools=("end_call", "wish"))
made: list[object] = []
"""What the parts made last, for the tests to look into."""


def wish(account: Account, hang_up: HangUp) -> llm.Tool:
    @function_tool(name="wish", description="Wish for something.")
    async def wished() -> str:
        return f"granted, {account.name}"

    return wished


class Concierge(Assistant):
    """An assistant with a rule of its own."""

    def told(self, account: Account, last: LastSession | None) -> str:
        return f"{super().told(account, last)} {HOUSE_RULE}"


class Listed(AccountStore):
    """Ada, in a list."""

    def __init__(self) -> None:
        self.rows: list[SessionRow] = []

    async def account(self, id: str) -> Account | None:
        return ADA if id == ADA.id else None

    async def ids(self) -> AsyncIterator[Sequence[str]]:
        yield [ADA.id]

    async def common(self, limit: int) -> Sequence[str]:
        return [ADA.id]

    async def tools(self) -> set[str]:
        return {"wish", "end_call"}

    async def record_session(self, session: SessionRow) -> None:
        self.rows.append(session)


class Everything(Parts):
    """Each part is another."""

    def __init__(self, settings: Settings, refusals: Refusals | None = None) -> None:
        super().__init__(settings, refusals)
        self.voices: WeakKeyDictionary[Engine, str] = WeakKeyDictionary()

    def stt(self) -> FakeSTT:
        return FakeSTT()

    def llm(self) -> FakeLLM:
        return FakeLLM()

    def tts(self) -> FakeTTS:
        made.append(tts := FakeTTS())
        return tts

    def speak_as(self, engine: Engine, voice: str) -> None:
        self.voices[engine] = voice

    def voice_key(self, engine: Engine) -> str | None:
        return f"fake {self.voices.get(engine)}"

    def assistant(self, account: Account, hang_up: HangUp, patience: float | None = None) -> Concierge:
        made.append(concierge := Concierge(account, hang_up, tools=self.tools(), patience=patience))
        return concierge

    def tools(self) -> Mapping[str, MakeTool]:
        return {**super().tools(), "wish": wish}

    def store(self) -> Listed:
        made.append(listed := Listed())
        return listed


class Nameless(Everything):
    """Nobody can tell whose voice it is."""

    def voice_key(self, engine: Engine) -> None:
        return None


class Realtime(Everything):
    """One model in place of the three."""

    def stt(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # it replaces a fake
        return None

    def llm(self) -> FakeRealtimeModel:  # pyright: ignore[reportIncompatibleMethodOverride]  # likewise
        made.append(model := FakeRealtimeModel())
        return model

    def tts(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # likewise
        return None


class Mute(Parts):
    def tts(self) -> None:
        return None


class Deaf(Parts):
    def stt(self) -> None:
        return None


class Keyless(Parts):
    def tts(self) -> FakeTTS:
        raise ValueError("a key is required")


class Odd(Parts):
    def store(self) -> AccountStore:
        return {}  # pyright: ignore[reportReturnType]  # what the test is about


class NoParts:
    """No subclass of Parts."""


class Lame(Listed):
    """A store whose every read goes wrong, in a way of its own, with an account's name in it."""

    async def account(self, id: str) -> Account | None:
        raise KeyError("Ada Whitfield")

    async def common(self, limit: int) -> Sequence[str]:
        raise ConnectionResetError("Ada Whitfield")

    async def resumption(self, id: str) -> LastSession | None:
        return {"summary": "Ada Whitfield"}  # pyright: ignore[reportReturnType]  # likewise

    async def ids(self) -> AsyncIterator[Sequence[str]]:
        yield [ADA.id]
        raise RuntimeError("Ada Whitfield")
