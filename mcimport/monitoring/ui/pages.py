"""The pages: a query for each table and chart, and how it is drawn (Vega-Lite)."""

from __future__ import annotations

from typing import Any

DATABASE = "state"
# Seconds after which a list is overdue, where the settings do not say; see `state.rhythm`.
# What is noted begins with the seconds of `sync --every`.
_OVERDUE = "coalesce((SELECT 3 * CAST(value AS INTEGER) FROM meta WHERE key = 'sync_every'), 10800)"

_STATUSES = {
    "domain": ["completed", "done", "running", "pending", "interrupted", "abandoned", "failed", "dead"],
    "range": ["#2563a8", "#2563a8", "#8fb3d9", "#a9b4c0", "#d9a441", "#a9b4c0", "#c2410c", "#c2410c"],
}


def _duration(seconds: str) -> str:
    """Returns SQL that formats an expression of seconds as `mcimport.report.format.duration` does."""
    whole = f"CAST(round({seconds}) AS INTEGER)"
    units = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
    cases = " ".join(
        f"WHEN {whole} >= {unit} THEN ({whole} / {unit}) || ' {name}' || CASE {whole} % {unit} / {part}"
        f" WHEN 0 THEN '' ELSE ' ' || ({whole} % {unit} / {part}) || ' {part_name}' END"
        for unit, name, part, part_name in units
    )
    short = f"WHEN {seconds} IS NULL THEN '-' WHEN {seconds} < 10 THEN replace(printf('%.1f s', {seconds}), '.0', '')"
    return f"CASE {short} {cases} ELSE {whole} || ' s' END"


_TOOK = _duration("(strftime('%s', finished_at) - strftime('%s', started_at))")
_AGE = "CAST(strftime('%s', 'now') - strftime('%s', sync_point) AS INTEGER)"
_LISTS = f"""
    SELECT client, list_key AS list,
        coalesce(replace(substr(sync_point, 1, 19), 'T', ' '), 'never') AS "sync point (UTC)",
        CASE WHEN sync_point IS NULL THEN '-' WHEN {_AGE} >= 86400 THEN ({_AGE} / 86400) || ' d'
             WHEN {_AGE} >= 3600 THEN ({_AGE} / 3600) || ' h' ELSE (max(0, {_AGE}) / 60) || ' min' END AS age,
        (SELECT '<a href="run?run=' || id || '">' || id || '</a> ' || status FROM runs
         WHERE list_id = lists.id ORDER BY id DESC LIMIT 1) AS "last run",
        (SELECT coalesce(sum(contacts_pushed), 0) FROM runs WHERE list_id = lists.id
         AND started_at > strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 day')) AS "contacts in the last day",
        (SELECT count(*) FROM dead_letters WHERE list_id = lists.id AND status = 'open') AS "dead letters"
    FROM lists ORDER BY sync_point IS NOT NULL, sync_point, client, list_key LIMIT 500
"""
_BY_DAY = """
    SELECT substr(started_at, 1, 10) AS day, client, sum(contacts_pushed) AS contacts, count(*) AS runs FROM runs
    WHERE started_at > strftime('%Y-%m-%dT%H:%M:%S', 'now', '-30 days') [[ AND client = :client ]]
    GROUP BY day, client ORDER BY day
"""
_RUNS = f"""
    SELECT '<a href="run?run=' || id || '">' || id || '</a>' AS run, client, list_key AS list, kind, status,
        replace(substr(started_at, 1, 19), 'T', ' ') AS "started (UTC)",
        {_TOOK} AS took,
        members_read AS read, contacts_pushed AS pushed, contacts_rejected AS rejected,
        windows_dead AS "incomplete", coalesce(error, '') AS error
    FROM runs WHERE 1 = 1 [[ AND client = :client ]] ORDER BY id DESC LIMIT 200
"""
_TIMES = """
    SELECT started_at AS began, client, contacts_pushed AS contacts, status FROM runs
    WHERE 1 = 1 [[ AND client = :client ]] ORDER BY id DESC LIMIT 500
"""
_THE_RUN = "coalesce(nullif(:run, ''), (SELECT max(id) FROM runs))"
_RUN = f"""
    SELECT id AS run, client, list_key AS list, kind, status,
        replace(substr(started_at, 1, 19), 'T', ' ') AS "started (UTC)",
        {_TOOK} AS took, members_read AS read,
        members_skipped AS skipped, contacts_pushed AS pushed, contacts_rejected AS rejected,
        mailchimp_requests AS "Mailchimp requests", ometria_requests AS "Ometria requests",
        mailchimp_retries + ometria_retries AS retries, coalesce(error, '') AS error
    FROM runs WHERE id = {_THE_RUN}
"""
_SPENT = f"""
    SELECT 'Ometria''s rate limit' AS "for", waited_limiter AS seconds FROM runs WHERE id = {_THE_RUN}
    UNION ALL SELECT 'Ometria', waited_ometria FROM runs WHERE id = {_THE_RUN}
    UNION ALL SELECT 'Mailchimp', waited_mailchimp FROM runs WHERE id = {_THE_RUN}
    UNION ALL SELECT 'converting', converting FROM runs WHERE id = {_THE_RUN}
"""
_WINDOWS = f"""
    SELECT number AS "time range", begun_at AS began, status, members, pushed,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', coalesce(finished_at, begun_at), '+1 second') AS ended,
        retries, coalesce(error, '') AS error
    FROM windows WHERE run_id = {_THE_RUN} AND begun_at IS NOT NULL ORDER BY number
"""
_WINDOW_TABLE = f"""
    SELECT number AS "time range", sweep,
        coalesce(replace(substr(since, 1, 19), 'T', ' '), 'the beginning') AS "from (UTC)",
        replace(substr(until, 1, 19), 'T', ' ') AS "to (UTC)", status, members, pushed, retries,
        {_duration("seconds")} AS took, coalesce(error, '') AS error
    FROM windows WHERE run_id = {_THE_RUN} ORDER BY status = 'done', number LIMIT 500
"""
_REASONS = """
    SELECT reason, client, count(*) AS "dead letters" FROM dead_letters WHERE status = 'open' GROUP BY reason, client
"""
_LETTERS = """
    SELECT id, client, list_key AS list, kind, reason, coalesce(member_id, '') AS member,
        coalesce(replace(substr(until, 1, 19), 'T', ' '), '-') AS "to (UTC)",
        coalesce(CASE precision WHEN 'exactly' THEN '' ELSE precision || ' ' END || members, 'unknown') AS members,
        attempts AS tries, replace(substr(created_at, 1, 19), 'T', ' ') AS "created (UTC)",
        '<a href="run?run=' || run_id || '">' || run_id || '</a>' AS "last run"
    FROM dead_letters WHERE status = 'open'
    UNION ALL SELECT '-', 'none', '', '', '', '', '', '', '', '', ''
    WHERE NOT EXISTS (SELECT 1 FROM dead_letters WHERE status = 'open') LIMIT 500
"""


