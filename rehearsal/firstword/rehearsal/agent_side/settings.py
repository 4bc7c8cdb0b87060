"""The settings that an audit gives to the agent's processes, in one variable of their environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

VARIABLE = "FIRSTWORD_AUDIT"


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where the agent is led, and where its facts are written."""

    facts: str
    """The file to which each process appends lines of JSON."""
    environment: Mapping[str, str]
    """Variables of the environment that stay as they are, whatever a `.env` file of the agent's says."""
    defaults: Mapping[str, str]
    """Class of a plugin, with its module -> the address that it gets where the agent gives none."""
    constants: Mapping[str, str]
    """Constant of a plugin, with its module -> the address that it gets."""
    simulated: tuple[str, ...]
    """Classes of providers whose protocol a simulator speaks."""
    real: bool
    """Whether providers may be called, with the user's keys. Then nothing is led anywhere, and nothing refused."""

    def as_json(self) -> str:
        """Returns the settings as the value of the environment variable."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls) -> AuditSettings:
        """Reads the settings from this process's environment. Raises KeyError where no audit runs."""
        values: dict[str, Any] = json.loads(os.environ[VARIABLE])
        values["simulated"] = tuple(values["simulated"])
        return cls(**values)
