"""An agent of the older shape, without a name, that speaks when it is spoken to, by three plugins. Run by test_audit.py."""

from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli
from livekit.plugins import cartesia, deepgram, openai


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession[None](stt=deepgram.STT(), llm=openai.LLM(), tts=cartesia.TTS())
    await session.start(agent=Agent(instructions="You are a helpful voice assistant."), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, num_idle_processes=1))
