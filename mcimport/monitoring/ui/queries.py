"""The SQL behind each table and chart.

A page inserts what a query returns as HTML. So every text of a service or an operator is escaped here, and nothing else
but links, colours and numbers is marked up.
"""

from __future__ import annotations

from collections.abc import Mapping


def escaped(text: str) -> str:
    """Returns SQL for an expression of text as HTML shows it."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = f"replace({text}, '{character}', '{entity}')"
    return text


def number(whole: str) -> str:
    """Returns SQL for an expression of a whole number, with its thousands separated."""
    return f"('<span class=\"number\">' || printf('%,d', {whole}) || '</span>')"


def moment(time: str, otherwise: str) -> str:
    """Returns SQL for a time of the state file (ISO 8601, UTC) as people read it."""
    return f"coalesce(replace(substr({time}, 1, 19), 'T', ' '), '{otherwise}')"


def duration(seconds: str) -> str:
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


_MARKED = {
    "bad": "'failed', 'dead', 'overdue', 'never synced'",
    "unfinished": "'interrupted', 'dead letters'",
    "good": "'well'",
}


def status(word: str) -> str:
    """Returns SQL for the status of a run, a time range or a list: red what failed, yellow what is unfinished."""
    marked = " ".join(
        f"WHEN {word} IN ({words}) THEN '<b class=\"{name}\">' || {word} || '</b>'" for name, words in _MARKED.items()
    )
    return f"CASE {marked} ELSE {word} END"


def link(run: str) -> str:
    """Returns SQL for the link to a run."""
    return f"('<a href=\"run?run=' || {run} || '\">' || {run} || '</a>')"


# What an operator allows is in the settings; else three missed rounds, see `state.rhythm`. What is noted there begins
# with the seconds of `sync --every`.
_ROUNDS = "coalesce((SELECT 3 * CAST(value AS INTEGER) FROM meta WHERE key = 'sync_every'), 10800)"
_AGE = "max(0, CAST(strftime('%s', 'now') - strftime('%s', sync_point) AS INTEGER))"
_LETTERS_OF_LIST = "(SELECT count(*) FROM dead_letters WHERE list_id = lists.id AND status = 'open')"
_LAST = "(SELECT max(id) FROM runs WHERE list_id = lists.id)"


def _states(overdue: Mapping[str, int]) -> str:
    """Returns a query for the state of each list, in one word, and how soon somebody should look at it."""
    by_client = " ".join(f"WHEN '{_quoted(client)}' THEN {seconds:d}" for client, seconds in overdue.items())
    allowed = f"CASE client {by_client} ELSE {_ROUNDS} END" if by_client else _ROUNDS
    return f"""
        SELECT *, CASE
            WHEN last_status = 'failed' THEN 'failed' WHEN sync_point IS NULL THEN 'never synced'
            WHEN age > allowed THEN 'overdue' WHEN letters > 0 THEN 'dead letters'
            WHEN last_status IN ('interrupted', 'running') THEN last_status ELSE 'well' END AS state
        FROM (SELECT lists.*, {_AGE} AS age, {allowed} AS allowed, {_LETTERS_OF_LIST} AS letters, {_LAST} AS last_id,
            (SELECT status FROM runs WHERE id = {_LAST}) AS last_status,
            (SELECT error FROM runs WHERE id = {_LAST}) AS last_error FROM lists)
    """


def _quoted(text: str) -> str:
    return text.replace("'", "''")


_SOON = "CASE state WHEN 'failed' THEN 0 WHEN 'never synced' THEN 1 WHEN 'overdue' THEN 2 WHEN 'well' THEN 9 ELSE 3 END"


def lists(overdue: Mapping[str, int]) -> str:
    """Returns the query for all lists, first those that somebody should look at.

    `overdue`: seconds after its sync point at which a list is overdue, by client; without an entry: three rounds.
    """
    return f"""
        SELECT {status("state")} AS state, {escaped("client")} AS client, {escaped("list_key")} AS list,
            coalesce({link("last_id")}, '-') AS "last run",
            {moment("sync_point", "never")} AS "sync point (UTC)", {duration("age")} AS age,
            {number("letters")} AS "dead letters",
            {number("coalesce(contacts, 0)")} AS "contacts in the last day",
            CASE WHEN state = 'failed' THEN {escaped("substr(coalesce(last_error, ''), 1, 300)")} ELSE '' END AS why
        FROM ({_states(overdue)}) AS lists LEFT JOIN (
            SELECT list_id, sum(contacts_pushed) AS contacts FROM runs
            WHERE started_at > strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 day') GROUP BY list_id
        ) ON list_id = lists.id
        ORDER BY {_SOON}, age DESC, client, list_key LIMIT 500
    """


def needing_attention(overdue: Mapping[str, int]) -> str:
    """Returns the query for how many lists somebody should look at; red, unless there is none."""
    return f"""
        SELECT CASE count(*) WHEN 0 THEN '0' ELSE '<span class="bad">' || printf('%,d', count(*)) || '</span>' END AS n
        FROM ({_states(overdue)}) WHERE state NOT IN ('well', 'running')
    """


LIST_COUNT = "SELECT printf('%,d', count(*)) AS n FROM lists"
LETTER_COUNT = """
    SELECT CASE count(*) WHEN 0 THEN '0' ELSE '<span class="bad">' || printf('%,d', count(*)) || '</span>' END AS n
    FROM dead_letters WHERE status = 'open'
