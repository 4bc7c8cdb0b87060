"""What the shipped worker is made of: STT, LLM, TTS, assistant, tools and account store. A subclass replaces what is its own.

`FIRSTWORD_PARTS` names the subclass. One object serves a process. Where no provider is needed, nothing connects: each
part is made before its first use, and opens its connections then.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from livekit.agents import Agent, inference, llm, stt, tts

from firstword.agent import run_folder
from firstword.agent.accounts.account_store import AccountStore, GuardedStore, StoreError, StoreFailure
from firstword.agent.accounts.model import GENERIC, Account, LastSession, SessionRow
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.audio.provider_http import Judged, ProviderHTTP
from firstword.agent.audio.refusals import Refusals
from firstword.agent.audio.speaker import Speaker
from firstword.agent.audio.synthesis import synthesis
from firstword.agent.conversation.assistant import Assistant
from firstword.agent.conversation.components import Components
from firstword.agent.conversation.tools import SHIPPED_TOOLS, HangUp, MakeTool
from firstword.agent.greeting.engine import Engine, voice_key
from firstword.agent.greeting.engine_speaker import EngineSpeaker
from firstword.agent.settings import PartsError, Settings, variable

if TYPE_CHECKING:
    import aiohttp

__all__ = [
    "Account",
    "AccountStore",
    "Assistant",
    "Engine",
    "HangUp",
    "LastSession",
    "MakeTool",
    "Parts",
    "SessionRow",
    "StoreError",
    "StoreFailure",
]

_REPLACEABLE: Final = ("stt", "llm", "tts", "assistant", "tools", "store")


class Parts:
    """Makes the parts of the shipped worker. Subclass it, and override the methods of the parts that are yours.

    Each method makes a new object each time, and opens no connection. settings: those of the worker.
    """

    def __init__(self, settings: Settings, refusals: Refusals | None = None) -> None:
        self.settings: Final = settings
        self.refusals: Final = Refusals(run_folder.find()) if refusals is None else refusals
        """What providers refused of accounts, in any process of the worker."""

    @classmethod
    def shipped(cls) -> frozenset[str]:
        """Returns the names of the parts that this class does not replace."""
        return frozenset(name for name in _REPLACEABLE if getattr(cls, name) is getattr(Parts, name))

    # --- providers

    def stt(self) -> stt.STT[Any] | None:
        """Makes what listens: by default Deepgram's. None where `llm` is a realtime model."""
        from livekit.plugins import deepgram

        http = ProviderHTTP(Judged("language", "language", _less_special), self.refusals)
        return deepgram.STT(
            model=self.settings.stt_model,
            api_key=self.settings.deepgram_api_key.get_secret_value(),
            base_url=f"{self.settings.deepgram_base_url}/listen",
            http_session=cast("aiohttp.ClientSession", http),
        )

    def llm(self) -> llm.LLM[Any] | llm.RealtimeModel:
        """Makes what answers: by default OpenAI's LLM. A realtime model also listens and speaks, if `stt` and `tts`
        return None.
        """
        from livekit.plugins import openai

        return openai.LLM(
            model=self.settings.llm_model,
            api_key=self.settings.openai_api_key.get_secret_value(),
            base_url=self.settings.openai_base_url,
        )

    def tts(self) -> tts.TTS[Any] | None:
        """Makes what speaks: by default Deepgram's. None where `llm` is a realtime model."""
        return synthesis(self.settings, self.refusals).tts

    def listen_in(self, ear: stt.STT[Any], language: str) -> None:
        """Sets what `stt` made to an account's language (BCP 47: `de-AT`). For an STT of yours it does nothing."""
        if "stt" in self.shipped():
            cast("Any", ear).update_options(language=language)

    def speak_as(self, engine: Engine, voice: str) -> None:
        """Sets what speaks to an account's voice, before it says a greeting; empty: your usual one.

        For an engine of yours it does nothing, so that all accounts have one voice. engine: what `tts` made, else the
        realtime model.
        """

    def voice_key(self, engine: Engine) -> str | None:
        """Returns a name of the voice that `engine` speaks in: the same for the same voice, whatever the process. By it
        greetings are cached.

        By default it is read from class, provider, model and options of LiveKit's own engines. None, as of any other
        engine: greetings are neither cached nor made ahead.
        """
        return voice_key(engine, _GREETER)

    # --- assistant, tools, accounts

    def assistant(self, account: Account, hang_up: HangUp, patience: float | None = None) -> Assistant:
        """Makes the assistant that talks with the caller. It may be asked for that of nobody's account first, which
        `become`s another's.
        """
        return Assistant(account, hang_up, tools=self.tools(), patience=patience)

    def tools(self) -> Mapping[str, MakeTool]:
        """Returns what makes each tool, by the name that accounts list."""
        return SHIPPED_TOOLS

    def store(self) -> AccountStore:
        """Makes the store of accounts, one for each event loop: by default what `FIRSTWORD_STORE_URL` names."""
        return SQLStore(self.settings.store_url.get_secret_value())


