"""The shipped worker with parts of your own: each class here is a value of `FIRSTWORD_PARTS`.

    PYTHONPATH=examples FIRSTWORD_PARTS=own_parts:OtherVoice python -P -m livekit.agents start agent/worker.py

docs/own-parts.md says what can be replaced. A class may replace more than one part; these replace one thing each.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar

import aiohttp
from livekit.agents import function_tool, inference, llm
from livekit.plugins import cartesia, openai

from firstword.agent.parts import Account, AccountStore, Engine, HangUp, MakeTool, Parts


class OtherVoice(Parts):
    """Cartesia speaks, in a voice that accounts name. Greetings are cached by it, as by Deepgram's."""

    VOICES: ClassVar = {"warm": "f786b574-daa5-4673-aa0c-cbe3e8534c02", "brisk": "694f9389-aac1-45b6-b726-9d9369183238"}

    def tts(self) -> cartesia.TTS:
        return cartesia.TTS(base_url=os.environ.get("CARTESIA_BASE_URL", "https://api.cartesia.ai"))

    def speak_as(self, engine: Engine, voice: str) -> None:
        assert isinstance(engine, cartesia.TTS)
        engine.update_options(voice=self.VOICES.get(voice, self.VOICES["warm"]))


class LiveKitInference(Parts):
    """LiveKit's own gateway for all three: the worker needs no key but LiveKit's."""

    def stt(self) -> inference.STT:
        return inference.STT("deepgram/nova-3")

    def llm(self) -> inference.LLM:
        return inference.LLM("openai/gpt-4.1-mini")

    def tts(self) -> inference.TTS:
        return inference.TTS("cartesia/sonic-3")

    def listen_in(self, ear: object, language: str) -> None:
        assert isinstance(ear, inference.STT)
        ear.update_options(language=language)


class RealtimeModel(Parts):
    """One model listens, thinks and speaks. It says the greeting ahead of calls, in a session without a room."""

    def stt(self) -> None:
        return None

    def llm(self) -> openai.realtime.RealtimeModel:
        return openai.realtime.RealtimeModel(voice="marin")

    def tts(self) -> None:
        return None


class OwnTool(Parts):
    """One tool more, which an account may list beside those that ship."""

    def tools(self) -> Mapping[str, MakeTool]:
        return {**super().tools(), "opening_hours": opening_hours}


def opening_hours(account: Account, hang_up: HangUp) -> llm.Tool:
    @function_tool(name="opening_hours", description="When we are open.")
    async def told() -> str:
        return "From nine to five."

    return told


class OwnAccounts(Parts):
    """Accounts are somebody else's, read by HTTP."""

    def store(self) -> "CustomerService":
        return CustomerService(os.environ["CUSTOMERS_URL"])


class CustomerService(AccountStore):
    """`GET /customers` is a list of ids, `GET /customers/ID` an account. Errors and late answers are the worker's matter."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http: aiohttp.ClientSession | None = None

    async def account(self, id: str) -> Account | None:
        async with self._session().get(f"{self._url}/customers/{id}") as answer:
            if answer.status == 404:
                return None
            answer.raise_for_status()
            found = await answer.json()
        return Account(
            id=id,
            name=found["name"],
            language=found["language"],
            time_zone=found["time_zone"],
            voice="",
            greeting="{salutation}, {name}. How can I help you today?",
            instructions="Answer in one or two short spoken sentences.",
            tools=("look_up", "end_call"),
            knowledge=tuple(found["notes"]),
        )

    async def ids(self) -> AsyncIterator[Sequence[str]]:
        async with self._session().get(f"{self._url}/customers") as answer:
            answer.raise_for_status()
            yield await answer.json()

    async def common(self, limit: int) -> Sequence[str]:
        async for ids in self.ids():
            return ids[:limit]
        return ()

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession()
        return self._http
