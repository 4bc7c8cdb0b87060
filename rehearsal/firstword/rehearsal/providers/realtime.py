"""Simulates a speech-to-speech model: OpenAI's Realtime API over a WebSocket, as the real plugin speaks it.

It follows OpenAI's published reference of Realtime client and server events (GA), for spoken answers; a session for
transcription only hears. Audio is audio/pcm at 24 kHz in and out, and the server finds turns. `hearing.py` and
`conversation.py` say what it hears and answers, `admission.py` how late.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import uuid
from collections.abc import Iterable
from typing import Any

from aiohttp import WSMsgType, web

from firstword.agent.greeting.session_recorder import VERBATIM
from firstword.rehearsal.providers import hearing
from firstword.rehearsal.providers.admission import Connections, Provider
from firstword.rehearsal.providers.conversation import reply
from firstword.rehearsal.providers.latency import Distribution, Latencies
from firstword.rehearsal.providers.playback import cancelled, play

_RATE = 24_000


class Realtime:
    """Simulates the Realtime API at some paths of the server: OpenAI's, or those of LiveKit Inference."""

    def __init__(self, latencies: Latencies, connections: Connections, *, name: str, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)
        self.provider = Provider(name, latencies, latencies.llm.faults, connections, _refusal)
        self._first_audio = latencies.llm.first_token
        self._silence = latencies.stt.silence
        self._silences = latencies.stream(f"{name}.silence")

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get(path, self.converse) for path in self._paths]

    async def converse(self, request: web.Request) -> web.WebSocketResponse:
        """Holds one spoken conversation over a WebSocket; the query names the model."""
        await self.provider.admit(request)
        ws = web.WebSocketResponse(max_msg_size=0)  # a client sends audio in pieces of any size
        await ws.prepare(request)
        ear = hearing.Ear(_RATE, self._silence.draw(self._silences))
        with contextlib.suppress(ConnectionError):  # the client is gone
            await _RealtimeSession(request, ws, self.provider, self._first_audio, ear).run()
        return ws


