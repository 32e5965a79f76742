// The bars of one symbol and timeframe: history and live joined by timestamp, none lost, none doubled.

export const SECONDS = {
  "1s": 1, "5s": 5, "15s": 15, "1m": 60, "3m": 180, "5m": 300,
  "15m": 900, "30m": 1800, "1h": 3600, "4h": 14400, "1d": 86400,
};

/** Bars by open time in milliseconds, oldest first in `list`. */
export class Bars {
  constructor() {
    this.list = [];
  }

  get newest() {
    return this.list.at(-1) ?? null;
  }

  get oldest() {
    return this.list[0] ?? null;
  }

  /** Index of the bar at a time, or -1. */
  indexOf(timestamp) {
    const at = this.place(timestamp);
    return this.list[at]?.timestamp === timestamp ? at : -1;
  }

  at(timestamp) {
    return this.list[this.indexOf(timestamp)] ?? null;
  }

  /** First index whose bar is not older than a time. */
  place(timestamp) {
    let low = 0;
    let high = this.list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.list[middle].timestamp < timestamp) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Merge a page of history, which may overlap what is here; returns how many bars it put before the oldest. */
  merge(page) {
    if (!page.length) return 0;
    const before = this.oldest?.timestamp ?? Infinity;
    const known = new Map(this.list.map((bar) => [bar.timestamp, bar]));
    for (const bar of page) {
      const own = known.get(bar.timestamp);
      if (!own || supersedes(bar, own)) known.set(bar.timestamp, bar);
    }
    this.list = [...known.values()].sort((a, b) => a.timestamp - b.timestamp);
    return before === Infinity ? 0 : this.place(before);
  }

  /** Take a live bar; returns `append`, `update`, `revise`, `insert`, or `old` where what is here is newer. */
  apply(bar) {
    const newest = this.newest;
    if (!newest || bar.timestamp > newest.timestamp) {
      this.list.push(bar);
      return "append";
    }
    const at = this.place(bar.timestamp);
    const own = this.list[at];
    if (own.timestamp !== bar.timestamp) {
      this.list.splice(at, 0, bar);
      return "insert";
    }
    if (!supersedes(bar, own)) return "old";
    // What lacked trades lacks them until a correction says otherwise: not every message can tell.
    this.list[at] = own.gap && !bar.revised ? { ...bar, gap: true } : bar;
    return own === newest ? "update" : "revise";
  }

  /** Forget the oldest bars beyond a number, so that a page left open for days stays small. */
  trim(most) {
    if (this.list.length > most) this.list.splice(0, this.list.length - most);
  }

  /** Decimals that prices are quoted in here, from the newest bars. */
  decimals() {
    let most = 0;
    for (const bar of this.list.slice(-300)) {
      for (const price of [bar.open, bar.high, bar.low, bar.close]) most = Math.max(most, decimalsOf(price));
    }
    return most;
  }
}

// A correction always wins; else the bar that has seen more trades is the later state of it.
function supersedes(bar, own) {
  if (bar.revised) return true;
  if (own.closed && !bar.closed) return false;
  return (bar.closed && !own.closed) || bar.trades >= own.trades;
}

/** Decimals of the shortest decimal notation of a number: 67000.1 has 1, 0.00001234 has 8. */
export function decimalsOf(number) {
  if (!Number.isFinite(number)) return 0;
  const [digits, exponent] = String(number).split("e");
  const fraction = (digits.split(".")[1] ?? "").length;
  return Math.min(16, Math.max(0, fraction - Number(exponent ?? 0)));
}
