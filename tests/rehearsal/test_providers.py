"""The simulators as the real plugins see them: chat, ear and voice, their faults, and what a connection costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIError, APIStatusError, APITimeoutError, llm, stt
from livekit.agents.utils import http_context
from livekit.plugins import deepgram, openai
from numpy.typing import NDArray
from openai import AsyncClient

from firstword.rehearsal.providers import hearing, voice
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.server import ProviderAddresses, simulators

QUICK = """
[connection]
median_ms = 1
[llm]
first_token = { median_ms = 1 }
token = { median_ms = 1 }
[tts]
first_byte = { median_ms = 1 }
[stt]
connect = { median_ms = 1 }
"""
ONCE = APIConnectOptions(max_retry=0, timeout=60)
IMPATIENT = APIConnectOptions(max_retry=0, timeout=0.2)
SLOW = "faults = { slow = 1, slow_ms = 60000 }"

Sound = NDArray[np.int16]
Simulate = Callable[[str], AbstractAsyncContextManager[ProviderAddresses]]


@pytest.fixture
def simulate(tmp_path: Path) -> Simulate:
    """Run the simulators under a quick model with this TOML over it, with an HTTP session for the plugins."""

    @asynccontextmanager
    async def running(changes: str = "") -> AsyncGenerator[ProviderAddresses]:
        (tmp_path / "providers.toml").write_text(merged(QUICK, changes))
        async with simulators(Latencies.load(tmp_path / "providers.toml")) as addresses, http_context.open():
            yield addresses

    return running


def merged(model: str, changes: str) -> str:
    """Put `[table]\\nline` into that table of a model."""
    if not changes:
        return model
    table, _, line = changes.partition("\n")
    return model.replace(table, f"{table}\n{line}")


async def stats(addresses: ProviderAddresses) -> dict[str, dict[str, int]]:
    async with http_context.http_session().get(addresses.stats) as response:
        return await response.json()


# --- the language model -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def model_at(addresses: ProviderAddresses) -> AsyncGenerator[openai.LLM]:
    model = openai.LLM(base_url=addresses.openai, api_key="x")
    try:
        yield model
    finally:
        await model.aclose()


@llm.function_tool
async def current_time(zone: str | None = None) -> str:
    """What time it is."""
    return "noon"


@llm.function_tool
async def account_balance(account: str, days: int) -> str:
    """What is in the account."""
    return "0"


async def chat(
    model: openai.LLM, context: llm.ChatContext, *tools: llm.FunctionTool[..., Any], options: APIConnectOptions = ONCE
) -> tuple[str, list[llm.FunctionToolCall], llm.CompletionUsage | None]:
    """The text, the tool calls and the usage of one answer."""
    text, calls, usage = "", list[llm.FunctionToolCall](), None
    async with model.chat(chat_ctx=context, tools=list(tools), conn_options=options) as stream:
        async for chunk in stream:
            usage = chunk.usage or usage
            if chunk.delta is not None:
                text += chunk.delta.content or ""
                calls += chunk.delta.tool_calls
    return text, calls, usage


def user(said: str) -> llm.ChatContext:
    context = llm.ChatContext.empty()
    context.add_message(role="system", content="Be brief.")
    context.add_message(role="user", content=said)
    return context


async def test_an_answer_repeats_what_was_heard_and_counts_the_tools(simulate: Simulate):
    """The plugin gets text and usage; the number of tools tells the full assistant from the minimal one."""
    async with simulate("") as addresses, model_at(addresses) as model:
        minimal, _, usage = await chat(model, user("hello"))
        full, _, _ = await chat(model, user("hello"), current_time, account_balance)
    assert minimal == "You said: hello. I have 0 tools."
    assert full == "You said: hello. I have 2 tools."
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 7, 10)


async def test_an_answer_without_a_user_is_a_greeting(simulate: Simulate):
    """As for `generate_reply(instructions=...)` at the start of a session."""
    context = llm.ChatContext.empty()
    context.add_message(role="system", content="Greet the caller.")
    async with simulate("") as addresses, model_at(addresses) as model:
        text, _, _ = await chat(model, context, current_time)
    assert text == "Hello, how can I help you? I have 1 tool."


async def test_a_tool_is_called_when_its_name_is_mentioned(simulate: Simulate):
    """First the call, with arguments that fit the tool's schema; then a sentence with what the tool returned."""
    context = user("what time is it")
    async with simulate("") as addresses, model_at(addresses) as model:
        text, calls, _ = await chat(model, context, account_balance, current_time)
        assert (text, [(call.name, call.arguments) for call in calls]) == ("", [("current_time", '{"zone": null}')])
        context.insert(llm.FunctionCall(call_id=calls[0].call_id, name=calls[0].name, arguments=calls[0].arguments))
        output = llm.FunctionCallOutput(call_id=calls[0].call_id, name="current_time", output="noon", is_error=False)
        context.insert(output)
        assert (await chat(model, context, current_time))[0] == "The answer is: noon."

        _, calls, _ = await chat(model, user("what about my account?"), account_balance)
        assert calls[0].arguments == '{"account": "what about my account?", "days": 1}'


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "current_time"}}])
async def test_a_tool_that_is_required_is_called(simulate: Simulate, choice: llm.ToolChoice):
    """Whatever was said: LiveKit's detection of key terms asks so, after each turn."""
    async with simulate("") as addresses, model_at(addresses) as model:
        stream = model.chat(chat_ctx=user("hello"), tools=[current_time], tool_choice=choice, conn_options=ONCE)
        async with stream:
            calls = [call.name async for chunk in stream if chunk.delta for call in chunk.delta.tool_calls]
    assert calls == ["current_time"]


