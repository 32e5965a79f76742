-- Symbols in the order of first sight. Everywhere their names are compared by their bytes, which costs an index a third
-- of what a language's order costs.
CREATE TABLE symbol (symbol_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE);

-- Trades, a UTC day a partition. timestamp is the exchange's time in microseconds, rest_ns what it has beyond them;
-- received_ns is when ours saw it, in ns since 1970. The key says that a trade is stored once.
CREATE TABLE tick_data (
    symbol text COLLATE "C" NOT NULL,
    "timestamp" timestamptz NOT NULL,
    id bigint NOT NULL,
    price double precision NOT NULL,
    size double precision NOT NULL,
    buyer_is_maker boolean NOT NULL,
    received_ns bigint NOT NULL,
    rest_ns smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (symbol, "timestamp", id)
) PARTITION BY RANGE ("timestamp");
-- Rows lie nearly in the order of both times: a few bytes a range of pages find those of every symbol.
CREATE INDEX tick_data_times ON tick_data USING brin ("timestamp", received_ns)
    WITH (pages_per_range = 32, autosummarize = on);

-- Closed bars of every timeframe that is kept: base bars (1s, 1m) and what people uploaded.
CREATE TABLE resampled_data (
    symbol text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL,
    "timestamp" timestamptz NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision NOT NULL,
    quote_volume double precision NOT NULL,
    buy_volume double precision NOT NULL,
    trades bigint NOT NULL,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    revision integer NOT NULL,
    origin smallint NOT NULL,
    PRIMARY KEY (symbol, timeframe, "timestamp")
);
CREATE INDEX resampled_data_timeframe ON resampled_data (timeframe, "timestamp");

-- What is known of each symbol without asking its rows. version grows with every change, so that a writer sees that
-- another one was here.
CREATE TABLE continuity (
    symbol text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0,
    next_id bigint NOT NULL DEFAULT -1,
    first_id bigint NOT NULL DEFAULT -1,
    first_ns bigint NOT NULL DEFAULT 9223372036854775807,
    last_ns bigint NOT NULL DEFAULT 0,
    tick_count bigint NOT NULL DEFAULT 0,
    live boolean NOT NULL DEFAULT true,
    watermark_ns bigint NOT NULL DEFAULT 0,
    bar_count bigint NOT NULL DEFAULT 0,
    spans bigint[] NOT NULL DEFAULT '{}',
    uploaded_seconds boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- Holes in the trade ids; ranges lists what is still missing, from and to in turn.
CREATE TABLE gap (
    symbol text COLLATE "C" NOT NULL,
    from_id bigint NOT NULL,
    to_id bigint NOT NULL,
    status text NOT NULL,
    missing bigint NOT NULL,
    after_ns bigint NOT NULL,
    before_ns bigint NOT NULL,
    seen_ns bigint NOT NULL,
    ended_ns bigint NOT NULL,
    ranges text NOT NULL,
    PRIMARY KEY (symbol, from_id)
);
CREATE INDEX gap_unrepaired ON gap (symbol) WHERE status <> 'repaired';

-- Ids that the exchange gave to what is no trade: no row has them, and they are no hole.
CREATE TABLE void_id (symbol text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (symbol, id));

-- Documents by collection and key; COLLATE "C" has keys in the order of their bytes.
CREATE TABLE document (
    collection text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (collection, key)
);

CREATE TABLE meta (key text PRIMARY KEY, value bigint NOT NULL);
INSERT INTO meta VALUES ('watermark_ns', 0);
