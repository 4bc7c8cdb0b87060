"""Panels, rows and dashboards in the way that all of ours share: datasource a variable, a unit, a title, a description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG: Final = "firstword"
SECONDS: Final = "s"
SHARE: Final = "percentunit"
NUMBER: Final = "short"
A_MINUTE: Final = "suffix:/min"

Panel = Any
"""A builder of a panel. The SDK's builders share no public base that has what they share."""


class _Builder(Protocol):
    """What the builders of all kinds of panels can do."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: DataSourceRef) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def height(self, h: int) -> Self: ...
    def span(self, w: int) -> Self: ...
    def with_target(self, target: Any) -> Self: ...
    def thresholds(self, thresholds: Any) -> Self: ...


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and the name of what it returns, in which `{{label}}` is a label's value."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Limit:
    """Where a panel turns orange, and where red."""

    orange: float
    red: float


def figure(title: str, description: str, unit: str, *queries: Query, limit: Limit | None = None) -> Panel:
    """Returns a panel with one large figure for each query, of now or of the whole range."""
    panel = _with_queries(_panel(stat.Panel(), title, description, unit, limit), queries, instant=True)
    return (
        panel.graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(BigValueColorMode.VALUE if limit else BigValueColorMode.NONE)
        .height(4)
        .span(4)
    )


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    exemplars: bool = False,
    limit: Limit | None = None,
) -> Panel:
    """Returns a graph over time. exemplars: with points that lead to traces."""
    panel = _with_queries(
        _panel(timeseries.Panel(), title, description, unit, limit), queries, instant=False, exemplars=exemplars
    )
    panel = (
        panel.min(0)
        .show_points(VisibilityMode.AUTO)
        .fill_opacity(30 if stacked else 0)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .height(8)
        .span(12)
    )
    if limit is not None:
        panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)) if stacked else panel


def figures(title: str, description: str, unit: str, columns: Sequence[tuple[str, Query]]) -> Panel:
    """Returns a table of the whole range: a row for each set of labels, a column for each query, by its heading."""
    queries = [query for _, query in columns]
    panel = _with_queries(_panel(table.Panel(), title, description, unit, None), queries, instant=True, as_table=True)
    only = len(columns) == 1
    headings = {"Value" if only else f"Value #{_letter(n)}": name for n, (name, _) in enumerate(columns)}
    for transformation, options in (
        ("merge", {}),
        ("organize", {"excludeByName": {"Time": True}, "renameByName": headings}),
    ):
        panel = panel.with_transformation(DataTransformerConfig(id_val=transformation, options=options))
    return panel.height(8).span(12)


def states(title: str, description: str, *queries: Query) -> Panel:
    """Returns bars over time that say yes (1) or no (0)."""
    panel = _with_queries(
        _panel(statetimeline.Panel(), title, description, "bool_yes_no", None), queries, instant=False
    )
    words = {
        "0": ValueMappingResult(text="no", color="text", index=0),
        "1": ValueMappingResult(text="yes", color="blue", index=1),
    }
    legend = common.VizLegendOptions().show_legend(False)  # the mapping says it in words
    return panel.mappings([ValueMap(options=words)]).legend(legend).height(8).span(12)


def choice(name: str, label: str, metric: str, of: str) -> Any:
    """Returns a variable whose values are those that the label `of` has on a metric; all of them at first."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({metric}, {of})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def quantile_choice() -> Any:
    """Returns the variable that says which quantile graphs by label show."""
    return (
        dashboard.CustomVariable("quantile")
        .label("Quantile")
        .values("p50 : 0.5, p90 : 0.9, p99 : 0.99")
        .current(VariableOption(selected=True, text="p90", value="0.9"))
    )


def page(uid: str, title: str, description: str, variables: Sequence[Any], rows: dict[str, list[Panel]]) -> Dashboard:
    """Returns a dashboard: the panels by row, the datasource as its first variable, and links to our others."""
    links = dashboard.DashboardLink("firstword").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(links.as_dropdown(False).keep_time(True).include_vars(True).icon("external link"))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for variable in variables:
        made = made.with_variable(variable)
    for name, panels in rows.items():
        made = made.with_row(dashboard.Row(name))
        for panel in panels:
            made = made.with_panel(panel)
    built = made.build()
    for number, panel in enumerate(built.panels or (), start=1):
        panel.id_val = number
    return built


def _panel(builder: Any, title: str, description: str, unit: str, limit: Limit | None) -> Any:
    kind: _Builder = builder
    steps = [Threshold(value=None, color="green")]
    if limit is not None:
        steps += [Threshold(value=limit.orange, color="orange"), Threshold(value=limit.red, color="red")]
    thresholds = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    return kind.title(title).description(description).datasource(SOURCE).unit(unit).thresholds(thresholds)


def _with_queries(
    panel: Any, queries: Sequence[Query], *, instant: bool, exemplars: bool = False, as_table: bool = False
) -> Any:
    for number, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(_letter(number))
        target = target.instant() if instant else target.range()
        target = target.datasource(SOURCE).format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)
        panel = panel.with_target(target.exemplar(True) if exemplars else target)
    return panel


def _letter(number: int) -> str:
    return chr(ord("A") + number)
