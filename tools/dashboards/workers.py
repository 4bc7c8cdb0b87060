"""The dashboard of workers: how many calls they have, whether they can take more, what they use, and what they lose."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from tools.dashboards.panels import (
    A_MINUTE,
    NUMBER,
    SECONDS,
    SHARE,
    Limit,
    Panel,
    Query,
    choice,
    figure,
    lines,
    page,
    states,
)
from tools.dashboards.queries import JOB, RATE, STARTS, labels, per_minute, quantile
from tools.dashboards.start_up import QUANTILES

OURS = labels(JOB)


def workers() -> Dashboard:
    """Returns the dashboard of workers."""
    return page(
        "firstword-workers",
        "firstword: workers",
        "Whether workers can take calls, what they use, and what they lose. A worker is one `instance`.",
        [choice("job", "Service", STARTS, "job")],
        {"Now": _now(), "Each worker": _each(), "What is lost": _lost()},
    )


def _now() -> list[Panel]:
    def count(title: str, description: str, gauge: str) -> Panel:
        return figure(title, description, NUMBER, Query(f"sum(firstword_worker_{gauge}{OURS})", gauge))

    return [
        count("Workers registered", "Workers that LiveKit dispatches jobs to.", "registered"),
        count("Calls", "Jobs that run.", "jobs"),
        count(
            "Idle processes",
            "Processes that wait for a job: a call that finds none waits for one to start.",
            "idle_processes",
        ),
        count("Workers full", "Workers that LiveKit gives no job, for their load.", "full"),
        count("Workers draining", "Workers that finish their calls and then end.", "draining"),
        figure(
            "Load of the busiest",
            "LiveKit's measure: CPU against what the worker may use. A worker is full at 0.7.",
            SHARE,
            Query(f"max(firstword_worker_load{OURS})", "load"),
            limit=Limit(0.5, 0.7),
        ),
    ]


def _each() -> list[Panel]:
    def each(gauge: str) -> Query:
        return Query(f"sum by (instance) ({gauge}{OURS})", "{{instance}}")

    cpu = f"sum by (instance) (rate(process_cpu_time_seconds_total{OURS}[{RATE}]))"
    conditions = ("registered", "ready", "full", "draining")
    return [
        lines("Calls of each worker", "Jobs that run.", NUMBER, each("firstword_worker_jobs"), stacked=True),
        lines(
            "Load of each worker",
            "LiveKit's measure: CPU against what the worker may use. Full at 0.7; scale out at 0.5.",
            SHARE,
            each("firstword_worker_load"),
            limit=Limit(0.5, 0.7),
        ),
        lines(
            "Idle processes of each worker",
            "Processes that wait for a job.",
            NUMBER,
            each("firstword_worker_idle_processes"),
        ),
        states(
            "State of each worker",
            "Registered: LiveKit knows it. Ready: a rollout may go on. Full: takes no job. Draining: ends after its calls.",
            *(
                Query(f"max by (instance) (firstword_worker_{name}{OURS})", f"{{{{instance}}}} {name}")
                for name in conditions
            ),
        ),
        lines(
            "Drain of each worker",
            "Of a worker that ends: the share of its drain that has passed. At 1 the calls that are left are cut off.",
            SHARE,
            each("firstword_worker_drain_used"),
            limit=Limit(0.8, 1.0),
        ),
        lines(
            "CPU of each worker",
            "Cores that a worker and its jobs use, those that have ended included.",
            "suffix: cores",
            Query(cpu, "{{instance}}"),
        ),
        lines(
            "Memory of each worker",
            "Resident memory of a worker and its jobs. Shared pages count for each process.",
            "bytes",
            each("process_memory_usage_bytes"),
        ),
        lines(
            "Process start",
            "From the start of a job's process until it can take a job. LiveKit's own limit is 10 s.",
            SECONDS,
            *(Query(quantile(q, "firstword_process_start_seconds"), name) for name, q in QUANTILES.items()),
            limit=Limit(5.0, 8.0),
        ),
    ]


def _lost() -> list[Panel]:
    refused = 'sum(rate({__name__=~"otelcol_(receiver|processor)_refused_.+"}[$__rate_interval]))'
    failed = 'sum(rate({__name__=~"otelcol_exporter_(send|enqueue)_failed_.+"}[$__rate_interval]))'
    return [
        lines(
            "Helper failures",
            "Failures of what a call can do without: docs/failures.md says what each costs.",
            A_MINUTE,
            Query(per_minute("firstword_helper_failures_total", by=["helper", "reason"]), "{{helper}}: {{reason}}"),
        ),
        lines(
            "Callers whose agent died",
            "Who was called again by `firstword rescue`, who was given up, and who had left: docs/rescue.md.",
            A_MINUTE,
            Query(per_minute("firstword_rescues_total", by=["outcome"], job=""), "{{outcome}}"),
        ),
        lines(
            "Figures and spans lost",
            "Spans that no collector took, and figures of starts that the worker had no room for.",
            A_MINUTE,
            Query(per_minute("startup_spans_dropped_total"), "spans"),
            Query(per_minute("firstword_datagrams_lost_total"), "figures"),
        ),
        lines(
            "Collector refuses or fails",
            "Spans and metric points that the collector refused (memory), or could not pass on.",
            A_MINUTE,
            Query(f"60 * {refused}", "refused"),
            Query(f"60 * {failed}", "failed"),
        ),
    ]
