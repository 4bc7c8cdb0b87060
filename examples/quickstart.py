"""LiveKit's own quickstart agent, with its start as a trace. Lines that were added end in `# +`.

    python -m livekit.agents start examples/quickstart.py

Spans go where OTEL_EXPORTER_OTLP_ENDPOINT says, and to a file in ./traces.
"""

import os
from pathlib import Path

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext
from livekit.plugins import deepgram, openai

from firstword.telemetry.export import Exporting, exporters_from_environment  # +
from firstword.telemetry.livekit import caller_joined, first_frame, start_of  # +
from firstword.telemetry.plan import Plan  # +
from firstword.telemetry.run import Run  # +
from firstword.telemetry.vocabulary import CONNECT, WAIT  # +

server = AgentServer(port=int(os.environ.get("HTTP_PORT", "8081")))
plan = Plan("session.startup", given=("job", "run"))  # +


@plan.task(closes=CONNECT)  # +
async def room(job: JobContext) -> rtc.Room:
    await job.connect()
    return job.room


@plan.task(closes=WAIT)  # +
async def caller(job: JobContext, room: rtc.Room, run: Run) -> None:
    caller_joined(run, await job.wait_for_participant())  # +


@plan.task(readies=True)  # +
async def session(room: rtc.Room, caller: None) -> AgentSession[None]:
    stt = deepgram.STT(base_url=os.environ["DEEPGRAM_BASE_URL"] + "/listen")
    tts = deepgram.TTS(base_url=os.environ["DEEPGRAM_BASE_URL"] + "/speak")
    session = AgentSession[None](stt=stt, llm=openai.LLM(), tts=tts)
    await session.start(agent=Agent(instructions="You are a helpful voice assistant."), room=room)
    return session


@plan.first_word  # +
async def playout(session: AgentSession[None]) -> None:
    await first_frame(session, lambda: session.generate_reply(instructions="Greet the user."))  # +


plan.check()  # +


@server.rtc_session()
async def entrypoint(job: JobContext) -> None:
    exporting = Exporting(exporters_from_environment(folder=Path("traces")))  # +
    job.add_shutdown_callback(exporting.shutdown_soon)  # +
    run, _ = start_of(job, plan, exporting, given={})  # +
    await run.perform()  # +
