"""The bare publisher, for LiveKit: `python -P -m livekit.agents start rehearsal/floor.py` finds `server` here."""

from firstword.rehearsal.floor import server as server
