"""What the audit tells the agent's processes, in one variable of their environment."""

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
    """A file that each process appends lines of JSON to."""
    environment: Mapping[str, str]
    """Variables that stay as they are, whatever a `.env` file of the agent's says."""
    defaults: Mapping[str, str]
    """Class of a plugin, with its module -> the address that it has where the agent gives none."""
    simulated: tuple[str, ...]
    """Classes of providers whose protocol a simulator speaks."""
    real: bool
    """Providers may be called, with the user's keys: then nothing is led anywhere, and nothing refused."""

    def as_json(self) -> str:
        """The variable's value."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls) -> AuditSettings:
        """Those of this process. Raises KeyError where no audit runs."""
        values: dict[str, Any] = json.loads(os.environ[VARIABLE])
        values["simulated"] = tuple(values["simulated"])
        return cls(**values)
