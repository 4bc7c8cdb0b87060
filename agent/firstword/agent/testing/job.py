"""A job on a fake server: LiveKit's own `JobContext`, run as a worker's process runs it.

Private to LiveKit, livekit-agents 1.8.9: `job.JobContext` and `job.RunningJobInfo` are made by `ipc/job_proc_lazy_main.py`,
whose order of a job's end is repeated here; `job._JobContextVar`, for `get_job_context`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from livekit import rtc
from livekit.agents import AgentSession, JobContext, JobExecutorType, JobProcess
from livekit.agents import job as livekit_job
from livekit.protocol import agent, models

from firstword.agent.testing.livekit import URL, FakeAPI, FakeLiveKit
from firstword.agent.testing.room import new_sid

AGENT = "agent"
"""The agent's identity in the room."""


class FakeJob:
    """One job for an entrypoint: `await FakeJob(livekit).run(entrypoint)`. Making one needs a running loop.

    room: the room's name. metadata: the job's. userdata: what the process's `setup_fnc` has made. dispatched: seconds
    that LiveKit took from the request to the entrypoint.
    """

    def __init__(
        self,
        livekit: FakeLiveKit,
        *,
        room: str = "call",
        metadata: str = "",
        agent_name: str = "agent",
        userdata: dict[str, Any] | None = None,
        dispatched: float = 0.0,
    ) -> None:
        self._shutdown: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        received = time.time() - dispatched
        info = livekit_job.RunningJobInfo(
            accept_arguments=livekit_job.JobAcceptArguments(name="", identity=AGENT, metadata=""),
            job=agent.Job(
                id=new_sid("AJ"),
                room=models.Room(name=room, sid=livekit.room(room).sid),
                metadata=metadata,
                agent_name=agent_name,
            ),
            url=URL,
            token=livekit.token(room, AGENT, kind="agent", can_update_own_metadata=True),
            worker_id="AW_fake",
            fake_job=False,
            received_at=received,
        )
        process = JobProcess(executor_type=JobExecutorType.PROCESS, user_arguments=None, http_proxy=None)
        process.userdata.update(userdata or {})
        self.context = JobContext(
            proc=process,
            info=info,
            room=rtc.Room(),
            on_connect=lambda: None,
            on_shutdown=lambda reason: self._end(reason or "user requested"),
            inference_executor=cast("Any", None),
        )
        self.context.__dict__["api"] = FakeAPI(livekit)  # a cached property, which would open an HTTP session
        self.context.room.on("disconnected", self._disconnected)

    async def run(self, entrypoint: Callable[[JobContext], Awaitable[None]]) -> str:
        """Runs the entrypoint, waits until the job is ended, closes its session, calls its shutdown callbacks, and
        leaves the room.

        Returns the reason why it ended. Raises what the entrypoint raised.
        """
        token = livekit_job._JobContextVar.set(self.context)  # pyright: ignore[reportPrivateUsage]
        try:
            await entrypoint(self.context)
            reason = await self._shutdown
            session = cast("AgentSession[Any] | None", self.context._primary_agent_session)  # pyright: ignore[reportPrivateUsage]
            if session is not None:
                await session.aclose()
            callbacks = self.context._shutdown_callbacks  # pyright: ignore[reportPrivateUsage]
            await asyncio.gather(*(callback(reason) for callback in callbacks))
            return reason
        finally:
            self.context._tempdir.cleanup()  # pyright: ignore[reportPrivateUsage]
            livekit_job._JobContextVar.reset(token)  # pyright: ignore[reportPrivateUsage]
            await self.context.room.disconnect()

    def _disconnected(self, _: object) -> None:
        self._end("room disconnected")

    def _end(self, reason: str) -> None:
        if not self._shutdown.done():
            self._shutdown.set_result(reason)
