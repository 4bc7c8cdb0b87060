"""The dashboard of a rollout: each flag's share, what the tuner did, and the variants side by side."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from tools.dashboards.panels import (
    NUMBER,
    SECONDS,
    Panel,
    Query,
    choice,
    figure,
    figures,
    lines,
    page,
    quantile_choice,
    states,
)
from tools.dashboards.queries import CHOSEN, FLAG, JOB, RANGE, STARTS, labels, quantile, total
from tools.dashboards.start_up import BY_VARIANT, QUANTILES, VARIANT

TTFW = "startup_ttfw_by_flag_seconds"
TASK = "startup_task_duration_by_flag_seconds"


def rollout() -> Dashboard:
    """Returns the dashboard of a rollout."""
    return page(
        "firstword-rollout",
        "firstword: rollout",
        "How far each flag is rolled out, what the tuner did and why, and the variants side by side.",
        [
            choice("job", "Service", STARTS, "job"),
            choice("flag", "Flag", f"{TTFW}_count", "feature_flag_key"),
            quantile_choice(),
        ],
        {"Tuner": _tuner(), "Variants side by side": _variants()},
    )


def _tuner() -> list[Panel]:
    return [
        lines(
            "Share of each flag",
            "Percent of calls that draw the flag on, as the tuner set it last.",
            "percent",
            Query(f"max by (feature_flag_key) (firstword_tuner_share{labels(FLAG)})", "{{feature_flag_key}}"),
        ),
        lines(
            "Steps of the tuner",
            "What the tuner did, by flag and action.",
            NUMBER,
            Query(
                total("firstword_tuner_steps_total", FLAG, by=["feature_flag_key", "action"], job=""),
                "{{feature_flag_key}} {{action}}",
            ),
        ),
        states(
            "The tuner holds",
            "Why the tuner ramps nothing, while it does not. It never ramps on what it cannot trust.",
            Query("max by (reason) (firstword_tuner_holding) == 1", "{{reason}}"),
        ),
        figure(
            "Since the tuner's last look",
            "Time since it last looked at starts. More than a few of its intervals: it does not run.",
            SECONDS,
            Query("time() - max(firstword_tuner_last_look_seconds)", "ago"),
        ),
    ]


def _variants() -> list[Panel]:
    mean = " / ".join(
        f"sum by (startup_task, feature_flag_result_variant, feature_flag_key) (increase({TASK}_{part}{labels(JOB, FLAG)}[{RANGE}]))"
        for part in ("sum", "count")
    )
    return [
        lines(
            "First word by variant",
            "Time to first word at the chosen quantile. A variant that drifts from the other is the flag's doing.",
            SECONDS,
            Query(quantile(CHOSEN, TTFW, FLAG, by=VARIANT), BY_VARIANT),
            exemplars=True,
        ),
        lines(
            "Initialization by variant",
            "Until the session can hold a conversation, at the chosen quantile.",
            SECONDS,
            Query(quantile(CHOSEN, "startup_init_by_flag_seconds", FLAG, by=VARIANT), BY_VARIANT),
            exemplars=True,
        ),
        figures(
            "First word by variant, in this range",
            "Time to first word of each variant.",
            SECONDS,
            [
                (name, Query(quantile(q, TTFW, FLAG, by=VARIANT, window=RANGE), f"{BY_VARIANT} {name}"))
                for name, q in QUANTILES.items()
            ],
        ),
        figures(
            "First words of each variant",
            "How many starts with a first word drew which variant: few of them prove nothing.",
            NUMBER,
            [("starts", Query(total(f"{TTFW}_count", FLAG, by=VARIANT, window=RANGE), BY_VARIANT))],
        ),
        figures(
            "Tasks by variant",
            "Mean duration of each task, by flag and variant: which task a variant makes slower.",
            SECONDS,
            [("mean", Query(mean, f"{{{{startup_task}}}} {BY_VARIANT}"))],
        ),
    ]
