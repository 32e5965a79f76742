// The chart of a backtest: what is drawn, the words on it, and the steps from trade to trade.

import { SECONDS } from "./bars.js";
import { BacktestPlot, atOrBefore } from "./backtest_plot.js";
import { tradeAt, tradeWords } from "./backtest_words.js";
import { loadLibrary } from "./library.js";
import { element, mountable, say } from "./lifecycle.js";
import { signed } from "./pair_words.js";
import { paint, paletteAt, samePalette } from "./palette.js";
import { baseOf, moment } from "./words.js";

const THEME_MS = 1000;

class BacktestChart {
  constructor(host) {
    Object.assign(this, { host, hovered: null, chosen: -1 });
    this.build();
    this.timer = setInterval(() => this.tick(), THEME_MS);
  }

  build() {
    const button = (text, title, act) => {
      const made = element("button", { class: "ps-pair-download", type: "button", title, "aria-label": title }, text);
      made.addEventListener("click", act);
      return made;
    };
    this.area = element("div", { class: "ps-chart-area" });
    this.notice = element("div", { class: "ps-notice", role: "status", hidden: true });
    this.stage = element("div", { class: "ps-stage", tabindex: "0", role: "application", "aria-roledescription": "chart" }, this.area, this.notice);
    this.legend = new Map();
    this.trade = element("span", { class: "ps-bt-trade", role: "status" });
    this.back = button("◂ Trade", "Previous trade ([)", () => this.step(-1));
    this.on = button("Trade ▸", "Next trade (])", () => this.step(1));
    this.whole = button("Whole run", "Show all of it (Home)", () => this.showAll());
    this.note = element("span", { class: "ps-bt-note" });
    const foot = element("div", { class: "ps-pair-foot" }, this.back, this.on, this.whole, this.trade, this.note);
    this.node = element("section", { class: "ps-chart ps-bt" }, this.stage, foot);
    this.node.chart = this; // for who inspects the page
    this.host.append(this.node);
    this.stage.addEventListener("keydown", (event) => this.key(event));
  }

  update(data) {
    this.data = data;
    this.palette = paletteAt(this.host, data.palette);
    paint(this.host, this.palette);
    if (this.plot && !samePalette(this.palette, this.painted)) this.plot.repaint(this.palette);
    this.painted = this.palette;
    if (this.version === data.version) return;
    this.version = data.version;
    this.adopt(data);
    this.draw();
  }