async def test_prewarm_is_answered(simulate: Simulate):
    """The plugin asks for the list of models to warm its connection."""
    async with simulate("") as addresses, model_at(addresses) as model:
        model.prewarm()
        for _ in range(500):  # it runs in the background and tells nobody
            if (await stats(addresses))["llm"]["requests"]:
                break
            await asyncio.sleep(0.01)
        assert (await stats(addresses))["llm"] == {"requests": 1, "connections": 1, "answers": 0}


async def test_a_connection_kept_alive_pays_once(simulate: Simulate):
    """What prewarm asks and two chats after it are three requests on one connection."""
    async with simulate("") as addresses, AsyncClient(base_url=addresses.openai, api_key="x") as client:
        model = openai.LLM(client=client)
        assert "gpt-4o" in [model.id async for model in client.models.list()]
        await chat(model, user("hello"))
        await chat(model, user("hello"))
        assert (await stats(addresses))["llm"] == {"requests": 3, "connections": 1, "answers": 2}


async def test_each_new_client_pays_for_its_connection(simulate: Simulate):
    """Without a pool every session has a connection of its own."""
    async with simulate("") as addresses:
        for _ in range(2):
            async with model_at(addresses) as model:
                await chat(model, user("hello"))
        assert (await stats(addresses))["llm"] == {"requests": 2, "connections": 2, "answers": 2}


async def test_the_model_fails_as_the_plugin_knows_it(simulate: Simulate):
    """Refused is HTTP 503, cut is a lost connection after the first words, slow is a timeout."""
    async with simulate("[llm]\nfaults = { refuse = 1 }") as addresses, model_at(addresses) as model:
        with pytest.raises(APIStatusError, match="refuses") as refused:
            await chat(model, user("hello"))
        assert refused.value.status_code == 503
    async with simulate("[llm]\nfaults = { cut = 1 }") as addresses, model_at(addresses) as model:
        with pytest.raises(APIConnectionError) as cut:
            await chat(model, user("hello"))
        assert not cut.value.retryable  # some of it has been heard
    async with simulate(f"[llm]\n{SLOW}") as addresses, model_at(addresses) as model:
        with pytest.raises(APITimeoutError):
            await chat(model, user("hello"), options=IMPATIENT)


async def test_a_caller_who_interrupts_the_model_harms_nobody(simulate: Simulate):
    """A stream that is closed early leaves the simulator answering the next."""
    async with simulate("") as addresses, model_at(addresses) as model:
        async with model.chat(chat_ctx=user("hello"), conn_options=ONCE) as stream:
            await stream.__anext__()
        assert (await chat(model, user("again")))[0].startswith("You said: again.")


