// Is what the page shows still happening? Judged by the whole market: one thin symbol's silence is not a stall.

/** Follows `stats` and the trades of any topic. */
export class Freshness {
  constructor(feed, stallMs) {
    this.feed = feed;
    this.stallMs = stallMs;
    this.stats = null;
    this.tradeAt = null;
    this.release = feed.subscribe("stats", { update: (stats) => this.receive(stats) });
  }

  end() {
    this.release();
  }

  receive(stats) {
    const now = performance.now();
    const told = stats.last_tick_age_ms ?? null;
    if (told !== null) this.tradeAt = Math.max(this.tradeAt ?? -Infinity, now - told);
    else if (this.stats === null || stats.ticks !== this.stats.ticks) this.tradeAt = now; // it counts what it stores
    this.stats = stats;
  }

  /** `stale`: the connection is lost or no trade came for longer than a stall takes; ages in milliseconds. */
  now() {
    const now = performance.now();
    const tradeAt = Math.max(this.tradeAt ?? -Infinity, this.feed.lastTradeAt || -Infinity);
    const silentMs = tradeAt === -Infinity ? null : Math.max(0, now - tradeAt);
    const lost = this.feed.state === "lost" || (this.feed.state === "connecting" && now - this.feed.stateSince > 4000);
    const stalled = silentMs !== null && silentMs > this.stallMs;
    return { now, silentMs, lost, stalled, stale: lost || stalled, stats: this.stats };
  }
}
