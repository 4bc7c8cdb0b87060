"""The collector as an operator meets it: what it takes out, what it keeps, what it counts, and on which builds it runs."""

import asyncio
import re
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
import yaml
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context
from opentelemetry.util.types import AttributeValue

from firstword.rehearsal.files import data_file
from firstword.rehearsal.servers import JAEGER, find
from firstword.rehearsal.stack import LocalStack, Stack
from firstword.telemetry import redaction, vocabulary

SHARED: Final = "otel-collector.yaml"
OVERLAY: Final = "deploy/collector-redaction.yaml"
TLS: Final = "deploy/collector-tls.yaml"
TWO: Final = "deploy/collector-two.yaml"
BACKEND: Final = "deploy/jaeger.yaml"
BUILD: Final = "deploy/collector-build.yaml"
PAGE: Final = Path(__file__).parents[1] / "docs" / "collector.md"

PERCENT: Final = "startup.sampling.percent"
WAIT_S: Final = 120.0

# What the files say


def test_the_contrib_build_has_the_components_that_are_used_and_no_others() -> None:
    """Both files and the page's layer before them: what was checked on contrib's build is all that production runs."""
    manifest = load(BUILD)
    for kind in ("receivers", "processors", "exporters", "connectors", "extensions"):
        used = {
            component.split("/")[0]
            for file in (load(SHARED), load(OVERLAY), load(TLS), load(TWO), balancing())
            for component in file.get(kind, ())
        }
        built = {module["gomod"].split()[0].rpartition("/")[2] for module in manifest[kind]}
        assert built == {component.replace("_", "") + kind.removesuffix("s") for component in used}


def test_the_page_runs_the_version_that_was_built() -> None:
    """One release of the contrib distribution: each module's, the page's image, and the builder that both name."""
    manifest = load(BUILD)
    version = manifest["dist"]["version"]
    modules = [module["gomod"] for kind, listed in manifest.items() if kind != "dist" for module in listed]
    assert {module.split()[1] for module in modules if "/confmap/" not in module} == {f"v{version}"}
    for text in (PAGE.read_text(encoding="utf-8"), data_file(BUILD).read_text()):
        assert set(re.findall(r"(?:contrib:|builder@v)([\d.]+)", text)) == {version}


