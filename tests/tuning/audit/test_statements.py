"""What the rules read from an agent's source: statements, what they need, and who called the function that a line is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstword.telemetry.source_lines import SourceLine
from firstword.tuning.audit.statements import AgentSource, Statement, first_use
from firstword.tuning.source_text import SourceText

SOURCE = """\
import json
from livekit.plugins import silero

async def fetch(key):
    async with pool() as connection:
        return await connection.get(key)

async def read_account(identity):
    return await fetch(f"account/{identity}")

class Assistant(Agent):
    async def on_enter(self):
        await self.session.say("Hello")

async def entrypoint(ctx):
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    identity = caller.identity
    account = await read_account(identity)
    prices = await read_prices()
    title = await read_title(ctx.room.name)
    prompt = f"You help {account}."
    session = AgentSession(
        vad=silero.VAD.load(),
        tts="some/voice",
    )
    await session.start(Assistant(prompt), room=ctx.room)
    if prices:
        await session.say(title)
"""
CONNECT = ("ctx.connect",)


@pytest.fixture
def source(tmp_path: Path) -> AgentSource:
    (tmp_path / "my_agent.py").write_text(SOURCE)
    return AgentSource(SourceText(tmp_path), "my_agent.py")


def at(source: AgentSource, text: str) -> Statement:
    """The statement of the only line that begins so."""
    (line,) = [i for i, line in enumerate(SOURCE.split("\n"), 1) if line.strip().startswith(text)]
    found = source.statement(SourceLine("my_agent.py", line, ""))
    assert found is not None
    return found


def test_a_line_in_the_middle_of_a_statement(source: AgentSource) -> None:
    """Is of that statement, with all that it calls."""
    said = at(source, "vad=")
    assert (said.line, said.end_line, said.function) == (23, 26, "entrypoint")
    assert said.calls_any("VAD.load", "AgentSession")
    assert not said.calls_any("load_vad", "D.load")
    assert said.keywords == {"vad", "tts"}


def test_a_block_is_not_part_of_what_opens_it(source: AgentSource) -> None:
    assert at(source, "if prices").calls == ()
    assert at(source, "async with").calls == ("pool",)


def test_who_led_to_a_line(source: AgentSource) -> None:
    """The one call of the function, and of that one's; a function that a library calls leads to itself."""
    line = SourceLine("my_agent.py", 6, "fetch")
    found = source.leading_to(line)
    assert found is not None
    assert (found.line, found.function) == (19, "entrypoint")
    entered = source.leading_to(SourceLine("my_agent.py", 13, "Assistant.on_enter"))
    assert entered is not None
    assert entered.function == "on_enter"


def test_what_a_statement_needs(source: AgentSource) -> None:
    """Through a plain assignment, by the room, or nothing."""
    origins = [source.origin(at(source, text), making_room=CONNECT) for text in ("account", "title", "prices")]
    assert [origin and origin.line for origin in origins] == [17, 16, None]


def test_where_a_result_is_first_used(source: AgentSource) -> None:
    """Also by another name; a condition uses it too."""
    uses = [first_use(at(source, text), source.following(at(source, text))) for text in ("account", "prices", "title")]
    assert [use and use.line for use in uses] == [27, 28, 29]


@pytest.mark.parametrize("line", [None, SourceLine("gone.py", 1, "f"), SourceLine("my_agent.py", 999, "f")])
def test_a_line_that_can_not_be_read(line: SourceLine | None, source: AgentSource) -> None:
    """Leads nowhere."""
    assert source.statement(line) is None
    assert source.leading_to(line) is None
