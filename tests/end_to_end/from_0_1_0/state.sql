BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'mcimport','m001_create_tables','2026-12-01 00:45:08.781301+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'mcimport','m002_remember_who_is_new','2026-12-01 00:45:08.788088+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'mcimport','m003_find_open_runs_at_once','2026-12-01 00:45:08.792002+00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'mcimport','m004_remember_what_a_run_cost','2026-12-01 00:45:08.798940+00:00');
INSERT INTO "_sqlite_migrations" VALUES(5,'mcimport','m005_remember_troubles_that_were_told','2026-12-01 00:45:08.805708+00:00');
INSERT INTO "_sqlite_migrations" VALUES(6,'mcimport','m006_remember_what_was_compared','2026-12-01 00:45:08.811309+00:00');
INSERT INTO "_sqlite_migrations" VALUES(7,'mcimport','m007_remember_who_is_at_work_elsewhere','2026-12-01 00:45:08.813024+00:00');
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
        );
INSERT INTO "dead_letters" VALUES(1,1,1,1,'acme','1a2d7ebf82','contact','refusal','listed','2023-12-23T20:34:43+00:00','2023-12-23T20:34:44+00:00','db53f737b6dafdde5be3d0119259ce85','Ometria rejected the record',1,'open','2026-12-01T00:45:09+00:00','2026-12-01T00:45:09+00:00',NULL,0);
CREATE TABLE elsewhere (client TEXT PRIMARY KEY, since TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE lists (
            id INTEGER PRIMARY KEY,
            client TEXT NOT NULL,
            list_key TEXT NOT NULL,
            collection TEXT NOT NULL,
            destination TEXT NOT NULL,
            sync_point TEXT,
            first_sync_at TEXT,
            mapping TEXT, new_since TEXT, carried_since TEXT, reconciled_at TEXT, reconciled TEXT,
            UNIQUE (client, list_key, collection, destination)
        );
INSERT INTO "lists" VALUES(1,'acme','1a2d7ebf82','mailchimp','05f406a0ead144d7','2026-12-01T00:45:12+00:00','2026-12-01T00:45:07+00:00','60a792e74fdddb5e','2026-12-01T00:45:07+00:00',NULL,NULL,NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('salt','8d8a1c3b7e0c401443284af770036838');
INSERT INTO "meta" VALUES('pruned_at','2026-12-01T00:45:09+00:00');
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
        , mailchimp_requests INTEGER NOT NULL DEFAULT 0, mailchimp_retries INTEGER NOT NULL DEFAULT 0, mailchimp_throttled INTEGER NOT NULL DEFAULT 0, ometria_requests INTEGER NOT NULL DEFAULT 0, ometria_retries INTEGER NOT NULL DEFAULT 0, ometria_throttled INTEGER NOT NULL DEFAULT 0, waited_mailchimp REAL NOT NULL DEFAULT 0, waited_ometria REAL NOT NULL DEFAULT 0, waited_limiter REAL NOT NULL DEFAULT 0, converting REAL NOT NULL DEFAULT 0);
INSERT INTO "runs" VALUES(1,1,'acme','1a2d7ebf82','full',NULL,'2026-12-01T00:45:05+00:00','completed',287,287,3,283,1,205,67,0,7,0,'2026-12-01T00:45:08+00:00','2026-12-01T00:45:09+00:00',NULL,1,20,0,0,20,0,0,1.62834848999409587122e-01,6.53133669998169352766e-02,3.32433630001105484552e-02,3.01490962000116269337e-01);
INSERT INTO "runs" VALUES(2,1,'acme','1a2d7ebf82','incremental','2026-12-01T00:44:05+00:00','2026-12-01T00:45:12+00:00','completed',69,69,0,69,0,46,21,0,1,0,'2026-12-01T00:45:15+00:00','2026-12-01T00:45:16+00:00',NULL,1,9,0,0,2,0,0,1.0073521699951015762e-01,3.66140790001736604608e-02,3.12199999825679697096e-05,9.08451599998443271033e-02);
INSERT INTO "runs" VALUES(3,1,'acme','1a2d7ebf82','incremental','2026-12-01T00:44:12+00:00','2026-12-01T00:45:17+00:00','running',216,0,0,0,0,0,0,0,2,0,'2026-12-01T00:45:20+00:00',NULL,NULL,1,0,0,0,0,0,0,0.0,0.0,0.0,0.0);
CREATE TABLE troubles (
            client TEXT NOT NULL,
            list_key TEXT NOT NULL,
            since TEXT NOT NULL,
            PRIMARY KEY (client, list_key)
        ) WITHOUT ROWID;
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
            only_member TEXT, waited_mailchimp REAL NOT NULL DEFAULT 0, waited_ometria REAL NOT NULL DEFAULT 0, waited_limiter REAL NOT NULL DEFAULT 0, converting REAL NOT NULL DEFAULT 0, begun_at TEXT, seconds REAL NOT NULL DEFAULT 0, retries INTEGER NOT NULL DEFAULT 0, -- replay this member and nobody else
            PRIMARY KEY (run_id, number)
        );
