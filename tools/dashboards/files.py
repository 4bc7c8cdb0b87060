"""The files of the dashboards, as Grafana reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards.rollout import rollout
from tools.dashboards.start_up import start_up
from tools.dashboards.workers import workers

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "grafana"


def contents() -> dict[str, str]:
    """Returns what each file says, by its name."""
    made = {"start-up.json": start_up(), "workers.json": workers(), "rollout.json": rollout()}
    return {name: json.dumps(page, cls=JSONEncoder, indent=2, sort_keys=True) + "\n" for name, page in made.items()}
