// A pair's values bar by bar: history over REST, the newest from the stream where it follows the same settings.

import { SECONDS } from "./bars.js";
import { get, mayPass } from "./rest.js";

/** Rows that are drawn at most. */
export const MOST_POINTS = 2000;

const RELOAD_AFTER_MS = 1200; // several closes at once are one reason to ask again
const LOAD_EVERY_MS = 4000;
const RETRY_MS = 5000;
const SAME = ["timeframe", "lookback", "window", "method", "price_space"];

/**
 * Calls `onRows()` when many rows changed, `onRow(row)` when the newest did, `onNow()` when a live value came and
 * `onNotice(text or null)` with what a person should know.
 */
export class PairSeries {
  constructor({ settings, feed, rest, onRows, onRow, onNow, onNotice }) {
    Object.assign(this, { settings, feed, rest, onRows, onRow, onNow, onNotice });
    this.rows = [];
    this.report = null; // what REST said of the whole pair
    this.live = null; // the newest message of the topic
    this.followed = null; // whether the topic is computed with these settings; unknown before its first message
    this.abort = new AbortController();
    const { y, x } = settings;
    this.ends = [
      feed.subscribe(`pair:${y}:${x}`, { update: (message) => this.receive(message), broken: () => this.loadSoon() }),
      feed.subscribe(`bar:${y}:${settings.timeframe}`, { update: (bar) => this.hearBar(bar) }),
    ];
    this.load();
  }

  stop() {
    this.abort.abort();
    clearTimeout(this.timer);
    for (const end of this.ends) end();
  }

  get length() {
    return SECONDS[this.settings.timeframe];
  }

  get newest() {
    return this.rows.at(-1) ?? null;
  }

  /** The newest hedge ratio by the pair's method. */
  get hedge() {
    return (this.followed && this.live ? this.live : this.report)?.hedge_ratio?.[this.settings.method] ?? {};
  }

  loadSoon(pause = RELOAD_AFTER_MS) {
    if (this.timer || this.abort.signal.aborted) return;
    const early = (this.loadedAt ?? -Infinity) + LOAD_EVERY_MS - performance.now();
    this.timer = setTimeout(() => this.load(), Math.max(pause, early));
  }

  async load() {
    this.timer = null;
    if (!this.report) this.onNotice("Loading…");
    const params = Object.fromEntries(SAME.map((name) => [name, this.settings[name]]));
    const { y, x } = this.settings;
    try {
      this.adopt(await get(this.rest, "/api/analytics/pair", { y, x, ...params, recursion: "live", series: true }, { signal: this.abort.signal }));
      this.onNotice(this.rows.length ? null : `${y} and ${x} have no common ${this.settings.timeframe} bars yet.`);
    } catch (error) {
      if (error.name === "AbortError") return;
      const again = mayPass(error);
      if (!this.report) this.onNotice(again ? `${error.message}. Trying again…` : error.message);
      if (again) this.loadSoon(RETRY_MS);
    }
  }

  adopt(report) {
    this.report = report;
    this.loadedAt = performance.now();
    this.rows = rowsOf(report.series ?? {}).slice(-MOST_POINTS);
    this.onRows();
    if (this.live) this.followed = this.isSame(this.live);
    if (this.followed) this.follow(this.live, true);
  }

  receive(message) {
    this.live = message;
    this.followed = this.isSame(message);
    if (this.followed && this.report) this.follow(message, false);
    this.onNow();
  }

  /** Whether a live value is computed as the history is: by the same settings, and so from the same bars on. */
  isSame(message) {
    return SAME.every((name) => message[name] === this.settings[name]);
  }

  /** Put a live value into the rows: the newest bar's, or the next one's. */
  follow(message, quiet) {
    const newest = this.newest;
    const row = rowOf(message, Object.keys(newest ?? {}));
    if (row.timestamp === null || row.timestamp === undefined || row.spread === null) return;
    if (newest && row.timestamp < newest.timestamp) {
      if (!quiet && message.closed) this.loadSoon(); // an older bar was corrected
      return;
    }
    if (newest && row.timestamp === newest.timestamp) {
      if (newest.closed && !row.closed) return;
      this.rows[this.rows.length - 1] = { ...newest, ...row };
    } else {
      if (newest && !newest.closed) this.rows.pop(); // only one leg traded in it: it closed without a bar in common
      this.rows.push(row);
      if (newest && !newest.closed) return this.onRows();
    }
    if (this.rows.length > MOST_POINTS * 1.2) {
      this.rows = this.rows.slice(-MOST_POINTS);
      this.onRows();
    } else {
      this.onRow(this.newest);
    }
  }

  /** Where the stream computes this pair otherwise, a close is a reason to ask again. */
  hearBar(bar) {
    const started = this.heard !== undefined && bar.timestamp > this.heard;
    this.heard = Math.max(this.heard ?? 0, bar.timestamp);
    if (!this.report || !started) return;
    if (this.followed !== true) this.loadSoon();
  }
}

/** The row at a time, or null. */
export function rowAt(rows, timestamp) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].timestamp < timestamp) low = middle + 1;
    else high = middle;
  }
  return rows[low]?.timestamp === timestamp ? rows[low] : null;
}

function rowsOf(series) {
  const { timestamp = [], ...columns } = series;
  const entries = Object.entries(columns).filter(([, column]) => Array.isArray(column));
  return timestamp.map((time, i) => ({
    timestamp: time,
    closed: true,
    ...Object.fromEntries(entries.map(([name, column]) => [name, column[i] ?? null])),
  }));
}

function rowOf({ timestamp, closed, spread, correlation, prices, hedge_ratio: hedge }, columns) {
  return {
    timestamp,
    closed,
    spread: spread?.last ?? null,
    mean: spread?.mean ?? null,
    std: spread?.std ?? null,
    zscore: spread?.zscore ?? null,
    correlation: correlation?.rolling ?? null,
    price_y: prices?.y ?? null,
    price_x: prices?.x ?? null,
    beta_ols: hedge?.ols?.beta ?? null,
    beta_kalman: hedge?.kalman?.beta ?? null,
    ...(columns.includes("beta_huber") ? { beta_huber: hedge?.huber?.beta ?? null } : {}), // where it makes the spread
  };
}
