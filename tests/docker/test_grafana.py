"""The dashboard shows what runs tell, by the names and labels by which they do, and is what Grafana takes."""

import itertools
import json
import re
from typing import Any

from pipelines.cluster.prometheus import COUNT_METRICS, METRICS
from tests.docker.support.files import DOCKER

DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana" / "shardloom.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
TARGETS = [target for panel in PANELS for target in panel["targets"]]
LABELS = {metric.exported_name: metric.label for metric in METRICS}


def test_all_that_is_told_is_shown() -> None:
    shown = {name for target in TARGETS for name in re.findall(r"ray_\w+", target["expr"])}
    assert shown == set(LABELS) - {COUNT_METRICS["chunks"].exported_name}


def test_labels_are_those_of_the_metrics() -> None:
    for target in TARGETS:
        expression = target["expr"]
        assert len(re.findall(r'ray_\w+\{run="\$run"\}', expression)) == len(re.findall(r"ray_\w+", expression))
        grouped = re.findall(r"by \((\w+)\) \((?:rate\(|increase\()?(ray_\w+)", expression)
        assert all(LABELS[name] == label for label, name in grouped), expression
        labels = {label for label, _ in grouped}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == labels, "a legend tells the series apart"


def test_counters_are_looked_at_by_their_rates() -> None:
    whole = {'sum(ray_shardloom_shards_total{run="$run"})'}
    for target in TARGETS:
        for before in re.findall(r"(\w*)\(ray_shardloom_\w+_total", target["expr"]):
            assert before in ("rate", "increase") or target["expr"] in whole, target["expr"]


def test_grafana_takes_it() -> None:
    assert (DASHBOARD["uid"], DASHBOARD["title"], DASHBOARD["schemaVersion"]) == ("shardloom", "Shardloom", 39)
    source, run = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert (run["name"], run["type"], run["datasource"]) == ("run", "query", SOURCE)
    assert run["query"]["query"] == run["definition"] == 'label_values({__name__=~"ray_shardloom_.+"}, run)'
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["type"] in ("timeseries", "stat")
        assert {"unit", "min"} <= set(panel["fieldConfig"]["defaults"])
        assert panel["datasource"] == SOURCE
        references = [target["refId"] for target in panel["targets"]]
        assert references == sorted(set(references))
        assert all(target["datasource"] == SOURCE for target in panel["targets"])


def test_no_panel_lies_on_another() -> None:
    taken = [
        (x, y)
        for panel in PANELS
        for at in [panel["gridPos"]]
        for x, y in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
