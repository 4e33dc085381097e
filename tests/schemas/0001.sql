BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'sipagent','0001_receipts_recordings_accesses','2026-01-05 08:00:00.000000+00:00');
CREATE TABLE "accesses" (
   "id" INTEGER PRIMARY KEY,
   "at" TEXT NOT NULL,
   "action" TEXT NOT NULL,
   "recording_id" TEXT,
   "purpose" TEXT,
   "by" TEXT,
   "system_user" TEXT,
   "reference" TEXT,
   "outcome" TEXT NOT NULL,
   "detail" TEXT
);
INSERT INTO "accesses" VALUES(1,'2026-11-24T22:20:00.123Z','play','20261124T222000123-00000e','quality','A. Roux','root',NULL,'done',NULL);
INSERT INTO "accesses" VALUES(2,'2026-11-24T22:21:00.123Z','export','20261124T222000123-00000e','access_request','A. Roux','root','2026-118','done','both to /home/roux/call.wav');
INSERT INTO "accesses" VALUES(3,'2026-11-24T22:22:00.123Z','export','20260128T222000123-000007','curiosity','A. Roux',NULL,NULL,'refused','it is already purged');
INSERT INTO "accesses" VALUES(4,'2026-11-24T22:23:00.123Z','rebuild',NULL,NULL,NULL,'root',NULL,'done',NULL);
CREATE TABLE "receipts" (
   "id" TEXT PRIMARY KEY NOT NULL,
   "call_id" TEXT,
   "started_at" TEXT NOT NULL,
   "answered_at" TEXT,
   "connected_at" TEXT,
   "ended_at" TEXT,
   "caller" TEXT,
   "called" TEXT,
   "operator" TEXT,
   "outcome" TEXT,
   "decision" TEXT NOT NULL,
   "decided_by" TEXT,
   "decided_at" TEXT,
   "phase" TEXT,
   "dtmf_method" TEXT,
   "keyword" TEXT,
   "confidence" REAL,
   "notice_played_ms" INTEGER,
   "events" TEXT,
   "recording_id" TEXT
);
INSERT INTO "receipts" VALUES('20260128T222000123-000007',NULL,'2026-01-28T22:20:00.123Z',NULL,NULL,'2026-01-28T22:24:00.123Z',NULL,'+33323063006',NULL,'connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20260128T222000123-000007');
INSERT INTO "receipts" VALUES('20261124T222000123-00000e','a84b4c76e66710@192.0.2.7','2026-11-24T22:20:00.123Z',NULL,NULL,'2026-11-24T22:24:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222000123-00000e');
INSERT INTO "receipts" VALUES('20261124T222100123-000012','a84b4c76e66710@192.0.2.7','2026-11-24T22:21:00.123Z',NULL,NULL,'2026-11-24T22:25:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222100123-000012');
INSERT INTO "receipts" VALUES('20261124T222200123-000017','a84b4c76e66710@192.0.2.7','2026-11-24T22:22:00.123Z',NULL,NULL,'2026-11-24T22:26:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222200123-000017');
INSERT INTO "receipts" VALUES('20261124T222300123-00001c','a84b4c76e66710@192.0.2.7','2026-11-24T22:23:00.123Z',NULL,NULL,NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net',NULL,'undecided',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222300123-00001c');
INSERT INTO "receipts" VALUES('20261124T222400123-00001f','a84b4c76e66710@192.0.2.7','2026-11-24T22:24:00.123Z',NULL,NULL,'2026-11-24T22:28:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','refused','dtmf',NULL,'window','rfc4733',NULL,0.5,12000,'[{"at":"2026-11-24T22:20:00.123Z","what":"« je refuse »","by":"caller"}]','20261124T222400123-00001f');
INSERT INTO "receipts" VALUES('20261124T222500123-000023','a84b4c76e66710@192.0.2.7','2026-11-24T22:25:00.123Z',NULL,NULL,'2026-11-24T22:29:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','dtmf',NULL,'window','rfc4733',NULL,0.5,12000,'[{"at":"2026-11-24T22:20:00.123Z","what":"« je refuse »","by":"caller"}]','20261124T222500123-000023');
INSERT INTO "receipts" VALUES('20261124T222600123-000027','a84b4c76e66710@192.0.2.7','2026-11-24T22:26:00.123Z',NULL,NULL,'2026-11-24T22:30:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222600123-000027');
INSERT INTO "receipts" VALUES('20261124T222700123-00002c',NULL,'2026-11-24T22:27:00.123Z',NULL,NULL,'2026-11-24T22:31:00.123Z',NULL,'+33323063006',NULL,'abandoned','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL);
CREATE TABLE "recordings" (
   "id" TEXT PRIMARY KEY NOT NULL,
   "call_id" TEXT,
   "started_at" TEXT NOT NULL,
   "ended_at" TEXT,
   "duration_s" REAL,
   "caller" TEXT,
   "called" TEXT,
   "operator" TEXT,
   "status" TEXT NOT NULL,
   "incomplete" INTEGER,
   "decision" TEXT,
   "notice" TEXT,
   "channels" INTEGER,
   "sample_rate" INTEGER,
   "path" TEXT,
   "bytes" INTEGER,
   "sha256" TEXT,
   "pauses" TEXT,
   "flagged" INTEGER,
   "expires_at" TEXT NOT NULL,
   "hold" TEXT,
   "purged_at" TEXT
);
INSERT INTO "recordings" VALUES('20260128T222000123-000007',NULL,'2026-01-28T22:20:00.123Z',NULL,NULL,NULL,'+33323063006',NULL,'purged',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,NULL,16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',0,'2026-07-28T22:20:00.123Z',NULL,'2026-11-24T22:20:00.123Z');
INSERT INTO "recordings" VALUES('20261124T222000123-00000e','a84b4c76e66710@192.0.2.7','2026-11-24T22:20:00.123Z','2026-11-24T22:24:00.123Z',171.2,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','closed',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,'recordings/20261124T222000123-00000e.flac',16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:20:00.123Z',NULL,NULL);
INSERT INTO "recordings" VALUES('20261124T222100123-000012','a84b4c76e66710@192.0.2.7','2026-11-24T22:21:00.123Z',NULL,12.0,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','closed',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,'recordings/20261124T222100123-000012.flac',16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',1,'2027-05-24T22:21:00.123Z','{"ground":"criminal","reference":"2026/7","by":"A. Roux","approved_by":"B. Petit","review":"2027-01-01"}',NULL);
INSERT INTO "recordings" VALUES('20261124T222200123-000017','a84b4c76e66710@192.0.2.7','2026-11-24T22:22:00.123Z',NULL,NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','closed',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,'recordings/20261124T222200123-000017.flac',16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:22:00.123Z','{"ground":"disciplinary"}',NULL);
INSERT INTO "recordings" VALUES('20261124T222300123-00001c','a84b4c76e66710@192.0.2.7','2026-11-24T22:23:00.123Z',NULL,NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','open',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,NULL,NULL,NULL,'[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:23:00.123Z',NULL,NULL);
INSERT INTO "recordings" VALUES('20261124T222400123-00001f','a84b4c76e66710@192.0.2.7','2026-11-24T22:24:00.123Z','2026-11-24T22:24:00.123Z',NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','erased',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,NULL,NULL,NULL,'[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:24:00.123Z',NULL,NULL);
INSERT INTO "recordings" VALUES('20261124T222500123-000023','a84b4c76e66710@192.0.2.7','2026-11-24T22:25:00.123Z','2026-11-24T22:25:00.123Z',NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','failed',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,NULL,NULL,NULL,'[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:25:00.123Z',NULL,NULL);
INSERT INTO "recordings" VALUES('20261124T222600123-000027','a84b4c76e66710@192.0.2.7','2026-11-24T22:26:00.123Z',NULL,NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','purging',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,'recordings/20261124T222600123-000027.flac',16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:26:00.123Z',NULL,NULL);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX "idx_receipts_started_at"
    ON "receipts" ("started_at");
CREATE INDEX "idx_receipts_recording_id"
    ON "receipts" ("recording_id");
CREATE INDEX "idx_recordings_started_at"
    ON "recordings" ("started_at");
CREATE INDEX "idx_recordings_status"
    ON "recordings" ("status");
CREATE INDEX "idx_accesses_recording_id"
    ON "accesses" ("recording_id");
COMMIT;
