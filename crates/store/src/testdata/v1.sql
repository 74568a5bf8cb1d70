-- What version 1 of the schema wrote. Never edit it: add new ones.
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
PRAGMA user_version = 1;
