"""The committed dashboards, read as Grafana reads them: panels, their queries, and what a series is called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tools.dashboards.files import FOLDER

PAGES: dict[str, dict[str, Any]] = {
    file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))
}


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel."""

    expression: str
    legend: str
    exemplars: bool

    def with_variables(self, values: Mapping[str, str]) -> str:
        """The expression, with each variable's value in its place, as Grafana sends it."""
        return re.sub(r"\$(\w+)", lambda found: values[found[1]], self.expression)

    def name(self, labels: Mapping[str, str]) -> str:
        """What Grafana calls a series."""
        return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), self.legend)


def panels(page: str) -> Iterator[dict[str, Any]]:
    """The panels of a page that show something; rows are but headings."""
    return (panel for panel in PAGES[page]["panels"] if panel["type"] != "row")


def targets(panel: Mapping[str, Any]) -> list[Target]:
    """The queries of a panel."""
    return [
        Target(target["expr"], target["legendFormat"], target.get("exemplar", False)) for target in panel["targets"]
    ]
