-- Names of symbols; the place in the order of first sight is the id that the other tables use.
CREATE TABLE symbol (symbol_id INTEGER NOT NULL, name VARCHAR NOT NULL);

-- Trades in the order of their arrival, sorted by symbol within a flush. No key: the ledger keeps repeats out.
-- flush numbers the append that brought the row, watermark_ns is what that append knew: the rows are the ledger's log.
CREATE TABLE tick (
    symbol_id INTEGER NOT NULL,
    id BIGINT NOT NULL,
    ts_event_ns BIGINT NOT NULL,
    ts_recv_ns BIGINT NOT NULL,
    price DOUBLE NOT NULL,
    size DOUBLE NOT NULL,
    buyer_is_maker BOOLEAN NOT NULL,
    flush BIGINT NOT NULL,
    watermark_ns BIGINT NOT NULL
);

-- Closed base bars, one row a symbol and open time; one table a timeframe, so that minutes are not read among seconds.
CREATE TABLE bar_1s (
    symbol_id INTEGER NOT NULL,
    ts_open_ns BIGINT NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    volume DOUBLE NOT NULL,
    quote_volume DOUBLE NOT NULL,
    buy_volume DOUBLE NOT NULL,
    trades BIGINT NOT NULL,
    first_id BIGINT NOT NULL,
    last_id BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    origin TINYINT NOT NULL,
    flush BIGINT NOT NULL
);
CREATE TABLE bar_1m AS FROM bar_1s;

-- The ledger as it stood at meta.flush; what was appended later is read from the rows themselves.
CREATE TABLE continuity (
    symbol_id INTEGER NOT NULL,
    next_id BIGINT NOT NULL,
    first_ns BIGINT NOT NULL,
    last_ns BIGINT NOT NULL,
    tick_count BIGINT NOT NULL,
    oldest_1s_ns BIGINT NOT NULL,
    newest_1s_ns BIGINT NOT NULL,
    oldest_1m_ns BIGINT NOT NULL,
    newest_1m_ns BIGINT NOT NULL
);

-- Holes in the trade ids; ranges lists what is still missing, from and to in turn.
CREATE TABLE gap (
    symbol_id INTEGER NOT NULL,
    from_id BIGINT NOT NULL,
    to_id BIGINT NOT NULL,
    status VARCHAR NOT NULL,
    missing BIGINT NOT NULL,
    after_ns BIGINT NOT NULL,
    before_ns BIGINT NOT NULL,
    seen_ns BIGINT NOT NULL,
    ended_ns BIGINT NOT NULL,
    ranges VARCHAR NOT NULL,
    PRIMARY KEY (symbol_id, from_id)
);

CREATE TABLE record (
    collection VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (collection, key)
);

CREATE TABLE meta (key VARCHAR PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO meta VALUES ('flush', 0), ('watermark_ns', 0);

-- For people with a SQL prompt: symbols by name, times as times.
CREATE VIEW tick_data AS
SELECT t.id, s.name AS symbol, make_timestamp_ns(t.ts_event_ns) AS timestamp, t.price, t.size, t.buyer_is_maker,
    make_timestamp_ns(t.ts_recv_ns) AS received
FROM tick AS t JOIN symbol AS s USING (symbol_id);

CREATE VIEW resampled_data AS
SELECT s.name AS symbol, b.timeframe, make_timestamp_ns(b.ts_open_ns) AS timestamp, b.open, b.high, b.low, b.close,
    b.volume, b.quote_volume, b.buy_volume, b.trades, b.first_id, b.last_id, b.revision, b.origin
FROM (SELECT '1s' AS timeframe, * FROM bar_1s UNION ALL SELECT '1m' AS timeframe, * FROM bar_1m) AS b
JOIN symbol AS s USING (symbol_id);
