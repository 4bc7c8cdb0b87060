"""The overlays on a collector of contrib's modules: with TLS, who has the token is counted, and anybody else refused.

Only `make soak` runs this: Go builds the collector of `deploy/collector-build.yaml`, which takes minutes and modules from its
proxy. The layer that balances is left out: these files do without it, and its modules are many.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import pytest
import pytest_asyncio
import yaml
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from firstword.rehearsal.files import data_file
from firstword.rehearsal.processes import free_ports, started

pytestmark = [pytest.mark.soak, pytest.mark.asyncio(loop_scope="module")]

BUILDER = "go.opentelemetry.io/collector/cmd/builder@v{}"
TOKEN = "a-token-of-the-workers"
WITHIN_S = 60.0


@dataclass(frozen=True)
class Collector:
    """One that runs: where it listens, and the certificate that it shows."""

    grpc: str
    http: str
    metrics: str
    certificate: Path

    async def counted(self) -> str:
        """What Prometheus would scrape."""
        async with aiohttp.ClientSession() as client, client.get(self.metrics) as answer:
            return await answer.text()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collector of the modules that the files need."""
    folder = tmp_path_factory.mktemp("build")
    build = yaml.safe_load(data_file("deploy/collector-build.yaml").read_text())
    build["dist"]["output_path"] = str(folder)
    build["exporters"] = [each for each in build["exporters"] if "loadbalancing" not in each["gomod"]]
    (folder / "build.yaml").write_text(yaml.safe_dump(build))
    builder = BUILDER.format(build["dist"]["version"])
    subprocess.run(("go", "run", builder, "--config", "build.yaml"), cwd=folder, check=True)
    return folder / build["dist"]["name"]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate that nobody has signed, its key, and a token."""
    folder = tmp_path_factory.mktemp("tls")
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=collector")
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "tls.key", "-out", "tls.crt")
    subprocess.run((*make, *names), cwd=folder, check=True, capture_output=True)
    (folder / "token").write_text(TOKEN)
    return folder


async def test_contribs_modules_take_the_files_of_two_collectors(program: Path) -> None:
    """`validate` finds no fault: what `firstword up --machines 2` runs on Jaeger's binary is for contrib's image, too."""
    names = ("otel-collector.yaml", "deploy/collector-redaction.yaml", "deploy/collector-two.yaml")
    files = [part for name in names for part in ("--config", str(data_file(name)))]
    run = await asyncio.to_thread(subprocess.run, (program, "validate", *files), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector(program: Path, secrets: Path) -> AsyncGenerator[Collector]:
    """It runs with all three files."""
    ports = free_ports(5)
    environment = {
        "COLLECTOR_OTLP_GRPC": f"127.0.0.1:{ports[0]}",
        "COLLECTOR_OTLP_HTTP": f"127.0.0.1:{ports[1]}",
        "COLLECTOR_METRICS": f"127.0.0.1:{ports[2]}",
        "COLLECTOR_HEALTH": f"127.0.0.1:{ports[3]}",
        "COLLECTOR_TELEMETRY_PORT": str(ports[4]),
        "COLLECTOR_METRICS_FLUSH": "200ms",
        "COLLECTOR_TRACES_TO": "127.0.0.1:9",
        "COLLECTOR_TLS_CERTIFICATE": str(secrets / "tls.crt"),
        "COLLECTOR_TLS_KEY": str(secrets / "tls.key"),
        "COLLECTOR_TOKEN_FILE": str(secrets / "token"),
    }
    files = ("otel-collector.yaml", "deploy/collector-redaction.yaml", "deploy/collector-tls.yaml")
    command = (str(program), *(part for file in files for part in ("--config", str(data_file(file)))))
    async with started(command, environment, output=asyncio.subprocess.DEVNULL) as process:
        running = Collector(
            f"https://127.0.0.1:{ports[0]}",
            f"https://127.0.0.1:{ports[1]}/v1/traces",
            f"http://127.0.0.1:{ports[2]}/metrics",
            secrets / "tls.crt",
        )
        async with asyncio.timeout(WITHIN_S):
            while True:
                assert process.returncode is None
                try:
                    await running.counted()
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)
        yield running


def exporter(collector: Collector, protocol: str, *, token: str | None, tls: bool = True) -> SpanExporter:
    """A worker's, as `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_EXPORTER_OTLP_CERTIFICATE` make it."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if protocol == "http":
        endpoint = collector.http if tls else collector.http.replace("https", "http")
        return HttpSpanExporter(endpoint, certificate_file=str(collector.certificate), headers=headers, timeout=3)
    if not tls:
        return GrpcSpanExporter(collector.grpc.replace("https", "http"), insecure=True, headers=headers, timeout=3)
    credentials = grpc.ssl_channel_credentials(collector.certificate.read_bytes())
    return GrpcSpanExporter(collector.grpc, credentials=credentials, headers=headers, timeout=3)


async def send(to: SpanExporter, name: str) -> SpanExportResult:
    """One span of that name."""
    span = TracerProvider(shutdown_on_exit=False).get_tracer("tests").start_span(name)
    span.end()
    return await asyncio.to_thread(to.export, [span])  # pyright: ignore[reportArgumentType]  # the SDK's own


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_who_has_the_token_is_counted_and_nobody_else(
    collector: Collector, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a token, with another one, and without TLS nothing gets in."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # `requests` takes them before the exporter's certificate
        monkeypatch.delenv(variable, raising=False)
    for name, refused in (
        ("none", exporter(collector, protocol, token=None)),
        ("another", exporter(collector, protocol, token="another")),
        ("plain", exporter(collector, protocol, token=TOKEN, tls=False)),
    ):
        assert await send(refused, f"{protocol}-{name}") is SpanExportResult.FAILURE, name
    assert await send(exporter(collector, protocol, token=TOKEN), f"{protocol}-good") is SpanExportResult.SUCCESS
    async with asyncio.timeout(WITHIN_S):
        while f'span_name="{protocol}-good"' not in (counted := await collector.counted()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for name in ("none", "another", "plain"):
        assert f"{protocol}-{name}" not in counted