class WorkerParts:
    """The parts of a worker as its start, its calls and what runs beside them use them."""

    def __init__(self, settings: Settings, refusals: Refusals | None = None) -> None:
        """Raises PartsError where the setting names no class of parts."""
        self._settings = settings
        self._parts = parts_class(settings)(settings, refusals)
        self._shipped = self._parts.shipped()
        self.assistant: Final = self._parts.assistant
        self.tools: Final = self._parts.tools

    def components(self) -> Components:
        """Makes the components of one session. They open no connection before their first use. Raises PartsError."""
        parts = self._parts
        ear, mind = parts.stt(), parts.llm()
        shipped = synthesis(self._settings, parts.refusals) if "tts" in self._shipped else None
        mouth = parts.tts() if shipped is None else shipped.tts
        return Components(
            stt=ear,
            llm=mind,
            tts=mouth,
            speaker=self._speaker(mouth or mind) if shipped is None else shipped,
            # LiveKit's own build of Silero: its weights are in the forkserver, so that a new one costs nothing
            vad=inference.VAD(model="silero"),
            listen_in=lambda language: None if ear is None else parts.listen_in(ear, language),
            turns_end_by=None if ear is None else "stt" if "stt" in self._shipped else "vad",
        )

    def speaker(self) -> Speaker:
        """Makes what says greetings ahead of calls, with an engine of its own. Raises PartsError."""
        if "tts" in self._shipped:
            return synthesis(self._settings, self._parts.refusals)
        return self._speaker(self._parts.tts() or self._parts.llm())

    def store(self) -> AccountStore:
        """Makes the store of accounts for this event loop. Each failure of it is a StoreError."""
        made = self._parts.store()
        return made if type(made) is SQLStore else GuardedStore(made)

    def _speaker(self, engine: object) -> Speaker:
        if not isinstance(engine, tts.TTS | llm.RealtimeModel):
            raise _wrong(self._settings, "nothing speaks: `tts` made none, and `llm` no realtime model")
        speaks = cast("Engine", engine)
        return EngineSpeaker(speaks, self._parts.voice_key, self._parts.speak_as, GENERIC.instructions)


def parts_class(settings: Settings) -> type[Parts]:
    """Returns the class that the setting names, or the shipped one. Raises PartsError."""
    if settings.parts is None:
        return Parts
    named: object = pkgutil.resolve_name(settings.parts)  # the settings have tried it
    if not isinstance(named, type) or not issubclass(named, Parts):
        raise _wrong(settings, "it is no subclass of firstword.agent.parts.Parts")
    return named


def import_plugins(settings: Settings) -> None:
    """Imports the plugins of the parts, for what is forked from this process. Call it on the main thread.

    Those of a user's own parts are imported with the module that is named.
    """
    shipped = parts_class(settings).shipped()
    if shipped & {"stt", "tts"}:
        importlib.import_module("livekit.plugins.deepgram")
    if "llm" in shipped:
        importlib.import_module("livekit.plugins.openai")


def check_parts(settings: Settings) -> None:
    """Makes each part once, where some are a user's own, and drops it: what can't be made is known before a caller waits.

    Raises PartsError with one line. Opens no connection.
    """
    if settings.parts is None:
        return
    parts = parts_class(settings)(settings, Refusals(None))
    kinds: dict[str, tuple[type[Any], ...]] = {
        "stt": (stt.STT, type(None)),
        "llm": (llm.LLM, llm.RealtimeModel),
        "tts": (tts.TTS, type(None)),
        "assistant": (Assistant,),
        "tools": (Mapping,),
        "store": (AccountStore,),
    }
    made: dict[str, object] = {}
    for name, kind in kinds.items():
        if name in parts.shipped():
            continue
        try:
            made[name] = parts.assistant(GENERIC, _no_end) if name == "assistant" else getattr(parts, name)()
        except Exception as error:
            raise _wrong(settings, f"`{name}` raised {type(error).__name__}: {error}") from None
        if not isinstance(made[name], kind):
            expected = " or ".join("None" if each is type(None) else each.__name__ for each in kind)
            raise _wrong(settings, f"`{name}` made {type(made[name]).__name__}, expected {expected}")
    if "tts" in made and made["tts"] is None and not isinstance(made.get("llm"), llm.RealtimeModel):
        raise _wrong(settings, "nothing speaks: `tts` made none, and `llm` no realtime model")
    if "stt" in made and made["stt"] is None and not isinstance(made.get("llm"), llm.RealtimeModel):
        raise _wrong(settings, "nothing listens: `stt` made none, and `llm` no realtime model")
    if settings.greeting_writer == "llm" and isinstance(made.get("llm"), llm.RealtimeModel):
        raise _wrong(settings, f"a realtime model writes no text, and {variable('greeting_writer')} is llm")


def _no_end() -> None: ...


def _wrong(settings: Settings, cause: str) -> PartsError:
    return PartsError(f"{variable('parts')} is {settings.parts!r}; expected `module:class`; possible cause: {cause}")


def _less_special(language: str) -> tuple[str, ...]:
    """What to listen in where a language (BCP 47) is refused: `de` for `de-AT`, then that of callers whom nobody knows."""
    return language.partition("-")[0], GENERIC.language


_GREETER: Final = Agent(instructions=GENERIC.instructions)
"""By whose instructions a realtime model says a greeting, whoever's account it is of: they are part of its voice."""
