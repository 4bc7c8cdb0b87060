"""`firstword.telemetry` as a user imports it: a dozen names, nothing heavy before one is used, and no livekit at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from firstword import telemetry
from tests.public_names import assert_is_what_a_checker_reads

# What starts without a library, and what it has loaded then: `None` in sys.modules is a package that can't be imported.
MODULES = """
import pkgutil, sys
for package in ("livekit", "aiohttp", "httpx2", "sqlalchemy", "pydantic", "psutil", "opentelemetry.instrumentation"):
    sys.modules[package] = None
import firstword.telemetry
alone = [name for name in sys.modules if name.startswith("firstword.telemetry.") or name in ("opentelemetry", "asyncio", "typing_extensions")]
assert not alone, alone
for module in pkgutil.iter_modules(firstword.telemetry.__path__, "firstword.telemetry."):
    __import__(module.name)
    print(module.name)
from firstword.telemetry import libraries
from opentelemetry import trace
libraries.switch_on(trace.get_tracer_provider())
"""


@pytest.mark.parametrize("name", telemetry.__all__)
def test_a_public_name_is_what_a_type_checker_takes_it_for(name: str) -> None:
    assert_is_what_a_checker_reads(telemetry, name)


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    """With Python's own words, so that `hasattr` and `from ... import` work as anywhere."""
    with pytest.raises(AttributeError, match=r"^module 'firstword\.telemetry' has no attribute 'Nothing'$"):
        _ = telemetry.Nothing  # pyright: ignore[reportAttributeAccessIssue]  # what the test is about


def test_every_module_loads_with_the_base_alone() -> None:
    """Importing the package loads nothing; each of its modules loads without LiveKit and without the instrumentations,
    and where libraries can't be traced a line says what to install."""
    done = subprocess.run([sys.executable, "-c", MODULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"firstword.telemetry.libraries", "firstword.telemetry.livekit"} <= set(done.stdout.split())
    assert done.stderr.splitlines() == [
        "no spans inside of tasks for redis; expected: pip install 'firstword[libraries]'"
    ]
