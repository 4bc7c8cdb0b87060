"""Simulates OpenAI: chat completions as server-sent events, and speech, as the real plugin reads them.

Served by `server.py`; `conversation.py` says what it answers, `admission.py` how late.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from firstword.rehearsal.providers.admission import Connections, Provider, hang_up
from firstword.rehearsal.providers.conversation import Reply, ToolCall, reply
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.playback import play

_SPEECH_RATE = 24_000
_UNKNOWN = 0xFFFF_FFFF
"""Length of what is streamed."""
_WAV_HEADER = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", _UNKNOWN, b"WAVE", b"fmt ", 16, 1, 1),
    *(_SPEECH_RATE, 2 * _SPEECH_RATE, 2, 16, b"data", _UNKNOWN),
)
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini")


class OpenAI:
    """Simulates OpenAI's `GET /v1/models` and `POST /v1/chat/completions`, streaming only; at another path also LiveKit Inference's."""

    def __init__(
        self, latencies: Latencies, connections: Connections, *, name: str = "llm", prefix: str = "/v1"
    ) -> None:
        """name: of the provider; prefix: of the paths."""
        self._prefix = prefix
        self.provider = Provider(name, latencies, latencies.llm.faults, connections, error_body)
        self._first_token = latencies.llm.first_token
        self._token = latencies.llm.token
        self._tokens = latencies.stream(f"{name}.token")

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get(f"{self._prefix}/models", self.models), web.post(f"{self._prefix}/chat/completions", self.chat)]

    async def models(self, request: web.Request) -> web.Response:
        """Answers with the list of models, which the plugin asks for to warm its connection."""
        await self.provider.admit(request)
        models = [{"id": model, "object": "model", "created": 0, "owned_by": "simulated"} for model in MODELS]
        return web.json_response({"object": "list", "data": models})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answers a chat request, token by token; HTTP 400 unless it is a request for streaming chat."""
        await self.provider.admit(request)
        try:
            body = await request.json()
            answered = reply(body["messages"], body.get("tools") or [], body.get("tool_choice"))
            streaming = bool(body.get("stream"))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise self.provider.error(web.HTTPBadRequest, f"not a chat request: {error!r}") from None
        if not streaming:
            raise self.provider.error(web.HTTPBadRequest, "the simulated model only streams: pass stream=true")

        answer = self.provider.answer(self._first_token)
        await asyncio.sleep(answer.delay)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        chunks = _chunks(body, answered)
        try:
            for index, chunk in enumerate(chunks):
                if answer.cut and index >= len(chunks) // 2:
                    hang_up(request)
                    break
                if index > 1:  # the role and the first token come together
                    await asyncio.sleep(self._token.draw(self._tokens))
                await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
            else:
                await response.write(b"data: [DONE]\n\n")
        except ConnectionError:
            pass  # the client has hung up: an interrupted answer
        return response


class OpenAISpeech:
    """Simulates OpenAI's `POST /v1/audio/speech`: text-to-speech, always as WAV or raw, at 24 kHz.

    The plugin takes the format that the answer declares. So decoding, where MP3 was asked for, costs an agent less
    here.
    """

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("openai-tts", latencies, latencies.tts.faults, connections, error_body)
        self._first_byte = latencies.tts.first_byte

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.post("/v1/audio/speech", self.synthesize)]

    async def synthesize(self, request: web.Request) -> web.StreamResponse:
        """Answers a POST with the audio of one text; HTTP 400 for a request of another shape."""
        await self.provider.admit(request)
        try:
            body = await request.json()
            text, raw = str(body["input"]), body.get("response_format") == "pcm"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.provider.error(web.HTTPBadRequest, f"not a request for speech: {error!r}") from None
        answer = self.provider.answer(self._first_byte)
        await asyncio.sleep(answer.delay)
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm" if raw else "audio/wav"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            if not raw:
                await response.write(_WAV_HEADER)
            await play(request, response.write, text, _SPEECH_RATE, cut=answer.cut)
        return response


def _chunks(body: Mapping[str, Any], answered: Reply) -> list[dict[str, Any]]:
    """The answer as OpenAI's `chat.completion.chunk` objects: role, content or tool call piece by piece, end, usage."""
    if answered.call is None:
        deltas: list[dict[str, Any]] = [{"content": token} for token in answered.tokens]
    else:
        deltas = _tool_call_deltas(answered.call)
    chunk = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": body.get("model", MODELS[0]),
        "system_fingerprint": None,
    }
    stream_options: dict[str, Any] = body.get("stream_options") or {}
    wants_usage = bool(stream_options.get("include_usage"))
    if wants_usage:
        chunk["usage"] = None

    def with_delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return chunk | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    chunks = [with_delta({"role": "assistant", "content": "" if answered.call is None else None})]
    chunks += [with_delta(delta) for delta in deltas]
    chunks.append(with_delta({}, "stop" if answered.call is None else "tool_calls"))
    if wants_usage:
        chunks.append(chunk | {"choices": [], "usage": _usage(answered.heard, len(deltas))})
    return chunks


def _tool_call_deltas(call: ToolCall) -> list[dict[str, Any]]:
    name = {"index": 0, "id": f"call_{uuid.uuid4().hex}", "type": "function"}
    return [
        {"tool_calls": [name | {"function": {"name": call.name, "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": call.arguments}}]},
    ]


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def error_body(status: int, message: str) -> str:
    """Returns OpenAI's JSON for an error."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": None}})
