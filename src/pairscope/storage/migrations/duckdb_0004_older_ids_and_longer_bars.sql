-- Uploaded bars of longer timeframes, kept beside the base bars as they came.
CREATE TABLE bar_5s AS FROM bar_1s LIMIT 0;
CREATE TABLE bar_15s AS FROM bar_1s LIMIT 0;
CREATE TABLE bar_3m AS FROM bar_1s LIMIT 0;
CREATE TABLE bar_5m AS FROM bar_1s LIMIT 0;
CREATE TABLE bar_15m AS FROM bar_1s LIMIT 0;
CREATE TABLE bar_30m AS FROM bar_1s LIMIT 0;
CREATE TABLE bar_1h AS FROM bar_1s LIMIT 0;
CREATE TABLE bar_4h AS FROM bar_1s LIMIT 0;
CREATE TABLE bar_1d AS FROM bar_1s LIMIT 0;

CREATE OR REPLACE VIEW resampled_data AS
SELECT s.name AS symbol, b.timeframe, make_timestamp_ns(b.ts_open_ns) AS timestamp, b.open, b.high, b.low, b.close,
    b.volume, b.quote_volume, b.buy_volume, b.trades, b.first_id, b.last_id, b.revision, b.origin
FROM (
    SELECT '1s' AS timeframe, * FROM bar_1s
    UNION ALL SELECT '5s', * FROM bar_5s
    UNION ALL SELECT '15s', * FROM bar_15s
    UNION ALL SELECT '1m', * FROM bar_1m
    UNION ALL SELECT '3m', * FROM bar_3m
    UNION ALL SELECT '5m', * FROM bar_5m
    UNION ALL SELECT '15m', * FROM bar_15m
    UNION ALL SELECT '30m', * FROM bar_30m
    UNION ALL SELECT '1h', * FROM bar_1h
    UNION ALL SELECT '4h', * FROM bar_4h
    UNION ALL SELECT '1d', * FROM bar_1d
) AS b
JOIN symbol AS s USING (symbol_id);

-- The lowest trade id of each symbol, -1 without ticks; live is false while only files have brought its trades.
ALTER TABLE continuity ADD COLUMN first_id BIGINT DEFAULT -1;
ALTER TABLE continuity ADD COLUMN live BOOLEAN DEFAULT true;
UPDATE continuity SET first_id = t.first_id
FROM (SELECT symbol_id, min(id) AS first_id FROM tick GROUP BY symbol_id) AS t
WHERE continuity.symbol_id = t.symbol_id AND continuity.tick_count > 0;

-- Ids that the exchange gave to what is no trade: no row has them, and they are no hole.
CREATE TABLE void_id (symbol_id INTEGER NOT NULL, id BIGINT NOT NULL);

-- What was given up says from now on which of its ids are missing, so that a file can bring them.
CREATE TEMPORARY TABLE lacking AS
WITH given_up AS (
    SELECT symbol_id, from_id, to_id FROM gap WHERE status = 'unrepairable' AND ranges = ''
), present AS (
    SELECT g.symbol_id, g.from_id, t.id FROM given_up AS g
    JOIN tick AS t ON t.symbol_id = g.symbol_id AND t.id BETWEEN g.from_id AND g.to_id
    UNION ALL SELECT symbol_id, from_id, from_id - 1 FROM given_up
    UNION ALL SELECT symbol_id, from_id, to_id + 1 FROM given_up
), neighbours AS (
    SELECT symbol_id, from_id, id, lead(id) OVER (PARTITION BY symbol_id, from_id ORDER BY id) AS next FROM present
)
SELECT symbol_id, from_id, string_agg((id + 1) || '-' || (next - 1), ' ' ORDER BY id) AS ranges,
    sum(next - id - 1)::BIGINT AS missing
FROM neighbours WHERE next > id + 1 GROUP BY symbol_id, from_id;
UPDATE gap SET ranges = l.ranges, missing = l.missing
FROM lacking AS l WHERE gap.symbol_id = l.symbol_id AND gap.from_id = l.from_id;
DROP TABLE lacking;
