"""Creates and changes the tables, by numbered migrations. A new one is added below; the old ones stay as they are."""

from __future__ import annotations

import secrets

from sqlite_utils import Database, Migrations

migrations = Migrations("mcimport")


@migrations()
def m001_create_tables(db: Database) -> None:
    """Creates the tables of the first release."""
    db.conn.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
    # Destinations are known by a salted fingerprint of their key, so that a stolen file cannot be tried against keys.
    db.conn.execute("INSERT INTO meta VALUES ('salt', ?)", [secrets.token_hex(16)])
    db.conn.execute("""
        CREATE TABLE lists (
            id INTEGER PRIMARY KEY,
            client TEXT NOT NULL,
            list_key TEXT NOT NULL,
            collection TEXT NOT NULL,
            destination TEXT NOT NULL,
            sync_point TEXT,
            first_sync_at TEXT,
            mapping TEXT,
            UNIQUE (client, list_key, collection, destination)
        )""")
    db.conn.execute("""
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            list_id INTEGER NOT NULL REFERENCES lists (id),
            client TEXT NOT NULL,
            list_key TEXT NOT NULL,
            kind TEXT NOT NULL,
            since TEXT,
            until TEXT,
            status TEXT NOT NULL,
            members_total INTEGER NOT NULL DEFAULT 0,
            members_read INTEGER NOT NULL DEFAULT 0,
            members_skipped INTEGER NOT NULL DEFAULT 0,
            contacts_pushed INTEGER NOT NULL DEFAULT 0,
            contacts_rejected INTEGER NOT NULL DEFAULT 0,
            opt_ins INTEGER NOT NULL DEFAULT 0,
            opt_outs INTEGER NOT NULL DEFAULT 0,
            subscription_events INTEGER NOT NULL DEFAULT 0,
            windows_total INTEGER NOT NULL DEFAULT 0,
            windows_dead INTEGER NOT NULL DEFAULT 0,
            started_at TEXT NOT NULL,
            finished_at TEXT,
            error TEXT,
            moves_sync_point INTEGER NOT NULL DEFAULT 0
        )""")
    db.conn.execute("CREATE INDEX runs_by_list ON runs (list_id, id)")
    db.conn.execute("""
        CREATE TABLE windows (
            run_id INTEGER NOT NULL REFERENCES runs (id),
            number INTEGER NOT NULL,
            sweep TEXT NOT NULL,
            "offset" INTEGER NOT NULL,
            count INTEGER NOT NULL,
            since TEXT, -- NULL: from the beginning of the list
            until TEXT NOT NULL,
            through TEXT, -- NULL: nothing of it was recorded yet
            page INTEGER NOT NULL,
            bounds TEXT NOT NULL DEFAULT '',
            status TEXT NOT NULL DEFAULT 'pending',
            attempts INTEGER NOT NULL DEFAULT 0,
            members INTEGER NOT NULL DEFAULT 0,
            pushed INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            finished_at TEXT,
            letter_id INTEGER REFERENCES dead_letters (id), -- the letter that this window replays
            only_member TEXT, -- replay this member and nobody else
            PRIMARY KEY (run_id, number)
        )""")
    db.conn.execute("""
        CREATE TABLE dead_letters (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            list_id INTEGER NOT NULL REFERENCES lists (id),
            run_id INTEGER NOT NULL REFERENCES runs (id), -- the last run in which it failed
            first_run_id INTEGER NOT NULL REFERENCES runs (id), -- the one that wrote it (or what it narrows)
            client TEXT NOT NULL,
            list_key TEXT NOT NULL,
            kind TEXT NOT NULL,
            cause TEXT NOT NULL,
            sweep TEXT NOT NULL,
            since TEXT,
            until TEXT, -- NULL: a member without last_changed
            member_id TEXT, -- without the list; NULL for windows, and for a member without any id
            reason TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 1,
            status TEXT NOT NULL DEFAULT 'open',
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL,
            replay_of INTEGER, -- a narrower span, found while this letter was replayed
            taken_along INTEGER NOT NULL DEFAULT 0 -- syncs in which it failed again though others got through
        )""")
    db.conn.execute("CREATE INDEX letters_by_list ON dead_letters (list_id, status)")
    db.conn.execute("""
        CREATE UNIQUE INDEX one_open_letter_a_member ON dead_letters (list_id, member_id)
        WHERE status = 'open' AND member_id IS NOT NULL""")


@migrations()
def m002_remember_who_is_new(db: Database) -> None:
    """Adds `new_since`: without a `Date`, a first sync began between two times; archives count from the earlier."""
    db.conn.execute("ALTER TABLE lists ADD COLUMN new_since TEXT")
    db.conn.execute("UPDATE lists SET new_since = first_sync_at")


@migrations()
def m003_find_open_runs_at_once(db: Database) -> None:
    """Adds partial indexes, which SQLite uses where a query repeats their conditions: see `state.runs`."""
    db.conn.execute("CREATE INDEX runs_running ON runs (list_id) WHERE status = 'running'")
    db.conn.execute("""
        CREATE INDEX runs_unfinished ON runs (list_id)
        WHERE status IN ('running', 'interrupted', 'failed') AND until IS NOT NULL""")


