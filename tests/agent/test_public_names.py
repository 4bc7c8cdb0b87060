"""`firstword.agent` as a user imports it: four names, nothing heavy before one is used, and of extras only `agent`."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from firstword import agent

# What `speak_first` needs is what the extra `agent` brings: `None` in sys.modules is a package that can't be imported.
ALONE = """
import sys
absent = ("livekit.plugins", "sqlalchemy", "aiosqlite", "openfeature", "pydantic_settings", "dotenv", "redis")
for package in absent:
    sys.modules[package] = None
import firstword.agent
early = [name for name in sys.modules if name.startswith("firstword.agent.") or name == "livekit.agents"]
assert not early, early
from firstword.agent import Greeting, speak_first, speak_first_plan, warm_up
speak_first_plan()
print(*sorted(name for name in sys.modules if name.startswith("firstword.agent.")))
"""


@pytest.mark.parametrize("name", agent.__all__)
def test_a_public_name_is_what_a_type_checker_takes_it_for(name: str) -> None:
    """The imports that a checker reads name the module that the name really comes from."""
    tree = ast.parse(Path(agent.__file__ or "").read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("firstword.")
        for alias in node.names
    }
    assert set(seen) == set(agent.__all__)
    assert getattr(agent, name) is getattr(import_module(seen[name] or ""), name)
    assert name in dir(agent)


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"^module 'firstword\.agent' has no attribute 'Nothing'$"):
        _ = agent.Nothing  # pyright: ignore[reportAttributeAccessIssue]  # what the test is about


def test_no_module_has_the_name_of_what_is_exported() -> None:
    """`from firstword.agent import speak_first` would be the module, once that has been imported."""
    modules = {module.name for module in pkgutil.iter_modules(agent.__path__)}
    assert modules.isdisjoint(agent.__all__)


def test_it_needs_no_extra_but_agent() -> None:
    """Neither a provider nor the store, the flags or the settings of the shipped worker; importing the package loads nothing."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rooms = {name.split(".")[2] for name in done.stdout.split()}
    assert rooms.isdisjoint({"account_call", "conversation", "flags", "process", "settings", "startup", "worker"})
