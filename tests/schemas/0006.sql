BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'sipagent','0001_receipts_recordings_accesses','2026-01-05 08:00:00.000000+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'sipagent','0002_chain_holds_notes_clock','2026-11-25 14:10:22.729238+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'sipagent','0003_in_progress','2026-11-27 06:20:42.555286+00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'sipagent','0004_sums','2026-11-27 10:05:12.104233+00:00');
INSERT INTO "_sqlite_migrations" VALUES(5,'sipagent','0005_logins','2026-11-28 02:41:20.684661+00:00');
INSERT INTO "_sqlite_migrations" VALUES(6,'sipagent','0006_objects','2026-11-30 05:06:47.930843+00:00');
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
, "salt" TEXT, "chain_seq" INTEGER, "login" TEXT, "via" TEXT);
INSERT INTO "accesses" VALUES(1,'2026-11-24T22:20:00.123Z','play','20261124T222000123-00000e','quality','A. Roux','root',NULL,'done',NULL,'1ce575ca69c88a859e4870740c03b610',19,NULL,NULL);
INSERT INTO "accesses" VALUES(2,'2026-11-24T22:21:00.123Z','export','20261124T222000123-00000e','access_request','A. Roux','root','2026-118','done','both to /home/roux/call.wav','b70d128b71a5c6b06885804f0c5d14fe',20,NULL,NULL);
INSERT INTO "accesses" VALUES(3,'2026-11-24T22:22:00.123Z','export','20260128T222000123-000007','curiosity','A. Roux',NULL,NULL,'refused','it is already purged','f68c7ec828dcd02924080e21eaf7cf87',21,NULL,NULL);
INSERT INTO "accesses" VALUES(4,'2026-11-24T22:23:00.123Z','rebuild',NULL,NULL,NULL,'root',NULL,'done',NULL,'937ab24ba5f0cb7ecc9361d8505dd694',22,NULL,NULL);
INSERT INTO "accesses" VALUES(5,'2026-11-24T22:25:00.123Z','hold','20261124T222200123-000017',NULL,'A. Roux','root','2026/7','refused','ground ''other'' is not listed; accepted: criminal','5dadf7be1af049313ca876359997dcf9',25,NULL,NULL);
INSERT INTO "accesses" VALUES(6,'2026-11-24T22:50:00.123Z','play','20261124T222000123-00000e','quality','A. Roux',NULL,NULL,'done',NULL,'dc9e3f6fa6932f3f19915199595b3989',26,'a.roux','web');
INSERT INTO "accesses" VALUES(7,'2026-11-24T22:51:00.123Z','hold','20261124T222000123-00000e',NULL,'A. Roux',NULL,'2026/9','refused','a second person must agree','bd093876edee3fbfc37c93bcf2a61a9c',27,'a.roux','web');
INSERT INTO "accesses" VALUES(8,'2026-11-24T22:20:00.123Z','play','20261124T222700123-948233','quality','A',NULL,NULL,'done',NULL,'63ed55c94054607251d4cd90c749572b',32,'Claire','web');
CREATE TABLE "approvals" (
   "id" INTEGER PRIMARY KEY,
   "at" TEXT NOT NULL,
   "action" TEXT NOT NULL,
   "recording_id" TEXT NOT NULL,
   "by" TEXT,
   "ground" TEXT,
   "reference" TEXT,
   "review" TEXT,
   "purpose" TEXT,
   "channel" TEXT,
   "reason" TEXT,
   "state" TEXT NOT NULL,
   "decided_at" TEXT,
   "decided_by" TEXT,
   "answer" TEXT,
   "salt" TEXT,
   "chain_seq" INTEGER
);
INSERT INTO "approvals" VALUES(1,'2026-11-24T22:52:00.123Z','hold','20261124T222000123-00000e','a.roux','criminal','2026/9','2027-01-01',NULL,NULL,'A. Roux asks for it','pending',NULL,NULL,NULL,'039a56a674c10535a560d1382d3b36a0',28);
INSERT INTO "approvals" VALUES(2,'2026-11-24T22:53:00.123Z','release','20261124T222200123-000017','b.petit',NULL,NULL,NULL,NULL,NULL,'B. Petit: nothing came of it','pending',NULL,NULL,NULL,'a51b2d920988ed089091c8a7521fe094',29);
INSERT INTO "approvals" VALUES(3,'2026-11-24T22:54:00.123Z','export','20261124T222000123-00000e','a.roux',NULL,'2026/9',NULL,'criminal','both',NULL,'pending',NULL,NULL,NULL,'29ce8b9d7fdf5eddbc46a7ddd3221d8b',30);
CREATE TABLE "chain" (
   "seq" INTEGER PRIMARY KEY,
   "at" TEXT NOT NULL,
   "kind" TEXT NOT NULL,
   "subject" TEXT NOT NULL,
   "was" INTEGER NOT NULL,
   "personal" TEXT NOT NULL,
   "public" TEXT NOT NULL,
   "hash" TEXT NOT NULL
);
INSERT INTO "chain" VALUES(1,'2026-11-25T22:20:00.123Z','segment','a new database',0,'','{"previous":null,"reason":"a new database"}','27bc90988b0075df39f95fdff7c299b54951dbcb649e335a09a74ff8991080a9');
INSERT INTO "chain" VALUES(2,'2026-11-25T22:20:00.123Z','receipt','20260128T222000123-000007',0,'','{"answered_at":null,"called":"+33323063006","confidence":null,"connected_at":null,"decided_at":null,"decided_by":"silence","decision":"allowed","dtmf_method":null,"ended_at":"2026-01-28T22:24:00.123Z","expires_at":null,"id":"20260128T222000123-000007","notice_played_ms":null,"outcome":"connected","phase":null,"recording_id":"20260128T222000123-000007","started_at":"2026-01-28T22:20:00.123Z"}','679fbe1977125df26da079d372ec4fc6317dc53ef4c688ee32a12c674b2aa3c6');
INSERT INTO "chain" VALUES(3,'2026-11-25T22:20:00.123Z','receipt','20261124T222000123-00000e',0,'b18a6b507ee43078f0f56b38bd3fa00fe9b34ceefd935eec1d8149090774de78','{"answered_at":null,"called":"+33323063006","confidence":null,"connected_at":null,"decided_at":null,"decided_by":"silence","decision":"allowed","dtmf_method":null,"ended_at":"2026-11-24T22:24:00.123Z","expires_at":null,"id":"20261124T222000123-00000e","notice_played_ms":null,"outcome":"connected","phase":null,"recording_id":"20261124T222000123-00000e","started_at":"2026-11-24T22:20:00.123Z"}','51f7d5823c25d45bef539eb03a7ba48d688cac032871cc78bd4a8d3ab04079f0');
INSERT INTO "chain" VALUES(4,'2026-11-25T22:20:00.123Z','receipt','20261124T222100123-000012',0,'11274c9c12e039ba8bdc27b85d8bebba87359602535ce1746532731581ca5635','{"answered_at":null,"called":"+33323063006","confidence":null,"connected_at":null,"decided_at":null,"decided_by":"silence","decision":"allowed","dtmf_method":null,"ended_at":"2026-11-24T22:25:00.123Z","expires_at":null,"id":"20261124T222100123-000012","notice_played_ms":null,"outcome":"connected","phase":null,"recording_id":"20261124T222100123-000012","started_at":"2026-11-24T22:21:00.123Z"}','3b3cdc7742dcd4271bbf25c0ce6c04a444f25e4adca73b38c14b355ce3e53215');
INSERT INTO "chain" VALUES(5,'2026-11-25T22:20:00.123Z','receipt','20261124T222200123-000017',0,'a8c0ff4f48bbd6b750f6c7bb15eff135ca4261e29386f72546cc6686fa30508d','{"answered_at":null,"called":"+33323063006","confidence":null,"connected_at":null,"decided_at":null,"decided_by":"silence","decision":"allowed","dtmf_method":null,"ended_at":"2026-11-24T22:26:00.123Z","expires_at":null,"id":"20261124T222200123-000017","notice_played_ms":null,"outcome":"connected","phase":null,"recording_id":"20261124T222200123-000017","started_at":"2026-11-24T22:22:00.123Z"}','5d57d3bc994bc7f78dffb40ad18c5505212ffd2990a84de430de9c46eccb986c');
INSERT INTO "chain" VALUES(6,'2026-11-25T22:20:00.123Z','receipt','20261124T222300123-00001c',0,'ff21e6a4febc279e423e3478d063bd314567ac7bfd6b46b31797d82e7709efed','{"answered_at":null,"called":"+33323063006","confidence":null,"connected_at":null,"decided_at":null,"decided_by":null,"decision":"undecided","dtmf_method":null,"ended_at":null,"expires_at":null,"id":"20261124T222300123-00001c","notice_played_ms":null,"outcome":null,"phase":null,"recording_id":"20261124T222300123-00001c","started_at":"2026-11-24T22:23:00.123Z"}','7a2e5ae886d8843e389f3a879460ce54257673128ef8efe8aa069d62c8c49734');
INSERT INTO "chain" VALUES(7,'2026-11-25T22:20:00.123Z','receipt','20261124T222400123-00001f',0,'3c6b477464a1878c0619696b212b76ebdc2bc5f15dfdd481451c61fa9ac1b5d4','{"answered_at":null,"called":"+33323063006","confidence":0.5,"connected_at":null,"decided_at":null,"decided_by":"dtmf","decision":"refused","dtmf_method":"rfc4733","ended_at":"2026-11-24T22:28:00.123Z","expires_at":null,"id":"20261124T222400123-00001f","notice_played_ms":12000,"outcome":"connected","phase":"window","recording_id":"20261124T222400123-00001f","started_at":"2026-11-24T22:24:00.123Z"}','aa10e955ad700992660405b401bb8b502538c7d2279fa6e51d4f861cf85b41b7');
INSERT INTO "chain" VALUES(8,'2026-11-25T22:20:00.123Z','receipt','20261124T222500123-000023',0,'62123a964ab13ce33adaf8b6f3161860c9f6ea1d9b112181a9e2bded624d5c62','{"answered_at":null,"called":"+33323063006","confidence":0.5,"connected_at":null,"decided_at":null,"decided_by":"dtmf","decision":"allowed","dtmf_method":"rfc4733","ended_at":"2026-11-24T22:29:00.123Z","expires_at":null,"id":"20261124T222500123-000023","notice_played_ms":12000,"outcome":"connected","phase":"window","recording_id":"20261124T222500123-000023","started_at":"2026-11-24T22:25:00.123Z"}','144f66658d7ed999d07a4d5b5c86762cf1fe218aea54c390f75024e88fe710d0');
INSERT INTO "chain" VALUES(9,'2026-11-25T22:20:00.123Z','receipt','20261124T222600123-000027',0,'fa7ded6c5fa59b331d0bac55a67bdac8741a1be188bc3f8999801a878a91ccf7','{"answered_at":null,"called":"+33323063006","confidence":null,"connected_at":null,"decided_at":null,"decided_by":"silence","decision":"allowed","dtmf_method":null,"ended_at":"2026-11-24T22:30:00.123Z","expires_at":null,"id":"20261124T222600123-000027","notice_played_ms":null,"outcome":"connected","phase":null,"recording_id":"20261124T222600123-000027","started_at":"2026-11-24T22:26:00.123Z"}','dd669f389a35288c5793b2ccbffcefb97d3fb9870b80ee5b891946aff49d2827');
INSERT INTO "chain" VALUES(10,'2026-11-25T22:20:00.123Z','receipt','20261124T222700123-00002c',0,'','{"answered_at":null,"called":"+33323063006","confidence":null,"connected_at":null,"decided_at":null,"decided_by":"silence","decision":"allowed","dtmf_method":null,"ended_at":"2026-11-24T22:31:00.123Z","expires_at":null,"id":"20261124T222700123-00002c","notice_played_ms":null,"outcome":"abandoned","phase":null,"recording_id":null,"started_at":"2026-11-24T22:27:00.123Z"}','a5b411805b391d2d4d29df8e7bb6aabbc9ff73b7dda3b42ec198881a639c9c5e');
INSERT INTO "chain" VALUES(11,'2026-11-25T22:20:00.123Z','recording','20260128T222000123-000007',0,'','{"bytes":16,"called":"+33323063006","channels":2,"decision":"allowed","duration_s":null,"ended_at":null,"expires_at":"2026-07-28T22:20:00.123Z","flagged":false,"hold":null,"id":"20260128T222000123-000007","incomplete":false,"notice":{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"},"path":null,"pauses":[{"from_s":3.5,"to_s":8.0}],"purged_at":"2026-11-24T22:20:00.123Z","sample_rate":8000,"sha256":"fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2","started_at":"2026-01-28T22:20:00.123Z","status":"purged"}','88fbf01506a794385914dfb35fdae82a6e4c8fe6bb21c7b50bf0bf11c9c01f40');
INSERT INTO "chain" VALUES(12,'2026-11-25T22:20:00.123Z','recording','20261124T222000123-00000e',0,'46e4f27c5f742a63de9838e54321b9c9f9903fba5face1bb5db158352fe68cb1','{"bytes":16,"called":"+33323063006","channels":2,"decision":"allowed","duration_s":171.2,"ended_at":"2026-11-24T22:24:00.123Z","expires_at":"2027-05-24T22:20:00.123Z","flagged":false,"hold":null,"id":"20261124T222000123-00000e","incomplete":false,"notice":{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"},"path":"recordings/20261124T222000123-00000e.flac","pauses":[{"from_s":3.5,"to_s":8.0}],"purged_at":null,"sample_rate":8000,"sha256":"fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2","started_at":"2026-11-24T22:20:00.123Z","status":"closed"}','76b10bcce36da1c48932bc0cf31cbf09835a284098090ffbc48edc61b13b41ef');
INSERT INTO "chain" VALUES(13,'2026-11-25T22:20:00.123Z','recording','20261124T222100123-000012',0,'dad199b0b171ca141bd4af18480cd9e82cd3ef6a2f8a44a81507ed8b86b24084','{"bytes":16,"called":"+33323063006","channels":2,"decision":"allowed","duration_s":12.0,"ended_at":null,"expires_at":"2027-05-24T22:21:00.123Z","flagged":true,"hold":{"ground":"criminal","review":"2027-01-01"},"id":"20261124T222100123-000012","incomplete":false,"notice":{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"},"path":"recordings/20261124T222100123-000012.flac","pauses":[{"from_s":3.5,"to_s":8.0}],"purged_at":null,"sample_rate":8000,"sha256":"fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2","started_at":"2026-11-24T22:21:00.123Z","status":"closed"}','b8fa3be747ee873470e3b690ac12ee1be85b92c60662a92855162fb7cb5df42d');
INSERT INTO "chain" VALUES(14,'2026-11-25T22:20:00.123Z','recording','20261124T222200123-000017',0,'8bbc307651782e533aab9602837f7449aaf6fad16b5b390c87d79597aa70e7ce','{"bytes":16,"called":"+33323063006","channels":2,"decision":"allowed","duration_s":null,"ended_at":null,"expires_at":"2027-05-24T22:22:00.123Z","flagged":false,"hold":{"ground":"disciplinary","review":null},"id":"20261124T222200123-000017","incomplete":false,"notice":{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"},"path":"recordings/20261124T222200123-000017.flac","pauses":[{"from_s":3.5,"to_s":8.0}],"purged_at":null,"sample_rate":8000,"sha256":"fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2","started_at":"2026-11-24T22:22:00.123Z","status":"closed"}','db614b104a25b20387a44eb8b6e0ec528a7f84ddf1a06714496c12cb97637d8a');
INSERT INTO "chain" VALUES(15,'2026-11-25T22:20:00.123Z','recording','20261124T222300123-00001c',0,'f1add4e95d2730a4dd9040c09ff174039c3879fd71df36ba46d6549d85509bab','{"bytes":null,"called":"+33323063006","channels":2,"decision":"allowed","duration_s":null,"ended_at":null,"expires_at":"2027-05-24T22:23:00.123Z","flagged":false,"hold":null,"id":"20261124T222300123-00001c","incomplete":false,"notice":{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"},"path":null,"pauses":[{"from_s":3.5,"to_s":8.0}],"purged_at":null,"sample_rate":8000,"sha256":null,"started_at":"2026-11-24T22:23:00.123Z","status":"open"}','f126af55ec6e9a3263385ed13e87d34d953d1dae3b6123da5e27b6cba84a936b');
INSERT INTO "chain" VALUES(16,'2026-11-25T22:20:00.123Z','recording','20261124T222400123-00001f',0,'df3660ece1e7af2e92f944e9e7af0aaabad96de63ebc14b563275439b492d9bc','{"bytes":null,"called":"+33323063006","channels":2,"decision":"allowed","duration_s":null,"ended_at":"2026-11-24T22:24:00.123Z","expires_at":"2027-05-24T22:24:00.123Z","flagged":false,"hold":null,"id":"20261124T222400123-00001f","incomplete":false,"notice":{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"},"path":null,"pauses":[{"from_s":3.5,"to_s":8.0}],"purged_at":null,"sample_rate":8000,"sha256":null,"started_at":"2026-11-24T22:24:00.123Z","status":"erased"}','b3e04d58471988ca1c17ff8c4527c89c1b31bf9d271634ff8c03790033804c51');
INSERT INTO "chain" VALUES(17,'2026-11-25T22:20:00.123Z','recording','20261124T222500123-000023',0,'cf221538faf4e0d2436001bc541a6a31f78f46b79c0df16dcbca5d0c068f0020','{"bytes":null,"called":"+33323063006","channels":2,"decision":"allowed","duration_s":null,"ended_at":"2026-11-24T22:25:00.123Z","expires_at":"2027-05-24T22:25:00.123Z","flagged":false,"hold":null,"id":"20261124T222500123-000023","incomplete":false,"notice":{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"},"path":null,"pauses":[{"from_s":3.5,"to_s":8.0}],"purged_at":null,"sample_rate":8000,"sha256":null,"started_at":"2026-11-24T22:25:00.123Z","status":"failed"}','0f9a30766e9a31c5d4d0a02939970729693f703b0b2bebcb4562a950beecff89');
INSERT INTO "chain" VALUES(18,'2026-11-25T22:20:00.123Z','recording','20261124T222600123-000027',0,'c92b653d24fa6b6bf12c6588362ad0b59862fc86953841be87f7bbc09170c177','{"bytes":16,"called":"+33323063006","channels":2,"decision":"allowed","duration_s":null,"ended_at":null,"expires_at":"2027-05-24T22:26:00.123Z","flagged":false,"hold":null,"id":"20261124T222600123-000027","incomplete":false,"notice":{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"},"path":"recordings/20261124T222600123-000027.flac","pauses":[{"from_s":3.5,"to_s":8.0}],"purged_at":null,"sample_rate":8000,"sha256":"fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2","started_at":"2026-11-24T22:26:00.123Z","status":"purging"}','a3d7d1734623215f2b2acd8e64a78784bbd27ffe089aac70bf7afae851442460');
INSERT INTO "chain" VALUES(19,'2026-11-25T22:20:00.123Z','access','1',0,'231e69191cec7928d908bae6fdde90876eb928914ad8299b5c047647aabccde1','{"action":"play","at":"2026-11-24T22:20:00.123Z","outcome":"done","purpose":"quality","recording_id":"20261124T222000123-00000e"}','252f0bfc74aa1f9bc86acb8fabf3bececb001880250f8ed8b9c78fbae5eab704');
INSERT INTO "chain" VALUES(20,'2026-11-25T22:20:00.123Z','access','2',0,'f7c6947830b127de6bbe052e9ef18821347b85ce2eb676ab5a2e050098467988','{"action":"export","at":"2026-11-24T22:21:00.123Z","outcome":"done","purpose":"access_request","recording_id":"20261124T222000123-00000e"}','861c714fb7ca906d17c3182883dba20e172199c3db2979469bface8efc6c373b');
INSERT INTO "chain" VALUES(21,'2026-11-25T22:20:00.123Z','access','3',0,'0f74faa6135d7d55970280a3a7077e2f5915a2a4d5d4bb9ad5c0846c8d401f09','{"action":"export","at":"2026-11-24T22:22:00.123Z","outcome":"refused","purpose":"curiosity","recording_id":"20260128T222000123-000007"}','ead9fcb4206b4a0e15ab5c3ce819e07396d4461318ea6bd4148505332fc4600d');
INSERT INTO "chain" VALUES(22,'2026-11-25T22:20:00.123Z','access','4',0,'593efc461dd907eb3c3622c258d33e168b43694f0623f440809d9c93d7a331df','{"action":"rebuild","at":"2026-11-24T22:23:00.123Z","outcome":"done","purpose":null,"recording_id":null}','8fce466a5f5092ede4d8ff1fee8ae15616b55b4e016f4e42803595b91ac7f13c');
INSERT INTO "chain" VALUES(23,'2026-11-25T22:20:00.123Z','note','1',0,'9ed5cdfe4a5e12ed7e8e3960decf33f7b99662c23827c9ce96a2b1b71f321ed8','{"at":"2026-11-24T22:20:00.123Z","expires_at":"2027-11-24T22:20:00.123Z","recording_id":"20261124T222600123-000027"}','83c608533a303d9a4651dc4757e6a26363da9800e95e57973d287c253aed6344');
INSERT INTO "chain" VALUES(24,'2026-11-25T22:20:00.123Z','sum','1',0,'','{"by":"edge: full","code":503,"count":41,"from_at":"2026-11-24T22:20:00.123Z","until_at":"2026-11-24T22:20:00.123Z","what":"rejected"}','ae4d08363181df6bc6df329bbaed14880bdb70543aa8d9126c015bf56e2df117');
INSERT INTO "chain" VALUES(25,'2026-11-25T22:20:00.123Z','access','5',0,'f523990cdb3b3bf12d1cdafa1e66808e0784a791bb1dca2488f907fad59c5ed5','{"action":"hold","at":"2026-11-24T22:25:00.123Z","outcome":"refused","purpose":null,"recording_id":"20261124T222200123-000017"}','88421bf77a26a3fe2172a4e333689a6db3a5bbbaf62be8af037e0b880e9ffddd');
INSERT INTO "chain" VALUES(26,'2026-11-28T02:41:20.689Z','access','6',0,'a0404f7895ea8a7c5a1ddbf8e481e0d1e7a87f8f284ff77de1c08d323a15a195','{"action":"play","at":"2026-11-24T22:50:00.123Z","outcome":"done","purpose":"quality","recording_id":"20261124T222000123-00000e","via":"web"}','2a66989d7803de03fc6b3d81af32f1c1ba432b8e6805940dd19f666d92ded016');
INSERT INTO "chain" VALUES(27,'2026-11-28T02:41:20.691Z','access','7',0,'7fdc487f0c27a32612be219af21fbd68690e11e2f2dfb29864e9f32d747adcd1','{"action":"hold","at":"2026-11-24T22:51:00.123Z","outcome":"refused","purpose":null,"recording_id":"20261124T222000123-00000e","via":"web"}','5e9d16564ba05be2fbcdcac0075983c5957363ed10091c730e73c1f9b2536346');
INSERT INTO "chain" VALUES(28,'2026-11-28T02:41:20.695Z','approval','1',0,'a2364c0c0d51bfae4e1075502d1969d15bfc818fa2fe6c9477bca5364dc4e6f4','{"action":"hold","at":"2026-11-24T22:52:00.123Z","channel":null,"decided_at":null,"ground":"criminal","purpose":null,"recording_id":"20261124T222000123-00000e","review":"2027-01-01","state":"pending"}','84287edf55b210413f1998e21329cfbd8699f0dd9225f299faab8bca9bea1f00');
INSERT INTO "chain" VALUES(29,'2026-11-28T02:41:20.696Z','approval','2',0,'7229775a324934419e5980a50a9d8ed1ae8fe355e5aad6779f239c92febc1aa1','{"action":"release","at":"2026-11-24T22:53:00.123Z","channel":null,"decided_at":null,"ground":null,"purpose":null,"recording_id":"20261124T222200123-000017","review":null,"state":"pending"}','f4103bec6b2376e20c1d13a6b9cf6860bf0d0a1375542bcf677862361001bbdb');
INSERT INTO "chain" VALUES(30,'2026-11-28T02:41:20.699Z','approval','3',0,'90db089d76a3ee3f0ef9580e886e92462e9c6c90a317236f276939cc64465e49','{"action":"export","at":"2026-11-24T22:54:00.123Z","channel":"both","decided_at":null,"ground":null,"purpose":"criminal","recording_id":"20261124T222000123-00000e","review":null,"state":"pending"}','aa23615cea2a6425bc360d762d014e538b8e5a69e764448e0230d49a7a3b967d');
INSERT INTO "chain" VALUES(31,'2026-11-30T05:06:47.965Z','receipt','20261124T222700123-948233',0,'3db730b5947d7159c13337a520bfe1953d54a02309fa68fa512bf461ab0df424','{"answered_at":null,"called":"+33323063006","confidence":null,"connected_at":null,"decided_at":null,"decided_by":"silence","decision":"allowed","dtmf_method":null,"ended_at":"2026-11-24T22:31:00.123Z","expires_at":null,"id":"20261124T222700123-948233","notice_played_ms":null,"outcome":"connected","phase":null,"recording_id":"20261124T222700123-948233","started_at":"2026-11-24T22:27:00.123Z"}','44aa09ead1e68eb08fc398d21ac11c9a7587ca6bc09accb288e74be1ad27bf16');
INSERT INTO "chain" VALUES(32,'2026-11-30T05:06:47.992Z','access','8',0,'1a67d8695a51ccc0e05e1bd5253f2052a792a0bb2c5e2d9352fa61d3844e2fc1','{"action":"play","at":"2026-11-24T22:20:00.123Z","outcome":"done","purpose":"quality","recording_id":"20261124T222700123-948233","via":"web"}','5d8998a7451543b18f6d8cc0b043875bffefd0658c7885cfb53cbcbce615aff4');
CREATE TABLE "clock" (
   "id" INTEGER PRIMARY KEY,
   "seen" TEXT,
   "suspended" TEXT
);
CREATE TABLE "in_progress" (
   "id" TEXT PRIMARY KEY NOT NULL,
   "worker" INTEGER NOT NULL
);
INSERT INTO "in_progress" VALUES('20261124T222300123-00001c',3);
CREATE TABLE "notes" (
   "id" INTEGER PRIMARY KEY,
   "recording_id" TEXT NOT NULL,
   "at" TEXT NOT NULL,
   "by" TEXT,
   "text" TEXT,
   "expires_at" TEXT NOT NULL
, "salt" TEXT, "chain_seq" INTEGER);
INSERT INTO "notes" VALUES(1,'20261124T222600123-000027','2026-11-24T22:20:00.123Z','A. Roux','a good call','2027-11-24T22:20:00.123Z','38daa76130f69d0b73dbca3d01ded0ca',23);
CREATE TABLE "objects" (
   "put" TEXT PRIMARY KEY,
   "name" TEXT NOT NULL,
   "id" TEXT NOT NULL,
   "kind" TEXT NOT NULL,
   "version" TEXT,
   "bytes" INTEGER NOT NULL,
   "sha256" TEXT,
   "state" TEXT NOT NULL,
   "held" INTEGER NOT NULL,
   "at" TEXT NOT NULL,
   "since" TEXT,
   "told" INTEGER NOT NULL
);
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
, "salt" TEXT, "chain_seq" INTEGER, "expires_at" TEXT);
INSERT INTO "receipts" VALUES('20260128T222000123-000007',NULL,'2026-01-28T22:20:00.123Z',NULL,NULL,'2026-01-28T22:24:00.123Z',NULL,'+33323063006',NULL,'connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20260128T222000123-000007',NULL,2,NULL);
INSERT INTO "receipts" VALUES('20261124T222000123-00000e','a84b4c76e66710@192.0.2.7','2026-11-24T22:20:00.123Z',NULL,NULL,'2026-11-24T22:24:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222000123-00000e','c1dfbe3b5533915b4649d0abf529962e',3,NULL);
INSERT INTO "receipts" VALUES('20261124T222100123-000012','a84b4c76e66710@192.0.2.7','2026-11-24T22:21:00.123Z',NULL,NULL,'2026-11-24T22:25:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222100123-000012','ee2440bcc9546e8ed401e1d3a1ba15cc',4,NULL);
INSERT INTO "receipts" VALUES('20261124T222200123-000017','a84b4c76e66710@192.0.2.7','2026-11-24T22:22:00.123Z',NULL,NULL,'2026-11-24T22:26:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222200123-000017','d49f1bb36811da555c89c229a4b685af',5,NULL);
INSERT INTO "receipts" VALUES('20261124T222300123-00001c','a84b4c76e66710@192.0.2.7','2026-11-24T22:23:00.123Z',NULL,NULL,NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net',NULL,'undecided',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222300123-00001c','24aa07fa38b7b508d1c72d01dbd8d58c',6,NULL);
INSERT INTO "receipts" VALUES('20261124T222400123-00001f','a84b4c76e66710@192.0.2.7','2026-11-24T22:24:00.123Z',NULL,NULL,'2026-11-24T22:28:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','refused','dtmf',NULL,'window','rfc4733',NULL,0.5,12000,'[{"at":"2026-11-24T22:20:00.123Z","what":"« je refuse »","by":"caller"}]','20261124T222400123-00001f','37ed036052e0e881f655d7613cc90ca7',7,NULL);
INSERT INTO "receipts" VALUES('20261124T222500123-000023','a84b4c76e66710@192.0.2.7','2026-11-24T22:25:00.123Z',NULL,NULL,'2026-11-24T22:29:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','dtmf',NULL,'window','rfc4733',NULL,0.5,12000,'[{"at":"2026-11-24T22:20:00.123Z","what":"« je refuse »","by":"caller"}]','20261124T222500123-000023','c6cd1d894b6460b38309a06bf1b41cae',8,NULL);
INSERT INTO "receipts" VALUES('20261124T222600123-000027','a84b4c76e66710@192.0.2.7','2026-11-24T22:26:00.123Z',NULL,NULL,'2026-11-24T22:30:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222600123-000027','a6566b7d0a0ed86e03a02d1b9112526b',9,NULL);
INSERT INTO "receipts" VALUES('20261124T222700123-00002c',NULL,'2026-11-24T22:27:00.123Z',NULL,NULL,'2026-11-24T22:31:00.123Z',NULL,'+33323063006',NULL,'abandoned','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,NULL,10,NULL);
INSERT INTO "receipts" VALUES('20261124T222700123-948233','a84b4c76e66710@192.0.2.7','2026-11-24T22:27:00.123Z',NULL,NULL,'2026-11-24T22:31:00.123Z','+33612345678','+33323063006','sip:marie.durand@pbx.example.net','connected','allowed','silence',NULL,NULL,NULL,NULL,NULL,NULL,'[]','20261124T222700123-948233','b432a648cfe51197000799097bf45137',31,NULL);
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
, "salt" TEXT, "chain_seq" INTEGER);
INSERT INTO "recordings" VALUES('20260128T222000123-000007',NULL,'2026-01-28T22:20:00.123Z',NULL,NULL,NULL,'+33323063006',NULL,'purged',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,NULL,16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',0,'2026-07-28T22:20:00.123Z',NULL,'2026-11-24T22:20:00.123Z',NULL,11);
INSERT INTO "recordings" VALUES('20261124T222000123-00000e','a84b4c76e66710@192.0.2.7','2026-11-24T22:20:00.123Z','2026-11-24T22:24:00.123Z',171.2,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','closed',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,'recordings/20261124T222000123-00000e.flac',16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:20:00.123Z',NULL,NULL,'f109bb12f8cda822228ce0a33c61f651',12);
INSERT INTO "recordings" VALUES('20261124T222100123-000012','a84b4c76e66710@192.0.2.7','2026-11-24T22:21:00.123Z',NULL,12.0,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','closed',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,'recordings/20261124T222100123-000012.flac',16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',1,'2027-05-24T22:21:00.123Z','{"ground":"criminal","reference":"2026/7","by":"A. Roux","approved_by":"B. Petit","review":"2027-01-01"}',NULL,'799ce9dd338dba72a28d0a10548d45e7',13);
INSERT INTO "recordings" VALUES('20261124T222200123-000017','a84b4c76e66710@192.0.2.7','2026-11-24T22:22:00.123Z',NULL,NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','closed',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,'recordings/20261124T222200123-000017.flac',16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:22:00.123Z','{"ground":"disciplinary"}',NULL,'48010e95f3b31563370432242cf1c8d4',14);
INSERT INTO "recordings" VALUES('20261124T222300123-00001c','a84b4c76e66710@192.0.2.7','2026-11-24T22:23:00.123Z',NULL,NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','open',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,NULL,NULL,NULL,'[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:23:00.123Z',NULL,NULL,'190b4f25104e97df1a477740bdd07869',15);
INSERT INTO "recordings" VALUES('20261124T222400123-00001f','a84b4c76e66710@192.0.2.7','2026-11-24T22:24:00.123Z','2026-11-24T22:24:00.123Z',NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','erased',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,NULL,NULL,NULL,'[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:24:00.123Z',NULL,NULL,'cf74503a071b3bddaf9b0d35025d77e2',16);
INSERT INTO "recordings" VALUES('20261124T222500123-000023','a84b4c76e66710@192.0.2.7','2026-11-24T22:25:00.123Z','2026-11-24T22:25:00.123Z',NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','failed',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,NULL,NULL,NULL,'[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:25:00.123Z',NULL,NULL,'bc2ea76040ad7435707f04c04bb71f2a',17);
INSERT INTO "recordings" VALUES('20261124T222600123-000027','a84b4c76e66710@192.0.2.7','2026-11-24T22:26:00.123Z',NULL,NULL,'+33612345678','+33323063006','sip:marie.durand@pbx.example.net','purging',0,'allowed','{"file":"prompts/fr/notice.wav","sha256":"abababababababababababababababababababababababababababababababab"}',2,8000,'recordings/20261124T222600123-000027.flac',16,'fffe3343dbfb597f21f7227ff2c9aeebb46107b95de22047e2112dbe2d26cde2','[{"from_s":3.5,"to_s":8.0}]',0,'2027-05-24T22:26:00.123Z',NULL,NULL,'683a156814c815c8f1b3c3806c992dc6',18);
CREATE TABLE "rejected" (
   "id" INTEGER PRIMARY KEY,
   "hour" TEXT,
   "receipts" INTEGER
);
INSERT INTO "rejected" VALUES(1,'2026-11-24T22',1000);
CREATE TABLE "sums" (
   "id" INTEGER PRIMARY KEY,
   "what" TEXT NOT NULL,
   "count" INTEGER NOT NULL,
   "from_at" TEXT NOT NULL,
   "until_at" TEXT NOT NULL,
   "code" INTEGER,
   "by" TEXT,
   "salt" TEXT,
   "chain_seq" INTEGER
);
INSERT INTO "sums" VALUES(1,'rejected',41,'2026-11-24T22:20:00.123Z','2026-11-24T22:20:00.123Z',503,'edge: full',NULL,24);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX "idx_receipts_recording_id"
    ON "receipts" ("recording_id");
CREATE INDEX "idx_accesses_recording_id"
    ON "accesses" ("recording_id");
CREATE INDEX receipts_by_time ON receipts (started_at, id);
CREATE INDEX receipts_personal ON receipts (started_at, id) WHERE salt IS NOT NULL;
CREATE INDEX receipts_expiring ON receipts (expires_at, id) WHERE salt IS NOT NULL;
CREATE INDEX receipts_open ON receipts (started_at, id) WHERE ended_at IS NULL;
CREATE INDEX receipts_by_caller ON receipts (caller, started_at, id) WHERE caller IS NOT NULL;
CREATE INDEX recordings_by_time ON recordings (started_at, id);
CREATE INDEX recordings_kept ON recordings (started_at, id) WHERE purged_at IS NULL;
CREATE INDEX recordings_expiring ON recordings (expires_at, id) WHERE purged_at IS NULL;
CREATE INDEX recordings_held ON recordings (started_at, id) WHERE hold IS NOT NULL;
CREATE INDEX recordings_by_caller ON recordings (caller, started_at, id) WHERE caller IS NOT NULL;
CREATE INDEX notes_of_recordings ON notes (recording_id);
CREATE INDEX notes_personal ON notes (id) WHERE salt IS NOT NULL;
CREATE INDEX accesses_personal ON accesses (id) WHERE salt IS NOT NULL;
CREATE INDEX chain_firsts ON chain (kind) WHERE was = 0;
CREATE TRIGGER held_recordings_stay BEFORE UPDATE ON recordings
        WHEN OLD.hold IS NOT NULL AND (NEW.status <> OLD.status OR NEW.purged_at IS NOT NULL)
        AND NOT (NEW.status = 'erased' AND EXISTS (SELECT 1 FROM receipts WHERE id = OLD.id AND decision = 'refused'))
        BEGIN SELECT RAISE(ABORT, 'the recording is on hold'); END;
CREATE TRIGGER chain_grows BEFORE UPDATE ON chain BEGIN SELECT RAISE(ABORT, 'the chain only grows'); END;
CREATE TRIGGER receipts_stay BEFORE DELETE ON receipts BEGIN SELECT RAISE(ABORT, 'rows of receipts are never deleted'); END;
CREATE TRIGGER recordings_stay BEFORE DELETE ON recordings BEGIN SELECT RAISE(ABORT, 'rows of recordings are never deleted'); END;
CREATE TRIGGER accesses_stay BEFORE DELETE ON accesses BEGIN SELECT RAISE(ABORT, 'rows of accesses are never deleted'); END;
CREATE TRIGGER notes_stay BEFORE DELETE ON notes BEGIN SELECT RAISE(ABORT, 'rows of notes are never deleted'); END;
CREATE TRIGGER chain_stay BEFORE DELETE ON chain BEGIN SELECT RAISE(ABORT, 'rows of chain are never deleted'); END;
CREATE TRIGGER receipts_come_once BEFORE INSERT ON receipts WHEN EXISTS (SELECT 1 FROM receipts WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'rows of receipts are never replaced: this one is there'); END;
CREATE TRIGGER recordings_come_once BEFORE INSERT ON recordings WHEN EXISTS (SELECT 1 FROM recordings WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'rows of recordings are never replaced: this one is there'); END;
CREATE TRIGGER accesses_come_once BEFORE INSERT ON accesses WHEN EXISTS (SELECT 1 FROM accesses WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'rows of accesses are never replaced: this one is there'); END;
CREATE TRIGGER notes_come_once BEFORE INSERT ON notes WHEN EXISTS (SELECT 1 FROM notes WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'rows of notes are never replaced: this one is there'); END;
CREATE TRIGGER chain_come_once BEFORE INSERT ON chain WHEN EXISTS (SELECT 1 FROM chain WHERE seq = NEW.seq) BEGIN SELECT RAISE(ABORT, 'rows of chain are never replaced: this one is there'); END;
CREATE TRIGGER receipts_end_calls AFTER UPDATE ON receipts WHEN NEW.ended_at IS NOT NULL
        BEGIN DELETE FROM in_progress WHERE id = NEW.id AND NOT EXISTS
        (SELECT 1 FROM recordings WHERE id = NEW.id
        AND (status = 'open' OR (status = 'closed' AND NEW.decision = 'refused'))); END;
CREATE TRIGGER recordings_end_calls AFTER UPDATE ON recordings WHEN NEW.status <> 'open'
        BEGIN DELETE FROM in_progress WHERE id = NEW.id AND EXISTS
        (SELECT 1 FROM receipts WHERE id = NEW.id AND ended_at IS NOT NULL
        AND NOT (decision = 'refused' AND NEW.status = 'closed')); END;
CREATE TRIGGER sums_stay BEFORE DELETE ON sums BEGIN SELECT RAISE(ABORT, 'rows of sums are never deleted'); END;
CREATE TRIGGER sums_come_once BEFORE INSERT ON sums WHEN EXISTS (SELECT 1 FROM sums WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'rows of sums are never replaced: this one is there'); END;
CREATE INDEX recordings_by_status ON recordings (status, started_at, id);
CREATE INDEX recordings_flagged ON recordings (started_at, id) WHERE flagged = 1;
CREATE INDEX receipts_by_outcome ON receipts (outcome, started_at, id) WHERE outcome IS NOT NULL;
CREATE INDEX receipts_by_decision ON receipts (decision, started_at, id);
CREATE INDEX receipts_by_operator ON receipts (operator, started_at, id) WHERE operator IS NOT NULL;
CREATE INDEX receipts_by_reference ON receipts (substr(id, -7), started_at, id);
CREATE INDEX recordings_by_operator ON recordings (operator, started_at, id) WHERE operator IS NOT NULL;
CREATE INDEX recordings_by_reference ON recordings (substr(id, -7), started_at, id);
CREATE INDEX receipts_by_end ON receipts (substr(caller, -4), caller) WHERE caller IS NOT NULL;
CREATE INDEX recordings_by_end ON recordings (substr(caller, -4), caller) WHERE caller IS NOT NULL;
CREATE INDEX approvals_of_recordings ON approvals (recording_id);
CREATE INDEX approvals_pending ON approvals (id) WHERE state = 'pending';
CREATE INDEX approvals_personal ON approvals (id) WHERE salt IS NOT NULL;
CREATE TRIGGER approvals_stay BEFORE DELETE ON approvals BEGIN SELECT RAISE(ABORT, 'rows of approvals are never deleted'); END;
CREATE TRIGGER approvals_come_once BEFORE INSERT ON approvals WHEN EXISTS (SELECT 1 FROM approvals WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'rows of approvals are never replaced: this one is there'); END;
CREATE TRIGGER approvals_are_of_another BEFORE UPDATE ON approvals
        WHEN NEW.state IN ('approved', 'used') AND NEW.decided_by = NEW.by
        BEGIN SELECT RAISE(ABORT, 'nobody approves what they asked for'); END;
CREATE TRIGGER approvals_are_decided_once BEFORE UPDATE ON approvals
        WHEN OLD.state <> NEW.state AND OLD.state <> 'pending'
        AND NOT (OLD.state = 'approved' AND OLD.action = 'export' AND NEW.state = 'used')
        BEGIN SELECT RAISE(ABORT, 'this was decided already'); END;
CREATE TRIGGER approvals_are_asked_for BEFORE INSERT ON approvals WHEN NEW.state <> 'pending'
        BEGIN SELECT RAISE(ABORT, 'nothing is decided before it was asked for'); END;
CREATE INDEX objects_of_recordings ON objects (id);
CREATE INDEX objects_removing ON objects (since, id) WHERE state = 'removing';
CREATE INDEX objects_held ON objects (id, name) WHERE held = 1;
CREATE INDEX objects_untold ON objects (at) WHERE told = 0;
CREATE INDEX objects_by_name ON objects (name);
COMMIT;