def test_the_layer_that_balances_uses_what_it_defines_and_sends_to_where_the_next_listens() -> None:
    """Each component once, traces by their id, and both signals to the port that the shared file takes OTLP on."""
    layer = balancing()
    pipelines: dict[str, dict[str, list[str]]] = layer["service"]["pipelines"]
    for kind in ("receivers", "processors", "exporters"):
        assert {name for pipeline in pipelines.values() for name in pipeline[kind]} == set(layer[kind])
    traces, metrics = layer["exporters"]["loadbalancing"], layer["exporters"]["otlp/metrics"]
    assert traces["routing_key"] == "traceID"
    host, port = (traces["resolver"]["dns"][part] for part in ("hostname", "port"))
    assert isinstance(port, str)  # the exporter refuses a number
    assert metrics["endpoint"] == f"{host}:{port}"
    assert f":{port}" in load(SHARED)["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]


def balancing() -> dict[str, Any]:
    """The configuration that docs/collector.md shows for more than one collector."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return yaml.safe_load(block)


def test_the_overlay_redacts_before_anything_is_counted_or_kept() -> None:
    """Merged as the collector merges, the only pipeline with a receiver of traces has all of the shared file's steps and `redaction`."""
    shared, overlay = load(SHARED), load(OVERLAY)
    before: list[str] = shared["service"]["pipelines"]["traces"]["processors"]
    after: list[str] = overlay["service"]["pipelines"]["traces"]["processors"]
    assert after == [*before, "redaction"]
    assert shared["service"]["pipelines"]["traces"]["receivers"] == ["otlp"]
    assert set(overlay["processors"]) == {"redaction"}


def test_the_overlay_masks_secrets_and_people_and_leaves_figures_alone() -> None:
    """Go's expressions of `blocked_values`, all of which Python reads alike, on values that occur in traces."""
    blocked = [re.compile(pattern) for pattern in load(OVERLAY)["processors"]["redaction"]["blocked_values"]]

    def masked(value: str) -> bool:
        return any(pattern.search(value) for pattern in blocked)

    private = (
        "Authorization: Bearer abc.def-123",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
        "sk-proj-abcdefghijklmnopqrstuv",
        "APIx7Gh2kLmN9pQ",
        "postgres://user:pass@db/accounts",
        "ada@example.org",
        "+4930123456789",
        "4111 1111 1111 1111",
    )
    harmless = (
        "first_word",
        "RM_tAKhpi26rce8",
        "AJ_7wWqVUGzxSxL",
        "1.284",
        "gpt-4.1-mini",
        "https://api.openai.com/v1",
        "tuned",
    )
    assert [value for value in private if not masked(value)] == []
    assert [value for value in harmless if masked(value)] == []


def test_worker_and_collector_take_out_the_same() -> None:
    """The list is there twice, since either may be without the other; here it is one."""
    processors = load(SHARED)["processors"]
    assert [action["pattern"] for action in processors["attributes/private"]["actions"]] == [redaction.PRIVATE_KEYS]
    (events,) = [rule for rule in processors["filter/private"]["traces"]["spanevent"] if "IsMatch(name" in rule]
    assert events == f'IsMatch(name, "{redaction.PRIVATE_EVENTS}")'.replace("\\", "\\\\")


@pytest.mark.parametrize("name", [SHARED, OVERLAY, TWO, BACKEND])
def test_nothing_listens_beyond_this_machine_unasked(name: str) -> None:
    """Whoever reaches a receiver decides the rollout: every address that is listened on is loopback's by default."""
    defaults = re.findall(r"(?:endpoint|host): \$\{env:\w+:-([^}]*)\}", data_file(name).read_text())
    elsewhere = {"jaeger:4317", "http://prometheus:9090"}  # of others, to connect to
    assert defaults
    assert {default.partition(":")[0] for default in set(defaults) - elsewhere} == {"127.0.0.1"}


def test_with_the_tls_overlay_each_receiver_asks_for_a_token() -> None:
    """On top of the other overlay, whose extension stays."""
    overlay = load(TLS)
    protocols = overlay["receivers"]["otlp"]["protocols"]
    assert set(protocols) == set(load(SHARED)["receivers"]["otlp"]["protocols"])
    for protocol in protocols.values():
        assert protocol["auth"] == {"authenticator": "bearertokenauth"}
        assert set(protocol["tls"]) == {"cert_file", "key_file", "min_version"}
    assert {*load(OVERLAY)["service"]["extensions"], "bearertokenauth"} == set(overlay["service"]["extensions"])


@pytest.mark.parametrize("name", [SHARED, OVERLAY, TLS, TWO, BACKEND])
def test_every_variable_is_in_the_operators_page(name: str) -> None:
    """docs/collector.md names each variable with its default."""
    page = PAGE.read_text()
    variables = re.findall(r"\$\{env:(\w+):-([^}]*)\}", data_file(name).read_text())
    assert variables
    for variable, default in variables:
        assert re.search(rf"\| `{variable}` \| `{re.escape(default)}` \|", page), f"{variable} ({default})"


@pytest.mark.jaeger
@pytest.mark.parametrize("names", [[SHARED], [SHARED, TWO], [BACKEND]], ids=" ".join)
async def test_jaegers_binary_takes_the_files(names: Sequence[str]) -> None:
    """`validate` of the very build that local runs use finds no fault."""
    program = await find(JAEGER)
    files = [part for name in names for part in ("--config", str(data_file(name)))]
    command = program.command(("validate", *files), data_file(SHARED).parent, {})
    run = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


# What it does


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keeping(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    """A stack that keeps every trace."""
    async with LocalStack(tmp_path_factory.mktemp("keeping"), jaeger=True) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dropping(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    """A stack that keeps only what is always kept."""
    folder = tmp_path_factory.mktemp("dropping")
    async with LocalStack(folder, jaeger=True, environment={"FIRSTWORD_KEEP_PERCENT": "0"}) as stack:
        yield stack


@pytest.mark.jaeger
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_span_reaches_jaeger_without_what_is_private(keeping: Stack, protocol: str) -> None:
    """By either protocol: keys with a `pii` segment, keys of secrets and events that have one are gone, the rest is there."""
    private: dict[str, AttributeValue] = {
        "lk.pii.user_input": "call me Ada",
        "caller.pii": "Ada",
        "http.request.header.authorization": "Bearer abc",
        "x-api-key": "abc",
        "openai.api_key": "abc",
        "db.password": "abc",
        "accessToken": "abc",
        "client_secret": "abc",
        "sip.phoneNumber": "+4930123456",
        "gen_ai.input.messages": "[]",
    }
    harmless: dict[str, AttributeValue] = {
        "startup.ttfw": 0.5,
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.token.type": "input",
        "lk.epiic": "not a pii segment",
    }
    root = send(
        exporter(keeping, protocol),
        {**private, **harmless},
        events={
            "first frame": {"frame": 1},
            "account": {"lk.pii.name": "Ada"},
            "request": {"api_key": "abc"},
            "gen_ai.user.message": {"content": "call me Ada"},
        },
    )
    (span,) = await stored(keeping, root)
    assert {key: value for key, value in tags(span).items() if key in private or key in harmless} == harmless
    assert [field["value"] for log in span["logs"] for field in log["fields"] if field["key"] == "event"] == [
        "first frame"
    ]


@pytest.mark.jaeger
@pytest.mark.asyncio(loop_scope="module")
async def test_a_kept_trace_carries_the_share_it_stands_for(keeping: Stack, dropping: Stack) -> None:
    """As a percentage, on a slow start too, whose weight is 1 whatever it says; what the worker wrote there is overwritten."""
    usual = send(exporter(keeping), {"startup.outcome": "first_word", PERCENT: 3.0})
    slow = send(exporter(dropping), {"startup.outcome": "first_word", vocabulary.SLOW: True})
    assert [tags(span)[PERCENT] for span in await stored(keeping, usual)] == [100.0]
    assert [tags(span)[PERCENT] for span in await stored(dropping, slow)] == [0.0]


@pytest.mark.jaeger
@pytest.mark.asyncio(loop_scope="module")
async def test_slow_starts_and_those_without_a_first_word_are_always_kept_and_later_spans_follow(
    dropping: Stack,
) -> None:
    """With a share of 0: a usual start is dropped, the others stay (`firstword.tuning.sampling` weighs by the same rule), and a span
    that comes after the decision goes the same way."""
    usual = send(exporter(dropping), {vocabulary.OUTCOME: "first_word", vocabulary.SLOW: False})
    other = send(exporter(dropping), {}, name="job_entrypoint")
    slow = send(exporter(dropping), {vocabulary.OUTCOME: "first_word", vocabulary.SLOW: True})
    failed = send(exporter(dropping), {vocabulary.OUTCOME: "timed_out", vocabulary.SLOW: False})
    left = send(exporter(dropping), {vocabulary.OUTCOME: "abandoned", vocabulary.SLOW: False})
    for root in (slow, failed, left):
        await stored(dropping, root)
    for root in (usual, slow, failed, left):
        send(exporter(dropping), {}, name=vocabulary.READY, parent=root)
    for root in (slow, failed, left):
        names = {span["operationName"] for span in await stored(dropping, root, spans=2)}
        assert names == {vocabulary.ROOT, vocabulary.READY}
    assert await trace(dropping, usual) == []
    assert await trace(dropping, other) == []


@pytest.mark.jaeger
@pytest.mark.asyncio(loop_scope="module")
async def test_metrics_count_the_starts_that_sampling_drops(dropping: Stack) -> None:
    """Span metrics come from before the sampling, by outcome; a worker's own metrics leave by the same door."""
    for _ in range(3):
        send(exporter(dropping), {vocabulary.OUTCOME: "abandoned", vocabulary.SLOW: False}, service="counted")
        send(exporter(dropping), {vocabulary.OUTCOME: "first_word", vocabulary.SLOW: False}, service="counted")
    assert dropping.otlp_endpoint is not None
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(dropping.otlp_endpoint, insecure=True))
    meters = MeterProvider([reader], resource=Resource({"service.name": "counted"}), shutdown_on_exit=False)
    meters.get_meter("tests").create_histogram("startup.ttfw", unit="s").record(0.42)
    await asyncio.to_thread(meters.shutdown)

    counted = r'traces_span_metrics_calls_total\{.*service_name="counted".*startup_outcome="first_word".*\} 3(\.0)?\b'
    timed = r'traces_span_metrics_duration_seconds_count\{.*service_name="counted".*startup_outcome="abandoned".*\} 3\b'
    own = r'startup_ttfw_seconds_sum\{job="counted".*\} 0\.42\b'
    await scraped(dropping, counted, timed, own)


def load(name: str) -> dict[str, Any]:
    """The file as the collector reads it, variables not yet put in."""
    return yaml.safe_load(data_file(name).read_text())


def exporter(stack: Stack, protocol: str = "grpc") -> SpanExporter:
    """A worker's exporter."""
    if protocol == "http":
        return HttpSpanExporter(f"{stack.otlp_http_endpoint}/v1/traces")
    return GrpcSpanExporter(stack.otlp_endpoint, insecure=True)


def send(
    to: SpanExporter,
    attributes: Mapping[str, AttributeValue],
    *,
    name: str = vocabulary.ROOT,
    parent: SpanContext | None = None,
    events: Mapping[str, Mapping[str, AttributeValue]] = MappingProxyType({}),
    service: str = "collector-test",
) -> SpanContext:
    """Exports one span of no length, at once."""
    provider = TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(to))
    context = set_span_in_context(NonRecordingSpan(parent)) if parent else Context()
    span = provider.get_tracer("tests").start_span(name, context, attributes=attributes)
    for event, of_event in events.items():
        span.add_event(event, of_event)
    span.end()
    provider.shutdown()
    return span.get_span_context()


async def trace(stack: Stack, root: SpanContext) -> list[dict[str, Any]]:
    """The spans of the trace that Jaeger has, in its own JSON."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{stack.jaeger_url}/api/traces/{root.trace_id:032x}") as answer,
    ):
        found: Sequence[dict[str, Any]] = [] if answer.status == 404 else (await answer.json())["data"]
        return [span for one in found for span in one["spans"]]


async def stored(stack: Stack, root: SpanContext, spans: int = 1) -> list[dict[str, Any]]:
    """The same, as soon as there are `spans` of them; TimeoutError if that takes long."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if len(found := await trace(stack, root)) >= spans:
                return found
            await asyncio.sleep(0.1)


def tags(span: Mapping[str, Any]) -> dict[str, Any]:
    """A span's attributes."""
    return {tag["key"]: tag["value"] for tag in span["tags"]}


async def scraped(stack: Stack, *patterns: str) -> None:
    """Returns when a scrape of the collector has a line for each of `patterns`; AssertionError names those it lacks."""
    assert stack.metrics_url is not None
    missing, text = list(patterns), ""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    async with aiohttp.ClientSession() as http:
        while missing and asyncio.get_running_loop().time() < deadline:
            async with http.get(stack.metrics_url) as answer:
                text = await answer.text()
            missing = [pattern for pattern in patterns if not re.search(pattern, text)]
            await asyncio.sleep(0.1)
    assert not missing, text
