-- Files of the archive: a day of a symbol's ticks, seconds or minutes each. A file that is not here does not exist.
-- place is the address under which path lies for every process; day counts from 1970. version is the change that
-- entered the file: meta.archive numbers the newest change, meta.archive_gone the newest that took files out.
CREATE TABLE archive (
    kind text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    day integer NOT NULL,
    place text NOT NULL,
    path text NOT NULL,
    rows bigint NOT NULL,
    first_ns bigint NOT NULL,
    last_ns bigint NOT NULL,
    first_recv_ns bigint NOT NULL,
    last_recv_ns bigint NOT NULL,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (symbol, kind, day)
);
CREATE INDEX archive_version ON archive (version);
CREATE INDEX archive_day ON archive (day);

-- Files that may lie in an archive without being part of it: announced before they are placed, or to be removed. A file
-- that is doomed is about to be removed, and can become part of the archive no more.
CREATE TABLE archive_litter (
    place text NOT NULL,
    path text NOT NULL,
    noted timestamptz NOT NULL DEFAULT clock_timestamp(),
    doomed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (place, path)
);
INSERT INTO meta VALUES ('archive', 0), ('archive_gone', 0);
