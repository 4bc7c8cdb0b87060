"""Small agents with exactly one fault each, and one that has none: what an audit of them has to offer, and what not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from firstword.telemetry.vocabulary import ASSIGNMENT, OFFER, PROCESS_START, PROCESS_WAIT

HEAD = """\
import asyncio, time
from livekit.agents import Agent, AgentSession, AutoSubscribe, JobContext
from livekit.plugins.fake import LLM, TTS, VAD, hold

async def read_account(identity="anybody"):
    await asyncio.sleep(0.12)
    return "Ada"
"""

_START = """\
    session = AgentSession(llm=LLM(), tts=TTS())
    await session.start(Agent(instructions="Be kind."), room=ctx.room)
"""
_SAY = """\
    await session.say("Hello.")
"""
_CONNECT = """\
    await ctx.connect(single_peer_connection=True)
"""


class FaultyAgent(NamedTuple):
    """An agent, the one rule that has something to say of it, and what that saves."""

    source: str
    rule: str
    saving_s: float | None
    dispatch: Mapping[str, float] | None = None
    idle_processes: int | None = None
    imports_s: float = 0.0
    after: str = ""
    """The same agent without the fault."""


SOUND = f"{HEAD}\nasync def entrypoint(ctx: JobContext):\n{_CONNECT}{_START}{_SAY}"


def _agent(*lines: str) -> str:
    return f"{HEAD}\nasync def entrypoint(ctx: JobContext):\n{''.join(lines)}"


AGENTS = {
    "greeting written by the LLM": FaultyAgent(
        _agent(_CONNECT, _START, '    await session.generate_reply(instructions="Greet.")\n'),
        "greeting-written-by-llm",
        0.46,
        after=SOUND,
    ),
    "greeting written by the LLM in on_enter": FaultyAgent(
        HEAD
        + "\nclass Greeter(Agent):\n    async def on_enter(self):\n        await self.session.generate_reply()\n"
        + "\nasync def entrypoint(ctx: JobContext):\n"
        + _CONNECT
        + _START.replace("Agent(instructions", "Greeter(instructions"),
        "greeting-written-by-llm",
        0.46,
        after=SOUND,
    ),
    "TTS connected at first use": FaultyAgent(
        _agent(_CONNECT, _START.replace("TTS()", "TTS(connected=False)"), _SAY),
        "provider-connected-at-first-use",
        0.05,
        after=_agent(
            "    tts = TTS(connected=False)\n    tts.connect()\n", _CONNECT, _START.replace("TTS()", "tts"), _SAY
        ),
    ),
    "TTS connected while a read goes on": FaultyAgent(
        _agent(
            "    tts = TTS(connected=False)\n",
            _CONNECT,
            "    tts.connect()\n    account = await read_account()\n",
            _START.replace("TTS()", "tts"),
            "    await session.say(account)\n",
        ),
        "provider-connected-at-first-use",
        0.03,
        after=_agent(
            "    tts = TTS(connected=False)\n    tts.connect()\n",
            _CONNECT,
            "    account = await read_account()\n",
            _START.replace("TTS()", "tts"),
            "    await session.say(account)\n",
        ),
    ),
    "session started before the greeting": FaultyAgent(
        _agent(_CONNECT, _START.replace("TTS()", "TTS(prewarming=0.15)"), _SAY),
        "session-started-before-greeting",
        0.15,
        after=SOUND,
    ),
    "a read in line": FaultyAgent(
        _agent("    account = await read_account()\n", _CONNECT, _START, "    await session.say(account)\n"),
        "read-waits-in-line",
        0.05,
        after=_agent(
            "    account = asyncio.create_task(read_account())\n",
            _CONNECT,
            _START,
            "    await session.say(await account)\n",
        ),
    ),
    "a read that waits for the caller": FaultyAgent(
        _agent(
            _CONNECT,
            "    caller = await ctx.wait_for_participant()\n",
            "    account = await read_account(caller.identity)\n",
            _START,
            "    await session.say(account)\n",
        ),
        "no-account-in-metadata",
        0.05,
        after=_agent(
            "    account = asyncio.create_task(read_account(ctx.job.metadata))\n",
            _CONNECT,
            "    caller = await ctx.wait_for_participant()\n",
            _START,
            "    await session.say(await account)\n",
        ),
    ),
    "VAD loaded in the entrypoint": FaultyAgent(
        _agent(_CONNECT, "    vad = VAD.load()\n", _START, _SAY), "model-loaded-in-entrypoint", 0.2, after=SOUND
    ),
    "a model of the agent's own": FaultyAgent(
        _agent(_CONNECT, "    model = load_model()\n", _START, _SAY).replace(
            "\nasync def entrypoint", "\ndef load_model():\n    hold(0.2)\n\nasync def entrypoint"
        ),
        "model-loaded-in-entrypoint",
        0.2,
        after=SOUND,
    ),
    "imports on the path": FaultyAgent(
        _agent(_CONNECT, "    import heavy\n", _START, _SAY), "imports-on-path", 0.2, after=SOUND
    ),
    "computing on the path": FaultyAgent(
        _agent(_CONNECT, "    hold(0.1)\n", _START, _SAY), "computing-on-path", 0.1, after=SOUND
    ),
    "a task that holds the loop": FaultyAgent(
        _agent("    task = asyncio.create_task(refresh())\n", _CONNECT, _START, _SAY).replace(
            "\nasync def entrypoint",
            "\nasync def refresh():\n    await asyncio.sleep(0)\n    hold(0.1)\n\nasync def entrypoint",
        ),
        "computing-on-path",
        0.075,
        after=SOUND,
    ),
    "a blocking call": FaultyAgent(_agent("    time.sleep(0.12)\n", _CONNECT, _START, _SAY), "blocking-call", 0.05),
    "no idle process": FaultyAgent(
        SOUND,
        "no-idle-process",
        0.9,
        dispatch={PROCESS_WAIT: 0.1, PROCESS_START: 0.8},
        idle_processes=0,
    ),
    "no preloaded modules": FaultyAgent(
        SOUND,
        "no-preloaded-modules",
        0.6,
        dispatch={PROCESS_START: 0.8},
        idle_processes=2,
        imports_s=0.6,
    ),
    "default connect options": FaultyAgent(
        SOUND.replace("single_peer_connection=True", ""), "default-connect-options", None
    ),
    "a room made at the join": FaultyAgent(SOUND, "room-made-at-join", 0.285, dispatch={OFFER: 0.2, ASSIGNMENT: 0.05}),
}
