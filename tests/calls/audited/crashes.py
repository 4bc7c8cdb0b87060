"""An agent that connects and fails. Run by test_audit.py."""

from livekit.agents import AgentServer, JobContext

server = AgentServer(num_idle_processes=1)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    raise ValueError("no such shop")
