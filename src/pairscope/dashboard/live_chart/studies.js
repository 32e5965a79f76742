// The values of a chart's indicators: columns over REST for its bars, the newest value from the stream.

import { described } from "./indicators.js";
import { MOST_ROWS } from "./history.js";
import { mayPass } from "./rest.js";

const SILENCE_MS = 6000; // a busy server may refuse to compute one more set live; then it is asked now and then
const SETTLE_MS = 300; // bars that close in one moment are asked for together

/** `history` gives the bars and asks the API, `plot` draws, `onChange()` hears that values changed. */
export class Studies {
  constructor({ history, feed, plot, onChange }) {
    Object.assign(this, { history, feed, plot, onChange });
    this.names = [];
    this.values = new Map(); // column -> (time -> value)
    this.now = null;
    this.heardAt = performance.now();
    this.problem = null;
    this.unsettled = Infinity; // the first bar that closed or was corrected since its values were asked for
    this.settledTo = -Infinity;
  }

  stop() {
    this.unsubscribe?.();
    clearTimeout(this.retry);
    clearTimeout(this.settling);
    this.settling = null;
  }

  /** Draw these and no others; those that stay are not fetched again. */
  choose(names) {
    this.stop();
    this.names = names;
    const chosen = described(names);
    const fresh = this.plot.setIndicators(chosen).concat(names.filter((name) => !this.isLoaded(name)));
    for (const key of [...this.values.keys()]) {
      if (!chosen.some(({ parts }) => parts.some((part) => part.key === key))) this.values.delete(key);
    }
    this.problem = null;
    if (names.length) {
      const { symbol, timeframe } = this.history;
      const topic = `indicators:${symbol}:${timeframe}:${names.join(",")}`;
      this.unsubscribe = this.feed.subscribe(topic, { update: (message) => this.receive(message) });
    }
    this.load([...new Set(fresh)]);
    if (this.unsettled < Infinity) this.settle(this.unsettled);
    return chosen;
  }

  isLoaded(name) {
    return [...this.values.keys()].some((key) => belongs(key, name));
  }

  async load(names = this.names) {
    const reach = this.history.bars.list.slice(-MOST_ROWS + 2); // two may close until the answer is made
    if (!names.length || !reach.length) return;
    this.heardAt = performance.now();
    try {
      const params = { names: names.join(","), start: reach[0].timestamp, limit: reach.length + 2 };
      const answer = await this.history.ask("indicators", params);
      this.problem = null;
      this.adopt(names.filter((name) => this.names.includes(name)), answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.problem = error.message;
      if (mayPass(error)) this.retry = setTimeout(() => this.load(), SILENCE_MS);
    }
    this.onChange();
  }

  adopt(names, { timestamp, values }) {
    const shown = timestamp.map((time) => this.history.bars.indexOf(time) >= 0);
    const times = timestamp.filter((_, i) => shown[i]);
    for (const [key, column] of Object.entries(values)) {
      if (!names.some((name) => belongs(key, name))) continue;
      const kept = column.filter((_, i) => shown[i]);
      this.values.set(key, new Map(times.map((time, i) => [time, kept[i]])));
    }
    for (const name of names) this.drawColumns(name, times);
    this.draw();
  }

  drawColumns(name, times) {
    const columns = [...this.values].filter(([key]) => belongs(key, name));
    this.plot.setIndicatorColumns(name, times, Object.fromEntries(columns.map(([key, column]) => [key, times.map((time) => column.get(time))])));
  }

  receive(message) {
    this.now = message;
    this.heardAt = performance.now();
    this.onChange();
  }

  /** A bar is closed: what the stream said of it while it moved gives way to what follows from all its trades. */
  settle(time, wait = SETTLE_MS) {
    if (!this.names.length) return;
    this.unsettled = Math.min(this.unsettled, time);
    this.settling ??= setTimeout(() => this.askSettled(), wait);
  }

  async askSettled() {
    const start = this.unsettled;
    this.unsettled = Infinity;
    this.settling = null;
    const names = this.names;
    try {
      this.adoptSettled(names, await this.history.ask("indicators", { names: names.join(","), start, limit: MOST_ROWS }));
    } catch (error) {
      if (error.name !== "AbortError" && mayPass(error)) this.settle(start, SILENCE_MS);
    }
    this.onChange();
  }

  adoptSettled(names, { timestamp, closed, values }) {
    const loaded = names.filter((name) => this.names.includes(name) && this.isLoaded(name));
    timestamp.forEach((time, i) => {
      if (!closed[i] || this.history.bars.indexOf(time) < 0) return; // the stream knows the open bar better
      const row = Object.fromEntries(Object.entries(values).map(([key, column]) => [key, column[i]]));
      for (const name of loaded) this.put(name, time, row);
      this.settledTo = Math.max(this.settledTo, time);
    });
  }

  put(name, time, row) {
    const own = Object.entries(row).filter(([key]) => belongs(key, name));
    this.plot.setIndicatorValue(name, time, Object.fromEntries(own));
    for (const [key, value] of own) this.values.get(key)?.set(time, value);
  }

  /** Draw the provisional values of the newest bar, once its candle is there to carry them. */
  draw() {
    const { now } = this;
    if (!now || this.history.bars.indexOf(now.timestamp) < 0) return;
    this.now = null;
    if (now.timestamp <= this.settledTo) return; // it was on its way while the bar closed
    for (const name of this.names) {
      if (!this.isLoaded(name)) continue; // its history is still on the way and will hold this value
      this.put(name, now.timestamp, now.values);
    }
  }

  at(key, time) {
    return this.values.get(key)?.get(time);
  }

  /** Once a second: where the stream does not bring values although bars move, ask for them. */
  tick(stale) {
    if (!stale && this.names.length && performance.now() - this.heardAt > SILENCE_MS) this.load();
  }
}

function belongs(key, name) {
  return key === name || key.startsWith(`${name}.`);
}
