"""The pages: which tables and charts are on each, and how they are drawn (Vega-Lite)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcimport.monitoring.ui import queries

DATABASE = "state"

_STATUSES = {
    "domain": ["completed", "done", "running", "pending", "interrupted", "abandoned", "failed", "dead"],
    "range": ["#2563a8", "#2563a8", "#8fb3d9", "#a9b4c0", "#d9a441", "#a9b4c0", "#c2410c", "#c2410c"],
}


def dashboards(overdue: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Returns the pages by the last part of their address, `-/dashboards/NAME`, as datasette-dashboards wants them.

    `overdue`: see `queries.lists`.
    """
    allowed = overdue or {}
    names = "SELECT DISTINCT client FROM lists ORDER BY 1"
    client = {"client": {"name": "Client", "type": "select", "db": DATABASE, "query": names}}
    return {
        "overview": {
            "title": "Overview",
            "description": "All lists, first those that need attention. Times are UTC.",
            "layout": [["lists", "attention", "letters"], ["table"] * 3, ["days"] * 3],
            "charts": {
                "lists": _metric("Lists", queries.LIST_COUNT),
                "attention": _metric("Lists that need attention", queries.needing_attention(allowed)),
                "letters": _metric("Open dead letters", queries.LETTER_COUNT),
                "table": _table("Lists", queries.lists(allowed)),
                "days": _chart("Contacts per day", queries.BY_DAY, _bars("day:O", "contacts:Q", "client:N")),
            },
        },
        "runs": {
            "title": "Runs",
            "description": "The latest 200 runs, newest first.",
            "layout": [["table"], ["times"], ["days"]],
            "filters": client,
            "charts": {
                "table": _table("Runs", queries.RUNS),
                "times": _chart("Contacts per run", queries.TIMES, _points("began:T", "contacts:Q", "status:N")),
                "days": _chart("Contacts per day", queries.BY_DAY, _bars("day:O", "contacts:Q", "client:N")),
            },
        },
        "run": {
            "title": "One run",
            "description": "What came of it, and how its time was spent. Without a number, the newest run.",
            "layout": [["result"] * 3, ["run"] * 3, ["spent", "timeline", "timeline"], ["table"] * 3],
            "filters": {"run": {"name": "Run", "type": "number", "default": ""}},
            "charts": {
                "result": _table("Result", queries.RESULT),
                "run": _table("The run", queries.RUN),
                "spent": _chart("Seconds, all workers together", queries.SPENT, _bars("for:N", "seconds:Q", None)),
                "timeline": _chart("Timeline", queries.TIMELINE, _spans()),
                "table": _table("Time ranges, first those that are not done", queries.WINDOWS),
            },
        },
        "letters": {
            "title": "Dead letters",
            "description": "Members and time ranges that could not be imported. To try again: mcimport dlq replay",
            "layout": [["table"], ["reasons"]],
            "charts": {
                "table": _table("Open dead letters", queries.LETTERS),
                "reasons": _chart("By reason", queries.REASONS, _bars("dead letters:Q", "reason:N", "client:N")),
            },
        },
    }


def _metric(title: str, query: str) -> dict[str, Any]:
    return {"title": title, "db": DATABASE, "query": query, "library": "metric", "display": {"field": "n"}}


def _table(title: str, query: str) -> dict[str, Any]:
    return {"title": title, "db": DATABASE, "query": query, "library": "table", "display": {}}


def _chart(title: str, query: str, display: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "db": DATABASE, "query": query, "library": "vega-lite", "display": display}


def _bars(x: str, y: str, colour: str | None) -> dict[str, Any]:
    encoding = {"x": _axis(x), "y": _axis(y), **({"color": _axis(colour)} if colour else {})}
    return {"mark": {"type": "bar", "tooltip": True}, "encoding": encoding}


def _points(x: str, y: str, colour: str) -> dict[str, Any]:
    return {"mark": {"type": "bar", "tooltip": True, "width": 3}, "encoding": _bars(x, y, colour)["encoding"]}


def _spans() -> dict[str, Any]:
    hours = {**_axis("began:T"), "axis": {"format": "%H:%M:%S"}}
    encoding = {"x": hours, "x2": {"field": "ended"}, "y": _axis("time range:O"), "color": _axis("status:N")}
    return {"mark": {"type": "bar", "tooltip": True, "minBandSize": 4}, "encoding": encoding}


def _axis(name: str) -> dict[str, Any]:
    field, _, kind = name.partition(":")
    colours = {"scale": _STATUSES} if field == "status" else {}
    kinds = {"O": "ordinal", "Q": "quantitative", "N": "nominal", "T": "temporal"}
    return {"field": field, "type": kinds[kind], "title": field, **colours}
