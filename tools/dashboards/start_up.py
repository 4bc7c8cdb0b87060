"""The dashboard of starts: what callers waited for the first word, what that is made of, and how many were greeted."""

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
    figures,
    lines,
    page,
    quantile_choice,
)
from tools.dashboards.queries import (
    CHOSEN,
    FLAG,
    HEARD,
    INIT,
    JOB,
    OURS,
    RANGE,
    RATE,
    STARTS,
    TASK,
    TTFW,
    fallbacks_a_start,
    heard_share,
    hit_share,
    labels,
    per_minute,
    quantile,
    total,
)

QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99"}
VARIANT = ("feature_flag_key", "feature_flag_result_variant")
BY_VARIANT = "{{feature_flag_key}} {{feature_flag_result_variant}}"


def start_up() -> Dashboard:
    """Returns the dashboard of starts."""
    return page(
        "firstword-start-up",
        "firstword: start-up",
        "What callers wait for until the first word. Points of a graph lead to the trace in Jaeger.",
        [
            choice("job", "Service", STARTS, "job"),
            choice("flag", "Flag", f"{TTFW}_count".replace("ttfw", "ttfw_by_flag"), "feature_flag_key"),
            quantile_choice(),
        ],
        {
            "In this time range": _in_range(),
            "Time to first word": _times("First word", "From the job to the first word that the caller hears", TTFW),
            "Initialization": _times("Initialization", "From the job until the session can hold a conversation", INIT),
            "Components": _components(),
            "Success": _success(),
        },
    )


def _in_range() -> list[Panel]:
    def three(histogram: str) -> list[Query]:
        return [Query(quantile(q, histogram, window=RANGE), name) for name, q in QUANTILES.items()]

    return [
        figure(
            "Starts with a first word",
            "Of the starts that ended with a first word, failed or timed out. Callers who hung up before count for neither.",
            SHARE,
            Query(heard_share(RANGE), "heard"),
        ),
        figure("Starts", "All starts, whatever their outcome.", NUMBER, Query(total(STARTS, window=RANGE), "starts")),
        figure("First word in this range", "Time to first word.", SECONDS, *three(TTFW), limit=Limit(1.5, 3.0)),
        figure("Initialization in this range", "Until the session can hold a conversation.", SECONDS, *three(INIT)),
        figure(
            "Fallbacks a start",
            "How often a task used what it has in reserve, such as the generic account or the shipped greeting.",
            NUMBER,
            Query(fallbacks_a_start(RANGE), "fallbacks"),
        ),
        figure("Cache hits", "Share of lookups that found something.", SHARE, Query(hit_share(RANGE), "hits")),
    ]


def _times(what: str, description: str, histogram: str) -> list[Panel]:
    by_flag = histogram.replace("_seconds", "_by_flag_seconds")
    return [
        lines(
            what,
            f"{description}. Points are single starts: a click leads to the trace.",
            SECONDS,
            *(Query(quantile(q, histogram), name) for name, q in QUANTILES.items()),
            exemplars=True,
            limit=Limit(1.5, 3.0),
        ),
        lines(
            f"{what} by dispatch",
            f"{description}, at the chosen quantile: the job came with the caller (join), before them or late.",
            SECONDS,
            Query(quantile(CHOSEN, histogram, by=["startup_dispatch"]), "{{startup_dispatch}}"),
            exemplars=True,
        ),
        lines(
            f"{what} by outcome",
            f"{description}, at the chosen quantile, by how the start ended.",
            SECONDS,
            Query(quantile(CHOSEN, histogram, by=["startup_outcome"]), "{{startup_outcome}}"),
            exemplars=True,
        ),
        lines(
            f"{what} by flag",
            f"{description}, at the chosen quantile, by flag and variant.",
            SECONDS,
            Query(quantile(CHOSEN, by_flag, FLAG, by=VARIANT), BY_VARIANT),
            exemplars=True,
        ),
    ]


def _components() -> list[Panel]:
    by_task = ["startup_task"]
    drag = f"sum by (startup_task) (rate(startup_task_drag_seconds_sum{labels(JOB, HEARD)}[{RATE}]))"
    starts = f"scalar(sum(rate({TTFW}_count{labels(JOB, HEARD)}[{RATE}])))"
    return [
        lines(
            "What the path is made of",
            "What each task itself cost the first word, in the mean of a start. The largest is what to make faster first.",
            SECONDS,
            Query(f"{drag} / {starts}", "{{startup_task}}"),
            stacked=True,
        ),
        lines(
            "Task duration",
            "How long each task took, at the chosen quantile. Tasks of your own plan appear by themselves.",
            SECONDS,
            Query(quantile(CHOSEN, TASK, by=by_task), "{{startup_task}}"),
            exemplars=True,
        ),
        figures(
            "Task timings in this range",
            "How long each task took.",
            SECONDS,
            [
                (name, Query(quantile(q, TASK, by=by_task, window=RANGE), f"{{{{startup_task}}}} {name}"))
                for name, q in QUANTILES.items()
            ],
        ),
        lines(
            "Loop time",
            "How long each task held the event loop, at the chosen quantile: it computes where others wait for it.",
            SECONDS,
            Query(quantile(CHOSEN, "startup_task_loop_time_seconds", by=by_task), "{{startup_task}}"),
        ),
    ]


def _success() -> list[Panel]:
    return [
        lines(
            "Starts by outcome",
            "How many starts ended in which way.",
            A_MINUTE,
            Query(per_minute(STARTS, by=["startup_outcome"]), "{{startup_outcome}}"),
            stacked=True,
        ),
        lines(
            "Starts with a first word, over time",
            "Of the starts that ended with a first word, failed or timed out.",
            SHARE,
            Query(heard_share(RATE), "heard"),
        ),
        lines(
            "Fallbacks a start, by task",
            "How often each task used what it has in reserve.",
            NUMBER,
            Query(fallbacks_a_start(RATE, ["startup_task"]), "{{startup_task}}"),
        ),
        lines(
            "Cache hits by task",
            "Share of each task's lookups that found something.",
            SHARE,
            Query(hit_share(RATE, ["startup_task"]), "{{startup_task}}"),
        ),
        lines(
            "Errors by task",
            "Tasks that failed, and of what.",
            A_MINUTE,
            Query(
                per_minute("startup_task_errors_total", by=["startup_task", "error_type"]),
                "{{startup_task}} {{error_type}}",
            ),
        ),
        lines(
            "Starts that a worker answers for",
            "The base of the shares above: few starts make a share jump.",
            A_MINUTE,
            Query(per_minute(STARTS, OURS), "starts"),
        ),
    ]