@migrations()
def m004_remember_what_a_run_cost(db: Database) -> None:
    """Adds requests, retries, and what the seconds were spent on; earlier runs have 0, for it is not known."""
    for side in ("mailchimp", "ometria"):
        for what in ("requests", "retries", "throttled"):
            db.conn.execute(f"ALTER TABLE runs ADD COLUMN {side}_{what} INTEGER NOT NULL DEFAULT 0")
    for spent in ("waited_mailchimp", "waited_ometria", "waited_limiter", "converting"):
        for table in ("runs", "windows"):
            db.conn.execute(f"ALTER TABLE {table} ADD COLUMN {spent} REAL NOT NULL DEFAULT 0")
    db.conn.execute("ALTER TABLE windows ADD COLUMN begun_at TEXT")
    db.conn.execute("ALTER TABLE windows ADD COLUMN seconds REAL NOT NULL DEFAULT 0")
    db.conn.execute("ALTER TABLE windows ADD COLUMN retries INTEGER NOT NULL DEFAULT 0")


@migrations()
def m005_remember_troubles_that_were_told(db: Database) -> None:
    """Adds troubles, so that a webhook is called once for a failure, and once for its end."""
    db.conn.execute("""
        CREATE TABLE troubles (
            client TEXT NOT NULL,
            list_key TEXT NOT NULL,
            since TEXT NOT NULL,
            PRIMARY KEY (client, list_key)
        ) WITHOUT ROWID""")


@migrations()
def m006_remember_what_was_compared(db: Database) -> None:
    """Adds when both sides of a list were last compared, the result, and from when on the list is imported.

    `reconciled` is JSON; `carried_since` NULL means "from its beginning".
    A list that began with `--since` has a history that Ometria lacks on purpose. What is known of older lists stands in
    their runs: a completed full one brought everything.
    """
    db.conn.execute("ALTER TABLE lists ADD COLUMN carried_since TEXT")
    db.conn.execute("ALTER TABLE lists ADD COLUMN reconciled_at TEXT")
    db.conn.execute("ALTER TABLE lists ADD COLUMN reconciled TEXT")
    db.conn.execute("""
        UPDATE lists SET carried_since =
            (SELECT coalesce(since, until) FROM runs WHERE list_id = lists.id AND kind = 'incremental'
                AND status = 'completed' AND moves_sync_point ORDER BY id LIMIT 1)
        WHERE sync_point IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM runs WHERE list_id = lists.id AND kind = 'full' AND status = 'completed')
        """)


@migrations()
def m007_remember_who_is_at_work_elsewhere(db: Database) -> None:
    """Adds for which clients Celery workers may still process pages, and since when."""
    db.conn.execute("CREATE TABLE elsewhere (client TEXT PRIMARY KEY, since TEXT NOT NULL) WITHOUT ROWID")


@migrations()
def m008_remember_what_consent_depends_on(db: Database) -> None:
    """Adds what consent depends on: SMS statuses, marketing permissions, and when Ometria first accepted a contact.

    `permissions` is a JSON array of texts, NULL where none was ever seen. `accepted_at` is when the run began in which
    Ometria first accepted a contact, NULL before that: earlier opt-ins are not new. `unchecked_at` is when a first run
    found that the list had been synced before: members archived before that are to be compared; NULL: none are.
    `new_since` of a window that replays a dead letter: from when on an opt-in was new to the run that failed.
    """
    db.conn.execute("ALTER TABLE lists ADD COLUMN has_sms INTEGER NOT NULL DEFAULT 0")
    db.conn.execute("ALTER TABLE lists ADD COLUMN permissions TEXT")
    db.conn.execute("ALTER TABLE lists ADD COLUMN accepted_at TEXT")
    db.conn.execute("ALTER TABLE lists ADD COLUMN unchecked_at TEXT")
    db.conn.execute("ALTER TABLE windows ADD COLUMN new_since TEXT")
    db.conn.execute("""
        UPDATE lists SET accepted_at = first_sync_at WHERE sync_point IS NOT NULL
            OR EXISTS (SELECT 1 FROM runs WHERE list_id = lists.id AND contacts_pushed > 0)""")


@migrations()
def m009_remember_what_was_shown(db: Database) -> None:
    """Adds from when on each sweep has returned no members, so that the next one reads again what a wrong one missed.

    NULL: from the sync point on. Until now a sync point was Mailchimp's `Date` alone, which may have been ahead: it
    goes back to when its run began by this machine's clock, where that is earlier. `is_no` of a dead letter: whether
    the refused contact is an opt-out.
    """
    db.conn.execute("ALTER TABLE lists ADD COLUMN listed_from TEXT")
    db.conn.execute("ALTER TABLE lists ADD COLUMN archived_from TEXT")
    db.conn.execute("ALTER TABLE dead_letters ADD COLUMN is_no INTEGER NOT NULL DEFAULT 0")
    db.conn.execute("""
        UPDATE lists SET sync_point = min(sync_point, coalesce(
            (SELECT started_at FROM runs WHERE list_id = lists.id AND status = 'completed' AND moves_sync_point
                AND until >= lists.sync_point ORDER BY id DESC LIMIT 1), sync_point))
        WHERE sync_point IS NOT NULL""")


