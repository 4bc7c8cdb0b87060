"""An agent as LiveKit's examples have it: in a package, with a name, a file of settings, and LiveKit Inference. Run by test_audit.py."""

import os

from dotenv import load_dotenv
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, cli, inference

from .prompts import GREETING

load_dotenv(".env.local", override=True)


def set_up(process: JobProcess) -> None:
    process.userdata["shop"] = os.environ["SHOP"]


server = AgentServer(setup_fnc=set_up, num_idle_processes=1)


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are a helpful voice assistant.")

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions=GREETING)


@server.rtc_session(agent_name="shop")
async def entrypoint(ctx: JobContext) -> None:
    assert ctx.proc.userdata["shop"] == "open"
    session = AgentSession[None](
        stt=inference.STT("deepgram/nova-3"),
        llm=inference.LLM("openai/gpt-4.1-mini"),
        tts=inference.TTS("cartesia/sonic-3"),
    )
    await session.start(agent=Assistant(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
