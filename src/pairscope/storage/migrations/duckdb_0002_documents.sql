-- Documents under one key, collection and key with a slash between: an index over two columns finds no row for a lookup,
-- and each would read the whole table.
CREATE TABLE document (path VARCHAR PRIMARY KEY, body BLOB NOT NULL);
INSERT INTO document SELECT collection || '/' || key, document FROM record;
DROP TABLE record;
