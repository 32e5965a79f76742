// One symbol's figures: price, 24 h change and volume, trades a second, age of the last trade, the day as a line.

import { decimalsOf } from "./bars.js";
import { drawNever, drawSoon } from "./frames.js";
import { element, say } from "./lifecycle.js";
import { get } from "./rest.js";
import { age, amount, baseOf, change, price, rate } from "./words.js";

const REFRESH_MS = 20000; // what the stream does not carry
const RATE_WINDOW_MS = 10000;
const SPARK_BARS = 97;
const SVG = "http://www.w3.org/2000/svg";

export class Card {
  constructor({ symbol, feed, rest }) {
    Object.assign(this, { symbol, feed, rest, base: null, decimals: 0, lastTradeAt: null, arrivals: [], day: [] });
    this.redraw = () => this.show(this.pending);
    this.build();
    this.abort = new AbortController();
    this.ends = [
      feed.subscribe(`price:${symbol}`, { update: (message) => this.receive(message) }),
      feed.subscribe(`bar:${symbol}:1s`, { update: (bar) => this.count(bar) }),
    ];
    this.refresh();
    this.timer = setInterval(() => this.refresh(), REFRESH_MS * (0.9 + Math.random() / 5));
  }

  build() {
    const figure = (label, help) => {
      const value = element("dd", { class: "ps-num" }, "–");
      return [value, element("div", { class: "ps-figure", title: help }, element("dt", {}, label), value)];
    };
    const unit = baseOf(this.symbol);
    this.price = element("span", { class: "ps-card-price ps-num" }, "–");
    this.change = element("span", { class: "ps-card-change ps-num", title: "Change against the price 24 hours ago" }, "–");
    const [volume, volumeBox] = figure("24 h volume", `Traded in the last 24 hours, in ${unit}`);
    const [trades, tradesBox] = figure("Trades/s", "Trades a second, mean of the last 10 seconds");
    const [last, lastBox] = figure("Last trade", "Time since the last trade of this symbol");
    Object.assign(this, { volume, trades, last });
    this.spark = document.createElementNS(SVG, "svg");
    this.spark.setAttribute("viewBox", "0 0 96 28");
    this.spark.setAttribute("preserveAspectRatio", "none");
    this.spark.setAttribute("aria-hidden", "true");
    this.spark.setAttribute("class", "ps-spark");
    this.fill = this.spark.appendChild(document.createElementNS(SVG, "path"));
    this.line = this.spark.appendChild(document.createElementNS(SVG, "path"));
    this.fill.setAttribute("class", "ps-spark-fill");
    this.line.setAttribute("class", "ps-spark-line");
    this.node = element(
      "article",
      { class: "ps-card", "data-symbol": this.symbol, "aria-label": `${this.symbol}: price and activity` },
      element("div", { class: "ps-card-head" }, element("h3", {}, this.symbol), this.change),
      element("div", { class: "ps-card-body" }, this.price, this.spark),
      element("dl", { class: "ps-figures" }, volumeBox, tradesBox, lastBox),
    );
  }

  destroy() {
    clearInterval(this.timer);
    drawNever(this.redraw);
    this.abort.abort();
    for (const end of this.ends) end();
  }

  /** Fetch what the stream does not carry; what cannot be had now stays as it was. */
  async refresh() {
    const symbol = encodeURIComponent(this.symbol);
    const { signal } = this.abort;
    try {
      const [now, day] = await Promise.all([
        get(this.rest, `/api/price/${symbol}`, {}, { signal }),
        get(this.rest, `/api/ohlc/${symbol}`, { timeframe: "15m", limit: SPARK_BARS }, { signal }),
      ]);
      if (this.lastTradeAt === null && now.age_ms !== null) this.lastTradeAt = performance.now() - now.age_ms;
      this.day = day.bars.map((bar) => bar.close);
      this.decimals = Math.max(this.decimals, ...this.day.map(decimalsOf));
      this.node.classList.remove("ps-is-unknown");
      this.receive(now);
    } catch (error) {
      if (error.status === 404) this.node.classList.add("ps-is-unknown");
    }
  }

  receive(message) {
    if (message.price === null || message.price === undefined) return;
    if (this.timestamp !== undefined && message.timestamp > this.timestamp) this.lastTradeAt = performance.now();
    this.timestamp = Math.max(this.timestamp ?? 0, message.timestamp);
    if (message.change_24h !== undefined) this.base = message.change_24h === null ? null : message.price / (1 + message.change_24h);
    if (message.volume_24h !== undefined) say(this.volume, `${amount(message.volume_24h)} ${baseOf(this.symbol)}`);
    this.pending = message.price;
    drawSoon(this.redraw);
  }

  show(value) {
    this.decimals = Math.max(this.decimals, decimalsOf(value));
    const moved = this.shown === undefined ? 0 : value - this.shown;
    this.shown = value;
    say(this.price, price(value, this.decimals));
    if (moved) this.flash(moved > 0 ? "up" : "down");
    const relative = this.base === null ? null : value / this.base - 1;
    say(this.change, change(relative));
    this.node.dataset.direction = relative > 0 ? "up" : relative < 0 ? "down" : "flat";
    this.drawSpark(value);
  }

  flash(direction) {
    this.price.dataset.flash = direction;
    clearTimeout(this.flashing);
    this.flashing = setTimeout(() => delete this.price.dataset.flash, 350);
  }

  drawSpark(value) {
    const points = this.day.length ? [...this.day.slice(0, -1), value] : [];
    if (points.length < 2) return;
    const low = Math.min(...points);
    const span = Math.max(...points) - low || 1;
    const path = points
      .map((point, i) => `${i ? "L" : "M"}${((i / (points.length - 1)) * 96).toFixed(1)} ${(26 - ((point - low) / span) * 24).toFixed(1)}`)
      .join("");
    if (path === this.drawn) return;
    this.drawn = path;
    this.line.setAttribute("d", path);
    this.fill.setAttribute("d", `${path}L96 28L0 28Z`);
  }

  /** Count the trades that a bar of one second has gained since it was last heard of. */
  count(bar) {
    const before = this.counted;
    if (before && bar.timestamp < before.timestamp) return;
    this.counted = bar;
    this.since ??= performance.now();
    if (!before) return; // where the bar stands, not what has just come
    const gained = bar.trades - (before.timestamp === bar.timestamp ? before.trades : 0);
    if (gained > 0) this.arrivals.push({ at: performance.now(), gained });
  }

  tick({ stale, now }) {
    this.arrivals = this.arrivals.filter(({ at }) => now - at < RATE_WINDOW_MS);
    const heard = Math.min(RATE_WINDOW_MS, now - (this.since ?? now));
    if (heard > 1500) {
      const gained = this.arrivals.reduce((sum, arrival) => sum + arrival.gained, 0);
      say(this.trades, rate(gained / (heard / 1000)));
    }
    if (this.lastTradeAt !== null) say(this.last, `${age(now - this.lastTradeAt)} ago`);
    this.node.classList.toggle("ps-is-stale", stale);
  }
}
