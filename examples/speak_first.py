"""LiveKit's own quickstart agent, which speaks first. Lines that were added or changed end in `# +`.

    python -m livekit.agents start examples/speak_first.py

Spans go where OTEL_EXPORTER_OTLP_ENDPOINT says, and to files in the folder FIRSTWORD_TRACES.
"""

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess
from livekit.plugins import deepgram, openai

from firstword.agent import speak_first, warm_up  # +

GREETING = "Hello, how can I help you today?"  # +
server = AgentServer(port=int(os.environ.get("HTTP_PORT", "8081")))


def new_session() -> AgentSession[None]:  # +
    stt = deepgram.STT(base_url=os.environ["DEEPGRAM_BASE_URL"] + "/listen")
    tts = deepgram.TTS(base_url=os.environ["DEEPGRAM_BASE_URL"] + "/speak")
    return AgentSession[None](stt=stt, llm=openai.LLM(), tts=tts)  # +


def prewarm(process: JobProcess) -> None:  # +
    warm_up(process, new_session, greeting=GREETING)  # +


server.setup_fnc = prewarm  # +


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    agent = Agent(instructions="You are a helpful voice assistant.")
    await speak_first(ctx, new_session, agent=agent, greeting=GREETING)  # +
