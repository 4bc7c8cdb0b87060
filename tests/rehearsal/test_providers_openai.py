"""The simulated Responses API, transcription and embeddings, as LiveKit's own plugins and OpenAI's client see them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIStatusError, llm, stt
from livekit.plugins import openai
from openai import AsyncClient, BadRequestError

from firstword.rehearsal.providers import hearing
from firstword.rehearsal.providers.server import ProviderAddresses
from tests.rehearsal.quick_simulators import ONCE, PATIENCE, RATE, two_sentences


@llm.function_tool
async def current_time() -> str:
    """The time."""
    return "noon"


def responses(addresses: ProviderAddresses, over: str) -> openai.responses.LLM:
    socket = over == "socket"
    base = f"{addresses.openai}/responses" if socket else addresses.openai
    return openai.responses.LLM(base_url=base, api_key="x", use_websocket=socket)


async def answer(model: llm.LLM[Any], chat: llm.ChatContext) -> llm.CollectedResponse:
    async with model.chat(chat_ctx=chat, tools=[current_time], conn_options=ONCE) as stream, asyncio.timeout(PATIENCE):
        return await stream.collect()


@pytest.mark.parametrize("over", ["socket", "post"])
async def test_the_model_answers_and_calls_a_tool(addresses: ProviderAddresses, over: str) -> None:
    """A second request has only what is new: what the tool returned."""
    chat = llm.ChatContext.empty()
    chat.add_message(role="system", content="You are kind.")
    async with aclosing(responses(addresses, over)) as model:
        greeted = await answer(model, chat)
        assert greeted.text == "Hello, how can I help you? I have 1 tool."
        assert greeted.usage is not None
        chat.add_message(role="assistant", content=greeted.text)
        chat.add_message(role="user", content="what time is it")
        (call,) = (await answer(model, chat)).tool_calls
        assert (call.name, call.arguments) == ("current_time", "{}")
        chat.insert(llm.FunctionCall(call_id=call.call_id, name=call.name, arguments=call.arguments))
        chat.insert(llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="noon", is_error=False))
        assert (await answer(model, chat)).text == "The answer is: noon."


async def test_a_request_of_another_shape_is_refused(addresses: ProviderAddresses) -> None:
    """With OpenAI's kind of error, over either."""
    async with AsyncClient(base_url=addresses.openai, api_key="x", max_retries=0) as client:
        with pytest.raises(BadRequestError, match="the simulated model only streams"):
            await client.responses.create(model="gpt-4.1", input="hello")
    model = responses(addresses, "socket")
    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content="hello")
    unknown: Any = {"tool_choice": {"type": "function", "name": "nothing"}}
    async with aclosing(model), model.chat(chat_ctx=chat, conn_options=ONCE, extra_kwargs=unknown) as stream:
        with pytest.raises(APIStatusError, match="KeyError\\('nothing'\\)"):
            await stream.collect()


async def test_a_recording_is_transcribed(addresses: ProviderAddresses) -> None:
    sound = hearing.tone("what time is it", 1.0, RATE)
    async with (
        AsyncClient(base_url=addresses.openai, api_key="x") as client,
        aclosing(openai.STT(client=client)) as ear,
    ):
        heard = await ear.recognize(rtc.AudioFrame(sound.tobytes(), RATE, 1, len(sound)), conn_options=ONCE)
    assert heard.alternatives[0].text == "what time is it"


async def test_a_transcription_by_the_realtime_api(addresses: ProviderAddresses) -> None:
    """It hears turns, and answers none."""
    sound = two_sentences()
    ear = openai.STT(base_url=addresses.openai, api_key="x", use_realtime=True)
    texts: list[str] = []
    async with aclosing(ear), ear.stream(conn_options=ONCE) as stream, asyncio.timeout(PATIENCE):
        stream.push_frame(rtc.AudioFrame(sound.tobytes(), RATE, 1, len(sound)))
        async for event in stream:
            if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                texts.append(event.alternatives[0].text)
            if len(texts) == 2:
                break
    assert texts == ["hello", "what time is it"]


async def test_each_text_has_a_vector(addresses: ProviderAddresses) -> None:
    """The client asks for packed ones unless it is told otherwise."""
    async with AsyncClient(base_url=addresses.openai, api_key="x") as client:
        packed = await client.embeddings.create(input=["one", "two", "one"], model="any")
        plain = await client.embeddings.create(input="one", model="any", encoding_format="float")
    one, two, again = (each.embedding for each in packed.data)
    assert len(one) == 1536
    assert one == again != two
    assert one == pytest.approx(plain.data[0].embedding, abs=1e-6)
