"""The text of a line of source: shown where it surely is what ran, and never from outside of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from firstword.telemetry.source_lines import SourceLine
from firstword.tuning.source_text import SourceText

AGENT = '''\
import asyncio

LIMIT = 3

class Assistant:
    async def on_enter(self):
        await self.session.generate_reply(
            instructions="Greet"
        )

@decorated(
    1)
async def entrypoint(ctx,
                     more=2):
    if ctx:
        async def read():
            return await ctx.read()
        return [await each for each in read()]
    "\\d"; await ctx.connect()  # \u2028 and \x0c are inside of the line
    x = "'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With an agent, and beside it a secret that no trace may show."""
    (tmp_path / "secret.py").write_text("SECRET = 1\n")
    made = tmp_path / "agent"
    (made / "inside").mkdir(parents=True)
    (made / "agent.py").write_text(AGENT.rpartition("\n")[0] + "\n", newline="\r\n")
    (made / ".env.local").write_text("SECRET=1\n")
    (made / "inside" / "more.py").write_text("VALUE = 1\n")
    return made


@pytest.mark.parametrize(
    ("line", "function", "text"),
    [
        (3, "<module>", "LIMIT = 3"),
        (6, "Assistant.on_enter", "async def on_enter(self):"),
        (6, "Assistant", "async def on_enter(self):"),
        (7, "Assistant.on_enter", "await self.session.generate_reply("),
        (8, "Assistant.on_enter", 'instructions="Greet"'),
        (11, "entrypoint", "@decorated("),
        (14, "<module>", "more=2):"),
        (17, "entrypoint.<locals>.read", "return await ctx.read()"),
        (18, "entrypoint", "return [await each for each in read()]"),
        (18, "entrypoint.<locals>.<listcomp>", "return [await each for each in read()]"),
    ],
)
def test_a_line_is_shown_in_its_function(folder: Path, line: int, function: str, text: str) -> None:
    """On the lines that introduce a function, in the one around it too; a comprehension is no function of its own."""
    assert SourceText(folder).of(SourceLine("agent.py", line, function)) == text


def test_lines_are_counted_as_python_counts_them(folder: Path) -> None:
    """A form feed or a line separator ends none."""
    text = SourceText(folder).of(SourceLine("agent.py", 19, "entrypoint"))
    assert text is not None
    assert "await ctx.connect()" in text


@pytest.mark.parametrize(
    ("line", "function"),
    [(7, "entrypoint"), (7, "on_enter"), (17, "entrypoint"), (4, "<module>"), (99, "<module>"), (3, "")],
)
def test_a_line_of_another_function_is_not_shown(folder: Path, line: int, function: str) -> None:
    """The file is another one by now, or the trace says what never was; neither is an empty line."""
    assert not SourceText(folder).of(SourceLine("agent.py", line, function))


def test_a_file_that_was_written_after_the_start_is_not_shown(folder: Path) -> None:
    """Only where somebody says which folder it ran from, a later date is no change: a checkout has one."""
    line = SourceLine("agent.py", 3, "<module>")
    os.utime(folder / "agent.py", ns=(0, 1_000))
    assert SourceText(folder, unchanged_since_ns=1_000).of(line) == "LIMIT = 3"
    assert SourceText(folder, unchanged_since_ns=999).of(line) is None


@pytest.mark.parametrize(
    "file",
    [
        "../secret.py",
        "inside/../../secret.py",
        "inside/../agent.py",
        "..\\secret.py",
        "link.py",
        "folder_link/secret.py",
        "link_to_env.py",
        ".env.local",
        "none.py",
        "pipe.py",
        "device.py",
        "folder.py",
        "circle.py",
        "broken.py",
        "large.py",
        "latin.py",
        "nul\0.py",
        "\ud800.py",
        "a" * 5000 + ".py",
        "",
        ".",
    ],
)
def test_nothing_is_read_that_is_not_source_below_the_folder(folder: Path, file: str) -> None:
    """A trace comes from anybody: paths and links that lead out, what would block, what is not Python."""
    (folder / "link.py").symlink_to(folder.parent / "secret.py")
    (folder / "folder_link").symlink_to(folder.parent)
    (folder / "link_to_env.py").symlink_to(folder / ".env.local")
    (folder / "circle.py").symlink_to(folder / "circle.py")
    (folder / "device.py").symlink_to("/dev/zero")
    (folder / "folder.py").mkdir()
    os.mkfifo(folder / "pipe.py")
    (folder / "broken.py").write_text("def (\n")
    (folder / "large.py").write_text("VALUE = 1\n" * 300_000)
    (folder / "latin.py").write_bytes(b"VALUE = '\xe9'\n")
    assert SourceText(folder).of(SourceLine(file, 1, "<module>")) is None


def test_an_absolute_path_is_refused_wherever_it_leads(folder: Path) -> None:
    """Also to a file that a relative one would show."""
    assert SourceText(folder).of(SourceLine(str(folder / "agent.py"), 3, "<module>")) is None


def test_a_link_inside_of_the_folder_is_followed(folder: Path) -> None:
    """A checkout may have some; so may the way to it."""
    (folder / "link.py").symlink_to(folder / "inside" / "more.py")
    (folder.parent / "way").symlink_to(folder)
    assert SourceText(folder.parent / "way").of(SourceLine("link.py", 1, "<module>")) == "VALUE = 1"
    assert SourceText(folder.parent / "way").of(SourceLine("inside/more.py", 1, "<module>")) == "VALUE = 1"


def test_a_long_line_is_cut(folder: Path) -> None:
    """One line of a terminal, or two."""
    (folder / "long.py").write_text(f"VALUE = '{'x' * 500}'\n")
    text = SourceText(folder).of(SourceLine("long.py", 1, "<module>"))
    assert text is not None
    assert (len(text), text[-1]) == (100, "…")