@migrations()
def m010_remember_how_many_a_letter_is_about(db: Database) -> None:
    """Adds how many members a dead letter is about, as known when it was written, and how exact that is.

    NULL: not known, as of all spans until now. `list_members`: how many the list held when it was last read whole.
    """
    db.conn.execute("ALTER TABLE dead_letters ADD COLUMN members INTEGER")
    db.conn.execute("ALTER TABLE dead_letters ADD COLUMN precision TEXT NOT NULL DEFAULT 'about'")
    db.conn.execute("ALTER TABLE dead_letters ADD COLUMN list_members INTEGER")
    db.conn.execute("UPDATE dead_letters SET members = 1, precision = 'exactly' WHERE kind = 'contact'")


@migrations()
def m011_remember_what_was_warned_of(db: Database) -> None:
    """Adds the warnings of a run, as a JSON array of texts; NULL where there were none, and for runs until now.

    Lists that Mailchimp never knew are not stored any more: those that were typed once are deleted.
    """
    db.conn.execute("ALTER TABLE runs ADD COLUMN warnings TEXT")
    never = """
        sync_point IS NULL AND id IN (SELECT list_id FROM runs)
        AND id NOT IN (SELECT list_id FROM dead_letters) AND id NOT IN (SELECT list_id FROM runs WHERE until IS NOT NULL
            OR contacts_pushed OR error IS NULL OR error NOT LIKE 'Mailchimp knows no list %')"""
    db.conn.execute(f"DELETE FROM runs WHERE list_id IN (SELECT id FROM lists WHERE {never})")  # noqa: S608 - fixed text
    db.conn.execute(
        "DELETE FROM lists WHERE sync_point IS NULL AND first_sync_at IS NULL AND id NOT IN (SELECT list_id FROM runs)"
        " AND id NOT IN (SELECT list_id FROM dead_letters)"
    )


@migrations()
def m012_remember_what_to_spot_check(db: Database) -> None:
    """Adds a sample of the contacts that Ometria accepted last, by their ids without the list.

    `run_id`: of the run that pushed it; `rank`: a random number, of which the lowest are kept. Of a list: when a spot
    check was last tried, and the result of the last conclusive one, as JSON. Of a run: the result of its own, as JSON.
    """
    db.conn.execute("""
        CREATE TABLE pushed_sample (
            list_id INTEGER NOT NULL REFERENCES lists (id),
            member_id TEXT NOT NULL,
            run_id INTEGER NOT NULL,
            rank REAL NOT NULL,
            pushed_at TEXT NOT NULL,
            PRIMARY KEY (list_id, member_id)
        ) WITHOUT ROWID""")
    db.conn.execute("ALTER TABLE lists ADD COLUMN spot_checked_at TEXT")
    db.conn.execute("ALTER TABLE lists ADD COLUMN spot_check TEXT")
    db.conn.execute("ALTER TABLE runs ADD COLUMN spot_check TEXT")


@migrations()
def m013_remember_troubles_by_kind(db: Database) -> None:
    """Stores troubles by kind: one does not silence another, and each ends by itself.

    Troubles until now had no kind: they get those that the state shows. Why they were notified is not known.
    """
    db.conn.execute("ALTER TABLE troubles RENAME TO troubles_of_any_kind")
    db.conn.execute("""
        CREATE TABLE troubles (
            client TEXT NOT NULL,
            list_key TEXT NOT NULL,
            kind TEXT NOT NULL,
            reason TEXT NOT NULL, -- as it was told; but for its numbers, it is not told again
            since TEXT NOT NULL,
            PRIMARY KEY (client, list_key, kind, reason)
        ) WITHOUT ROWID""")
    db.conn.execute("""
        INSERT INTO troubles SELECT client, list_key, 'dead_letters', '', since FROM troubles_of_any_kind AS told
        WHERE EXISTS (SELECT 1 FROM dead_letters AS letter WHERE letter.client = told.client
            AND letter.list_key = told.list_key AND letter.status = 'open')""")
    db.conn.execute("""
        INSERT INTO troubles SELECT client, list_key, 'differ', '', since FROM troubles_of_any_kind AS told
        WHERE EXISTS (SELECT 1 FROM lists WHERE lists.client = told.client AND lists.list_key = told.list_key
            AND json_extract(reconciled, '$.left') > 0)""")
    db.conn.execute("""
        INSERT INTO troubles SELECT client, list_key, 'failed', '', since FROM troubles_of_any_kind AS told
        WHERE NOT EXISTS (SELECT 1 FROM troubles WHERE troubles.client = told.client
            AND troubles.list_key = told.list_key)
        OR 'failed' = (SELECT status FROM runs WHERE runs.client = told.client AND runs.list_key = told.list_key
            ORDER BY id DESC LIMIT 1)""")
    db.conn.execute("DROP TABLE troubles_of_any_kind")