@pytest.mark.parametrize("response_format", ["mp3", "pcm"])
async def test_openai_speaks(simulate: Simulate, response_format: Any):
    """Whatever format the plugin asks for."""
    async with simulate("") as addresses:
        tts = openai.TTS(base_url=addresses.openai, api_key="x", response_format=response_format)
        async with aclosing(tts), tts.synthesize("Hello there.", conn_options=ONCE) as stream:
            seconds = sum([audio.frame.duration async for audio in stream])
    assert seconds == pytest.approx(voice.duration("Hello there."), abs=0.1)


# --- the ear ------------------------------------------------------------------------------------------------------------


def frames(sound: Sound, sample_rate: int = 16000) -> list[rtc.AudioFrame]:
    """A sound in frames of 20 ms."""
    step = sample_rate // 50
    pieces = [sound[begin : begin + step] for begin in range(0, len(sound), step)]
    return [rtc.AudioFrame(piece.tobytes(), sample_rate, 1, len(piece)) for piece in pieces]


def silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * 16000), dtype=np.int16)


async def transcribe(
    addresses: ProviderAddresses,
    *sounds: Sound,
    utterances: int = 1,
    options: APIConnectOptions = ONCE,
) -> list[stt.SpeechEvent]:
    """The events of one stream that hears these sounds and then ends, until the end of the last utterance."""
    ear = deepgram.STT(base_url=f"{addresses.deepgram}/listen", api_key="x")
    events: list[stt.SpeechEvent] = []
    async with ear.stream(conn_options=options) as stream:
        for sound in sounds:
            for frame in frames(sound):
                stream.push_frame(frame)
        stream.end_input()
        async for event in stream:  # the plugin ends it only with its next KeepAlive, after up to 5 s
            events.append(event)
            if [each.type for each in events].count(stt.SpeechEventType.END_OF_SPEECH) == utterances:
                break
    return events


def summary(events: list[stt.SpeechEvent]) -> list[tuple[str, str]]:
    """Kind and text of each event but the usage."""
    kept = [event for event in events if event.type is not stt.SpeechEventType.RECOGNITION_USAGE]
    return [(event.type.value, event.alternatives[0].text if event.alternatives else "") for event in kept]


@pytest.mark.parametrize("sentence", hearing.SENTENCES.values())
async def test_a_tone_is_heard_as_its_sentence(simulate: Simulate, sentence: str):
    """Start of speech, interim transcripts that grow, the final one, end of speech."""
    async with simulate("") as addresses:
        heard = summary(await transcribe(addresses, silence(0.1), hearing.tone(sentence, 0.9, 16000), silence(0.5)))
    assert (heard[0], heard[-1]) == (("start_of_speech", ""), ("end_of_speech", ""))
    assert heard[-2] == ("final_transcript", sentence)
    interims = [text for kind, text in heard if kind == "interim_transcript"]
    assert interims
    assert all(sentence.startswith(text) for text in interims)
    assert sorted(interims, key=len) == interims


async def test_silence_splits_utterances_and_a_click_is_none(simulate: Simulate):
    """Two sentences apart are two finals with their times; 50 ms of noise are nothing."""
    hello, bye = hearing.tone("hello", 0.5, 16000), hearing.tone("thank you and goodbye", 0.5, 16000)
    async with simulate("") as addresses:
        events = await transcribe(addresses, hello[:800], silence(0.5), hello, silence(0.5), bye, utterances=2)
    finals = [event.alternatives[0] for event in events if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT]
    began = finals[0].start_time - 0.55  # the plugin counts from a moment before its stream began
    assert began > -1e-6
    assert [(final.text, final.start_time - began, final.end_time - began) for final in finals] == [
        ("hello", pytest.approx(0.55), pytest.approx(1.05)),
        ("thank you and goodbye", pytest.approx(1.55), pytest.approx(2.05)),
    ]