INSERT INTO "windows" VALUES(1,0,'listed',0,45,NULL,'2024-08-19T09:27:46+00:00','2024-08-19T09:27:46+00:00',50,'','done',1,46,45,NULL,'2026-12-01T00:45:09+00:00',NULL,NULL,1.79977400011921417899e-03,3.00232110002980334684e-02,1.44558850001885730307e-02,1.51876590000028954818e-01,'2026-12-01T00:45:08+00:00',1.99646659999871189938e-01,0);
INSERT INTO "windows" VALUES(1,1,'listed',45,45,'2024-08-19T09:27:46+00:00','2024-12-16T05:30:32+00:00','2024-12-16T05:30:32+00:00',50,'','done',2,75,75,NULL,'2026-12-01T00:45:09+00:00',NULL,NULL,1.08463920000758662354e-02,1.04443919994992029387e-02,4.38701800021590315736e-03,6.80695800001558382064e-02,'2026-12-01T00:45:08+00:00',1.80126209000263770576e-01,0);
INSERT INTO "windows" VALUES(1,2,'listed',90,45,'2024-12-16T05:30:32+00:00','2025-02-06T04:11:50+00:00','2025-02-06T04:11:50+00:00',50,'','done',1,15,15,NULL,'2026-12-01T00:45:08+00:00',NULL,NULL,4.33199199960654368624e-03,7.29998799988607061095e-03,2.23309998546028509736e-05,1.57357800026147742755e-03,'2026-12-01T00:45:08+00:00',9.25936250000631844159e-02,0);
INSERT INTO "windows" VALUES(1,3,'listed',135,45,'2025-02-06T04:11:50+00:00','2025-08-07T04:15:54+00:00','2025-08-07T04:15:54+00:00',50,'','done',1,45,45,NULL,'2026-12-01T00:45:09+00:00',NULL,NULL,1.04581730001882533542e-02,1.1278340002718323376e-03,4.01548699983322876505e-03,7.35294729997804097365e-02,'2026-12-01T00:45:08+00:00',0.160239563000232,0);
INSERT INTO "windows" VALUES(1,4,'listed',180,45,'2025-08-07T04:15:54+00:00','2026-03-04T00:33:10+00:00','2026-03-04T00:33:10+00:00',50,'','done',1,45,45,NULL,'2026-12-01T00:45:09+00:00',NULL,NULL,2.1446756000386812957e-02,6.24501999982385314069e-03,4.66983199976311880163e-03,2.80486000019664061255e-03,'2026-12-01T00:45:08+00:00',1.68103131999941979302e-01,0);
INSERT INTO "windows" VALUES(1,5,'listed',225,45,'2026-03-04T00:33:10+00:00','2026-10-01T23:50:09+00:00','2026-10-01T23:50:09+00:00',50,'','done',1,45,42,NULL,'2026-12-01T00:45:09+00:00',NULL,NULL,1.94812999998248415067e-02,7.42428400008066091686e-03,6.08200025453697890043e-06,3.04241300000285264104e-03,'2026-12-01T00:45:08+00:00',1.69022340000083204358e-01,0);
INSERT INTO "windows" VALUES(1,6,'listed',270,17,'2026-10-01T23:50:09+00:00','2026-12-01T00:45:05+00:00','2026-12-01T00:45:05+00:00',50,'','done',1,16,16,NULL,'2026-12-01T00:45:09+00:00',NULL,NULL,1.63290539999252359848e-02,2.74863799995728186331e-03,5.68672800000058487057e-03,5.94467999690095894038e-04,'2026-12-01T00:45:08+00:00',1.6356149700004607439e-01,0);
INSERT INTO "windows" VALUES(2,0,'listed',0,69,'2026-12-01T00:44:05+00:00','2026-12-01T00:45:12+00:00','2026-12-01T00:45:12+00:00',50,'','done',2,69,69,NULL,'2026-12-01T00:45:16+00:00',NULL,NULL,1.19663399996170483063e-02,3.66140790001736604608e-02,3.12199999825679697096e-05,9.08451599998443271033e-02,'2026-12-01T00:45:16+00:00',1.4077534500029287301e-01,0);
INSERT INTO "windows" VALUES(3,0,'listed',0,45,'2026-12-01T00:44:12+00:00','2026-12-01T00:45:16+00:00',NULL,50,'','pending',0,0,0,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,NULL,0.0,0);
INSERT INTO "windows" VALUES(3,1,'listed',45,171,'2026-12-01T00:45:16+00:00','2026-12-01T00:45:17+00:00',NULL,50,'','pending',0,0,0,NULL,NULL,NULL,NULL,0.0,0.0,0.0,0.0,NULL,0.0,0);
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
INSERT INTO "sqlite_sequence" VALUES('runs',3);
INSERT INTO "sqlite_sequence" VALUES('dead_letters',1);
COMMIT;