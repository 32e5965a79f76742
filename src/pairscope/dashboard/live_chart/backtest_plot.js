// The drawing of a backtest: equity, drawdown under it, and the z-score with the rule's levels and the trades marked.

import { faded } from "./palette.js";
import { TimeChart } from "./time_chart.js";

/** The panes from top to bottom, by the name of the column that each draws. */
export const PANES = [
  { name: "equity", label: "Equity", share: 1 },
  { name: "drawdown", label: "Drawdown", share: 0.45 },
  { name: "zscore", label: "z-score", share: 0.95 },
];

export class BacktestPlot extends TimeChart {
  constructor(library, host, palette) {
    super(library, host, palette);
    this.series = new Map();
    this.levels = [];
    this.panes = [];
  }

  frame() {
    const frame = super.frame();
    const timeScale = { ...frame.timeScale, rightOffset: 1, minBarSpacing: 0.02, enableConflation: true };
    return { ...frame, timeScale };
  }

  /** Draw a run anew, all of it in view; `columns` by name, each as long as `times`. */
  setRun({ times, columns, trades, levels, bar_s: length }) {
    for (const series of this.series.values()) this.chart.removeSeries(series);
    this.series.clear();
    this.levels = [];
    this.run = { times, columns, trades, levels };
    this.panes = PANES.filter(({ name }) => columns[name]?.some((value) => value !== null));
    this.setBarLength(length);
    this.panes.forEach(({ name }, pane) => this.addPane(name, pane));
    this.chart.panes().forEach((pane, i) => this.panes[i] && pane.setStretchFactor(this.panes[i].share));
    for (const { name } of this.panes) this.series.get(name).priceScale().applyOptions({ scaleMargins: this.margins(name) });
    this.setLevels();
    this.setMarks();
    this.time.fitContent();
  }

  addPane(name, pane) {
    const { times, columns } = this.run;
    const { library } = this;
    if (name === "zscore") this.addHeld(pane);
    const kind = { equity: library.BaselineSeries, drawdown: library.AreaSeries }[name] ?? library.LineSeries;
    const made = this.chart.addSeries(kind, this.options(name), pane);
    made.setData(times.map((time, i) => point(time, columns[name][i])));
    this.series.set(name, made);
  }

  /** The stretches that a trade was open in, as a tint behind the z-score: one series a way, 1 where it was held. */
  addHeld(pane) {
    const scale = { priceRange: { minValue: 0, maxValue: 1 } };
    for (const side of ["long", "short"]) {
      const held = this.chart.addSeries(this.library.AreaSeries, { priceScaleId: "held", priceLineVisible: false, lastValueVisible: false, lineVisible: false, crosshairMarkerVisible: false, lineType: 1, autoscaleInfoProvider: () => scale, ...this.tint(side) }, pane);
      held.priceScale().applyOptions({ scaleMargins: { top: 0, bottom: 0 }, visible: false });
      held.setData(this.heldAt(side));
      this.series.set(side, held);
    }
  }

  tint(side) {
    const colour = faded(side === "long" ? this.palette.up : this.palette.down, 0.13);
    return { topColor: colour, bottomColor: colour, lineColor: colour };
  }

  heldAt(side) {
    const { times, trades } = this.run;
    let at = 0;
    return times.map((time) => {
      while (at < trades.length && trades[at].exit_timestamp <= time) at += 1;
      const open = at < trades.length && trades[at].entry_timestamp <= time && trades[at].side === side;
      return { time: time / 1000, value: open ? 1 : 0 };
    });
  }

  margins(name) {
    return { equity: { top: 0.2, bottom: 0.06 }, drawdown: { top: 0.3, bottom: 0.04 }, zscore: { top: 0.2, bottom: 0.08 } }[name];
  }

