-- What version 2 of the schema wrote. Never edit it: add new ones.
CREATE TABLE meta (
    key  TEXT PRIMARY KEY,
    rev  INTEGER NOT NULL,
    sum  INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE changelog (
    rev     INTEGER PRIMARY KEY,
    key     TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE VIEW readable AS
    SELECT replace(key, char(31), '/') AS key, rev, CAST(body AS TEXT) AS body FROM meta;
INSERT INTO meta VALUES ('fn' || char(31) || 'thumbs', 2, 6687700830123445753, x'7b22666f726d6174223a317d');
INSERT INTO changelog VALUES (1, 'fn' || char(31) || 'thumbs', 0, 1795000000000);
INSERT INTO changelog VALUES (2, 'fn' || char(31) || 'thumbs', 0, 1795000000001);
PRAGMA user_version = 2;
CREATE TABLE queue (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE message (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    queue   INTEGER NOT NULL,
    due     INTEGER NOT NULL,
    leased  INTEGER NOT NULL,
    leases  INTEGER NOT NULL,
    name    TEXT NOT NULL,
    sent    INTEGER NOT NULL,
    first   INTEGER,
    expires INTEGER,
    grp     TEXT,
    size    INTEGER NOT NULL,
    sum     INTEGER NOT NULL,
    state   BLOB NOT NULL
) STRICT;
CREATE INDEX message_due ON message (queue, due);
CREATE INDEX message_group ON message (queue, grp, id) WHERE grp IS NOT NULL;
CREATE INDEX message_order ON message (queue, id) WHERE grp IS NOT NULL;
CREATE INDEX message_held ON message (queue, grp) WHERE leased = 1 AND grp IS NOT NULL;
CREATE INDEX message_expires ON message (expires) WHERE expires IS NOT NULL;
CREATE TABLE message_body (
    id   INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE dedup (
    queue INTEGER NOT NULL,
    dedup TEXT NOT NULL,
    until INTEGER NOT NULL,
    id    INTEGER NOT NULL,
    name  TEXT NOT NULL,
    PRIMARY KEY (queue, dedup)
) STRICT, WITHOUT ROWID;
CREATE INDEX dedup_until ON dedup (until);
CREATE TABLE lease (
    name  TEXT PRIMARY KEY,
    owner TEXT,
    epoch INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;
CREATE TABLE shard (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    next INTEGER NOT NULL
) STRICT;
CREATE TABLE stream (
    shard INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    sum   INTEGER NOT NULL,
    body  BLOB NOT NULL,
    PRIMARY KEY (shard, seq)
) STRICT;
CREATE TABLE checkpoint (
    shard  TEXT NOT NULL,
    reader TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    state  BLOB NOT NULL,
    PRIMARY KEY (shard, reader)
) STRICT, WITHOUT ROWID;
INSERT INTO queue VALUES (1, 't' || char(31) || 'inbox');
INSERT INTO message VALUES (7, 1, 30000, 1, 2, 'one', 1000, 2000, NULL, 'g', 5, 9006767541361143480, x'7331');
INSERT INTO message_body VALUES (7, x'68656c6c6f');
INSERT INTO message VALUES (8, 1, 5000, 0, 0, 'two', 1000, NULL, 900000, NULL, 0, -1391034778085404474, x'');
INSERT INTO dedup VALUES (1, 'd', 300000, 8, 'two');
INSERT INTO lease VALUES ('t' || char(31) || 'lease', 'a', 4, 9000);
INSERT INTO shard VALUES (1, 't' || char(31) || 'shard', 6);
INSERT INTO checkpoint VALUES ('t' || char(31) || 'shard', 't' || char(31) || 'reader', 5, 3, x'7332');
