"""The plan of a session's start, in each shape that the flags and the job's metadata can give it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from firstword.agent import startup
from firstword.agent.accounts.model import GENERIC
from firstword.agent.audio.refusals import Refusals
from firstword.agent.flags.improvements import Improvement
from firstword.agent.parts import WorkerParts
from firstword.agent.startup import ACCOUNT_IN_METADATA, plan
from firstword.telemetry.plan import Shape
from tests.agent.providers import made

README = Path(__file__).parents[2] / "README.md"
BRIEF = [
    "room",
    "caller",
    "participant",
    "account",
    "config",
    "components",
    "assistant",
    "room_options",
    "session",
    "event_handlers",
    "background_audio",
    "resumption",
    "analytics",
    "metrics",
    "greeting",
    "playout",
]
"""improvements.md, "What the baseline does"."""
LATE = {"event_handlers", "background_audio", "resumption", "analytics"}


def _shape(*on: str, in_order: bool = False) -> Shape:
    return plan.shape(dict.fromkeys(on, True), in_order=in_order)


def _names(shape: Shape) -> list[str]:
    return [node.name for node in shape.nodes]


def test_baseline_is_the_brief() -> None:
    """The baseline does the brief's steps in the brief's order, each after the one before."""
    shape = _shape(ACCOUNT_IN_METADATA, in_order=True)
    assert _names(shape) == BRIEF
    assert [node.order for node in shape.nodes] == [None, *BRIEF[:-1]]


def test_account_by_attributes() -> None:
    """Where the metadata names no account, who is called is asked of the caller, before the account is read."""
    shape = _shape(in_order=True)
    assert _names(shape) == [*BRIEF[:3], "identity", *BRIEF[3:]]
    assert "caller" in shape.needs_of("account")


def test_account_in_metadata() -> None:
    """Where the metadata names the account it is read at once, without room or caller."""
    assert _shape(ACCOUNT_IN_METADATA).needs_of("account") == {"account"}


def test_deferred() -> None:
    """With `deferred-setup` the first word needs nothing of the late set-up, without it all of it."""
    deferred = _shape(Improvement.DEFERRED_SETUP)
    assert {node.name for node in deferred.nodes if node.deferred} == LATE
    assert not LATE & deferred.needs_of("playout")
    assert _shape().needs_of("playout") > LATE


@pytest.mark.parametrize("facts", list(itertools.product((False, True), repeat=len(plan.flags))))
@pytest.mark.parametrize("in_order", [False, True])
def test_every_shape_ends(facts: tuple[bool, ...], in_order: bool) -> None:
    """In every shape each task can start, and the three phases are closed on the way to the first word."""
    shape = plan.shape(dict(zip(plan.flags, facts, strict=True)), in_order=in_order)
    done: set[str] = set()
    while startable := [node.name for node in shape.nodes if node.name not in done and node.edges <= done]:
        done.update(startable)
    assert done == set(_names(shape))
    needed = shape.needs_of(shape.first_word)
    assert [node.closes for node in shape.nodes if node.closes and node.name in needed] == ["connect", "wait", "greet"]
    ready = {node.name for node in shape.nodes if node.readies}
    assert ready - {"upgrade"} == {"assistant", "session"}


def test_no_store_ends_a_start(tmp_path: Path) -> None:
    """Whatever reads or writes it has something to fall back to, the assistant too: a store may fail between two reads."""
    shape = _shape(Improvement.ASSISTANT_PREWARM, Improvement.ACCOUNT_CACHE)
    nodes = {node.name: node for node in shape.nodes}
    for name in ("account", "assistant", "upgrade", "resumption", "analytics"):
        assert nodes[name].fallback is not None, name
    fallback = nodes["assistant"].fallback
    assert fallback is not None
    call = SimpleNamespace(process=SimpleNamespace(parts=WorkerParts(made(tmp_path), Refusals(None))))
    assert fallback(call=call).instructions == GENERIC.instructions


def test_tuned_speaks_before_it_listens() -> None:
    """With the greeting at hand and the track published, all the first word needs is room, voice, caller and greeting."""
    shape = _shape(*Improvement, ACCOUNT_IN_METADATA)
    assert shape.needs_of("playout") == {
        "room", "track", "voice", "caller", "account", "config", "components", "greeting", "playout"
    }  # fmt: skip
    assert {node.name for node in shape.nodes if node.deferred} == {
        "session", "upgrade", *LATE, "metrics", "greeting_cache", "next_greeting"
    }  # fmt: skip


def test_the_readme_has_its_picture() -> None:
    """As it is declared, not as it was."""
    readme = README.read_text(encoding="utf-8")
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert picture == plan.to_mermaid()


def test_the_readme_shows_lines_of_the_plan() -> None:
    """Each task in its Python stands so in the plan; only the body is left out."""
    source = Path(startup.__file__ or "").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(@plan.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    tasks = [task for block in blocks for task in block.strip().split("\n\n\n")]
    assert len(tasks) >= 3
    for task in tasks:
        assert task.removesuffix(" ...") in source
