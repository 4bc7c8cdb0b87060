"""Every command that reads traces takes observed ones, and says that they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from inline_snapshot import snapshot
from typer.testing import CliRunner

from firstword.command.__main__ import app
from tests.command.account_line import without_account
from tests.tuning.observed import observed_start

AGENT = """\
class Assistant(Agent):
    async def on_enter(self) -> None:
        await self.session.generate_reply(instructions="Greet the user")

async def entrypoint(ctx: JobContext) -> None:
    session = AgentSession(llm="gpt")
    await ctx.connect()
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """In a folder with the agent as it ran, and a store of two of its starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("my_agent.py").write_text(AGENT)
    os.utime("my_agent.py", (0, 0))
    Path("t.jsonl").write_text(observed_start(1) + observed_start(2))


def typed(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `firstword ARGUMENTS --traces t.jsonl`."""
    result = CliRunner().invoke(app, [*arguments, "--traces", "t.jsonl"])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, without_account(result.stderr)


def tree(*arguments: str) -> str:
    code, out, error = typed("critical-chain", f"{1:032x}", *arguments)
    assert (code, error) == (0, "")
    return out[out.index("Path:") :]


def test_the_chain_is_by_line_with_its_kinds_and_its_text() -> None:
    """What lies between two waits of one line is inside of them; what has no line is by its kind."""
    assert tree() == snapshot("""\
Path: observed on the event loop, by line of source

first word @830ms
├─outside @800ms +30ms
├─my_agent.py:3 Assistant.on_enter @200ms +600ms
│   await self.session.generate_reply(instructions="Greet the user")
│   network in LLMStream._run 400ms, network 180ms, event loop 17ms held by LLM.prewarm, computing 3.0ms
├─my_agent.py:7 entrypoint @120ms +80ms, network
│   await ctx.connect()
├─my_agent.py:6 entrypoint @100ms +20ms, computing
│   session = AgentSession(llm="gpt")
└─dispatch @0ms +100ms
""")


def test_a_file_that_changed_or_is_missing_is_not_shown() -> None:
    """The rest is. `--source` says where it is as it ran, whatever its date."""
    whole = tree()
    os.utime("my_agent.py", (4e9, 4e9))
    without = tree()
    assert "await" not in without
    assert without == "".join(
        line for line in whole.splitlines(keepends=True) if "await" not in line and "session =" not in line
    )
    Path("my_agent.py").unlink()
    assert tree() == without
    Path("release").mkdir()
    Path("release/my_agent.py").write_text(AGENT)
    os.utime("release/my_agent.py", (4e9, 4e9))
    assert tree("--source", "release") == whole
    code, _, error = typed("critical-chain", "--source", "nowhere")
    assert (code, error.count("--source nowhere is no folder")) == (2, 1)


def test_json_has_kinds_and_lines_and_never_the_text() -> None:
    """Keys that a declared start has too; null where nothing is known."""
    code, out, _ = typed("critical-chain", f"{1:032x}", "--json")
    answer = json.loads(out)
    assert (code, answer["method"], "await" in out) == (0, "observed", False)
    assert [tuple(piece.values())[1:] for piece in answer["path"]] == snapshot(
        [
            ("dispatch", None, None, 0, 99999, None, None, None, None),
            ("entrypoint", None, None, 100000, 19999, "computing", "my_agent.py", 6, "entrypoint"),
            ("entrypoint", None, None, 120000, 79999, "network", "my_agent.py", 7, "entrypoint"),
            ("Assistant.on_enter", None, None, 200000, 2999, "computing", "my_agent.py", 3, "Assistant.on_enter"),
            ("Assistant.on_enter", None, None, 203000, 399999, "network", "my_agent.py", 3, "Assistant.on_enter"),
            ("event loop", None, None, 603000, 16999, "event loop", None, None, None),
            ("Assistant.on_enter", None, None, 620000, 179999, "network", "my_agent.py", 3, "Assistant.on_enter"),
            ("outside", None, None, 800000, 30000, "outside", None, None, None),
        ]
    )


