"""Simulates OpenAI's transcription of a recording and its embeddings, by one POST each, as the real clients read them.

It follows OpenAI's published reference of `/v1/audio/transcriptions` and `/v1/embeddings`. Transcription takes WAV, as
LiveKit's plugin sends it; `hearing.py` says what is heard.
"""

from __future__ import annotations

import asyncio
import base64
import io
import random
import struct
import wave

import numpy as np
from aiohttp import web

from firstword.rehearsal.providers import hearing
from firstword.rehearsal.providers.admission import Connections, Provider, hang_up
from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.openai import error_body

_DIMENSIONS = 1536
"""Length of a vector where the request gives none, as that of text-embedding-3-small."""


class OpenAITranscription:
    """Simulates OpenAI's `POST /v1/audio/transcriptions`: speech-to-text of one recording."""

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("openai-stt", latencies, latencies.stt.faults, connections, error_body)
        self._answer = latencies.llm.first_token

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.post("/v1/audio/transcriptions", self.transcribe)]

    async def transcribe(self, request: web.Request) -> web.Response:
        """Answers with the words of a WAV file, as late as a language model's first token; HTTP 400 for another file."""
        await self.provider.admit(request)
        try:
            form = await request.post()
            file = form["file"]
            if not isinstance(file, web.FileField):
                raise TypeError("file is a text")
            with wave.open(io.BytesIO(file.file.read())) as recording:
                rate = recording.getframerate()
                samples = np.frombuffer(recording.readframes(recording.getnframes()), "<i2")
        except (ValueError, KeyError, TypeError, EOFError, wave.Error) as error:
            raise self.provider.error(web.HTTPBadRequest, f"not a request to transcribe WAV: {error!r}") from None
        answer = self.provider.answer(self._answer)
        await asyncio.sleep(answer.delay)
        if answer.cut:
            hang_up(request)
        seconds = len(samples) / rate
        text = " ".join(word for heard in _heard(samples.tobytes(), rate) for word in heard.words)
        body = {"text": text, "usage": {"type": "duration", "seconds": seconds}}
        if form.get("response_format") == "verbose_json":
            body |= {"task": "transcribe", "language": "english", "duration": seconds}
        return web.json_response(body)


class OpenAIEmbeddings:
    """Simulates OpenAI's `POST /v1/embeddings`: each text has a vector of its own, which means nothing."""

    def __init__(self, latencies: Latencies, connections: Connections) -> None:
        self.provider = Provider("openai-embeddings", latencies, latencies.llm.faults, connections, error_body)
        self._answer = latencies.llm.first_token

    def routes(self) -> list[web.RouteDef]:
        """Returns this provider's routes for the web server: each path and its handler."""
        return [web.post("/v1/embeddings", self.embed)]

    async def embed(self, request: web.Request) -> web.Response:
        """Answers with a vector for each text or list of tokens; HTTP 400 for a request of another shape."""
        await self.provider.admit(request)
        try:
            body = await request.json()
            given = body["input"]
            texts = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else list(given)
            length = int(body.get("dimensions") or _DIMENSIONS)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.provider.error(web.HTTPBadRequest, f"not a request for embeddings: {error!r}") from None
        answer = self.provider.answer(self._answer)
        await asyncio.sleep(answer.delay)
        packed = body.get("encoding_format") == "base64"
        vectors = [_vector(str(text), length) for text in texts]
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return web.json_response({"object": "list", "data": data, "model": body.get("model", ""), "usage": usage})


def _heard(pcm: bytes, rate: int) -> list[hearing.Transcript]:
    """What is said in a recording."""
    ear = hearing.Ear(rate, silence=0.2)
    return [heard for heard in (*ear.feed(pcm), *ear.finish()) if heard.final]


def _vector(text: str, length: int) -> list[float]:
    """A vector of length 1, decided by the text."""
    draw = random.Random(text)
    values = [draw.gauss(0, 1) for _ in range(length)]
    norm = sum(value * value for value in values) ** 0.5
    return [value / norm for value in values]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
