"""Simulates OpenAI's Responses API, streaming: over a WebSocket, as the real plugin asks by default, and by a POST.

It follows OpenAI's published reference of `/v1/responses` and of its streaming events, for texts and calls of
functions. `conversation.py` says what it answers, `admission.py` how late.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from typing import Any

from aiohttp import WSMsgType, web

from firstword.rehearsal.providers.admission import Connections, Provider, hang_up
from firstword.rehearsal.providers.conversation import Reply, reply
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.openai import error_body

_BAD = (ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What a request of another shape raises."""


class OpenAIResponses:
    """Simulates OpenAI's `/v1/responses`, streaming only."""

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("openai-responses", latencies, latencies.llm.faults, connections, error_body)
        self._first_token = latencies.llm.first_token
        self._token = latencies.llm.token
        self._tokens = latencies.stream("openai-responses.token")

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get("/v1/responses", self.converse), web.post("/v1/responses", self.respond)]

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answers a POST as server-sent events; HTTP 400 unless it is a request for a streamed response."""
        await self.provider.admit(request)
        try:
            body = await request.json()
            answered = _reply(body)
            streaming = bool(body.get("stream"))
        except _BAD as error:
            raise self.provider.error(web.HTTPBadRequest, f"not a request for a response: {error!r}") from None
        if not streaming:
            raise self.provider.error(web.HTTPBadRequest, "the simulated model only streams: pass stream=true")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})

        async def send(event: dict[str, Any]) -> None:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client has hung up: an interrupted answer
            await self._stream(request, body, answered, send)
        return response

    async def converse(self, request: web.Request) -> web.WebSocketResponse:
        """Answers one request after the other over a WebSocket: response.create, then the events of the response."""
        await self.provider.admit(request)
        ws = web.WebSocketResponse(max_msg_size=0)  # a long conversation is one message
        await ws.prepare(request)

        async def send(event: dict[str, Any]) -> None:
            await ws.send_json(event)

        with contextlib.suppress(ConnectionError):
            async for message in ws:
                if message.type is not WSMsgType.TEXT:
                    continue
                try:
                    body = json.loads(message.data)
                    if body["type"] != "response.create":
                        raise ValueError(f"unknown message: {body['type']}")
                    answered = _reply(body)
                except _BAD as error:
                    refusal = {"type": "invalid_request_error", "code": "400", "message": repr(error), "param": None}
                    await send({"type": "error", "status": 400, "error": refusal})
                    continue
                await self._stream(request, body, answered, send)
        return ws

    async def _stream(
        self,
        request: web.Request,
        body: Mapping[str, Any],
        answered: Reply,
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Send the events of one response; a cut one ends in the middle."""
        answer = self.provider.answer(self._first_token)
        numbers = itertools.count()
        middle = len(answered.tokens) // 2
        async for event in self._in_time(_events(body, answered), answer.delay):
            if answer.cut and event["type"] == "response.output_text.delta":
                if middle == 0:
                    hang_up(request)
                    return
                middle -= 1
            await send({**event, "sequence_number": next(numbers)})

    async def _in_time(self, events: Iterator[dict[str, Any]], delay: float) -> AsyncGenerator[dict[str, Any]]:
        """The first event at once, the rest after the delay; each token after the first takes its time."""
        deltas = 0
        for index, event in enumerate(events):
            if index == 1:
                await asyncio.sleep(delay)
            if event["type"] == "response.output_text.delta":
                if deltas:
                    await asyncio.sleep(self._token.draw(self._tokens))
                deltas += 1
            yield event


def _reply(body: Mapping[str, Any]) -> Reply:
    """The answer to a request. Raises one of `_BAD` for another shape."""
    given: list[Mapping[str, Any]] | str = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = [message for item in items if (message := _message(item)) is not None]
    tools = [{"function": tool} for tool in body.get("tools") or () if tool["type"] == "function"]
    choice: Mapping[str, str] | str | None = body.get("tool_choice")
    forced = {"function": {"name": choice["name"]}} if isinstance(choice, Mapping) else choice
    # a request may have nothing new to say after the response before it
    return reply(messages or [{"role": "system", "content": ""}], tools, forced)


def _message(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """An item of the input as the simulated chat has it; None for a call that was made."""
    match item.get("type", "message"):
        case "message":
            return {"role": item["role"], "content": item["content"]}
        case "function_call_output":
            return {"role": "tool", "content": item["output"]}
        case _:
            return None


def _events(body: Mapping[str, Any], answered: Reply) -> Iterator[dict[str, Any]]:
    """The events of a response, without numbers."""
    response: dict[str, Any] = {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "model": body.get("model", ""),
        "status": "in_progress",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }
    yield {"type": "response.created", "response": response}
    if answered.call is None:
        item = yield from _text_events("".join(answered.tokens), answered.tokens)
    else:
        item = {
            "id": f"fc_{uuid.uuid4().hex}",
            "type": "function_call",
            "call_id": f"call_{uuid.uuid4().hex}",
            "name": answered.call.name,
            "arguments": answered.call.arguments,
            "status": "completed",
        }
        yield {"type": "response.output_item.added", "output_index": 0, "item": item}
        yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    said = max(len(answered.tokens), 1)
    usage = {
        "input_tokens": answered.heard,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answered.heard + said,
    }
    yield {
        "type": "response.completed",
        "response": response | {"status": "completed", "output": [item], "usage": usage},
    }


def _text_events(text: str, tokens: tuple[str, ...]) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """The events of a message, which it returns."""
    item: dict[str, Any] = {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield {"type": "response.content_part.added", "part": part, **place}
    for token in tokens:
        yield {"type": "response.output_text.delta", "delta": token, "logprobs": [], **place}
    yield {"type": "response.output_text.done", "text": text, "logprobs": [], **place}
    part = part | {"text": text}
    yield {"type": "response.content_part.done", "part": part, **place}
    done = item | {"status": "completed", "content": [part]}
    yield {"type": "response.output_item.done", "output_index": 0, "item": done}
    return done