def test_blame_ranks_lines() -> None:
    """By their time on the path; the flame graph has them too."""
    code, out, error = typed("blame")
    assert (code, error) == (0, "")
    assert out == snapshot("""\
Traces: t.jsonl
2 sessions with a first word
Time to first word: p50 0.830 s, p90 0.830 s, p99 0.830 s
Path: observed on the event loop, by line of source; drag needs a plan

ms                                 drag   path  critical  loop  others    p50    p90    p99
my_agent.py:3 Assistant.on_enter      -    583     100 %     -       -    583    583    583
(dispatch)                            -  100.0     100 %     -       -  100.0  100.0  100.0
my_agent.py:7 entrypoint              -   80.0     100 %     -       -   80.0   80.0   80.0
outside                               -   30.0     100 %     -       -   30.0   30.0   30.0
my_agent.py:6 entrypoint              -   20.0     100 %     -       -   20.0   20.0   20.0
(event loop, held by LLM.prewarm)     -   17.0     100 %     -       -   17.0   17.0   17.0
""")
    assert "greet;my_agent.py:3 Assistant.on_enter 1165994" in typed("blame", "--folded")[1]
    answer = json.loads(typed("blame", "--json")[1])
    assert (answer["method"], answer["rows"][0]["kind"], answer["rows"][0]["drag_s"]) == ("observed", "line", None)


@pytest.mark.parametrize("many", [(), ("--many",)])
def test_plot_draws_lines(many: tuple[str, ...]) -> None:
    """One session by line, many by what they waited for."""
    code, out, _ = typed("plot", "-o", "a.svg", *many, "--json")
    assert (code, json.loads(out)["method"]) == (0, "observed")
    assert "my_agent.py:3 Assistant.on_enter" in Path("a.svg").read_text()


def test_statistics_count_them() -> None:
    """By time to first word; a flag they don't have can't be compared, and a task they don't have has no objective."""
    code, out, _ = typed("check", "--slo", "ttfw.p90<0.9", "--json")
    answer = json.loads(out)
    assert (code, answer["met"], answer["method"]) == (0, True, "observed")
    assert typed("check", "--slo", "task.account.p90<0.9")[0] == 2
    assert typed("save", "then.json")[1] == "Traces: t.jsonl\n4 figures of 2 sessions: then.json\n"
    answer = json.loads(typed("diff", "then.json", "--json")[1])
    assert answer["method"] == {"then": "observed", "now": "observed"}
    code, _, error = typed("what-if", "account=0.5")
    assert (code, "no plan" in error) == (1, True)


def test_compare_takes_them_where_they_have_flags() -> None:
    """An agent may say its own on the root."""
    starts = [
        observed_start(n, root={"startup.flag.quick": "on" if n % 2 else "off", "startup.flags_by": "room"})
        for n in range(1, 9)
    ]
    Path("t.jsonl").write_text("".join(starts))
    answer = json.loads(typed("compare", "--by", "quick", "--json")[1])
    assert (answer["sessions"], answer["method"]) == ({"off": 4, "on": 4}, "observed")


def test_what_a_stranger_wrote_is_text() -> None:
    """A file, a function, a holder may be called anything."""
    hostile = "\x1b]0;owned\x07\nforged\u202e"
    greet = (
        (
            hostile,
            630,
            {"startup.kind": "timer", "code.file.path": hostile, "code.line.number": 3, "code.function.name": hostile},
        ),
    )
    Path("t.jsonl").write_text(observed_start(1, greet=greet))
    for command in (["critical-chain"], ["blame"], ["blame", "--folded"]):
        code, out, _ = typed(*command)
        assert code == 0
        assert not set(out) & {"\x1b", "\x07", "\u202e"}
        assert "\nforged" not in out


def test_why_a_start_was_not_observed_is_said() -> None:
    """Asked for and not possible: its phases are there, its path is guessed."""
    told = {"startup.method": "guessed", "startup.unobserved": "the event loop is uvloop.Loop; expected asyncio's own"}
    line = json.loads(observed_start(1, root=told))
    spans = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[:] = [span for span in spans if not span["name"].startswith("critical ")]
    Path("t.jsonl").write_text(json.dumps(line) + "\n")
    assert "(last-finishing-child); not observed: the event loop is uvloop.Loop; expected asyncio's own\n" in tree()
    assert json.loads(typed("critical-chain", "--json")[1])["method"] == "guessed"
