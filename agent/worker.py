"""The shipped worker, for LiveKit: `python -P -m livekit.agents start agent/worker.py` finds `server` here."""

from firstword.telemetry.extras import needed

# what is named is imported by the processes of jobs, whose errors LiveKit logs again and again
with needed("worker", "the worker", "aiosqlite", "livekit.plugins.deepgram", "livekit.plugins.openai", "sqlalchemy"):
    from firstword.agent.worker import server as server