"""
BY_DAY = """
    SELECT substr(started_at, 1, 10) AS day, client, sum(contacts_pushed) AS contacts, count(*) AS runs FROM runs
    WHERE started_at > strftime('%Y-%m-%dT%H:%M:%S', 'now', '-30 days') [[ AND client = :client ]]
    GROUP BY day, client ORDER BY day
"""
_TOOK = duration("(strftime('%s', finished_at) - strftime('%s', started_at))")
RUNS = f"""
    SELECT {link("id")} AS run, {status("status")} AS status, {escaped("client")} AS client,
        {escaped("list_key")} AS list, kind, {moment("started_at", "-")} AS "started (UTC)", {_TOOK} AS took,
        {number("members_read")} AS read, {number("contacts_pushed")} AS pushed,
        {number("contacts_rejected")} AS rejected, {number("windows_dead")} AS incomplete,
        {escaped("coalesce(error, '')")} AS error
    FROM runs WHERE 1 = 1 [[ AND client = :client ]] ORDER BY id DESC LIMIT 200
"""
TIMES = """
    SELECT started_at AS began, client, contacts_pushed AS contacts, status FROM runs
    WHERE 1 = 1 [[ AND client = :client ]] ORDER BY id DESC LIMIT 500
"""
_THE_RUN = "coalesce(nullif(:run, ''), (SELECT max(id) FROM runs))"
RESULT = f"""
    SELECT {status("status")} AS result, coalesce({escaped("error")}, CASE WHEN windows_dead > 0
        THEN windows_dead || ' of ' || windows_total || ' time ranges could not be imported completely' ELSE '' END)
        AS why FROM runs WHERE id = {_THE_RUN}
"""
RUN = f"""
    SELECT id AS run, {escaped("client")} AS client, {escaped("list_key")} AS list, kind,
        {moment("started_at", "-")} AS "started (UTC)", {_TOOK} AS took, {number("members_read")} AS read,
        {number("members_skipped")} AS skipped, {number("contacts_pushed")} AS pushed,
        {number("contacts_rejected")} AS rejected, {number("mailchimp_requests")} AS "Mailchimp requests",
        {number("ometria_requests")} AS "Ometria requests",
        {number("mailchimp_retries + ometria_retries")} AS retries
    FROM runs WHERE id = {_THE_RUN}
"""
SPENT = f"""
    SELECT 'Ometria''s rate limit' AS "for", waited_limiter AS seconds FROM runs WHERE id = {_THE_RUN}
    UNION ALL SELECT 'Ometria', waited_ometria FROM runs WHERE id = {_THE_RUN}
    UNION ALL SELECT 'Mailchimp', waited_mailchimp FROM runs WHERE id = {_THE_RUN}
    UNION ALL SELECT 'converting', converting FROM runs WHERE id = {_THE_RUN}
"""
TIMELINE = f"""
    SELECT number AS "time range", begun_at AS began, status, members, pushed,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', coalesce(finished_at, begun_at), '+1 second') AS ended,
        retries, coalesce(error, '') AS error
    FROM windows WHERE run_id = {_THE_RUN} AND begun_at IS NOT NULL ORDER BY number
"""
_LASTED = duration("max(0, strftime('%s', finished_at) - strftime('%s', begun_at))")
WINDOWS = f"""
    SELECT number AS "time range", {status("status")} AS status, sweep,
        {moment("since", "the beginning")} AS "from (UTC)", {moment("until", "-")} AS "to (UTC)",
        {number("members")} AS members, {number("pushed")} AS pushed, {number("retries")} AS retries,
        {_LASTED} AS took, {escaped("coalesce(error, '')")} AS error
    FROM (SELECT * FROM windows WHERE run_id = {_THE_RUN} ORDER BY status = 'done', number LIMIT 500)
    UNION ALL SELECT '-', 'none', '', '', '', '', '', '', '', ''
    WHERE NOT EXISTS (SELECT 1 FROM windows WHERE run_id = {_THE_RUN})
"""
REASONS = """
    SELECT reason, client, count(*) AS "dead letters" FROM dead_letters WHERE status = 'open' GROUP BY reason, client
"""
_HOW_MANY = f"CASE precision WHEN 'exactly' THEN '' ELSE precision || ' ' END || {number('members')}"
LETTERS = f"""
    SELECT id, {escaped("client")} AS client, {escaped("list_key")} AS list, kind,
        {escaped("coalesce(member_id, '')")} AS member, {moment("until", "-")} AS "to (UTC)",
        coalesce({_HOW_MANY}, 'unknown') AS members, attempts AS tries, {moment("created_at", "-")} AS "created (UTC)",
        {link("run_id")} AS "last run", {escaped("reason")} AS reason
    FROM dead_letters WHERE status = 'open'
    UNION ALL SELECT '-', 'none', '', '', '', '', '', '', '', '', ''
    WHERE NOT EXISTS (SELECT 1 FROM dead_letters WHERE status = 'open') LIMIT 500
"""
