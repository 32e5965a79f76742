// One symbol's live chart: history over REST, its end moved by the stream, older bars when scrolled to.

import { Bars, SECONDS } from "./bars.js";
import { described } from "./indicators.js";
import { Legend } from "./legend.js";
import { element, say } from "./lifecycle.js";
import { samePalette } from "./palette.js";
import { Plot } from "./plot.js";
import { get, mayPass } from "./rest.js";
import { age, arrow, moment, price } from "./words.js";

const PAGE = 600;
const MOST_BARS = 20000;
const MOST_ROWS = 10000;
const NEAR_THE_START = 60; // bars left of the view at which older ones are fetched
const RELOAD_EVERY_MS = 3000;
const TAIL = 60; // bars fetched again after a hole in the stream
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 15000;
const views = new Map(); // where each symbol was looked at, kept while its chart is away

export class Chart {
  constructor({ symbol, library, feed, rest, palette }) {
    Object.assign(this, { symbol, library, feed, rest, palette });
    this.area = element("div", { class: "ps-chart-area" });
    this.notice = element("div", { class: "ps-notice", role: "status", hidden: true });
    this.live = element("button", { class: "ps-live", type: "button", hidden: true, title: "Back to the newest bar (End)" }, "Newest ▸");
    this.wide = element("button", { class: "ps-wide-button", type: "button", "aria-pressed": "false", title: "Full width" }, "⤢");
    this.stage = element("div", { class: "ps-stage", tabindex: "0", role: "img" }, this.area, this.notice, this.live);
    this.node = element("section", { class: "ps-chart", "data-symbol": symbol }, this.stage, this.wide);
    this.node.chart = this; // for who inspects the page
    this.legend = new Legend(this.stage, symbol);
    this.plot = new Plot(library, this.area, palette);
    this.bars = new Bars();
    this.indicatorValues = new Map();
    this.waiting = [];
    this.dirty = new Map();
    this.timeframe = null;
    this.names = [];
    this.hovered = null;
    this.listen();
  }

  listen() {
    this.live.addEventListener("click", () => this.plot.goLive());
    this.wide.addEventListener("click", () => this.setWide(!this.node.classList.contains("ps-is-wide")));
    this.stage.addEventListener("keydown", (event) => this.key(event));
    this.plot.chart.subscribeCrosshairMove(({ time, point }) => {
      this.hovered = point && time !== undefined ? time * 1000 : null;
      this.write();
    });
    this.plot.time.subscribeVisibleLogicalRangeChange((range) => {
      this.node.dataset.view = this.plot.viewText();
      this.live.hidden = !this.bars.list.length || this.plot.followsLive();
      if (range && range.from < NEAR_THE_START) this.loadOlder();
    });
  }

  /** Make the chart show this timeframe and these indicators; what stays the same is left alone. */
  configure({ timeframe, indicators, palette }) {
    if (!samePalette(palette, this.palette)) this.repaint(palette);
    const other = timeframe !== this.timeframe;
    const names = indicators.join(",");
    const changed = names !== this.names.join(",");
    this.names = indicators;
    if (other) this.start(timeframe);
    if (changed || other) this.setIndicators(other);
  }

  destroy() {
    views.set(this.symbol, this.plot.view());
    this.stop();
    this.plot.destroy();
  }

  repaint(palette) {
    this.palette = palette;
    this.plot.repaint(palette);
    this.plot.recolour(this.bars.list);
    this.write();
  }

  setWide(wide) {
    this.node.classList.toggle("ps-is-wide", wide);
    this.wide.setAttribute("aria-pressed", String(wide));
    this.wide.title = wide ? "Side by side again" : "Full width";
  }

  // ── history and stream ────────────────────────────────────────────────────────────────────────────────────────

  start(timeframe) {
    this.stop();
    this.timeframe = timeframe;
    this.length = SECONDS[timeframe];
    this.bars = new Bars();
    this.indicatorValues.clear();
    this.indicatorNow = null;
    this.indicatorEnd = 0;
    this.waiting = [];
    this.wholeHistory = false;
    this.first = null;
    this.lost = null;
    this.loaded = false;
    this.retryMs = FIRST_RETRY_MS;
    this.abort = new AbortController();
    this.plot.setBarLength(this.length);
    this.legend.setTimeframe(timeframe);
    // Listening begins before history is asked for, so that no bar can fall between the two.
    this.unsubscribe = this.feed.subscribe(`bar:${this.symbol}:${timeframe}`, {
      update: (bar) => this.receive(bar),
      broken: (why) => this.reload(why),
    });
    this.load();
  }

  stop() {
    this.abort?.abort();
    this.unsubscribe?.();
    this.unsubscribeIndicators?.();
    this.unsubscribe = this.unsubscribeIndicators = null;
    clearTimeout(this.retry);
    clearTimeout(this.reloading);
    this.reloading = null;
    cancelAnimationFrame(this.frame);
    this.frame = null;
    this.dirty.clear();
  }

