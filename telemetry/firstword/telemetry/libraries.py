"""Traces what libraries do inside a task, so that a critical piece explains itself: the one list, and the function that
switches it on.

OpenTelemetry's own instrumentations, but for LiveKit's coroutines. Their spans become children of the task they run in,
also where LiveKit's own span is the current one (`Exporting.inside`). `firstword.telemetry.spans` keeps those that
explain the critical path, within the budget of spans.

    library      gives a span for
    aiohttp      each request, and each new connection: name resolution, then TCP and TLS
    httpx2       each request of the OpenAI client
    SQLAlchemy   each statement, without its values
    redis        each command, without its arguments
    LiveKit      each coroutine in COROUTINES
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel

from firstword.telemetry.extras import install
from firstword.telemetry.livekit_private import LINK_CALLER, START_ACTIVITY

if TYPE_CHECKING:
    import aiohttp

logger = logging.getLogger("firstword")

COROUTINES = (START_ACTIVITY, LINK_CALLER)
"""Coroutines of LiveKit that get a span, named as their class and function are. One starts STT, LLM and TTS of a session,
the other links its caller and publishes its voice.
"""

_switched_on = False


def switch_on(provider: otel.TracerProvider) -> None:
    """Instruments the libraries that are installed, so that they make spans. A second call in a process does nothing.
    provider: `Exporting.inside`.

    Needs the extra `libraries`. Without it a start is traced all the same, and a warning names the command that
    installs it.
    """
    global _switched_on
    if _switched_on:
        return
    _switched_on = True
    untraced: list[str] = []
    for library, instrument in _INSTRUMENTED.items():
        if find_spec(library) is not None:
            try:
                instrument(provider)
            except ModuleNotFoundError:
                untraced.append(library)
    if untraced:
        logger.warning("no spans inside of tasks for %s; expected: %s", ", ".join(untraced), install("libraries"))


def _aiohttp(provider: otel.TracerProvider) -> None:
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor

    connections = connection_trace(provider.get_tracer("firstword.aiohttp"))
    AioHttpClientInstrumentor().instrument(tracer_provider=provider, trace_configs=[connections])


def _httpx2(provider: otel.TracerProvider) -> None:
    from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor

    HTTPX2ClientInstrumentor().instrument(tracer_provider=provider)


def _livekit(provider: otel.TracerProvider) -> None:
    # OpenTelemetry's instrumentation of asyncio wraps every task of the process. So Python warns, in each process, of a
    # coroutine that was never awaited: that of a task which was cancelled before its first step.
    for coroutine in COROUTINES:
        coroutine.wrap(partial(_traced, provider.get_tracer("firstword.livekit")))


def _traced(tracer: otel.Tracer, function: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
    """The function, whose coroutines make a span; it is never the current one."""

    @wraps(function)
    async def traced(*arguments: Any, **named: Any) -> Any:
        span = tracer.start_span(function.__qualname__)
        try:
            return await function(*arguments, **named)
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            raise
        finally:
            span.end()

    return traced


def _redis(provider: otel.TracerProvider) -> None:
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    RedisInstrumentor().instrument(tracer_provider=provider)


def _sqlalchemy(provider: otel.TracerProvider) -> None:
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    # 0.66b1 knows SQLAlchemy before 2.1 only; tests/telemetry/test_libraries.py shows that it works with ours
    SQLAlchemyInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)


_INSTRUMENTED = {
    "aiohttp": _aiohttp,
    "httpx2": _httpx2,
    "livekit": _livekit,
    "redis": _redis,
    "sqlalchemy": _sqlalchemy,
}
"""By the package that is instrumented; each imports its instrumentation, which imports the package."""


def connection_trace(tracer: otel.Tracer) -> aiohttp.TraceConfig:
    """Returns an aiohttp trace configuration that makes spans `dns` and `connect` (TCP, then TLS) for each new
    connection.

    A connection that is reused gets neither.
    """
    import aiohttp

    config = aiohttp.TraceConfig()

    def begin(name: str) -> Any:
        async def started(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
            setattr(context, name, tracer.start_span(name, kind=otel.SpanKind.CLIENT))

        return started

    def end(name: str) -> Any:
        async def ended(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
            span = getattr(context, name, None)
            if isinstance(span, otel.Span):
                span.end()

        return ended

    async def failed(
        _: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        for name in ("dns", "connect"):
            span = getattr(context, name, None)
            if isinstance(span, otel.Span) and span.is_recording():
                span.set_attribute("error.type", type(params.exception).__qualname__)
                span.end()

    config.on_dns_resolvehost_start.append(begin("dns"))
    config.on_dns_resolvehost_end.append(end("dns"))
    config.on_connection_create_start.append(begin("connect"))
    config.on_connection_create_end.append(end("connect"))
    config.on_request_exception.append(failed)
    return config
