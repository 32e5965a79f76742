// The chart at the moment of a firing: candles, or the pair's own line, around its time, with a mark and the threshold.

import { conditionWords, conditionsOf, subjectWords, timeWords, valueWords } from "./alert_words.js";
import { Bars, SECONDS } from "./bars.js";
import { loadLibrary } from "./library.js";
import { element, say } from "./lifecycle.js";
import { known } from "./pair_words.js";
import { Plot } from "./plot.js";
import { get } from "./rest.js";
import { TimeChart } from "./time_chart.js";

const BEFORE = 90; // bars
const AFTER = 40;
const AGAIN_MS = 5000; // so often a moment whose bars are still to come is read again
const LEVEL_ROOM = 3; // a threshold is in view up to so many times the height of what is drawn away

// Which column of the statistics shows what a type watches; the others are shown by the z-score.
const COLUMNS = { zscore: "zscore", spread: "spread", correlation: "correlation", hedge_drift: "beta", volatility: "volatility" };
const LABELS = { zscore: "z-score", spread: "spread", correlation: "correlation", beta: "hedge ratio", volatility: "volatility, a year" };

class MomentLine extends TimeChart {
  constructor(library, host, palette, column) {
    super(library, host, palette);
    const decimals = { spread: 5, beta: 4 }[column] ?? 2;
    this.column = column;
    this.series = this.chart.addSeries(library.LineSeries, { color: palette.lines[1], lineWidth: 2, priceLineVisible: false, priceFormat: { type: "custom", minMove: 10 ** -decimals, formatter: (value) => (column === "volatility" ? `${(value * 100).toFixed(1)} %` : value.toFixed(decimals)) } });
    this.series.priceScale().applyOptions({ scaleMargins: { top: 0.2, bottom: 0.1 } });
  }

  set({ timestamp, values }) {
    this.setPoints(this.series, timestamp.map((time, i) => (known(values[i]) ? { time: time / 1000, value: values[i] } : { time: time / 1000 })));
  }
}

export class AlertMoment {
  constructor({ rest, libraryAddress, kinds, onClose }) {
    Object.assign(this, { rest, libraryAddress, kinds, firing: null, run: 0 });
    this.area = element("div", { class: "ps-chart-area" });
    this.notice = element("div", { class: "ps-notice", role: "status" });
    this.stage = element("div", { class: "ps-stage", tabindex: "0", role: "application", "aria-roledescription": "chart" }, this.area, this.notice);
    this.title = element("h3", { class: "ps-moment-title" });
    this.words = element("p", { class: "ps-moment-words" });
    const close = element("button", { type: "button", class: "ps-moment-close", "aria-label": "Close the chart", title: "Close the chart (Esc)" }, "✕");
    close.addEventListener("click", onClose);
    const head = element("div", { class: "ps-moment-head" }, element("div", {}, this.title, this.words), close);
    this.node = element("section", { class: "ps-chart ps-moment", hidden: true }, head, this.stage);
    this.node.chart = this; // for who inspects the page
    this.stage.addEventListener("keydown", (event) => this.plot?.key(event));
  }

  /** Show a firing; null shows nothing. */
  async show(firing, palette) {
    clearTimeout(this.timer);
    const run = (this.run += 1);
    Object.assign(this, { firing, palette });
    this.node.hidden = !firing;
    this.drop();
    if (!firing) return;
    say(this.title, firing.message ?? "");
    say(this.words, `${subjectWords(firing)} · ${timeWords(firing.timestamp)} UTC`);
    this.node.dataset.firing = firing.id;
    this.tell("Loading…");
    try {
      const [library, rule] = await Promise.all([loadLibrary(this.libraryAddress), this.ruleOf(firing)]);
      if (run === this.run) await this.draw(run, library, this.conditionOf(firing, rule));
    } catch (error) {
      if (run === this.run) this.tell(`The bars around it cannot be shown: ${error.message}.`);
    }
  }

  /** The rule that fired; null where it was deleted since. */
  async ruleOf({ alert_id: id }) {
    try {
      return await get(this.rest, `/api/alerts/${encodeURIComponent(id)}`);
    } catch {
      return null;
    }
  }

  /** The condition that fired, as the rule has it; what the firing says where the rule is no more. */
  conditionOf(firing, rule) {
    const same = (one) => one.type === firing.type && one.condition === firing.condition && one.symbol === firing.symbol && one.y === firing.y;
    const found = rule ? conditionsOf(rule) : [];
    return { timeframe: "1m", window: 60, lookback: 1440, method: "ols", price_space: "log", ...defined(found.find(same) ?? found.find(({ type }) => type === firing.type) ?? {}), ...defined(rule ? {} : { timeframe: firing.timeframe, window: firing.window, lower: firing.lower, upper: firing.upper }), ...defined({ type: firing.type, condition: firing.condition, symbol: firing.symbol, y: firing.y, x: firing.x, threshold: firing.threshold }) };
  }

