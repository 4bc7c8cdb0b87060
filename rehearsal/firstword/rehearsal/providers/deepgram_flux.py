"""Simulates Deepgram's Flux, `/v2/listen`: speech-to-text that finds turns, as the real plugin (`STTv2`) speaks it.

It follows Deepgram's published reference of `/v2/listen`: Connected, TurnInfo and Configure. Turns end after a silence,
never eagerly. Beside `deepgram.py`, which has Deepgram's older protocols.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Iterable
from typing import Any

from aiohttp import WSMsgType, web

from firstword.rehearsal.providers import hearing
from firstword.rehearsal.providers.admission import Admission, Connections, Provider, hang_up
from firstword.rehearsal.providers.deepgram import error_body, requested_rate
from firstword.rehearsal.providers.latency import Latencies


class Flux:
    """Simulates Deepgram's `/v2/listen`: streaming speech-to-text with turns, over a WebSocket."""

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("flux", latencies, latencies.stt.faults, connections, error_body)
        self._connect = latencies.stt.connect
        self._silence = latencies.stt.silence
        self._silences = latencies.stream("flux.silence")

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.get("/v2/listen", self.listen)]

    async def listen(self, request: web.Request) -> web.WebSocketResponse:
        """Transcribes one stream of audio over a WebSocket; HTTP 400 for another encoding than mono linear16."""
        await self.provider.admit(request)
        ear = hearing.Ear(requested_rate(self.provider, request), self._silence.draw(self._silences))
        answer = self.provider.answer(self._connect)
        await asyncio.sleep(answer.delay)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client is gone
            await _Turns(request, ws, ear, answer).run()
        return ws


class _Turns:
    """One open stream of audio, turn by turn."""

    def __init__(self, request: web.Request, ws: web.WebSocketResponse, ear: hearing.Ear, answer: Admission) -> None:
        self._request = request
        self._ws = ws
        self._ear = ear
        self._answer = answer
        self._id = str(uuid.uuid4())
        self._sent = 0
        self._turn = 0
        self._speaking = False

    async def run(self) -> None:
        await self._send("Connected")
        async for message in self._ws:
            if message.type is WSMsgType.BINARY:
                await self._tell(self._ear.feed(message.data))
                continue
            match json.loads(message.data).get("type"):
                case "Configure":
                    await self._send("ConfigureSuccess")
                case "CloseStream":
                    await self._tell(self._ear.finish())
                    await self._ws.close()
                    return
                case unknown:
                    await self._send("Error", code="INVALID_MESSAGE", description=f"unknown message: {unknown}")

    async def _tell(self, transcripts: Iterable[hearing.Transcript]) -> None:
        for heard in transcripts:
            if not self._speaking:
                await self._tell_turn("StartOfTurn", heard)
            elif not heard.final:
                await self._tell_turn("Update", heard)
            self._speaking = not heard.final
            if heard.final:
                await self._tell_turn("EndOfTurn", heard)
                self._turn += 1
            if self._answer.cut:
                hang_up(self._request)

    async def _tell_turn(self, event: str, heard: hearing.Transcript) -> None:
        await self._send(
            "TurnInfo",
            event=event,
            turn_index=self._turn,
            audio_window_start=heard.start,
            audio_window_end=heard.end,
            transcript=" ".join(heard.words),
            words=[{"word": word, "confidence": 0.99} for word in heard.words],
            end_of_turn_confidence=0.9 if heard.final else 0.1,
        )

    async def _send(self, kind: str, **values: Any) -> None:
        await self._ws.send_json({"type": kind, "request_id": self._id, "sequence_id": self._sent, **values})
        self._sent += 1