async def test_the_end_of_the_input_ends_the_utterance(simulate: Simulate):
    """Finalize gives the final transcript without waiting for silence; another sound than a code is unclear."""
    async with simulate("") as addresses:
        heard = summary(await transcribe(addresses, hearing.tone("hello", 0.3, 16000)))
        unclear = summary(await transcribe(addresses, voice.speech("Who is there?", 16000)))
    assert ("final_transcript", "hello") in heard
    assert ("final_transcript", hearing.UNCLEAR) in unclear


async def test_the_ear_fails_as_the_plugin_knows_it(simulate: Simulate):
    """Refused is HTTP 503 at the handshake, cut a closed connection, slow a handshake that takes too long."""
    hello = hearing.tone("hello", 0.5, 16000)
    async with simulate("[stt]\nfaults = { refuse = 1 }") as addresses:
        with pytest.raises(APIStatusError) as refused:
            await transcribe(addresses, hello)
        assert refused.value.status_code == 503
    async with simulate("[stt]\nfaults = { cut = 1 }") as addresses:
        ear = deepgram.STT(base_url=f"{addresses.deepgram}/listen", api_key="x")
        async with ear.stream(conn_options=ONCE) as stream:
            for frame in frames(hello):
                stream.push_frame(frame)
            with pytest.raises(APIError, match="closed unexpectedly"):
                _ = [event async for event in stream]
    async with simulate(f"[stt]\n{SLOW}") as addresses:
        with pytest.raises(APIConnectionError, match="failed to connect"):
            await transcribe(addresses, hello, options=IMPATIENT)


# --- the voice ----------------------------------------------------------------------------------------------------------


async def spoken(mouth: deepgram.TTS, *pieces: str, options: APIConnectOptions = ONCE) -> Sound:
    """All samples of one reply, streamed as the pieces of a text."""
    async with mouth.stream(conn_options=options) as stream:
        for piece in pieces:
            stream.push_text(piece)
        stream.end_input()
        return np.concatenate([np.frombuffer(audio.frame.data, dtype=np.int16) async for audio in stream])


@asynccontextmanager
async def mouth_at(addresses: ProviderAddresses) -> AsyncGenerator[deepgram.TTS]:
    mouth = deepgram.TTS(base_url=f"{addresses.deepgram}/speak", api_key="x")
    try:
        yield mouth
    finally:
        await mouth.aclose()


def peak(samples: Sound) -> float:
    """In dBFS."""
    return float(20 * np.log10(np.max(np.abs(samples.astype(np.float64))) / 2**15))


async def test_a_stream_is_heard_from_its_first_sample_for_as_long_as_its_text(simulate: Simulate):
    """15 characters a second, in steps of a syllable; above the -36 dBFS that counts as heard at once and throughout."""
    text = "Hello Ada, how are you today?"
    async with simulate("") as addresses, mouth_at(addresses) as mouth:
        samples = await spoken(mouth, "Hello Ada, ", "how are you today?")
    assert len(samples) / 24000 == pytest.approx(len(text) / 15, abs=0.3)
    assert 20 * np.log10(abs(int(samples[0])) / 2**15) > -36
    windows = samples[: round(voice.duration(text) * 100) * 240].reshape(-1, 240)  # 10 ms each
    assert all(peak(window) > -36 for window in windows)
    assert peak(samples) < -3  # room for what a codec adds


async def test_sentences_of_one_reply_are_said_as_they_are_complete(simulate: Simulate):
    """A reply that is still being written begins with its first sentence, as with Deepgram, not at its end."""
    async with simulate("") as addresses, mouth_at(addresses) as mouth, mouth.stream(conn_options=ONCE) as stream:
        stream.push_text("Hello Ada. How are")
        heard = await stream.__anext__()  # before the reply has ended
        stream.push_text(" you?")
        stream.end_input()
        rest = [audio.frame.duration async for audio in stream]
        assert heard.frame.duration + sum(rest) == pytest.approx((4 + 4) * voice.SYLLABLE, abs=0.02)
        assert (await stats(addresses))["tts"]["answers"] == 1


