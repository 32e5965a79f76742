-- Files of the archive: a day of a symbol's ticks, seconds or minutes each. A file that is not here does not exist.
-- place is empty for the archive beside the store's file, else the address under which path lies; day counts from 1970.
CREATE TABLE archive (
    kind VARCHAR NOT NULL,
    symbol_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    place VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    rows BIGINT NOT NULL,
    first_ns BIGINT NOT NULL,
    last_ns BIGINT NOT NULL,
    first_recv_ns BIGINT NOT NULL,
    last_recv_ns BIGINT NOT NULL,
    first_id BIGINT NOT NULL,
    last_id BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL
);

-- Files that may lie in an archive without being part of it: announced before they are placed, or to be removed.
CREATE TABLE archive_litter (place VARCHAR NOT NULL, path VARCHAR NOT NULL);
