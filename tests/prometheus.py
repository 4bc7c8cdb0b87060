"""A real Prometheus with the files of `deploy/prometheus`, which scrapes where a test says and once a second."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from firstword.rehearsal.files import data_file
from firstword.rehearsal.processes import Child, free_ports, running
from firstword.rehearsal.servers import PROMETHEUS, find

FEATURES = "exemplar-storage,created-timestamp-zero-ingestion"
"""What docs/dashboards.md tells to turn on."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str
    _http: aiohttp.ClientSession

    async def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API. AssertionError has what it says of an expression that it refuses."""
        async with self._http.get(f"{self.url}/api/v1/{path}", params=parameters) as answer:
            said = await answer.json()
        assert said["status"] == "success", f"{parameters}: {said.get('error')}"
        return said["data"]

    async def query(self, expression: str, at: float | None = None) -> list[tuple[Labels, float]]:
        """What an expression returns now, or at a time in Unix seconds: labels and value of each series."""
        moment = {} if at is None else {"time": f"{at:.3f}"}
        data = await self.get("query", query=expression, **moment)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    async def until(self, expression: str, seconds: float) -> list[tuple[Labels, float]]:
        """What an expression returns, as soon as that is anything. AssertionError after `seconds`."""
        end = time.monotonic() + seconds
        while not (found := await self.query(expression)):
            assert time.monotonic() < end, f"{expression} returned nothing within {seconds:g} s"
            await asyncio.sleep(0.2)
        return found


@contextlib.asynccontextmanager
async def prometheus(
    folder: Path, targets: Mapping[str, str], rules: Iterable[Mapping[str, Any]] = ()
) -> AsyncGenerator[Prometheus]:
    """Runs Prometheus on `deploy/prometheus/prometheus.yml`, with `targets` (HOST:PORT by job) in place of Compose's names.

    rules: what rule files say, in place of the shipped ones.
    """
    configuration = yaml.safe_load(data_file("deploy/prometheus/prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for scrape in configuration["scrape_configs"]:
        scrape["static_configs"] = [{"targets": [targets[scrape["job_name"]]]}]
    configuration["rule_files"] = []
    for number, content in enumerate(rules):
        (folder / f"rules{number}.yml").write_text(yaml.safe_dump(dict(content)))
        configuration["rule_files"].append(f"rules{number}.yml")
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    (port,) = free_ports(1)
    program = await find(PROMETHEUS)
    arguments = (
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--enable-feature={FEATURES}",
        "--log.level=warn",
    )
    child = Child(
        name="prometheus",
        command=program.command(arguments, folder, {}),
        environment={},
        log=folder / "prometheus.log",
        ready_url=f"http://127.0.0.1:{port}/-/ready",
        tcp_ports=(port,),
        end_with_parent=program.end_with_parent,
    )
    async with running(child), aiohttp.ClientSession() as http:
        yield Prometheus(f"http://127.0.0.1:{port}", http)
