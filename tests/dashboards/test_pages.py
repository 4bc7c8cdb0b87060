"""What a dashboard needs to work in any Grafana, and that the committed files are those of the source."""

from __future__ import annotations

import re

import pytest
import yaml

from firstword.rehearsal.files import data_file
from tests.dashboards.pages import PAGES, panels, targets
from tools.dashboards.files import FOLDER, contents

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_the_committed_files_are_those_of_the_source() -> None:
    """`make dashboards` writes them anew."""
    committed = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}
    assert committed == contents()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_at_home_in_any_grafana(page: str) -> None:
    """The datasource is a variable, no number of another Grafana is in it, and every variable that is used is there."""
    content = PAGES[page]
    assert "id" not in content
    assert content["uid"] == f"firstword-{page}"
    names = [variable["name"] for variable in content["templating"]["list"]]
    assert names[0] == "datasource"
    assert all(
        variable["datasource"] == SOURCE
        for variable in content["templating"]["list"][1:]
        if variable["type"] == "query"
    )
    used = {
        name
        for panel in panels(page)
        for target in targets(panel)
        for name in re.findall(r"\$(\w+)", target.expression)
    }
    assert used - {"__rate_interval", "__range"} == set(names) - {"datasource"}


@pytest.mark.parametrize("page", PAGES)
def test_a_panel_says_what_it_shows(page: str) -> None:
    """Title, description and unit; a name for each series; each query asks the chosen datasource."""
    titles = [panel["title"] for panel in panels(page)]
    assert len(titles) == len(set(titles))
    for panel in panels(page):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == SOURCE
        assert all(target["datasource"] == SOURCE for target in panel["targets"])
        assert all(target.legend for target in targets(panel))
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"]
        shown = {str(target["instant"]) for target in panel["targets"]}
        assert shown == {str(panel["type"] in ("stat", "table"))}, panel["title"]


@pytest.mark.parametrize("page", PAGES)
def test_no_window_is_fixed(page: str) -> None:
    """A graph's window follows its steps and the scrapes; a figure's is the whole range. Else a graph skips what happened."""
    for panel in panels(page):
        for target in targets(panel):
            windows = set(re.findall(r"\[([^\]]+)\]", target.expression))
            assert windows <= {"$__range" if panel["type"] in ("stat", "table") else "$__rate_interval"}, panel["title"]


@pytest.mark.parametrize("page", PAGES)
def test_no_panel_lies_on_another(page: str) -> None:
    """On Grafana's grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in PAGES[page]["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in PAGES[page]["panels"]]
    assert len(numbers) == len(set(numbers))


def test_exemplars_lead_to_jaeger() -> None:
    """The Prometheus that is provisioned sends the label that the collector writes to the Jaeger that is provisioned."""
    file = data_file("deploy/grafana/provisioning/datasources/firstword.yaml")
    sources = {source["type"]: source for source in yaml.safe_load(file.read_text())["datasources"]}
    (lead,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert lead == {"name": "trace_id", "datasourceUid": sources["jaeger"]["uid"]}
    assert any(target.exemplars for page in PAGES for panel in panels(page) for target in targets(panel))
