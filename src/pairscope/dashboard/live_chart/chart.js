// One symbol's live chart: its bars and indicators drawn as they change, looked at and moved by a person.

import { drawNever, drawSoon } from "./frames.js";
import { History } from "./history.js";
import { Legend } from "./legend.js";
import { element, say } from "./lifecycle.js";
import { samePalette } from "./palette.js";
import { Plot } from "./plot.js";
import { Studies } from "./studies.js";
import { RIGHT_MARGIN } from "./time_chart.js";
import { age, moment, price } from "./words.js";

const NEAR_THE_START = 60; // bars left of the view at which older ones are fetched
const NARROW = 500;
const views = new Map(); // where each symbol was looked at, kept while its chart is away

export class Chart {
  constructor({ symbol, library, feed, rest, palette }) {
    Object.assign(this, { symbol, feed, rest, palette, hovered: null, dirty: new Map() });
    this.build();
    this.node.chart = this; // for who inspects the page
    this.legend = new Legend(this.stage, symbol);
    this.plot = new Plot(library, this.area, palette);
    this.redraw = () => this.draw();
    this.listen();
  }

  get bars() {
    return this.history.bars;
  }

  build() {
    const button = (name, text, title) => element("button", { class: name, type: "button", title }, text);
    this.area = element("div", { class: "ps-chart-area" });
    this.notice = element("div", { class: "ps-notice", role: "status", hidden: true });
    this.newest = button("ps-live", "Newest ▸", "Back to the newest bar (End)");
    this.newest.hidden = true;
    this.wide = button("ps-wide-button", "⤢", "Full width");
    this.wide.setAttribute("aria-pressed", "false");
    this.stage = element("div", { class: "ps-stage", tabindex: "0", role: "application", "aria-roledescription": "chart" }, this.area, this.notice, this.newest);
    this.node = element("section", { class: "ps-chart", "data-symbol": this.symbol }, this.stage, this.wide);
  }

  listen() {
    this.newest.addEventListener("click", () => this.plot.goLive());
    this.wide.addEventListener("click", () => this.setWide(!this.node.classList.contains("ps-is-wide")));
    this.stage.addEventListener("keydown", (event) => this.plot.key(event));
    this.plot.chart.subscribeCrosshairMove(({ time, point }) => {
      this.hovered = point && time !== undefined ? time * 1000 : null;
      this.write();
    });
    this.plot.time.subscribeVisibleLogicalRangeChange((range) => {
      if (!this.history) return;
      this.node.dataset.view = this.plot.viewText();
      this.newest.hidden = !this.bars.list.length || this.plot.followsLive();
      if (range && range.from < NEAR_THE_START) this.history.loadOlder();
    });
  }

  /** Make the chart show this timeframe and these indicators; what stays the same is left alone. */
  configure({ timeframe, indicators, palette }) {
    if (!samePalette(palette, this.palette)) this.repaint(palette);
    const other = timeframe !== this.history?.timeframe;
    if (other) this.start(timeframe);
    if (!other && indicators.join() === this.studies.names.join()) return;
    const chosen = this.studies.choose(indicators);
    this.stage.style.setProperty("--ps-panes", chosen.filter(({ pane }) => pane).length);
    this.write();
  }

  start(timeframe) {
    this.stop();
    this.dirty.clear();
    this.placed = false;
    const { symbol, feed, rest, plot } = this;
    this.history = new History({
      symbol,
      timeframe,
      feed,
      rest,
      onPage: (before) => this.drawAll(before),
      onBar: (bar, what) => this.note(bar, what),
      onNotice: (text) => this.tell(text),
    });
    plot.setBarLength(this.history.length);
    plot.clear();
    this.studies = new Studies({ history: this.history, feed, plot, onChange: () => drawSoon(this.redraw) });
    this.legend.setTimeframe(timeframe);
  }

  stop() {
    drawNever(this.redraw);
    this.history?.stop();
    this.studies?.stop();
  }

  destroy() {
    views.set(this.symbol, this.plot.view());
    this.stop();
    this.plot.destroy();
  }

  // ── drawing ───────────────────────────────────────────────────────────────────────────────────────────────────

