BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'mcimport','m001_create_tables','2026-11-20 09:00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'mcimport','m002_remember_who_is_new','2026-11-20 09:00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'mcimport','m003_find_open_runs_at_once','2026-11-20 09:00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'mcimport','m004_remember_what_a_run_cost','2026-11-20 09:00:00');
INSERT INTO "_sqlite_migrations" VALUES(5,'mcimport','m005_remember_troubles_that_were_told','2026-11-20 09:00:00');
INSERT INTO "_sqlite_migrations" VALUES(6,'mcimport','m006_remember_what_was_compared','2026-11-20 09:00:00');
INSERT INTO "_sqlite_migrations" VALUES(7,'mcimport','m007_remember_who_is_at_work_elsewhere','2026-11-20 09:00:00');
INSERT INTO "_sqlite_migrations" VALUES(8,'mcimport','m008_remember_what_consent_depends_on','2026-11-29 22:19:38.388524+00:00');
INSERT INTO "_sqlite_migrations" VALUES(9,'mcimport','m009_remember_what_was_shown','2026-11-30 02:00:00+00:00');
INSERT INTO "_sqlite_migrations" VALUES(10,'mcimport','m010_remember_how_many_a_letter_is_about','2026-11-30 05:52:40.676100+00:00');
INSERT INTO "_sqlite_migrations" VALUES(11,'mcimport','m011_remember_what_was_warned_of','2026-11-30 06:29:51.043187+00:00');
INSERT INTO "_sqlite_migrations" VALUES(12,'mcimport','m012_remember_what_to_spot_check','2026-11-30 07:51:41.447722+00:00');
INSERT INTO "_sqlite_migrations" VALUES(13,'mcimport','m013_remember_troubles_by_kind','2026-11-30 08:46:40.645790+00:00');
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
        , is_no INTEGER NOT NULL DEFAULT 0, members INTEGER, precision TEXT NOT NULL DEFAULT 'about', list_members INTEGER);
INSERT INTO "dead_letters" VALUES(1,1,1,1,'acme','1a2d7ebf82','contact','refusal','listed','2026-11-10T09:59:59+00:00','2026-11-10T10:00:00+00:00','0123456789abcdef0123456789abcdef','unusable address',1,'open','2026-11-20T09:00:05+00:00','2026-11-20T09:00:05+00:00',NULL,0,0,1,'exactly',NULL);
INSERT INTO "dead_letters" VALUES(2,1,1,1,'acme','1a2d7ebf82','window','transport','listed','2026-11-10T09:59:59+00:00','2026-11-10T10:00:00+00:00',NULL,'Ometria cannot be reached',1,'discarded','2026-11-20T09:00:05+00:00','2026-11-20T09:00:05+00:00',NULL,0,0,766,'about',770);
CREATE TABLE elsewhere (client TEXT PRIMARY KEY, since TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "elsewhere" VALUES('acme','2026-11-20T11:00:00+00:00');
CREATE TABLE lists (
            id INTEGER PRIMARY KEY,
            client TEXT NOT NULL,
            list_key TEXT NOT NULL,
            collection TEXT NOT NULL,
            destination TEXT NOT NULL,
            sync_point TEXT,
            first_sync_at TEXT,
            mapping TEXT, new_since TEXT, carried_since TEXT, reconciled_at TEXT, reconciled TEXT, has_sms INTEGER NOT NULL DEFAULT 0, permissions TEXT, accepted_at TEXT, unchecked_at TEXT, listed_from TEXT, archived_from TEXT, spot_checked_at TEXT, spot_check TEXT,
            UNIQUE (client, list_key, collection, destination)
        );
INSERT INTO "lists" VALUES(1,'acme','1a2d7ebf82','mailchimp','0123456789abcdef','2026-11-20T10:00:00+00:00','2026-11-01T09:00:00+00:00','aaaa',NULL,NULL,NULL,NULL,1,'["Direct Mail", "Email"]','2026-11-01T09:00:00+00:00',NULL,NULL,'2026-11-20T09:00:00+00:00','2026-11-20T11:00:02+00:00','{"at": "2026-11-20T11:00:02+00:00", "accepted": 10, "first_at": "2026-11-20T09:00:05+00:00", "last_at": "2026-11-20T09:00:05+00:00", "missing": 3, "reason": ""}');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('salt','00000000000000000000000000000000');
CREATE TABLE pushed_sample (
            list_id INTEGER NOT NULL REFERENCES lists (id),
            member_id TEXT NOT NULL,
            run_id INTEGER NOT NULL,
            rank REAL NOT NULL,
            pushed_at TEXT NOT NULL,
            PRIMARY KEY (list_id, member_id)
        ) WITHOUT ROWID;
INSERT INTO "pushed_sample" VALUES(1,'aaaabbbbcccc',2,0.25,'2026-11-20T11:00:08+00:00');
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
        , mailchimp_requests INTEGER NOT NULL DEFAULT 0, mailchimp_retries INTEGER NOT NULL DEFAULT 0, mailchimp_throttled INTEGER NOT NULL DEFAULT 0, ometria_requests INTEGER NOT NULL DEFAULT 0, ometria_retries INTEGER NOT NULL DEFAULT 0, ometria_throttled INTEGER NOT NULL DEFAULT 0, waited_mailchimp REAL NOT NULL DEFAULT 0, waited_ometria REAL NOT NULL DEFAULT 0, waited_limiter REAL NOT NULL DEFAULT 0, converting REAL NOT NULL DEFAULT 0, warnings TEXT, spot_check TEXT);
