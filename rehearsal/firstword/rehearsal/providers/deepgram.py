"""Simulates Deepgram's `listen` (speech-to-text) and `speak` (text-to-speech), as the real plugin speaks them.

Served by `server.py`; `hearing.py` and `voice.py` compute what is heard and said, `admission.py` says how late.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import uuid
from collections.abc import Collection, Iterable
from enum import Enum
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from firstword.rehearsal.providers import hearing, voice
from firstword.rehearsal.providers.admission import Admission, Connections, Provider, hang_up
from firstword.rehearsal.providers.latency import Body, Distribution, Latencies
from firstword.rehearsal.providers.playback import cancelled, play

IDLE_TIMEOUT = 10.0
"""Seconds without audio or KeepAlive after which `listen` hangs up, as Deepgram does."""
_PAGE = (
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body>"
    + "<p>Sign in to go on.</p>" * 8_000
    + "</body></html>"
)
"""As large as three seconds of sound."""
_WAV_HEADER = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 24_000, 48_000, 2, 16, b"data", 0
)
_NOTHING = hearing.Transcript((), 0.0, 0.0, final=True)


class Listen:
    """Simulates Deepgram's `/v1/listen`: streaming speech-to-text over a WebSocket."""

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("stt", latencies, latencies.stt.faults, connections, error_body)
        self._refused = latencies.stt.refused
        self._connect = latencies.stt.connect
        self._silence = latencies.stt.silence
        self._silences = latencies.stream("stt.silence")

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get("/v1/listen", self.listen)]

    async def listen(self, request: web.Request) -> web.WebSocketResponse:
        """Transcribes one stream of audio over a WebSocket.

        HTTP 400 for another encoding than mono linear16, and for a language that the latency model refuses.
        """
        await self.provider.admit(request)
        sample_rate = requested_rate(self.provider, request)
        _check_model(self.provider, request.query.get("language"), self._refused)
        silence = self._silence.draw(self._silences)
        with contextlib.suppress(ValueError):  # "false" turns Deepgram's endpointing off, ours has its minimum
            silence = max(silence, float(request.query.get("endpointing", "false")) / 1e3)
        answer = self.provider.answer(self._connect)
        await asyncio.sleep(answer.delay)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client is gone
            await _Listening(request, ws, hearing.Ear(sample_rate, silence), answer).run()
        return ws


class _Listening:
    """One open `listen` stream."""

    def __init__(self, request: web.Request, ws: web.WebSocketResponse, ear: hearing.Ear, answer: Admission) -> None:
        self._request = request
        self._ws = ws
        self._ear = ear
        self._answer = answer
        self._id = str(uuid.uuid4())
        self._speaking = False

    async def run(self) -> None:
        while True:
            try:
                message = await self._ws.receive(timeout=IDLE_TIMEOUT)
            except TimeoutError:
                await self._ws.close(code=WSCloseCode.INTERNAL_ERROR, message=b"NET-0001: no audio, no KeepAlive")
                return
            if message.type is WSMsgType.BINARY:
                await self._tell(self._ear.feed(message.data))
            elif message.type is not WSMsgType.TEXT:
                return
            else:
                match json.loads(message.data).get("type"):
                    case "Finalize":
                        await self._tell(self._ear.finish())
                        await self._send(_results(self._id, _NOTHING, from_finalize=True))
                    case "CloseStream":
                        await self._tell(self._ear.finish())
                        await self._send({"type": "Metadata", "request_id": self._id, "channels": 1})
                        await self._ws.close()
                        return
                    case _:
                        pass  # KeepAlive

    async def _tell(self, transcripts: Iterable[hearing.Transcript]) -> None:
        for transcript in transcripts:
            if not self._speaking and self._request.query.get("vad_events") == "true":
                await self._send({"type": "SpeechStarted", "channel": [0, 1], "timestamp": transcript.start})
            self._speaking = not transcript.final
            if transcript.final or self._request.query.get("interim_results") == "true":
                await self._send(_results(self._id, transcript))
            if self._answer.cut:
                hang_up(self._request)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._ws.send_str(json.dumps(message))