  /** Read the run: trades as records in the order of their times. */
  adopt({ trades, trade_columns: names, timeframe }) {
    this.barS = SECONDS[timeframe] ?? 60;
    this.trades = trades.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i]])));
    this.trades.sort((a, b) => a.entry_timestamp - b.entry_timestamp);
    this.chosen = -1;
    this.hovered = null;
  }

  async draw() {
    if (!this.plot) {
      try {
        const library = await loadLibrary(this.data.library);
        if (this.ended || this.plot) return;
        this.plot = new BacktestPlot(library, this.area, this.palette);
      } catch (error) {
        this.notice.hidden = false;
        say(this.notice, error.message);
        return;
      }
      this.plot.chart.subscribeCrosshairMove(({ time, point }) => {
        this.hovered = point && time !== undefined ? time * 1000 : null;
        this.write();
      });
    }
    const { times, columns, levels } = this.data;
    this.plot.setRun({ times, columns, levels, trades: this.trades, bar_s: this.barS });
    this.showLegend();
    this.describe();
    this.write();
    this.node.dataset.version = this.version;
    requestAnimationFrame(() => this.place());
  }

  showLegend() {
    for (const { node } of this.legend.values()) node.remove();
    this.legend.clear();
    for (const { name, label } of this.plot.panes) {
      const value = element("span", { class: "ps-num" });
      const words = element("span", { class: "ps-pair-why" }, this.wordsOf(name));
      const node = element("div", { class: "ps-legend-pane ps-legend-lines", "data-pane": name }, element("b", {}, label), value, words);
      this.stage.append(node);
      this.legend.set(name, { node, value });
    }
  }

  wordsOf(name) {
    const [y, x] = this.data.pair.map(baseOf);
    const marks = this.legendMarks();
    return { equity: "USDT, as if closed at each bar · UTC", drawdown: "below the peak so far", zscore: `of ${y} on ${x}, known at each bar · ${marks}` }[name];
  }

  legendMarks() {
    return "▲ long in, ▼ short in, ● out, ■ stopped";
  }

  place() {
    if (!this.plot) return;
    const tops = this.plot.paneTops();
    this.plot.panes.forEach(({ name }, i) => (this.legend.get(name).node.style.top = `${(tops[i] ?? 0) + 4}px`));
  }

  write() {
    const { times, columns } = this.data;
    const at = this.hovered === null ? times.length - 1 : atOrBefore(times, this.hovered);
    const time = this.hovered === null ? "" : ` · ${moment(times[at], this.barS)}`;
    const texts = {
      equity: (value) => `${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}${time}`,
      drawdown: (value) => `${signed(value * 100, 2)} %`,
      zscore: (value) => signed(value, 2),
    };
    for (const [name, { value }] of this.legend) {
      const found = columns[name][at];
      say(value, found === null || found === undefined ? "–" : texts[name](found));
    }
    const reach = times.length > 1 ? (2 * (times.at(-1) - times[0])) / times.length : 0;
    const hovered = this.hovered === null ? -1 : tradeAt(this.trades, this.hovered, reach);
    const shown = hovered >= 0 ? hovered : this.chosen;
    say(this.trade, shown < 0 ? "" : `${shown + 1} of ${this.trades.length}: ${tradeWords(this.trades[shown], this.barS)}`);
    say(this.note, shown < 0 ? this.noteNow() : "");
  }

  noteNow() {
    const { bars_a_point: width, all_trades: all } = this.data;
    const parts = [this.trades.length ? "Hover over a trade, or step through them." : "No trade was made."];
    if (all > this.trades.length) parts.push(`The ${this.trades.length} largest of ${all} trades are marked.`);
    if (width > 1) parts.push(`Two points stand for ${width} bars: their lowest and highest.`);
    return parts.join(" ");
  }

  /** Go to the next trade, or the one before. */
  step(by) {
    const { length } = this.trades;
    if (!length || !this.plot) return;
    this.chosen = this.chosen < 0 ? (by > 0 ? 0 : length - 1) : (this.chosen + by + length) % length;
    const { entry_timestamp: from, exit_timestamp: to } = this.trades[this.chosen];
    this.plot.look(from, to);
    this.hovered = null;
    this.write();
  }

  showAll() {
    this.chosen = -1;
    this.plot?.time.fitContent();
    this.write();
  }

  key(event) {
    if (event.key === "[") this.step(-1);
    else if (event.key === "]") this.step(1);
    else if (event.key === "Home") this.showAll();
    else return this.plot?.key(event);
    event.preventDefault();
  }

  describe() {
    const [y, x] = this.data.pair;
    const last = this.data.columns.equity?.at(-1);
    const ends = last === null || last === undefined ? "" : ` Equity ends at ${last.toFixed(2)}.`;
    this.stage.setAttribute("aria-label", `Equity, drawdown and z-score of a backtest of ${y} against ${x}, ${this.trades.length} trades.${ends} Arrow keys move, plus and minus zoom, square brackets step through the trades, Home shows the whole run.`);
    for (const button of [this.back, this.on]) button.disabled = !this.trades.length;
  }

  tick() {
    this.place(); // the panes may have been dragged
    if (this.data && !samePalette(paletteAt(this.host, this.data.palette), this.palette)) this.update(this.data);
  }

  destroy() {
    this.ended = true;
    clearInterval(this.timer);
    this.plot?.destroy();
  }
}

export const mount = mountable((host) => new BacktestChart(host));
