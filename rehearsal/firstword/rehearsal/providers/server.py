"""Runs the provider simulators, in this process (`simulators`) or as one of its own (`python -m firstword.rehearsal.providers`).

One loopback port serves them all: the worker's real plugins connect to it instead of to the real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass

from aiohttp import web

from firstword.rehearsal.providers.admission import Connections
from firstword.rehearsal.providers.cartesia import CartesiaSTT, CartesiaTTS
from firstword.rehearsal.providers.deepgram import Listen, Speak
from firstword.rehearsal.providers.deepgram_flux import Flux
from firstword.rehearsal.providers.inference import PREFIX, InferenceSTT, InferenceTTS
from firstword.rehearsal.providers.latency import Latencies, LatencyError
from firstword.rehearsal.providers.openai import OpenAI, OpenAISpeech
from firstword.rehearsal.providers.openai_responses import OpenAIResponses
from firstword.rehearsal.providers.openai_transcription import OpenAIEmbeddings, OpenAITranscription
from firstword.rehearsal.providers.realtime import Realtime

_LARGEST_REQUEST = 16 * 1024**2
_SHUTDOWN_TIMEOUT = 0.2
"""Seconds that answers under way get to end."""


@dataclass(frozen=True, slots=True)
class ProviderAddresses:
    """Addresses of the simulators: base addresses as OPENAI_BASE_URL, DEEPGRAM_BASE_URL and LIVEKIT_INFERENCE_URL want
    them.

    Cartesia's is as its plugin wants it, and that of Deepgram's Flux; `stats` has the counts.
    """

    openai: str
    deepgram: str
    inference: str
    cartesia: str
    flux: str
    stats: str


def application(latencies: Latencies) -> web.Application:
    """Makes the web application with all simulated providers and `GET /stats`.

    The stats have by the name of each provider `{"requests", "connections", "answers"}`; `llm`, `stt` and `tts` are
    OpenAI's and Deepgram's.
    """
    connections = Connections()
    simulated = [
        OpenAI(latencies, connections),
        OpenAISpeech(latencies, connections),
        OpenAIResponses(latencies, connections),
        OpenAITranscription(latencies, connections),
        OpenAIEmbeddings(latencies, connections),
        Listen(latencies, connections),
        Flux(latencies, connections),
        Speak(latencies, connections),
        OpenAI(latencies, connections, name="inference-llm", prefix=PREFIX),
        InferenceSTT(latencies, connections),
        InferenceTTS(latencies, connections),
        CartesiaSTT(latencies, connections),
        CartesiaTTS(latencies, connections),
        Realtime(latencies, connections, name="realtime", paths=("/v1/realtime",)),
        # the client adds /realtime only to addresses whose path is /v1
        Realtime(latencies, connections, name="inference-realtime", paths=(PREFIX, f"{PREFIX}/realtime")),
    ]

    async def stats(_: web.Request) -> web.Response:
        return web.json_response({each.provider.name: each.provider.counts for each in simulated})

    app = web.Application(client_max_size=_LARGEST_REQUEST)
    app.add_routes([web.get("/stats", stats)])
    for each in simulated:
        app.add_routes(each.routes())
    return app


@asynccontextmanager
async def simulators(latencies: Latencies, *, port: int = 0) -> AsyncGenerator[ProviderAddresses]:
    """Runs the simulators on a loopback port, a free one when 0, until the block ends. Raises OSError when the port is taken."""
    runner = web.AppRunner(application(latencies), access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield ProviderAddresses(
            openai=f"{origin}/v1",
            deepgram=f"{origin}/v1",
            inference=f"{origin}{PREFIX}",
            cartesia=origin,
            flux=f"{origin}/v2/listen",
            stats=f"{origin}/stats",
        )
    finally:
        await runner.cleanup()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the simulators until SIGTERM, SIGINT or the end of standard input. Prints their addresses as one line of
    JSON when ready.

    Whoever starts it gives it a pipe as standard input: the pipe closes when the parent dies. Returns the exit code: 2
    for a latency file that can't be used.
    """
    parser = argparse.ArgumentParser(
        prog="python -m firstword.rehearsal.providers",
        description="Simulate OpenAI, Deepgram, Cartesia and LiveKit Inference.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 (the default): a free one")
    parser.add_argument("--providers", metavar="FILE", help="latency model; the default one without it")
    options = parser.parse_args(arguments)
    try:
        latencies = Latencies.load(options.providers)
    except LatencyError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    asyncio.run(_serve(latencies, options.port))
    return 0


async def _serve(latencies: Latencies, port: int) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopped.set)

    def wait_for_the_parent() -> None:
        while os.read(sys.stdin.fileno(), 1024):  # not sys.stdin.read(): its lock would be held at exit
            pass
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(stopped.set)

    async with simulators(latencies, port=port) as addresses:
        threading.Thread(target=wait_for_the_parent, daemon=True).start()
        sys.stdout.write(json.dumps(asdict(addresses)) + "\n")
        sys.stdout.flush()
        await stopped.wait()