  async draw(run, library, condition) {
    const barMs = SECONDS[condition.timeframe] * 1000;
    const at = Math.floor(this.firing.timestamp / barMs) * barMs;
    const range = { timeframe: condition.timeframe, start: at - BEFORE * barMs, end: at + (AFTER + 1) * barMs, limit: BEFORE + AFTER + 2 };
    const pair = Boolean(condition.y);
    const column = COLUMNS[condition.type] ?? (pair ? "zscore" : null);
    const came = column ? await this.values(condition, range, column) : await this.bars(condition, range);
    if (run !== this.run) return; // another moment was chosen meanwhile, and may be drawn already
    const made = column ? this.line(library, came, range, column) : this.candles(library, came, range);
    const place = nearest(made.times, at);
    if (place === null) this.tell("There are no stored bars around it.");
    else this.mark(library, made.series, made.times[place], condition, column);
    const looked = this.time ? null : { from: (place ?? 0) - 45, to: (place ?? 0) + 25 };
    if (looked) this.plot.time.setVisibleLogicalRange(looked);
    this.describe(condition, column);
    this.node.dataset.drawn = this.firing.id;
    if (range.end > Date.now() && at + AFTER * barMs > Date.now()) this.timer = setTimeout(() => this.more(run, library, condition, range, column), AGAIN_MS);
  }

  /** Bars after the moment are still to come: draw them as they do, and leave the view where it is. */
  async more(run, library, condition, range, column) {
    try {
      if (column) this.plot.set(await this.values(condition, range, column));
      else this.plot.setBars(await this.bars(condition, range));
    } catch {
      /* the next time */
    }
    if (run === this.run && range.end > Date.now()) this.timer = setTimeout(() => this.more(run, library, condition, range, column), AGAIN_MS);
  }

  async bars({ symbol }, { limit, ...range }) {
    return (await get(this.rest, `/api/ohlc/${encodeURIComponent(symbol)}`, { ...range, limit })).bars;
  }

  candles(library, list, range) {
    const plot = this.make(new Plot(library, this.area, this.palette));
    const bars = new Bars();
    bars.merge(list);
    plot.setDecimals(bars.decimals());
    plot.setBarLength(SECONDS[range.timeframe]);
    plot.setBars(bars.list);
    return { series: plot.candles, times: bars.list.map(({ timestamp }) => timestamp) };
  }

  async values({ symbol, y, x, window, lookback, method, price_space }, range, column) {
    const of = y ? { y, x, window, lookback, method, price_space } : { symbol, window };
    const { series } = await get(this.rest, "/api/analytics/statistics", { ...of, ...range });
    return { timestamp: series.timestamp, values: series[column] ?? [] };
  }

  line(library, found, range, column) {
    const plot = this.make(new MomentLine(library, this.area, this.palette, column));
    plot.setBarLength(SECONDS[range.timeframe]);
    plot.set(found);
    return { series: plot.series, times: found.timestamp };
  }

  make(plot) {
    this.drop();
    this.tell(null);
    this.plot = plot;
    return plot;
  }

  /** Mark the bar, and draw the threshold where the chart counts in its unit. */
  mark(library, series, time, condition, column) {
    const { accent, muted } = this.palette;
    const down = ["below", "crosses_below"].includes(condition.condition);
    this.marked = time / 1000;
    library.createSeriesMarkers(series, [{ time: this.marked, position: down ? "aboveBar" : "belowBar", shape: down ? "arrowDown" : "arrowUp", color: accent, size: 1.6, text: valueWords(this.kinds, condition, this.firing.value) }]);
    const drawn = column === null ? condition.type === "price" && condition.condition !== "moves" : column === COLUMNS[condition.type] && column !== "beta";
    if (!drawn) return;
    const levels = [condition.threshold, condition.lower, condition.upper].filter(known);
    for (const price of levels) {
      series.createPriceLine({ price, color: accent, lineWidth: 1, lineStyle: 2, axisLabelVisible: true, title: "threshold" });
    }
    series.applyOptions({
      autoscaleInfoProvider: (original) => {
        const info = original();
        if (!info) return info;
        // A level that is far away would press what happened into one flat line.
        const { minValue, maxValue } = info.priceRange;
        const room = (maxValue - minValue) * LEVEL_ROOM;
        const inView = levels.filter((level) => level >= minValue - room && level <= maxValue + room);
        info.priceRange.minValue = Math.min(minValue, ...inView);
        info.priceRange.maxValue = Math.max(maxValue, ...inView);
        return info;
      },
    });
    if (column === "zscore") series.createPriceLine({ price: 0, color: muted, lineWidth: 1, lineStyle: 0, axisLabelVisible: false });
  }

  describe(condition, column) {
    const drawn = column ? `${LABELS[column]} of ${subjectWords(condition)}` : `Candles of ${subjectWords(condition)}`;
    say(this.words, `${drawn} · ${condition.timeframe} · UTC · ${conditionWords(this.kinds, condition)}`);
    this.stage.setAttribute("aria-label", `${drawn} around ${timeWords(this.firing.timestamp)} UTC, when the alert fired at ${valueWords(this.kinds, condition, this.firing.value)}. Arrow keys move, plus and minus zoom, Escape closes.`);
  }

  tell(text) {
    this.notice.hidden = text === null;
    say(this.notice, text ?? "");
  }

  drop() {
    this.plot?.destroy();
    this.plot = null;
    delete this.node.dataset.drawn;
  }

  destroy() {
    this.run += 1;
    clearTimeout(this.timer);
    this.drop();
  }
}

const defined = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== ""));

/** The place of the bar that a moment lies in, else of the one before it; null where there is none at all. */
function nearest(times, at) {
  if (!times.length) return null;
  const place = times.findLastIndex((time) => time <= at);
  return Math.max(0, place);
}