  async load() {
    this.tell("Loading…");
    try {
      const page = await this.ask("ohlc", { limit: PAGE });
      this.adopt(page.bars);
      this.loaded = true;
      this.tell(this.bars.list.length ? null : `No ${this.timeframe} bars of ${this.symbol} yet: the first one comes with the next trade.`);
      this.firstView();
      this.loadIndicators(this.names);
    } catch (error) {
      this.failed(error, () => this.load());
    }
  }

  adopt(page) {
    const before = this.bars.merge(page);
    for (const bar of this.waiting.splice(0)) this.bars.apply(bar);
    this.dirty.clear();
    this.plot.setDecimals(this.bars.decimals());
    this.plot.setBars(this.bars.list, before);
    this.write();
    return before;
  }

  failed(error, again) {
    if (error.name === "AbortError") return;
    if (!mayPass(error)) {
      this.tell(`${this.symbol}: ${error.message}`);
      return;
    }
    this.tell(`${this.symbol} could not be loaded: ${error.message}. Trying again…`);
    this.retry = setTimeout(again, this.retryMs);
    this.retryMs = Math.min(LONGEST_RETRY_MS, this.retryMs * 2);
  }

  ask(what, params) {
    const path = `/api/${what}/${encodeURIComponent(this.symbol)}`;
    return get(this.rest, path, { timeframe: this.timeframe, ...params }, { signal: this.abort.signal });
  }

  /** After a hole in the stream or a new connection: fetch what may have been missed and merge it. */
  reload(why) {
    if (!this.loaded) return;
    this.lost = this.lost === "connection" ? this.lost : why;
    if (this.reloading) return;
    const wait = Math.max(0, (this.reloadedAt ?? -Infinity) + RELOAD_EVERY_MS - performance.now());
    this.reloading = setTimeout(() => this.mend(), wait);
  }

  async mend() {
    const whole = this.lost === "connection";
    this.lost = null;
    this.reloading = null;
    this.reloadedAt = performance.now();
    try {
      const page = await this.ask("ohlc", { limit: whole ? PAGE : TAIL });
      // Where the newest page does not reach back to what is here, it replaces it: no hole is papered over.
      const apart = this.bars.newest && page.bars[0]?.timestamp > this.bars.newest.timestamp;
      if (apart) this.bars = new Bars();
      if (whole || apart) this.adopt(page.bars);
      else for (const bar of page.bars) this.receive(bar);
      if (whole || apart) this.loadIndicators(this.names);
    } catch (error) {
      if (mayPass(error)) this.reload(whole ? "connection" : "hole");
    }
  }

