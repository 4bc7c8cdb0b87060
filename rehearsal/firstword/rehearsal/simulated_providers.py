"""Lists the providers an audited agent can use without a key: their classes, their names, and how each is led to its
simulator.

Beside `providers`, which speaks their protocols. Addresses are those of `ProviderAddresses`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

SIMULATED: Mapping[str, str] = MappingProxyType(
    {
        "livekit.agents.inference.llm.LLM": "LiveKit Inference LLM",
        "livekit.agents.inference.stt.STT": "LiveKit Inference STT",
        "livekit.agents.inference.tts.TTS": "LiveKit Inference TTS",
        "livekit.agents.inference.realtime.openai.RealtimeModel": "LiveKit Inference Realtime",
        "livekit.plugins.openai.llm.LLM": "OpenAI LLM",
        "livekit.plugins.openai.responses.llm.LLM": "OpenAI Responses LLM",
        "livekit.plugins.openai.stt.STT": "OpenAI STT",
        "livekit.plugins.openai.tts.TTS": "OpenAI TTS",
        "livekit.plugins.openai.realtime.realtime_model.RealtimeModel": "OpenAI Realtime",
        "livekit.plugins.deepgram.stt.STT": "Deepgram STT",
        "livekit.plugins.deepgram.stt_v2.STTv2": "Deepgram Flux STT",
        "livekit.plugins.deepgram.tts.TTS": "Deepgram TTS",
        "livekit.plugins.cartesia.stt.STT": "Cartesia STT",
        "livekit.plugins.cartesia.tts.TTS": "Cartesia TTS",
    }
)
"""Class of a provider's plugin, with its module -> what people call it."""
_KEYS = ("CARTESIA_API_KEY", "DEEPGRAM_API_KEY", "OPENAI_API_KEY")
_NO_KEY = "simulated"
"""What stands in for a key that is missing: the plugins want one, the simulators take any."""


def variables(addresses: Mapping[str, str], shell: Iterable[str]) -> dict[str, str]:
    """Returns the environment variables that lead plugins to the simulators, and stand in for missing keys. A key in the shell is kept."""
    keys = {name: _NO_KEY for name in _KEYS if name not in shell}
    return {
        "LIVEKIT_INFERENCE_URL": addresses["inference"],
        "OPENAI_BASE_URL": addresses["openai"],
        "OPENAI_API_BASE": addresses["openai"],  # which clients of others read, as that of LlamaIndex
        **keys,
    }


def defaults(addresses: Mapping[str, str]) -> dict[str, str]:
    """Returns class of a plugin -> address of its simulator, for classes that take it as an argument only.

    An empty address: the class reads it from the environment, and only an address that the agent gives is checked.
    """
    return {
        "livekit.plugins.openai.llm.LLM": "",
        "livekit.plugins.openai.responses.llm.LLM": "",
        "livekit.plugins.openai.stt.STT": "",
        "livekit.plugins.openai.tts.TTS": "",
        "livekit.plugins.openai.realtime.realtime_model.RealtimeModel": "",
        "livekit.plugins.deepgram.stt.STT": f"{addresses['deepgram']}/listen",
        "livekit.plugins.deepgram.stt_v2.STTv2": addresses["flux"],
        "livekit.plugins.deepgram.tts.TTS": f"{addresses['deepgram']}/speak",
        "livekit.plugins.cartesia.stt.STT": addresses["cartesia"],
        "livekit.plugins.cartesia.tts.TTS": addresses["cartesia"],
    }


def constants(addresses: Mapping[str, str]) -> dict[str, str]:
    """Returns constant of a plugin, with its module -> address of its simulator, for plugins that read no other."""
    socket = addresses["openai"].replace("http", "ws", 1)
    return {"livekit.plugins.openai.responses.llm.OPENAI_RESPONSES_WS_URL": f"{socket}/responses"}


def name_of(provider: str) -> str:
    """Returns what people call a provider's class: `livekit.plugins.elevenlabs.tts.TTS` is `elevenlabs TTS`."""
    if provider in SIMULATED:
        return SIMULATED[provider]
    path, _, where = provider.partition(" ")
    parts = path.removeprefix("livekit.plugins.").removeprefix("livekit.agents.").split(".")
    return " ".join(filter(None, (f"{parts[0]} {parts[-1]}", where)))