  options(name) {
    const { up, down, lines, muted } = this.palette;
    const common = { priceLineVisible: false, lastValueVisible: true, crosshairMarkerRadius: 3, lineWidth: name === "zscore" ? 1 : 2 };
    if (name === "equity") {
      const [top, bottom] = [faded(up, 0.22), faded(down, 0.22)];
      return { ...common, baseValue: { type: "price", price: this.run.columns.equity.find((value) => value !== null) ?? 0 }, topLineColor: up, topFillColor1: top, topFillColor2: faded(up, 0.02), bottomLineColor: down, bottomFillColor1: faded(down, 0.02), bottomFillColor2: bottom, priceFormat: format(0, (value) => value.toLocaleString("en-US", { maximumFractionDigits: Math.abs(value) < 1000 ? 2 : 0 })) };
    }
    if (name === "drawdown") {
      return { ...common, lineWidth: 1, lineColor: down, topColor: faded(down, 0.02), bottomColor: faded(down, 0.35), invertFilledArea: true, priceFormat: format(4, (value) => `${(value * 100).toFixed(2)} %`) };
    }
    return { ...common, color: lines[1] ?? muted, priceFormat: format(2, (value) => value.toFixed(1)) };
  }

  repaint(palette) {
    this.palette = palette;
    this.chart.applyOptions(this.frame());
    for (const { name } of this.panes) this.series.get(name).applyOptions(this.options(name));
    for (const side of ["long", "short"]) this.series.get(side)?.applyOptions(this.tint(side));
    this.setLevels();
    this.setMarks();
  }

  /** Draw the z-scores at which the rule acts. */
  setLevels() {
    const series = this.series.get("zscore");
    for (const level of this.levels) series?.removePriceLine(level);
    this.levels = [];
    if (!series) return;
    const { up, down, muted } = this.palette;
    const { entry, exit, stop } = this.run.levels;
    const line = (price, color, lineStyle, title) => this.levels.push(series.createPriceLine({ price, color, lineStyle, lineWidth: 1, axisLabelVisible: false, title }));
    const both = (level, above, below, style, title) => {
      if (level === null || level === undefined) return;
      line(level, above, style, title);
      if (level > 0) line(-level, below, style, "");
    };
    both(entry, down, up, 2, "entry");
    both(exit, faded(muted, 0.7), faded(muted, 0.7), 1, "exit");
    both(stop, faded(muted, 0.9), faded(muted, 0.9), 0, "stop");
  }

  /** Mark each trade where it began and ended: an arrow its way, a dot at its end, a square where it was given up. */
  setMarks() {
    const series = this.series.get("zscore") ?? this.series.get("equity");
    if (!series) return;
    const { up, down, muted } = this.palette;
    const { times, trades } = this.run;
    const marks = trades.flatMap((trade, i) => {
      const long = trade.side === "long";
      const given = trade.reason === "stop" || trade.reason === "liquidation";
      const place = (time) => times[atOrBefore(times, time)] / 1000;
      return [
        { time: place(trade.entry_timestamp), position: long ? "belowBar" : "aboveBar", shape: long ? "arrowUp" : "arrowDown", color: long ? up : down, size: 1, id: `in ${i}` },
        { time: place(trade.exit_timestamp), position: "inBar", shape: given ? "square" : "circle", color: given ? down : muted, size: given ? 1 : 0.6, text: given ? "✕" : undefined, id: `out ${i}` },
      ];
    });
    marks.sort((a, b) => a.time - b.time);
    if (this.marked === series) this.marks.setMarkers(marks);
    else this.marks = this.library.createSeriesMarkers(series, marks);
    this.marked = series;
  }

  /** Bring a stretch of time into view, with as much room on both sides. */
  look(from, to) {
    const { times } = this.run;
    const [first, last] = [atOrBefore(times, from), atOrBefore(times, to)];
    const room = Math.max(20, last - first);
    this.time.setVisibleLogicalRange({ from: first - room, to: last + room });
  }
}

/** The place of the last time that is no later; the first one's where all are later. */
export function atOrBefore(times, time) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

const point = (time, value) => (value === null || value === undefined ? { time: time / 1000 } : { time: time / 1000, value });

const format = (decimals, formatter) => ({ type: "custom", minMove: 10 ** -decimals, formatter });
