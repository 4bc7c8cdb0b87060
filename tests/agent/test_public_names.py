"""`firstword.agent` as a user imports it: few names, nothing heavy before one is used, and of extras only `agent`."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

from firstword import agent
from tests.public_names import assert_is_what_a_checker_reads

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
    assert_is_what_a_checker_reads(agent, name)


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
