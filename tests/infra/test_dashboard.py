"""The dashboard asks only for what is measured, by labels that it has, and for all of it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra.metric_table import TABLE, Metric
from infra.settings import PROJECT_ROOT

DASHBOARD: dict[str, Any] = json.loads((PROJECT_ROOT / "infra/grafana/faceid.json").read_text())
OF_THE_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
OF_PROMETHEUS = {"le", "instance", "job"}
"""Labels that it adds itself."""
SAMPLES: dict[str, Metric] = {
    f"{metric.name}{suffix}": metric
    for metric in TABLE
    for suffix in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
}


def targets() -> Iterator[dict[str, Any]]:
    for panel in DASHBOARD["panels"]:
        yield from panel.get("targets", ())


QUERIES = [target["expr"] for target in targets()]


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_names_what_there_is(query: str) -> None:
    named = set(re.findall(r"\b(?:faceid|process)_\w+", query))
    assert named
    assert named <= SAMPLES.keys() | OF_THE_PROCESS
    metrics = [SAMPLES[name] for name in named & SAMPLES.keys()]
    able = OF_PROMETHEUS.union(*(metric.labels for metric in metrics))
    grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(",")}
    chosen = {
        label for inside in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)=", inside)
    }
    assert grouped | chosen <= able
    for metric in metrics:
        if metric.kind == "counter":
            assert re.search(rf"(rate|increase)\({metric.name}\b", query), "a counter by itself tells nothing"


def test_a_legend_tells_of_labels_that_its_query_keeps() -> None:
    for target in targets():
        kept = (
            set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"])))) | OF_PROMETHEUS
        )
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept


def test_everything_that_is_measured_is_shown() -> None:
    shown = " ".join(QUERIES)
    assert [metric.name for metric in TABLE if metric.name not in shown] == []


def test_panels_lie_side_by_side() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