async def test_synthesize_says_the_same_in_one_request(simulate: Simulate):
    """The plain POST gives the whole text's audio."""
    async with simulate("") as addresses, mouth_at(addresses) as mouth:
        frame = await mouth.synthesize("Hello.", conn_options=ONCE).collect()
    said = np.frombuffer(frame.data, dtype=np.int16)
    assert len(said) / 24000 == pytest.approx(0.4, abs=0.02)  # LiveKit ends it with a silent frame of 10 ms
    assert np.array_equal(said[: round(0.4 * 24000)], voice.speech("Hello.", 24000))


async def test_the_pool_pays_for_one_connection(simulate: Simulate):
    """Two replies of one TTS are one connection, and a new TTS opens its own."""
    async with simulate("") as addresses, mouth_at(addresses) as mouth, mouth_at(addresses) as other:
        await spoken(mouth, "Hello.")
        await spoken(mouth, "And again.")
        assert (await stats(addresses))["tts"] == {"requests": 1, "connections": 1, "answers": 2}
        await spoken(other, "Hello.")
        assert (await stats(addresses))["tts"] == {"requests": 2, "connections": 2, "answers": 3}


async def test_the_voice_fails_as_the_plugin_knows_it(simulate: Simulate):
    """Refused is HTTP 503 at the handshake or the POST, cut a closed connection amid the audio, slow a timeout."""
    async with simulate("[tts]\nfaults = { refuse = 1 }") as addresses, mouth_at(addresses) as mouth:
        with pytest.raises(APIStatusError) as refused:
            await spoken(mouth, "Hello.")
        assert refused.value.status_code == 503
        with pytest.raises(APIStatusError) as refused:
            await mouth.synthesize("Hello.", conn_options=ONCE).collect()
        assert refused.value.status_code == 503
    async with simulate("[tts]\nfaults = { cut = 1 }") as addresses, mouth_at(addresses) as mouth:
        with pytest.raises(APIStatusError, match="closed unexpectedly"):
            await spoken(mouth, "Hello, how are you?")
        with pytest.raises(APIConnectionError):
            await mouth.synthesize("Hello, how are you?", conn_options=ONCE).collect()
    async with simulate(f"[tts]\n{SLOW}") as addresses, mouth_at(addresses) as mouth:
        with pytest.raises(APITimeoutError):
            await spoken(mouth, "Hello.", options=IMPATIENT)


async def test_a_voice_or_a_language_that_there_is_not_is_a_bad_request(simulate: Simulate):
    """HTTP 400 at the handshake and the POST, as Deepgram answers to a model it does not have."""
    async with simulate("") as addresses, mouth_at(addresses) as mouth:
        mouth.update_options(model="aura-2-nobody-en")
        for way in (spoken(mouth, "Hello."), mouth.synthesize("Hello.", conn_options=ONCE).collect()):
            with pytest.raises(APIStatusError) as refused:
                await way
            assert refused.value.status_code == 400
        ear = deepgram.STT(base_url=f"{addresses.deepgram}/listen", api_key="x", language="zz-ZZ")
        async with ear.stream(conn_options=ONCE) as stream:
            with pytest.raises(APIStatusError) as refused:
                _ = [event async for event in stream]
        assert refused.value.status_code == 400


@pytest.mark.parametrize(
    ("body", "media_type", "length"),
    [
        ("json", "application/json", 100),
        ("html", "text/html", 150_000),
        ("header", "audio/l16", 44),
        ("short", "audio/l16", 9_600),
    ],
)
async def test_an_odd_body_comes_with_a_good_status(simulate: Simulate, body: str, media_type: str, length: int):
    """What a proxy or a provider in trouble answers to a POST; about as long as this."""
    query = "model=x&encoding=linear16&sample_rate=24000"
    async with simulate(f'[tts]\nbody = "{body}"') as addresses:
        post = http_context.http_session().post(
            f"{addresses.deepgram}/speak?{query}", json={"text": "Hello, Ada! How are you?"}
        )
        async with post as response:
            assert (response.status, response.content_type) == (200, media_type)
            assert len(await response.read()) == pytest.approx(length, rel=0.4)
