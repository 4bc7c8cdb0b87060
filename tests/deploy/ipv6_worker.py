"""The chart's worker in a network that has ::1 alone: it registers, makes greetings, answers its probes and drains.

`python -m tests.deploy.ipv6_worker FOLDER`, in a network namespace, where all ports are free. Ends with 0 when all was well.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

from aiohttp import web

from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.server import application
from tests.agent.registering_server import registering_server
from tests.calls.waiting import PATIENCE
from tests.deploy import pods
from tests.deploy.called import worker_pod
from tests.deploy.rendered import DEPLOY, render

_IP = "::1"
_PROVIDERS, _WORKER = 8090, 8081


async def main(folder: Path) -> None:
    """Runs it. AssertionError with the end of its log where something is not as it should be."""
    with socket.socket() as probe:
        try:
            probe.connect(("127.0.0.1", _WORKER))
        except ConnectionRefusedError:
            raise SystemExit("expected a network without IPv4") from None
        except OSError:
            pass
    providers = web.AppRunner(application(Latencies.load()))
    await providers.setup()
    await web.TCPSite(providers, _IP, _PROVIDERS).start()
    base = f"http://[{_IP}]:{_PROVIDERS}/v1"
    async with registering_server(_IP) as livekit:
        values = {
            "livekit": {"url": livekit.url},
            "port": _WORKER,
            "env": {"OPENAI_BASE_URL": base, "DEEPGRAM_BASE_URL": base, "FIRSTWORD_IDLE_PROCESSES": 1},
        }
        pod = worker_pod(await asyncio.to_thread(render, values))
        volumes = {path: str(place) for path, place in pods.mounts(pod, (), folder / "volumes").items()}
        names: list[str] = ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY", "DEEPGRAM_API_KEY"]
        secret = {"firstword": dict.fromkeys(names, "s" * 32)}
        worker = pods.of_pod(pod, secret, ip=_IP).moved({"/opt/firstword": sys.prefix, **volumes})
        log = folder / "worker.log"
        async with worker.running(log, folder=DEPLOY.parent / "agent") as process:
            await worker.until("readiness", process, passes=True)
            assert await worker.passes("liveness")
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                assert await process.wait() == 0, log.read_text()
    assert "made ahead: 0" not in log.read_text(), "the providers were not reached"
    assert "made ahead" in log.read_text(), log.read_text()
    await providers.cleanup()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
