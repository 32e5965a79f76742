// Numbers as a trader reads them: grouped, signed with an arrow, with their unit.

const QUOTES = ["USDT", "USDC", "FDUSD", "BUSD", "TUSD", "BTC", "ETH", "BNB"];
const MISSING = "–";
const styles = new Map();

function style(options) {
  const key = JSON.stringify(options);
  let found = styles.get(key);
  if (!found) {
    found = new Intl.NumberFormat("en-US", options);
    styles.set(key, found);
  }
  return found;
}

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

/** A price with a fixed number of decimals: 67,012.40. */
export function price(value, decimals) {
  if (!known(value)) return MISSING;
  return style({ minimumFractionDigits: decimals, maximumFractionDigits: decimals }).format(value);
}

/** A quantity in three or four digits: 1.23 K, 12.3 M, 0.0123. */
export function amount(value) {
  if (!known(value)) return MISSING;
  if (Math.abs(value) >= 1000) {
    return style({ notation: "compact", maximumSignificantDigits: 4 }).format(value).replace(/([KMBT])$/, " $1");
  }
  return style({ maximumSignificantDigits: 4 }).format(value);
}

/** A relative change with its direction as an arrow: ▲ +1.20 %. */
export function change(value) {
  if (!known(value)) return MISSING;
  const percent = style({ minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "exceptZero" });
  const text = percent.format(value * 100);
  return `${arrow(value)} ${text} %`;
}

export function arrow(value) {
  return value > 0 ? "▲" : value < 0 ? "▼" : "■";
}

/** A share in whole per cent. */
export function share(value) {
  return known(value) ? `${style({ maximumFractionDigits: 0 }).format(value * 100)} %` : MISSING;
}

/** Trades a second. */
export function rate(value) {
  if (!known(value)) return MISSING;
  return value >= 100 ? style({ maximumFractionDigits: 0 }).format(value) : value.toFixed(1);
}

/** How long ago, from milliseconds: 0.2 s, 14 s, 3 min, 2 h, 5 d. */
export function age(ms) {
  if (!known(ms)) return MISSING;
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** A bar's time in UTC: with seconds below a minute, without a clock for days. */
export function moment(ms, seconds) {
  const text = new Date(ms).toISOString();
  if (seconds >= 86400) return text.slice(0, 10);
  return `${text.slice(5, 10)} ${text.slice(11, seconds < 60 ? 19 : 16)}`;
}

/** The unit that a symbol's size is counted in: BTC of BTCUSDT. */
export function baseOf(symbol) {
  const quote = QUOTES.find((name) => symbol.endsWith(name) && symbol.length > name.length);
  return quote ? symbol.slice(0, -quote.length) : symbol;
}

export function quoteOf(symbol) {
  return QUOTES.find((name) => symbol.endsWith(name) && symbol.length > name.length) ?? "";
}
