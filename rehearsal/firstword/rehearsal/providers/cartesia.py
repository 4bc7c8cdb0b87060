"""Simulates Cartesia's speech-to-text and text-to-speech, as the real plugin speaks them.

It follows Cartesia's published API reference: text-to-speech over a WebSocket with contexts and as bytes, and
speech-to-text over WebSockets with turns (ink-2) and without (ink-whisper). Raw pcm_s16le only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from firstword.rehearsal.providers import hearing
from firstword.rehearsal.providers.admission import Admission, Connections, Provider
from firstword.rehearsal.providers.latency import Distribution, Latencies
from firstword.rehearsal.providers.playback import cancelled, play

_ENCODING = "pcm_s16le"


class CartesiaSTT:
    """Simulates Cartesia's streaming speech-to-text: `/stt/turns/websocket` and `/stt/websocket`."""

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("cartesia-stt", latencies, latencies.stt.faults, connections, _error)
        self._connect = latencies.stt.connect
        self._silence = latencies.stt.silence
        self._silences = latencies.stream("cartesia-stt.silence")

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get("/stt/turns/websocket", self.listen), web.get("/stt/websocket", self.listen)]

    async def listen(self, request: web.Request) -> web.WebSocketResponse:
        """Transcribes one stream of audio over a WebSocket; HTTP 400 for another encoding."""
        await self.provider.admit(request)
        if request.query.get("encoding") != _ENCODING:
            raise self.provider.error(web.HTTPBadRequest, f"only {_ENCODING} is simulated")
        ear = hearing.Ear(int(request.query["sample_rate"]), self._silence.draw(self._silences))
        answer = self.provider.answer(self._connect)
        await asyncio.sleep(answer.delay)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client is gone
            await _CartesiaHearing(ws, ear, with_turns="turns" in request.path).run()
        return ws


class _CartesiaHearing:
    """One open stream of audio."""

    def __init__(self, ws: web.WebSocketResponse, ear: hearing.Ear, *, with_turns: bool) -> None:
        self._ws = ws
        self._ear = ear
        self._with_turns = with_turns
        self._id = str(uuid.uuid4())
        self._speaking = False

    async def run(self) -> None:
        if self._with_turns:
            await self._send("connected")
        async for message in self._ws:
            if message.type is WSMsgType.BINARY:
                await self._tell(self._ear.feed(message.data))
            elif message.data == "finalize":
                await self._tell(self._ear.finish())
                await self._send("flush_done")
            else:  # `close`, of either kind
                await self._tell(self._ear.finish())
                if not self._with_turns:
                    await self._send("done")
                return

    async def _tell(self, transcripts: Iterable[hearing.Transcript]) -> None:
        for heard in transcripts:
            text = " ".join(heard.words)
            if not self._with_turns:
                await self._send("transcript", text=text, is_final=heard.final, duration=heard.end - heard.start)
                continue
            if not self._speaking:
                await self._send("turn.start")
            self._speaking = not heard.final
            await self._send("turn.end" if heard.final else "turn.update", transcript=text)

    async def _send(self, kind: str, **values: Any) -> None:
        await self._ws.send_json({"type": kind, "request_id": self._id, **values})


class CartesiaTTS:
    """Simulates Cartesia's text-to-speech: `/tts/websocket` and `/tts/bytes`."""

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("cartesia-tts", latencies, latencies.tts.faults, connections, _error)
        self._first_byte = latencies.tts.first_byte

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get("/tts/websocket", self.converse), web.post("/tts/bytes", self.synthesize)]

    async def synthesize(self, request: web.Request) -> web.StreamResponse:
        """Answers a POST with the audio of one text; HTTP 400 for another encoding."""
        await self.provider.admit(request)
        body = await request.json()
        sample_rate = _sample_rate(self.provider, body)
        answer = self.provider.answer(self._first_byte)
        await asyncio.sleep(answer.delay)
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await play(request, response.write, body["transcript"], sample_rate, cut=answer.cut)
        return response

    async def converse(self, request: web.Request) -> web.WebSocketResponse:
        """Speaks many contexts over one WebSocket; each context is the sentences of one utterance."""
        await self.provider.admit(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client is gone
            await _CartesiaSpeaking(request, ws, self.provider, self._first_byte).run()
        return ws


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one request of a context asks for."""

    context: str
    text: str
    sample_rate: int
    last: bool


class _CartesiaSpeaking:
    """One open connection for text-to-speech."""

    def __init__(
        self, request: web.Request, ws: web.WebSocketResponse, provider: Provider, first_byte: Distribution
    ) -> None:
        self._request = request
        self._ws = ws
        self._provider = provider
        self._first_byte = first_byte
        self._cancelled: set[str] = set()
        self._queue: asyncio.Queue[_Piece] = asyncio.Queue()

    async def run(self) -> None:
        voice_task = asyncio.create_task(self._say())
        try:
            async for message in self._ws:
                body: dict[str, Any] = json.loads(message.data)
                if body.get("cancel"):
                    self._cancelled.add(body["context_id"])
                    continue
                rate = body["output_format"]["sample_rate"]
                self._queue.put_nowait(_Piece(body["context_id"], body["transcript"], rate, not body.get("continue")))
        finally:
            await cancelled(voice_task)

    async def _say(self) -> None:
        answers: dict[str, Admission] = {}
        while True:
            piece = await self._queue.get()
            if piece.context in self._cancelled:
                continue
            if piece.text.strip():
                if piece.context not in answers:
                    answers[piece.context] = self._provider.answer(self._first_byte)
                    await asyncio.sleep(answers[piece.context].delay)
                await self._play(piece, cut=answers[piece.context].cut)
            if piece.last:
                answers.pop(piece.context, None)
                await self._ws.send_json(
                    {"type": "done", "context_id": piece.context, "done": True, "status_code": 200}
                )

    async def _play(self, piece: _Piece, *, cut: bool) -> None:
        async def send(pcm: bytes) -> None:
            data = base64.b64encode(pcm).decode()
            await self._ws.send_json(
                {"type": "chunk", "context_id": piece.context, "data": data, "done": False, "status_code": 206}
            )

        await play(self._request, send, piece.text, piece.sample_rate, cut=cut)


def _sample_rate(provider: Provider, body: dict[str, Any]) -> int:
    """The rate that is asked for, in Hz; HTTP 400 for another encoding."""
    wanted: dict[str, Any] = body["output_format"]
    if (wanted["container"], wanted["encoding"]) != ("raw", _ENCODING):
        raise provider.error(web.HTTPBadRequest, f"only raw {_ENCODING} is simulated")
    return int(wanted["sample_rate"])


def _error(status: int, message: str) -> str:
    return json.dumps({"type": "error", "status_code": status, "error": message})
