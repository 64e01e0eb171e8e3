-- What sqlite3 .dump says of a database of Marquee 0.1, before there were migrations.
BEGIN TRANSACTION;
CREATE TABLE alias_changes (
	id INTEGER NOT NULL, 
	alias VARCHAR(64) NOT NULL, 
	previous VARCHAR(64), 
	version VARCHAR(64) NOT NULL, 
	set_at_ms BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "alias_changes" VALUES(1,'champion',NULL,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',6,'first');
CREATE TABLE model_aliases (
	alias VARCHAR(64) NOT NULL, 
	version VARCHAR(64) NOT NULL, 
	set_at_ms BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (alias), 
	FOREIGN KEY(version) REFERENCES model_versions (version)
);
INSERT INTO "model_aliases" VALUES('champion','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',6,'first');
CREATE TABLE model_versions (
	version VARCHAR(64) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	run VARCHAR(256) NOT NULL, 
	dataset VARCHAR(64) NOT NULL, 
	metrics JSON NOT NULL, 
	registered_at_ms BIGINT NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "model_versions" VALUES('bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','n','Flow/7','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','{"ndcg@10": 0.1}',5);
CREATE TABLE replays (
	address VARCHAR(64) NOT NULL, 
	progress BLOB NOT NULL, 
	PRIMARY KEY (address)
);
INSERT INTO "replays" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',X'7B22617070656E646564223A372C2265706F6368223A312C226F666673657473223A5B332C345D2C2273686966745F6D73223A307D');
CREATE TABLE titles (
	item_id VARCHAR(128) NOT NULL, 
	title TEXT NOT NULL, 
	year INTEGER NOT NULL, 
	genres TEXT NOT NULL, 
	duration_s INTEGER NOT NULL, 
	live_from_ms BIGINT NOT NULL, 
	PRIMARY KEY (item_id)
);
INSERT INTO "titles" VALUES('t1','Amélie',2001,'Comedy|Romance',7320,1700000001000);
CREATE INDEX ix_titles_live_from_ms ON titles (live_from_ms);
COMMIT;
