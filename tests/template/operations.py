"""The template → what an operator sees of the stack: alarms, dashboard, log queries."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.template.cloudformation import Json, of_type


class WatchedMetric(NamedTuple):
    """A metric that an alarm or a widget names, with one dimension."""

    namespace: str
    name: str
    dimension: str
    value: str


def alarms(stack: Mapping[str, Json]) -> dict[str, Json]:
    """The alarms, by name without the stack's."""
    return {
        alarm["AlarmName"].removeprefix("call-archive-"): alarm
        for alarm in of_type(stack, "AWS::CloudWatch::Alarm").values()
    }


def widgets(stack: Mapping[str, Json]) -> list[Json]:
    """The dashboard's widgets."""
    (dashboard,) = of_type(stack, "AWS::CloudWatch::Dashboard").values()
    body = json.loads(dashboard["DashboardBody"])
    found: list[Json] = body["widgets"]
    return found


def alarm_metrics(alarm: Json) -> Iterator[WatchedMetric]:
    """The metrics that an alarm watches, also inside of expressions."""
    stats = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m]
    for metric in stats or [alarm]:
        (dimension,) = metric["Dimensions"]
        yield WatchedMetric(
            metric["Namespace"], metric["MetricName"], dimension["Name"], dimension["Value"]
        )


def widget_metrics(widget: Json) -> Iterator[WatchedMetric]:
    """The metrics that a widget draws."""
    for row in widget["properties"].get("metrics", []):
        if isinstance(row[0], str):
            yield WatchedMetric(*row[:4])


def expressions(widget: Json) -> Iterator[str]:
    """The widget's metric math."""
    for row in widget["properties"].get("metrics", []):
        if isinstance(row[0], dict):
            yield row[0]["expression"]


def watched_metrics(stack: Mapping[str, Json]) -> set[WatchedMetric]:
    """Every metric that an alarm or a widget names."""
    found = {metric for alarm in alarms(stack).values() for metric in alarm_metrics(alarm)}
    return found | {metric for widget in widgets(stack) for metric in widget_metrics(widget)}


def log_queries(stack: Mapping[str, Json]) -> dict[str, str]:
    """Saved queries and the dashboard's, by name or title."""
    saved = {
        query["Name"]: query["QueryString"]
        for query in of_type(stack, "AWS::Logs::QueryDefinition").values()
    }
    drawn = {
        widget["properties"]["title"]: widget["properties"]["query"]
        for widget in widgets(stack)
        if widget["type"] == "log"
    }
    return saved | drawn


def as_list(value: Any) -> list[Any]:
    """A policy's element, which may be one value or a list."""
    return value if isinstance(value, list) else [value]