def dashboards() -> dict[str, Any]:
    """Returns the pages by the last part of their address, `-/dashboards/NAME`, as datasette-dashboards wants them."""
    names = "SELECT DISTINCT client FROM lists ORDER BY 1"
    client = {"client": {"name": "Client", "type": "select", "db": DATABASE, "query": names}}
    return {
        "overview": {
            "title": "Clients and lists",
            "description": "The sync point and dead letters of each list, longest waiting first.",
            "layout": [["lists", "overdue", "letters"], ["table"] * 3, ["days"] * 3],
            "charts": {
                "lists": _metric("Lists", "SELECT count(*) AS n FROM lists"),
                "overdue": _metric("Overdue", f"SELECT count(*) AS n FROM lists WHERE {_AGE} > {_OVERDUE}"),
                "letters": _metric("Dead letters", "SELECT count(*) AS n FROM dead_letters WHERE status = 'open'"),
                "table": _table("Lists", _LISTS),
                "days": _chart("Contacts per day", _BY_DAY, _bars("day:O", "contacts:Q", "client:N")),
            },
        },
        "runs": {
            "title": "Runs",
            "description": "Log of runs, newest first.",
            "layout": [["times"], ["days"], ["table"]],
            "filters": client,
            "charts": {
                "times": _chart("Contacts per run", _TIMES, _points("began:T", "contacts:Q", "status:N")),
                "days": _chart("Contacts per day", _BY_DAY, _bars("day:O", "contacts:Q", "client:N")),
                "table": _table("Latest 200 runs", _RUNS),
            },
        },
        "run": {
            "title": "One run",
            "description": "Time ranges on a timeline, and how the time was spent. Without a number, the newest run.",
            "layout": [["run"] * 3, ["spent", "timeline", "timeline"], ["table"] * 3],
            "filters": {"run": {"name": "Run", "type": "number", "default": ""}},
            "charts": {
                "run": _table("The run", _RUN),
                "spent": _chart("Seconds, all workers together", _SPENT, _bars("for:N", "seconds:Q", None)),
                "timeline": _chart("Timeline", _WINDOWS, _spans()),
                "table": _table("Time ranges", _WINDOW_TABLE),
            },
        },
        "letters": {
            "title": "Dead letters",
            "description": "Members and time ranges that could not be imported. `mcimport dlq replay` tries again.",
            "layout": [["reasons"], ["table"]],
            "charts": {
                "reasons": _chart("By reason", _REASONS, _bars("dead letters:Q", "reason:N", "client:N")),
                "table": _table("Open dead letters", _LETTERS),
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
