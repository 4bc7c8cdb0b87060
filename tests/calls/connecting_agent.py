"""An agent that connects by itself, greets in `on_enter` too, and has nothing ready: speak_first all the same. Run by test_speak_first.py."""

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext
from livekit.plugins import deepgram, openai

from firstword.agent import speak_first

server = AgentServer(port=0)


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are a helpful voice assistant.")

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Greet the user.")


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    base_url = os.environ["DEEPGRAM_BASE_URL"]
    stt, tts = deepgram.STT(base_url=base_url + "/listen"), deepgram.TTS(base_url=base_url + "/speak")
    session = AgentSession[None](stt=stt, llm=openai.LLM(), tts=tts)
    await speak_first(ctx, session, agent=Assistant(), greeting="Hello, how can I help you today?")