INSERT INTO "runs" VALUES(1,1,'acme','1a2d7ebf82','full',NULL,'2026-11-20T09:00:00+00:00','completed',1200,1200,0,1199,0,0,0,0,2,0,'2026-11-20T09:00:02+00:00','2026-11-20T09:00:09+00:00',NULL,1,0,0,0,0,0,0,0.0,0.0,0.0,0.0,NULL,NULL);
INSERT INTO "runs" VALUES(2,1,'acme','1a2d7ebf82','incremental','2026-11-20T09:59:00+00:00','2026-11-20T11:00:00+00:00','interrupted',40,20,0,20,0,0,0,0,2,0,'2026-11-20T11:00:02+00:00','2026-11-20T11:00:09+00:00',NULL,1,0,0,0,0,0,0,0.0,0.0,0.0,0.0,NULL,'{"at": "2026-11-20T11:00:02+00:00", "accepted": 10, "first_at": "2026-11-20T09:00:05+00:00", "last_at": "2026-11-20T09:00:05+00:00", "missing": 3, "reason": ""}');
CREATE TABLE troubles (
            client TEXT NOT NULL,
            list_key TEXT NOT NULL,
            kind TEXT NOT NULL,
            reason TEXT NOT NULL, -- as it was told; but for its numbers, it is not told again
            since TEXT NOT NULL,
            PRIMARY KEY (client, list_key, kind, reason)
        ) WITHOUT ROWID;
INSERT INTO "troubles" VALUES('acme','1a2d7ebf82','dead_letters','unusable address','2026-11-20T09:00:09+00:00');
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
            only_member TEXT, waited_mailchimp REAL NOT NULL DEFAULT 0, waited_ometria REAL NOT NULL DEFAULT 0, waited_limiter REAL NOT NULL DEFAULT 0, converting REAL NOT NULL DEFAULT 0, begun_at TEXT, seconds REAL NOT NULL DEFAULT 0, retries INTEGER NOT NULL DEFAULT 0, new_since TEXT, -- replay this member and nobody else
            PRIMARY KEY (run_id, number)
        );
INSERT INTO "windows" VALUES(2,0,'listed',0,20,'2026-11-20T09:59:00+00:00','2026-11-20T10:30:00+00:00','2026-11-20T10:30:00+00:00',1000,'before','done',1,20,20,NULL,'2026-11-20T11:00:08+00:00',NULL,NULL,0.0,0.0,0.0,0.0,NULL,0.0,0,NULL);
INSERT INTO "windows" VALUES(2,1,'listed',20,20,'2026-11-20T10:30:00+00:00','2026-11-20T11:00:00+00:00',NULL,500,'','pending',0,0,0,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,NULL,0.0,0,NULL);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX runs_by_list ON runs (list_id, id);
CREATE INDEX letters_by_list ON dead_letters (list_id, status);
CREATE UNIQUE INDEX one_open_letter_a_member ON dead_letters (list_id, member_id)
        WHERE status = 'open' AND member_id IS NOT NULL;
CREATE INDEX runs_running ON runs (list_id) WHERE status = 'running';
CREATE INDEX runs_unfinished ON runs (list_id)
        WHERE status IN ('running', 'interrupted', 'failed') AND until IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',2);
INSERT INTO "sqlite_sequence" VALUES('dead_letters',2);
COMMIT;
