// Pair Analytics' live part: a pair's figures, and spread, z-score, hedge ratios and correlation over one time.

import { SECONDS } from "./bars.js";
import { csvOf, isoOf, save } from "./csv.js";
import { sharedFeed } from "./feed.js";
import { drawNever, drawSoon } from "./frames.js";
import { Freshness } from "./freshness.js";
import { loadLibrary } from "./library.js";
import { element, mountable, say } from "./lifecycle.js";
import { PairFigures } from "./pair_figures.js";
import { inHindsight } from "./pair_hindsight.js";
import { PairLegend } from "./pair_legend.js";
import { PANES, PairPlot, valueOf } from "./pair_plot.js";
import { PairSeries, rowAt } from "./pair_series.js";
import { paint, paletteAt, samePalette } from "./palette.js";
import { addressesOf } from "./rest.js";
import { RIGHT_MARGIN } from "./time_chart.js";
import { age, baseOf, moment } from "./words.js";

const TICK_MS = 250;
const VIEW_BARS = 360; // looked at first: six hours of minutes
const COMPUTED = ["y", "x", "timeframe", "lookback", "window", "method", "price_space"];

class PairBoard {
  constructor(host, data) {
    this.host = host;
    this.addresses = addressesOf(data.api);
    this.feed = sharedFeed(this.addresses.feed);
    this.freshness = new Freshness(this.feed, data.stall_ms);
    this.hovered = null;
    this.heardAt = performance.now();
    this.redraw = () => this.draw();
    this.build();
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  build() {
    const button = (name, text, title) => element("button", { class: name, type: "button", title }, text);
    this.figures = new PairFigures();
    this.alarm = element("div", { class: "ps-pair-alarm", role: "alert", hidden: true });
    this.area = element("div", { class: "ps-chart-area" });
    this.notice = element("div", { class: "ps-notice", role: "status", hidden: true });
    this.newest = button("ps-live", "Newest ▸", "Back to the newest bar (End)");
    this.newest.hidden = true;
    this.stage = element("div", { class: "ps-stage", tabindex: "0", role: "application", "aria-roledescription": "chart" }, this.area, this.notice, this.newest);
    this.legend = new PairLegend(this.stage);
    this.note = element("span", { class: "ps-pair-note" });
    const downloads = PANES.map(({ name, label }) => {
      const made = button("ps-pair-download", `Download ${label.toLowerCase()}`, `The ${label.toLowerCase()} chart's data as CSV`);
      made.addEventListener("click", () => this.download(name));
      return made;
    });
    this.node = element("section", { class: "ps-chart ps-pair" }, this.stage, element("div", { class: "ps-pair-foot" }, this.note, ...downloads));
    this.node.board = this; // for who inspects the page
    this.host.append(this.figures.node, this.alarm, this.node);
    this.newest.addEventListener("click", () => this.plot.goLive());
    this.stage.addEventListener("keydown", (event) => this.plot?.key(event));
  }

  update(data) {
    const { settings } = data;
    const before = this.settings;
    const { hindsight } = this.data ?? {};
    this.data = data;
    this.settings = settings;
    this.palette = paletteAt(this.host, data.palette);
    paint(this.host, this.palette);
    this.legend.setPair(settings, data.hindsight);
    if (!before || COMPUTED.some((name) => before[name] !== settings[name])) this.start(before);
    else if (before.entry !== settings.entry || before.exit !== settings.exit) this.drawLevels();
    else if (Boolean(hindsight) !== Boolean(data.hindsight)) this.drawAll();
    this.setPlot();
    this.figures.write(this.state());
  }

  async setPlot() {
    if (this.plot) {
      if (!samePalette(this.palette, this.painted)) this.plot.repaint(this.palette);
      this.painted = this.palette;
      return;
    }
    try {
      const library = await loadLibrary(this.data.library);
      if (this.ended || this.plot) return;
      this.plot = new PairPlot(library, this.area, this.palette);
    } catch (error) {
      this.tell(error.message);
      return;
    }
    this.painted = this.palette;
    this.plot.chart.subscribeCrosshairMove(({ time, point }) => {
      this.hovered = point && time !== undefined ? time * 1000 : null;
      this.write();
    });
    this.plot.time.subscribeVisibleLogicalRangeChange(() => {
      this.node.dataset.view = this.plot.viewText();
      this.newest.hidden = !this.series.rows.length || this.plot.followsLive();
    });
    this.plot.setLevels(this.settings);
    this.plot.setBarLength(this.series.length);
    this.drawAll();
  }

  /** Follow this pair by these settings; what was drawn stays until the new is there. */
  start(before) {
    this.series?.stop();
    drawNever(this.redraw);
    const { settings, feed } = this;
    const other = !before || ["y", "x", "timeframe"].some((name) => before[name] !== settings[name]);
    if (other) this.placed = false;
    this.node.classList.add("ps-is-loading");
    this.node.dataset.pair = `${settings.y}:${settings.x}`;
    this.series = new PairSeries({
      settings,
      feed,
      rest: this.addresses.rest,
      onRows: () => this.drawAll(),
      onRow: () => drawSoon(this.redraw),
      onNow: () => this.hear(),
      onNotice: (text) => this.tell(text),
    });
    this.plot?.setLevels(settings);
    this.plot?.setBarLength(this.series.length);
  }

  state() {
    const { report, live, followed } = this.series;
    return { settings: this.settings, report, live, followed, heardAt: this.heardAt };
  }

  // ── drawing ───────────────────────────────────────────────────────────────────────────────────────────────────

  drawAll() {
    if (!this.plot || !this.series.report) return;
    this.node.classList.remove("ps-is-loading");
    this.drawRows();
    if (!this.placed && this.series.rows.length) {
      const room = Math.max(100, this.area.clientWidth - 70);
      this.plot.setView({ barSpacing: room / Math.min(VIEW_BARS, this.series.rows.length + RIGHT_MARGIN), position: RIGHT_MARGIN });
      this.placed = true;
    }
    this.figures.write(this.state());
    this.describe();
    this.write();
  }

  drawRows() {
    this.plot.setRows(this.look());
    this.drawn = this.series.newest?.timestamp ?? 0;
  }

  /** The rows as they are looked at: each under the hedge ratio known then, or all under the newest. */
  look() {
    const { rows, hedge } = this.series;
    this.shown = this.data.hindsight ? inHindsight(rows, this.settings, hedge) : rows;
    return this.shown;
  }

  draw() {
    const { newest, rows } = this.series;
    if (!this.plot || !newest || !this.series.report) return;
    const behind = rows.length > 1 && rows.at(-2).timestamp > this.drawn;
    if (behind || (this.data.hindsight && newest.timestamp > this.drawn)) this.drawRows();
    else {
      if (newest.timestamp > this.drawn && rows.length > 1) this.plot.setRow(rows.at(-2)); // as it closed
      this.plot.setRow(newest);
      this.drawn = newest.timestamp;
    }
    this.write();
  }

  drawLevels() {
    if (!this.plot) return;
    this.plot.setLevels(this.settings);
    this.drawRows();
    this.write();
  }

  // ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────

  hear() {
    this.heardAt = performance.now();
    drawSoon((this.rewrite ??= () => this.figures.write(this.state())));
  }

  write() {
    const { series, plot } = this;
    if (!plot) return;
    const rows = this.data.hindsight ? (this.shown ?? []) : series.rows;
    const past = this.hovered !== null && this.hovered !== series.newest?.timestamp;
    const row = (past && rowAt(rows, this.hovered)) || series.newest;
    const hovered = this.hovered !== null && row?.timestamp === this.hovered;
    this.legend.write(row, { plot, settings: this.settings, time: row ? moment(row.timestamp, series.length) : "", hovered });
  }

  tell(text) {
    this.notice.hidden = text === null;
    say(this.notice, text ?? "");
    if (text !== null && text !== "Loading…") this.node.classList.remove("ps-is-loading");
    if (text !== null && !this.series?.report) this.plot?.setRows([]);
  }

  tick() {
    const now = performance.now();
    this.figures.tick(this.state(), now);
    this.seconds = ((this.seconds ?? 0) + 1) % 4;
    if (this.seconds) return;
    const { stale, silentMs } = this.freshness.now();
    this.node.classList.toggle("ps-is-stale", stale);
    this.node.dataset.stale = stale ? `Stale: no update for ${age(silentMs)}` : "";
    this.warn();
    say(this.note, this.noteNow());
    if (this.series.newest?.timestamp !== this.described) this.describe();
    this.write(); // the panes may have been dragged
    const palette = paletteAt(this.host, this.data.palette);
    if (!samePalette(palette, this.palette)) this.update(this.data);
  }

  /** What must not be overlooked: the sentinel, and a leg that does not trade. */
  warn() {
    const { live, followed, report } = this.state();
    const sentinel = followed && live?.timestamp ? live.sentinel : report?.sentinel;
    const lines = [];
    if (sentinel?.status === "broken") {
      const since = sentinel.tripped ? ` since ${moment(sentinel.tripped, this.series.length).slice(-5)} UTC` : "";
      lines.push(`▼ The spread has stopped reverting${since}: do not treat this as a wide spread.`);
    }
    if (live?.stale) {
      const leg = this.settings[live.stale_leg] ?? live.stale_leg ?? "A leg";
      lines.push(`▲ ${leg} has not traded for ${age(live.age_ms + performance.now() - this.heardAt)}: its last price may be old, and so may the z-score be.`);
    }
    say(this.alarm, lines.join(" "));
    this.alarm.hidden = !lines.length;
  }

  noteNow() {
    const { followed, live } = this.state();
    const { newest, length } = this.series;
    if (live?.stale && !live.timestamp && newest) return `Ends with the bar of ${moment(newest.timestamp, SECONDS["1d"])} ${moment(newest.timestamp, length).slice(6)} UTC: nothing moves until both legs trade again`;
    if (followed) return "Moves with every trade";
    if (!live) return "Moves at the close of each bar";
    if (!live.on_watchlist) return "Moves at the close of each bar: watch the pair by these settings to see every trade";
    return "Moves at the close of each bar: live values are computed by the watch-list's settings; save these there to see every trade";
  }

  describe() {
    const { y, x, timeframe } = this.settings;
    const { newest } = this.series;
    this.described = newest?.timestamp;
    const z = newest?.zscore === null || newest?.zscore === undefined ? "no z-score yet" : `z-score ${newest.zscore.toFixed(2)}`;
    this.stage.setAttribute(
      "aria-label",
      `Spread, z-score, hedge ratios and correlation of ${y} against ${x}, ${timeframe}: ${z}. Arrow keys move, plus and minus zoom, End shows the newest.`,
    );
  }

  download(name) {
    const { columns } = PANES.find((pane) => pane.name === name);
    const { y, x, timeframe, entry } = this.settings;
    const rows = this.look().filter(({ closed }) => closed);
    const values = columns.map((column) => [column, (row) => valueOf(column, row, entry)]);
    const kind = this.data.hindsight && ["spread", "zscore"].includes(name) ? "-hindsight" : "";
    save(`${baseOf(y)}-${baseOf(x)}-${timeframe}-${name}${kind}.csv`, csvOf(rows, [["timestamp", (row) => isoOf(row.timestamp)], ...values]));
  }

  destroy() {
    this.ended = true;
    clearInterval(this.timer);
    drawNever(this.redraw);
    drawNever(this.rewrite);
    this.freshness.end();
    this.series?.stop();
    this.plot?.destroy();
  }
}

export const mount = mountable((host, data) => new PairBoard(host, data));