class _RealtimeSession:
    """One open session."""

    def __init__(
        self,
        request: web.Request,
        ws: web.WebSocketResponse,
        provider: Provider,
        first_audio: Distribution,
        ear: hearing.Ear,
    ) -> None:
        self._request = request
        self._ws = ws
        self._provider = provider
        self._first_audio = first_audio
        self._ear = ear
        self._numbers = itertools.count(1)
        self._said: list[dict[str, Any]] = []
        self._last_item: str | None = None
        self._spoken_item: str | None = None
        self._server_turns = True
        self._answers = True
        self._response: asyncio.Task[None] | None = None

    async def run(self) -> None:
        session = {"type": "realtime", "object": "realtime.session", "model": self._request.query.get("model", "")}
        await self._send("session.created", session=session)
        try:
            async for message in self._ws:
                if message.type is WSMsgType.TEXT:
                    await self._take(json.loads(message.data))
        finally:
            await self._cancel()

    async def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                session: dict[str, Any] = event["session"]
                self._server_turns = _finds_turns(session)
                self._answers = session.get("type") != "transcription"
                await self._send("session.updated", session=session)
            case "conversation.item.create":
                await self._add(event["item"])
            case "conversation.item.delete":
                await self._send("conversation.item.deleted", item_id=event["item_id"])
            case "conversation.item.truncate":
                shortened = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
                await self._send("conversation.item.truncated", **shortened)
            case "input_audio_buffer.append":
                await self._hear(self._ear.feed(base64.b64decode(event["audio"])))
            case "input_audio_buffer.commit":
                await self._hear(self._ear.finish())
                await self._send("input_audio_buffer.committed", item_id=_new("item"), previous_item_id=self._last_item)
            case "input_audio_buffer.clear":
                await self._send("input_audio_buffer.cleared")
            case "response.create":
                asked: dict[str, Any] = event.get("response") or {}
                await self._answer(asked.get("metadata"), asked.get("instructions") or "")
            case "response.cancel":
                await self._cancel()
            case unknown:
                error = {"type": "invalid_request_error", "message": f"unknown event: {unknown}"}
                await self._send("error", error=error)

    async def _add(self, item: dict[str, Any]) -> None:
        """A conversation item, after all that are there."""
        item = {"id": _new("item"), "status": "completed", **item}
        self._said.append(item)
        await self._send("conversation.item.added", previous_item_id=self._last_item, item=item)
        self._last_item = item["id"]

    async def _hear(self, transcripts: Iterable[hearing.Transcript]) -> None:
        """What the caller says: begun, ended, transcribed; where turns are the server's, answered."""
        for heard in transcripts:
            if self._spoken_item is None:
                self._spoken_item = _new("item")
                at = round(heard.start * 1e3)
                await self._send("input_audio_buffer.speech_started", item_id=self._spoken_item, audio_start_ms=at)
                if self._server_turns:
                    await self._cancel()
            if not heard.final:
                continue
            item, self._spoken_item = self._spoken_item, None
            text = " ".join(heard.words)
            at = round(heard.end * 1e3)
            await self._send("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=at)
            await self._add(
                {
                    "id": item,
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_audio", "transcript": text}],
                }
            )
            await self._send(
                "conversation.item.input_audio_transcription.completed",
                item_id=item,
                content_index=0,
                transcript=text,
                usage={"type": "duration", "seconds": heard.end - heard.start},
            )
            if self._server_turns and self._answers:
                await self._answer(None, "")

    async def _answer(self, metadata: dict[str, str] | None, instructions: str) -> None:
        """Begin a spoken response; the client finds its own by the metadata that it sent."""
        await self._cancel()
        self._response = asyncio.create_task(self._respond(metadata, instructions))

    async def _cancel(self) -> None:
        if self._response is not None:
            task, self._response = self._response, None
            await cancelled(task)

    async def _respond(self, metadata: dict[str, str] | None, instructions: str) -> None:
        messages = [message for item in self._said if (message := _message(item)) is not None]
        text = "".join(reply(messages, [], "none").tokens) if messages else "Hello, how can I help you?"
        _, asked, words = instructions.partition(VERBATIM.format(text=""))
        text = words if asked else text  # a model that does as it is told
        response: dict[str, Any] = {
            "id": _new("resp"),
            "object": "realtime.response",
            "status": "in_progress",
            "output": [],
            "metadata": metadata,
        }
        item: dict[str, Any] = {
            "id": _new("item"),
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        part = {"response_id": response["id"], "item_id": item["id"], "output_index": 0, "content_index": 0}
        status = "cancelled"
        await self._send("response.created", response=response)
        try:
            answer = self._provider.answer(self._first_audio)
            await asyncio.sleep(answer.delay)
            await self._send("response.output_item.added", response_id=response["id"], output_index=0, item=item)
            await self._add(item)
            await self._send("response.content_part.added", part={"type": "audio", "transcript": ""}, **part)
            await self._send("response.output_audio_transcript.delta", delta=text, **part)

            async def send(pcm: bytes) -> None:
                await self._send("response.output_audio.delta", delta=base64.b64encode(pcm).decode(), **part)

            await play(self._request, send, text, _RATE, cut=answer.cut)
            await self._send("response.output_audio.done", **part)
            await self._send("response.output_audio_transcript.done", transcript=text, **part)
            await self._send("response.content_part.done", part={"type": "audio", "transcript": text}, **part)
            status = "completed"
        finally:
            done = item | {"status": "completed" if status == "completed" else "incomplete"}
            with contextlib.suppress(ConnectionError):
                await self._send("response.output_item.done", response_id=response["id"], output_index=0, item=done)
                await self._send(
                    "response.done", response=response | {"status": status, "output": [done], "usage": None}
                )

    async def _send(self, kind: str, **values: Any) -> None:
        await self._ws.send_json({"type": kind, "event_id": f"event_{next(self._numbers)}", **values})


def _finds_turns(session: dict[str, Any]) -> bool:
    """Whether the server finds turns: it does unless `turn_detection` is null."""
    audio: dict[str, Any] = session.get("audio") or {}
    heard: dict[str, Any] = audio.get("input") or {}
    return heard.get("turn_detection", {}) is not None


def _message(item: dict[str, Any]) -> dict[str, str] | None:
    """An item of the conversation as the simulated chat has it; None for a function call and what it brought."""
    if item.get("type") != "message":
        return None
    texts = (part.get("text") or part.get("transcript") or "" for part in item.get("content") or ())
    return {"role": str(item["role"]), "content": " ".join(texts)}


def _new(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:16]}"


def _refusal(status: int, message: str) -> str:
    return json.dumps(
        {"error": {"message": message, "type": "server_error" if status >= 500 else "invalid_request_error"}}
    )