  receive(bar) {
    if (!this.loaded) {
      this.waiting.push(bar);
      if (this.waiting.length > PAGE) this.waiting.shift();
      return;
    }
    const what = this.bars.apply(bar);
    if (what === "old") return;
    if (this.bars.list.length === 1) this.tell(null);
    this.dirty.set(bar.timestamp, what);
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** Draw what came since the last frame. */
  draw() {
    const changed = [...this.dirty].sort(([a], [b]) => a - b);
    this.dirty.clear();
    const inserted = changed.some(([, what]) => what === "insert");
    const decimals = this.bars.decimals();
    if (decimals > this.plot.decimals || inserted) {
      this.plot.setDecimals(Math.max(decimals, this.plot.decimals));
      this.plot.setBars(this.bars.list);
    } else {
      for (const [timestamp, what] of changed) {
        const bar = this.bars.at(timestamp);
        if (bar) this.plot.setBar(bar, what === "revise" || timestamp < this.drawnUpTo);
        this.drawnUpTo = Math.max(this.drawnUpTo ?? 0, timestamp);
      }
    }
    this.drawnUpTo = this.bars.newest?.timestamp ?? 0;
    this.drawIndicatorNow();
    this.write();
  }

  async loadOlder() {
    if (!this.loaded || this.wholeHistory || this.fetching || this.bars.list.length >= MOST_BARS) return;
    this.fetching = true;
    const { signal } = this.abort;
    try {
      const page = await this.pageBefore(this.bars.oldest?.timestamp ?? 0);
      if (signal.aborted) return;
      this.wholeHistory = !page.length;
      if (page.length && this.adopt(page)) this.loadIndicators(this.names);
    } catch (error) {
      this.wholeHistory = error.name !== "AbortError" && !mayPass(error);
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

  firstView() {
    const kept = views.get(this.symbol);
    views.delete(this.symbol);
    if (kept) {
      this.plot.setView(kept);
    } else if (!this.viewed) {
      this.plot.setView({ barSpacing: this.area.clientWidth < 500 ? 5 : 7, position: 4 });
    } else {
      this.plot.goLive();
    }
    this.viewed = true;
  }

  // ── indicators ────────────────────────────────────────────────────────────────────────────────────────────────

  setIndicators(all) {
    const chosen = described(this.names);
    const below = chosen.filter(({ pane }) => pane).length;
    this.stage.style.setProperty("--ps-panes", below);
    const fresh = this.plot.setIndicators(chosen);
    for (const key of this.indicatorValues.keys()) {
      if (!chosen.some(({ parts }) => parts.some((part) => part.key === key))) this.indicatorValues.delete(key);
    }
    this.unsubscribeIndicators?.();
    this.unsubscribeIndicators = null;
    if (this.names.length) {
      const topic = `indicators:${this.symbol}:${this.timeframe}:${this.names.join(",")}`;
      this.unsubscribeIndicators = this.feed.subscribe(topic, { update: (value) => this.receiveIndicators(value) });
    }
    if (this.loaded) this.loadIndicators(all ? this.names : fresh);
    this.write();
  }

  async loadIndicators(names) {
    if (!names.length || !this.bars.oldest) return;
    const signal = this.abort.signal;
    try {
      const params = { names: names.join(","), start: this.bars.oldest.timestamp, limit: Math.min(10000, this.bars.list.length + 2) };
      const { timestamp, values } = await this.ask("indicators", params);
      if (signal.aborted) return;
      const shown = timestamp.map((time) => this.bars.indexOf(time) >= 0);
      const times = timestamp.filter((_, i) => shown[i]);
      const columns = Object.fromEntries(Object.entries(values).map(([key, column]) => [key, column.filter((_, i) => shown[i])]));
      for (const [key, column] of Object.entries(columns)) {
        this.indicatorValues.set(key, new Map(times.map((time, i) => [time, column[i]])));
      }
      for (const name of names) this.plot.setIndicatorColumns(name, times, columns);
      this.indicatorEnd = Math.max(this.indicatorEnd, times.at(-1) ?? 0);
      this.indicatorProblem = null;
      this.drawIndicatorNow();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.indicatorProblem = error.message;
      if (mayPass(error)) this.retry = setTimeout(() => this.loadIndicators(names), LONGEST_RETRY_MS / 3);
    }
    this.write();
  }

  receiveIndicators(message) {
    this.indicatorNow = message;
    this.schedule();
  }

  /** Draw the provisional values of the newest bar, once its candle is there to carry them. */
  drawIndicatorNow() {
    const now = this.indicatorNow;
    if (!now || this.bars.indexOf(now.timestamp) < 0) return;
    for (const name of this.names) {
      const own = Object.entries(now.values).filter(([key]) => key === name || key.startsWith(`${name}.`));
      const column = this.indicatorValues.get(own[0]?.[0]);
      if (!column) continue; // its history is still on the way and will hold this value
      this.plot.setIndicatorValue(name, now.timestamp, Object.fromEntries(own), now.timestamp < this.indicatorEnd);
      for (const [key, value] of own) this.indicatorValues.get(key)?.set(now.timestamp, value);
    }
    this.indicatorEnd = Math.max(this.indicatorEnd, now.timestamp);
    this.indicatorNow = null;
  }

  // ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────

  write() {
    const bar = (this.hovered !== null && this.bars.at(this.hovered)) || this.bars.newest;
    const { decimals } = this.plot;
    const hovered = this.hovered !== null && bar?.timestamp === this.hovered;
    this.legend.setBar(bar, { decimals, length: this.length, hovered, palette: this.palette });
    const at = bar?.timestamp;
    this.legend.setReadings(this.plot.readings((key) => this.indicatorValues.get(key)?.get(at)), this.plot.paneTops());
  }

  tell(text) {
    this.notice.hidden = text === null;
    say(this.notice, text ?? "");
  }

  /** Once a second: say what a person who cannot see it should hear, and whether the picture is old. */
  tick({ stale, silentMs }) {
    this.node.classList.toggle("ps-is-stale", stale);
    this.node.dataset.stale = stale ? `Stale: no update for ${age(silentMs)}` : "";
    const bar = this.bars.newest;
    const words = bar
      ? `last price ${price(bar.close, this.plot.decimals)}, ${arrow(bar.close - bar.open)} in the bar of ${moment(bar.timestamp, this.length)} UTC`
      : "no bars yet";
    const label = `Candlestick chart of ${this.symbol}, ${this.timeframe} bars, ${words}. Arrow keys move, plus and minus zoom, End shows the newest.`;
    if (this.stage.getAttribute("aria-label") !== label) this.stage.setAttribute("aria-label", label);
    if (this.plot.indicators.size) this.write(); // pane heights may have been dragged
  }

  key(event) {
    const steps = { ArrowLeft: -5, ArrowRight: 5, PageUp: -40, PageDown: 40 };
    if (event.key in steps) this.plot.time.scrollToPosition(this.plot.time.scrollPosition() + steps[event.key], false);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "End") this.plot.goLive();
    else return;
    event.preventDefault();
  }

  zoom(factor) {
    const { barSpacing } = this.plot.time.options();
    this.plot.time.applyOptions({ barSpacing: Math.min(60, Math.max(1, barSpacing * factor)) });
  }
}
