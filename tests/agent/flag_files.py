"""Flag files for tests: their text, a place where one lies, and what a session draws from it.

Tests import the fixtures by name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from firstword.agent.flags.flag_source import FlagSource, MakeProvider
from firstword.agent.flags.improvements import Subject
from firstword.agent.flags.last_good import LastGoodKeeper
from firstword.agent.flags.location import VARIABLE, shipped_file

FILE = VARIABLE
SHIPPED: dict[str, Any] = json.loads(shipped_file().read_bytes())["flags"]
CASES = Path(__file__).parent / "flag_cases"
"""Files from the field, and some like them."""


def flag(default: str | None = "off", targeting: object = None, **more: object) -> dict[str, Any]:
    """One flag as a file has it, on or off, with other fields of it changed or added."""
    variants = {"on": True, "off": False}
    return {"state": "ENABLED", "variants": variants, "defaultVariant": default, "targeting": targeting or {}, **more}


def shared(percent: int) -> dict[str, Any]:
    """One flag that is on for a share of the sessions."""
    return flag("on" if percent == 100 else "off", {"fractional": [["on", percent], ["off", 100 - percent]]})


def text(**flags: object) -> str:
    """A flag file; `_` in a name stands for `-`."""
    return json.dumps({"flags": {name.replace("_", "-"): each for name, each in flags.items()}})


class Place:
    """A flag file, and the folder of its last good copy."""

    names = ("parallel-init", "deferred-setup", "component-pool")
    subjects: Mapping[str, Subject] = {
        "parallel-init": "session",
        "deferred-setup": "session",
        "component-pool": "process",
    }

    def __init__(self, folder: Path) -> None:
        self.file = folder / "flags.json"
        self.cache = folder / "cache"

    def write(self, content: str) -> None:
        """Replace the file as a rollout does: whole, by a rename."""
        new = self.file.with_suffix(".new")
        new.write_text(content)
        new.replace(self.file)

    def keeper(self) -> LastGoodKeeper:
        return LastGoodKeeper(self.subjects, folder=self.cache)

    def source(self, provider: MakeProvider | None = None, deadline: float = 0.5) -> FlagSource:
        return FlagSource(
            per_process=self.names[2:],
            per_session=self.names[:2],
            deadline=deadline,
            provider=provider,
            folder=self.cache,
        )

    @property
    def copies(self) -> list[str]:
        return sorted(each.name for each in self.cache.iterdir())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place with no file in it yet, which flagd's variable names."""
    made = Place(tmp_path)
    monkeypatch.setenv(FILE, str(made.file))
    return made


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What was logged, from INFO on."""
    caplog.set_level(logging.INFO)
    return caplog


def drawn(source: FlagSource, room: str = "room", account: str | None = None) -> dict[str, bool]:
    """What a session in this room, of this account, draws."""
    return {each.flag: each.on for each in source.draw_session(account, room)}