class Speak:
    """Simulates Deepgram's `/v1/speak`: text-to-speech, over a WebSocket or by one POST; linear16 only."""

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("tts", latencies, latencies.tts.faults, connections, error_body)
        self._first_byte = latencies.tts.first_byte
        self._body = latencies.tts.body
        self._refused = latencies.tts.refused

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get("/v1/speak", self.converse), web.post("/v1/speak", self.synthesize)]

    async def synthesize(self, request: web.Request) -> web.StreamResponse:
        """Answers a POST with the audio of its text, or with the fault that the latency model has for it."""
        await self.provider.admit(request)
        sample_rate = requested_rate(self.provider, request)
        _check_model(self.provider, request.query.get("model"), self._refused)
        try:
            text = str((await request.json())["text"])
        except (ValueError, KeyError, TypeError):
            raise self.provider.error(web.HTTPBadRequest, 'expected a body {"text": TEXT}') from None
        answer = self.provider.answer(self._first_byte)
        await asyncio.sleep(answer.delay)
        media_type = f"audio/l16;rate={sample_rate};channels=1"
        match self._body:
            case Body.JSON:
                return web.Response(text=error_body(500, "out of capacity"), content_type="application/json")
            case Body.HTML:
                return web.Response(text=_PAGE, content_type="text/html")
            case Body.HEADER:
                return web.Response(body=_WAV_HEADER, headers={"Content-Type": media_type})
            case Body.SHORT:
                text = text[: len(text) // 10]
            case Body.AUDIO:
                pass
        response = web.StreamResponse(headers={"Content-Type": media_type})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await play(request, response.write, text, sample_rate, cut=answer.cut)
        return response

    async def converse(self, request: web.Request) -> web.WebSocketResponse:
        """Speaks many texts over one WebSocket, by the messages Speak, Flush, Clear and Close."""
        await self.provider.admit(request)
        sample_rate = requested_rate(self.provider, request)
        _check_model(self.provider, request.query.get("model"), self._refused)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client is gone
            await _Speaking(request, ws, self.provider, self._first_byte, sample_rate).run()
        return ws


class _Mark(Enum):
    """What stands between sentences in the queue of what is to be said."""

    FLUSH = "Flush"
    CLOSE = "Close"


class _Speaking:
    """One open `speak` stream: it reads messages while a task of its own says what is complete.

    A sentence is said as soon as it is complete, the rest at the flush. Only the first of a turn (up to its flush) has a
    delay: the others are synthesized while it plays.
    """

    def __init__(
        self,
        request: web.Request,
        ws: web.WebSocketResponse,
        provider: Provider,
        first_byte: Distribution,
        sample_rate: int,
    ) -> None:
        self._request = request
        self._ws = ws
        self._provider = provider
        self._first_byte = first_byte
        self._sample_rate = sample_rate
        self._text = ""
        self._flushes = 0

    async def run(self) -> None:
        await self._send({"type": "Metadata", "request_id": str(uuid.uuid4()), "model_name": "simulated"})
        queue, voice_task = self._start()
        try:
            async for message in self._ws:
                body: dict[str, Any] = json.loads(message.data) if message.type is WSMsgType.TEXT else {}
                match body.get("type"):
                    case "Speak":
                        self._text += body["text"]
                        if voice.ends_sentence(self._text):
                            self._complete(queue)
                    case "Flush":
                        self._complete(queue)
                        queue.put_nowait(_Mark.FLUSH)
                    case "Clear":
                        self._text = ""
                        await cancelled(voice_task)
                        queue, voice_task = self._start()
                        await self._send({"type": "Cleared", "sequence_id": self._flushes})
                    case "Close":
                        self._complete(queue)
                        queue.put_nowait(_Mark.CLOSE)
                        await voice_task
                        await self._ws.close()
                    case unknown:
                        await self._send({"type": "Warning", "warn_code": "UNKNOWN", "warn_msg": f"unknown: {unknown}"})
        finally:
            await cancelled(voice_task)

    def _start(self) -> tuple[asyncio.Queue[str | _Mark], asyncio.Task[None]]:
        queue: asyncio.Queue[str | _Mark] = asyncio.Queue()
        return queue, asyncio.create_task(self._say(queue))

    def _complete(self, queue: asyncio.Queue[str | _Mark]) -> None:
        if self._text.strip():
            queue.put_nowait(self._text)
        self._text = ""

    async def _say(self, queue: asyncio.Queue[str | _Mark]) -> None:
        answer: Admission | None = None
        while (item := await queue.get()) is not _Mark.CLOSE:
            if item is _Mark.FLUSH:
                await self._send({"type": "Flushed", "sequence_id": self._flushes})
                self._flushes += 1
                answer = None
                continue
            if answer is None:
                answer = self._provider.answer(self._first_byte)
                await asyncio.sleep(answer.delay)
            await play(self._request, self._ws.send_bytes, item, self._sample_rate, cut=answer.cut)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._ws.send_str(json.dumps(message))


def _results(request_id: str, transcript: hearing.Transcript, *, from_finalize: bool = False) -> dict[str, Any]:
    """Deepgram's `Results`. The words share the utterance's time evenly; no words: nothing was left to finalize."""
    length = (transcript.end - transcript.start) / max(len(transcript.words), 1)
    words = [
        {
            "word": word.lower(),
            "punctuated_word": word,
            "start": transcript.start + index * length,
            "end": transcript.start + (index + 1) * length,
            "confidence": 0.99,
        }
        for index, word in enumerate(transcript.words)
    ]
    alternative = {"transcript": " ".join(transcript.words), "confidence": 0.99 if words else 0.0, "words": words}
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "start": transcript.start,
        "duration": transcript.end - transcript.start,
        "is_final": transcript.final,
        "speech_final": transcript.final and bool(words),
        "from_finalize": from_finalize,
        "channel": {"alternatives": [alternative]},
        "metadata": {"request_id": request_id},
    }


def requested_rate(provider: Provider, request: web.Request) -> int:
    """Returns the request's sample rate in Hz. Raises HTTP 400 for what the simulator neither hears nor says."""
    encoding, rate = request.query.get("encoding"), request.query.get("sample_rate", "")
    if encoding != "linear16" or request.query.get("channels", "1") != "1":
        raise provider.error(web.HTTPBadRequest, f"encoding was {encoding!r}; only mono linear16 is simulated")
    if not rate.isdecimal() or not 8000 <= int(rate) <= 48000:
        raise provider.error(web.HTTPBadRequest, f"sample_rate was {rate!r}, may be 8000 to 48000")
    return int(rate)


def _check_model(provider: Provider, asked: str | None, refused: Collection[str]) -> None:
    """HTTP 400 for a voice, or for a model with a language, that there is not."""
    if asked in refused:
        raise provider.error(web.HTTPBadRequest, "No such model/language/tier combination found.")


def error_body(status: int, message: str) -> str:
    """Returns Deepgram's JSON for an error."""
    code = "INTERNAL_SERVER_ERROR" if status >= 500 else "INVALID_QUERY_PARAMETER"
    return json.dumps({"err_code": code, "err_msg": message, "request_id": str(uuid.uuid4())})
