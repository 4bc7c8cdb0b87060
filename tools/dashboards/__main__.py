"""Writes the dashboards to `deploy/grafana`."""

from __future__ import annotations

from tools.dashboards.files import FOLDER, contents

for name, text in contents().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
