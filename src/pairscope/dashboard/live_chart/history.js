// The bars of one symbol and timeframe, kept whole: history over REST joined to the stream, mended where it broke.

import { Bars, SECONDS } from "./bars.js";
import { get, mayPass } from "./rest.js";

const PAGE = 600;
const TAIL = 60; // bars fetched again after a hole in the stream
const MEND_EVERY_MS = 3000;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 15000;

/** Bars that are kept at most, so that a page left open for days stays small. */
export const MOST_BARS = 20000;

/** Rows that one request may ask for. */
export const MOST_ROWS = 10000;

/**
 * Calls `onPage(before)` when many bars changed (`before` of them new in front), `onBar(bar, what)` when one did,
 * `onNotice(text or null)` with what a person should know.
 */
export class History {
  constructor({ symbol, timeframe, feed, rest, onPage, onBar, onNotice }) {
    Object.assign(this, { symbol, timeframe, rest, onPage, onBar, onNotice });
    this.length = SECONDS[timeframe];
    this.bars = new Bars();
    this.waiting = [];
    this.loaded = false;
    this.heard = false; // whether the stream has said anything yet
    this.whole = false; // nothing older exists
    this.first = null;
    this.lost = null;
    this.retryMs = FIRST_RETRY_MS;
    this.mendedAt = -Infinity;
    this.abort = new AbortController();
    // Listening begins before history is asked for, so that no bar can fall between the two.
    this.unsubscribe = feed.subscribe(`bar:${symbol}:${timeframe}`, {
      update: (bar) => this.receive(bar),
      broken: (why) => this.mendSoon(why),
    });
    this.load();
  }

  stop() {
    this.abort.abort();
    this.unsubscribe();
    clearTimeout(this.retry);
    clearTimeout(this.mending);
  }

  ask(what, params) {
    const path = `/api/${what}/${encodeURIComponent(this.symbol)}`;
    return get(this.rest, path, { timeframe: this.timeframe, ...params }, { signal: this.abort.signal });
  }

  async load() {
    this.onNotice("Loading…");
    try {
      const page = await this.ask("ohlc", { limit: PAGE });
      this.loaded = true;
      this.adopt(page.bars);
      this.onNotice(this.bars.list.length ? null : this.nothingYet());
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!mayPass(error)) {
        this.onNotice(`${this.symbol}: ${error.message}`);
        return;
      }
      this.onNotice(`${this.symbol} could not be loaded: ${error.message}. Trying again…`);
      this.retry = setTimeout(() => this.load(), this.retryMs);
      this.retryMs = Math.min(LONGEST_RETRY_MS, this.retryMs * 2);
    }
  }

  nothingYet() {
    return `No ${this.timeframe} bars of ${this.symbol} yet: the first one comes with the next trade.`;
  }

  adopt(page) {
    const before = this.bars.merge(page);
    for (const bar of this.waiting.splice(0)) this.bars.apply(bar);
    this.onPage(before);
    return before;
  }

  receive(bar) {
    if (!this.loaded) {
      this.waiting = [...this.waiting.slice(-PAGE), bar];
      this.heard = true;
      return;
    }
    if (!this.heard) this.mendSoon("connection"); // it began after the history had been answered: bars may lie between
    this.heard = true;
    const what = this.bars.apply(bar);
    if (what === "old") return;
    if (this.bars.list.length === 1) this.onNotice(null);
    if (this.bars.list.length > MOST_BARS * 1.1) {
      this.bars.trim(MOST_BARS);
      this.whole = true;
      this.onPage(0);
    } else {
      this.onBar(bar, what);
    }
  }

  /** After a hole in the stream or a new connection: fetch soon what may have been missed. */
  mendSoon(why) {
    this.lost = this.lost === "connection" ? this.lost : why;
    if (!this.loaded || this.mending) return;
    const wait = Math.max(0, this.mendedAt + MEND_EVERY_MS - performance.now());
    this.mending = setTimeout(() => this.mend(), this.lost === "connection" ? 0 : wait);
  }

  async mend() {
    const all = this.lost === "connection";
    this.lost = this.mending = null;
    this.mendedAt = performance.now();
    try {
      const page = await this.ask("ohlc", { limit: all ? PAGE : TAIL });
      // Where the newest page does not reach back to what is here, it replaces it: no hole is papered over.
      const apart = this.bars.newest && page.bars[0]?.timestamp > this.bars.newest.timestamp;
      if (apart) {
        this.bars = new Bars();
        this.whole = false;
      }
      if (all || apart) this.adopt(page.bars);
      else for (const bar of page.bars) this.receive(bar);
    } catch (error) {
      if (error.name !== "AbortError" && mayPass(error)) this.retry = setTimeout(() => this.mendSoon(all ? "connection" : "hole"), FIRST_RETRY_MS);
    }
  }

  async loadOlder() {
    if (!this.loaded || this.whole || this.fetching || this.bars.list.length >= MOST_BARS) return;
    this.fetching = true;
    try {
      const page = await this.pageBefore(this.bars.oldest?.timestamp ?? 0);
      this.whole = !page.length;
      if (page.length && !this.abort.signal.aborted) this.adopt(page);
    } catch (error) {
      this.whole = error.name !== "AbortError" && !mayPass(error);
    } finally {
      this.fetching = false;
    }
  }

  /** The bars before a time: the page next to it, or, across a time without bars, the last ones before that. */
  async pageBefore(end) {
    const step = this.length * 1000;
    this.first ??= (await this.ask("ohlc", { start: 0, limit: 1 })).bars[0]?.timestamp ?? Infinity;
    for (let slots = PAGE; end > this.first; slots = MOST_ROWS) {
      const start = Math.max(0, end - slots * step);
      const { bars } = await this.ask("ohlc", { start, end, limit: slots });
      if (bars.length) return bars.slice(-PAGE);
      end = start;
    }
    return [];
  }
}
