"""The floor, the yardstick of a rehearsal: the least that a LiveKit worker can do and still be heard.

It connects with defaults, publishes, waits for participant and subscription, and pushes a tone: nothing less, nothing
more. Executor, idle processes and dispatch are those of the worker beside it, started the same way, by
`rehearsal/floor.py` at the top of the checkout.
"""

from __future__ import annotations

import os

from livekit import rtc
from livekit.agents import AgentServer, JobContext, JobExecutorType

from firstword.rehearsal.tone import SAMPLE_RATE, TONE


def load(_: AgentServer) -> float:
    """Returns the load that is reported to LiveKit: a fixed one, since a busy small machine would declare itself full."""
    return float(os.environ["FIRSTWORD_FIXED_LOAD"])


# The environment is what rehearsal/workers.py gives every worker; agent/settings.py would ask for providers' keys.
server = AgentServer(
    job_executor_type=JobExecutorType(os.environ.get("FIRSTWORD_EXECUTOR", "process")),
    load_fnc=load,
    host="127.0.0.1",
    port=int(os.environ["FIRSTWORD_HTTP_PORT"]),
)
if idle_processes := os.environ.get("FIRSTWORD_IDLE_PROCESSES"):
    server.update_options(num_idle_processes=int(idle_processes))


@server.rtc_session(agent_name=os.environ["FIRSTWORD_AGENT_NAME"])
async def entrypoint(job: JobContext) -> None:
    """Runs one session: joins, publishes a track and plays the tone as soon as the caller is subscribed. Ends when the caller has gone."""

    def hang_up(_: rtc.RemoteParticipant) -> None:
        job.shutdown()

    await job.connect()
    source = rtc.AudioSource(SAMPLE_RATE, 1)
    track = rtc.LocalAudioTrack.create_audio_track("floor", source)
    publication = await job.room.local_participant.publish_track(
        track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    )
    await job.wait_for_participant()
    job.room.on("participant_disconnected", hang_up)  # pyright: ignore[reportUnknownMemberType]  # rtc's callbacks are untyped
    await publication.wait_for_subscription()
    await source.capture_frame(rtc.AudioFrame(TONE.tobytes(), SAMPLE_RATE, 1, len(TONE)))
