"""Simulates the speech-to-text and text-to-speech of LiveKit Inference: its WebSockets, as the real classes speak them.

LiveKit publishes no description of these messages but its open client: `livekit/agents/inference/stt.py` and `tts.py`
of livekit-agents 1.8.9, which this follows. Its language model is OpenAI's chat (`openai.py`), at the same address.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from aiohttp import WSMsgType, web

from firstword.rehearsal.providers import hearing
from firstword.rehearsal.providers.admission import Admission, Connections, Provider, hang_up
from firstword.rehearsal.providers.latency import Distribution, Latencies
from firstword.rehearsal.providers.playback import cancelled, play

PREFIX = "/inference/v1"
"""Prefix of the paths: LiveKit's client takes an address that ends in `/v1`."""
_TRANSCRIPTS = {False: "interim_transcript", True: "final_transcript"}


class InferenceSTT:
    """Simulates LiveKit Inference's streaming speech-to-text, `/stt`."""

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("inference-stt", latencies, latencies.stt.faults, connections, _error)
        self._connect = latencies.stt.connect
        self._silence = latencies.stt.silence
        self._silences = latencies.stream("inference-stt.silence")

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get(f"{PREFIX}/stt", self.listen)]

    async def listen(self, request: web.Request) -> web.WebSocketResponse:
        """Transcribes one stream of audio over a WebSocket."""
        await self.provider.admit(request)
        answer = self.provider.answer(self._connect)
        await asyncio.sleep(answer.delay)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client is gone
            await _InferenceHearing(request, ws, self._silence.draw(self._silences), answer).run()
        return ws


class _InferenceHearing:
    """One open stream to `/stt`."""

    def __init__(self, request: web.Request, ws: web.WebSocketResponse, silence: float, answer: Admission) -> None:
        self._request = request
        self._ws = ws
        self._silence = silence
        self._answer = answer
        self._ear = hearing.Ear(16_000, silence)
        self._id = uuid.uuid4().hex

    async def run(self) -> None:
        async for message in self._ws:
            body = _body(message.type, message.data)
            match body.get("type"):
                case "session.create":
                    settings: Mapping[str, Any] = body.get("settings") or {}
                    if settings.get("encoding") != "pcm_s16le":
                        await self._refuse(f"encoding was {settings.get('encoding')!r}; only pcm_s16le is simulated")
                        return
                    self._ear = hearing.Ear(int(settings["sample_rate"]), self._silence)
                    await self._ws.send_json({"type": "session.created", "session_id": self._id})
                case "input_audio":
                    await self._tell(self._ear.feed(base64.b64decode(body["audio"])))
                case "session.finalize":
                    await self._tell(self._ear.finish())
                    await self._ws.send_json({"type": "session.finalized"})
                    await self._ws.send_json({"type": "session.closed"})
                case "session.close":
                    return
                case "session.update":
                    pass
                case unknown:
                    await self._refuse(f"unknown message: {unknown}")
                    return

    async def _tell(self, transcripts: Iterable[hearing.Transcript]) -> None:
        for transcript in transcripts:
            await self._ws.send_json(_transcript(self._id, transcript))
            if self._answer.cut:
                hang_up(self._request)

    async def _refuse(self, message: str) -> None:
        await self._ws.send_json({"type": "error", "code": 400, "message": message})


class InferenceTTS:
    """Simulates LiveKit Inference's text-to-speech, `/tts`, with the delays and faults of the latency model.

    Many utterances go over one WebSocket, one after the other.
    """

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("inference-tts", latencies, latencies.tts.faults, connections, _error)
        self._first_byte = latencies.tts.first_byte

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get(f"{PREFIX}/tts", self.converse)]

    async def converse(self, request: web.Request) -> web.WebSocketResponse:
        """Speaks over one WebSocket: session.create, then input_transcript for each sentence and session.flush for each utterance."""
        await self.provider.admit(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client is gone
            await _InferenceSpeaking(request, ws, self.provider, self._first_byte).run()
        return ws


class _Flush(Enum):
    """The end of an utterance, among its sentences."""

    FLUSH = "flush"


class _InferenceSpeaking:
    """One open connection to `/tts`."""

    def __init__(
        self, request: web.Request, ws: web.WebSocketResponse, provider: Provider, first_byte: Distribution
    ) -> None:
        self._request = request
        self._ws = ws
        self._provider = provider
        self._first_byte = first_byte
        self._sample_rate = 24_000
        self._id = uuid.uuid4().hex
        self._queue: asyncio.Queue[str | _Flush] = asyncio.Queue()

    async def run(self) -> None:
        voice_task = asyncio.create_task(self._say())
        try:
            async for message in self._ws:
                body = _body(message.type, message.data)
                match body.get("type"):
                    case "session.create":
                        self._sample_rate = int(body["sample_rate"])
                        await self._send("session.created")
                    case "input_transcript":
                        self._queue.put_nowait(body["transcript"])
                    case "session.flush":
                        self._queue.put_nowait(_Flush.FLUSH)
                    case "session.close":
                        return
                    case unknown:
                        await self._send("error", message=f"unknown message: {unknown}")
        finally:
            await cancelled(voice_task)

    async def _say(self) -> None:
        answer: Admission | None = None
        while True:
            item = await self._queue.get()
            if item is _Flush.FLUSH:
                await self._send("done")
                answer = None
                continue
            if answer is None:
                answer = self._provider.answer(self._first_byte)
                await asyncio.sleep(answer.delay)
            await play(self._request, self._send_audio, item, self._sample_rate, cut=answer.cut)

    async def _send_audio(self, pcm: bytes) -> None:
        await self._send("output_audio", audio=base64.b64encode(pcm).decode())

    async def _send(self, kind: str, **values: object) -> None:
        """Each message has the session: the first that has it begins the client's segment."""
        await self._ws.send_json({"type": kind, "session_id": self._id, **values})


def _body(kind: WSMsgType, data: str) -> dict[str, Any]:
    return json.loads(data) if kind is WSMsgType.TEXT else {}


def _transcript(request_id: str, heard: hearing.Transcript) -> dict[str, Any]:
    """The words share the utterance's time evenly."""
    length = (heard.end - heard.start) / max(len(heard.words), 1)
    words = [
        {
            "word": word,
            "start": heard.start + index * length,
            "end": heard.start + (index + 1) * length,
            "confidence": 0.99,
        }
        for index, word in enumerate(heard.words)
    ]
    return {
        "type": _TRANSCRIPTS[heard.final],
        "request_id": request_id,
        "transcript": " ".join(heard.words),
        "language": "en",
        "start": heard.start,
        "duration": heard.end - heard.start,
        "confidence": 0.99,
        "words": words,
    }


def _error(status: int, message: str) -> str:
    return json.dumps({"error": {"message": message, "code": status}})