  drawAll(before) {
    this.dirty.clear();
    this.plot.setDecimals(this.bars.decimals());
    this.plot.setBars(this.bars.list, before);
    if (!this.placed && this.bars.list.length) this.place();
    this.studies.load();
    this.countGaps();
    this.write();
  }

  countGaps() {
    this.legend.setGaps(this.bars.list.filter(({ gap }) => gap).length);
  }

  note(bar, what) {
    this.dirty.set(bar.timestamp, this.dirty.get(bar.timestamp) === "insert" ? "insert" : what);
    if (bar.closed) this.studies?.settle(bar.timestamp);
    drawSoon(this.redraw);
  }

  /** Draw what came since the last time. */
  draw() {
    const changed = [...this.dirty].sort(([a], [b]) => a - b);
    this.dirty.clear();
    const decimals = changed.length ? this.bars.decimals() : 0;
    if (decimals > this.plot.decimals || changed.some(([, what]) => what === "insert")) {
      this.plot.setDecimals(Math.max(decimals, this.plot.decimals));
      this.plot.setBars(this.bars.list);
    } else {
      for (const bar of changed.map(([timestamp]) => this.bars.at(timestamp))) if (bar) this.plot.setBar(bar);
    }
    if (!this.placed && this.bars.list.length) this.place();
    this.studies.draw();
    if (changed.some(([timestamp, what]) => what !== "update" || this.bars.at(timestamp)?.gap)) this.countGaps();
    this.write();
  }

  /** Look at where this symbol was last looked at, else at its newest bars. */
  place() {
    const kept = views.get(this.symbol);
    views.delete(this.symbol);
    if (kept) this.plot.setView(kept);
    else if (!this.looked) this.plot.setView({ barSpacing: this.area.clientWidth < NARROW ? 5 : 7, position: RIGHT_MARGIN });
    else this.plot.goLive();
    this.placed = this.looked = true;
  }

  repaint(palette) {
    this.palette = palette;
    this.plot.repaint(palette);
    if (!this.history) return;
    this.plot.recolour(this.bars.list);
    this.studies.load();
    this.write();
  }

  // ── words and hands ───────────────────────────────────────────────────────────────────────────────────────────

  write() {
    if (!this.history) return;
    const bar = (this.hovered !== null && this.bars.at(this.hovered)) || this.bars.newest;
    const hovered = this.hovered !== null && bar?.timestamp === this.hovered;
    const { length } = this.history;
    this.legend.setBar(bar, { decimals: this.plot.decimals, length, hovered, palette: this.palette });
    this.legend.setReadings(this.plot.readings((key) => this.studies.at(key, bar?.timestamp)), this.plot.paneTops());
    this.legend.setProblem(this.studies.problem);
  }

  tell(text) {
    this.notice.hidden = text === null;
    say(this.notice, text ?? "");
  }

  /** Once a second: say whether the picture is old, and, bar by bar, what a person who cannot see it should hear. */
  tick({ stale, silentMs }) {
    this.node.classList.toggle("ps-is-stale", stale);
    this.node.dataset.stale = stale ? `Stale: no update for ${age(silentMs)}` : "";
    this.studies.tick(stale);
    const { newest } = this.bars;
    if (newest?.timestamp !== this.described || !this.stage.hasAttribute("aria-label")) this.describe(newest);
    if (this.plot.indicators.size) this.write(); // the panes may have been dragged
  }

  describe(bar) {
    this.described = bar?.timestamp;
    const { timeframe, length } = this.history;
    const words = bar
      ? `${price(bar.close, this.plot.decimals)} in the bar of ${moment(bar.timestamp, length)} UTC`
      : "no bars yet";
    this.stage.setAttribute(
      "aria-label",
      `Candlesticks of ${this.symbol}, ${timeframe}: ${words}. Arrow keys move, plus and minus zoom, End shows the newest.`,
    );
  }

  setWide(wide) {
    this.node.classList.toggle("ps-is-wide", wide);
    this.wide.setAttribute("aria-pressed", String(wide));
    this.wide.title = wide ? "Side by side again" : "Full width";
  }
}
