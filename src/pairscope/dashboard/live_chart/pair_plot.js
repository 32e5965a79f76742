// The drawing of one pair: spread in its band, z-score, hedge ratios and correlation, one above the other over one time.

import { faded } from "./palette.js";
import { TimeChart } from "./time_chart.js";

/** The panes from top to bottom: the name of a chart, and of the columns that it draws. */
export const PANES = [
  { name: "spread", label: "Spread", columns: ["spread", "mean", "upper", "lower"] },
  { name: "zscore", label: "z-score", columns: ["zscore"] },
  { name: "hedge", label: "Hedge ratio", columns: ["beta_ols", "beta_kalman", "beta_huber"] },
  { name: "correlation", label: "Correlation", columns: ["correlation"] },
];

const SHARES = [1, 0.8, 0.6, 0.5];
const DECIMALS = { spread: 5, zscore: 2, hedge: 4, correlation: 3 };

export class PairPlot extends TimeChart {
  constructor(library, host, palette) {
    super(library, host, palette);
    this.levels = [];
    this.lines = new Map();
    PANES.forEach(({ name, columns }, pane) => {
      for (const column of [...columns].reverse()) {
        this.lines.set(column, this.chart.addSeries(library.LineSeries, this.options(name, column), pane));
      }
    });
    this.chart.panes().forEach((pane, i) => pane.setStretchFactor(SHARES[i]));
    for (const { columns } of PANES) this.lines.get(columns[0]).priceScale().applyOptions({ scaleMargins: { top: 0.24, bottom: 0.08 } });
  }

  frame() {
    const frame = super.frame();
    return { ...frame, timeScale: { ...frame.timeScale, minBarSpacing: 0.3 } };
  }

  /** The colour of a column; the spread's method has the same everywhere. */
  colourOf(column) {
    const { lines, muted } = this.palette;
    return { spread: lines[1], zscore: lines[1], beta_ols: lines[0], beta_kalman: lines[2], beta_huber: lines[3], correlation: lines[4] }[column] ?? muted;
  }

  options(pane, column) {
    const main = column === pane || column.startsWith("beta_");
    const decimals = this.decimals?.[pane] ?? DECIMALS[pane];
    return {
      color: main ? this.colourOf(column) : faded(this.palette.muted, column === "mean" ? 0.9 : 0.7),
      lineWidth: main ? 2 : 1,
      lineStyle: { mean: 2, upper: 0, lower: 0 }[column] ?? 0,
      priceLineVisible: false,
      lastValueVisible: main,
      crosshairMarkerVisible: main,
      crosshairMarkerRadius: 3,
      priceFormat: { type: "custom", minMove: 10 ** -decimals, formatter: (value) => value.toFixed(decimals) },
    };
  }

  repaint(palette) {
    this.palette = palette;
    this.chart.applyOptions(this.frame());
    for (const { name, columns } of PANES) for (const column of columns) this.lines.get(column).applyOptions(this.options(name, column));
    this.setLevels(this.thresholds);
  }

  /** Draw the z-scores that a trader looks at. */
  setLevels(thresholds) {
    this.thresholds = thresholds;
    const { entry, exit } = thresholds;
    const { up, down, muted } = this.palette;
    const series = this.lines.get("zscore");
    for (const level of this.levels) series.removePriceLine(level);
    const line = (price, color, lineStyle, axisLabelVisible) => series.createPriceLine({ price, color, lineStyle, lineWidth: 1, axisLabelVisible });
    this.levels = [
      line(entry, down, 2, true),
      line(-entry, up, 2, true),
      ...(exit > 0 ? [line(exit, faded(muted, 0.6), 1, false), line(-exit, faded(muted, 0.6), 1, false)] : []),
      line(0, faded(muted, 0.8), 0, false),
    ];
  }

  /** Draw all rows anew, keeping what is looked at: the same bars at the same width. */
  setRows(rows) {
    this.setDecimals(rows);
    const view = this.followsLive() || !this.behind ? null : this.view();
    for (const [column, series] of this.lines) this.setPoints(series, rows.map((row) => this.point(column, row)));
    const { behind } = this;
    this.behind = rows.at(-2)?.timestamp;
    this.last = rows.at(-1)?.timestamp;
    if (!view) return;
    const newer = rows.length - 1 - rows.findLastIndex(({ timestamp }) => timestamp <= behind);
    this.setView({ ...view, position: view.position + 1 - newer });
  }

  setRow(row) {
    if (row.timestamp > this.last) this.behind = this.last;
    this.last = Math.max(this.last ?? -Infinity, row.timestamp);
    for (const [column, series] of this.lines) this.setPoint(series, this.point(column, row));
  }

  /** Enough decimals to see the spread move, whatever it is counted in. */
  setDecimals(rows) {
    const values = rows.flatMap((row) => PANES[0].columns.map((column) => valueOf(column, row, this.thresholds.entry))).filter(Number.isFinite);
    if (!values.length) return;
    const [least, most] = values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    const range = most - least || Math.abs(most) || 1;
    const spread = Math.min(10, Math.max(1, 3 - Math.floor(Math.log10(range))));
    if (this.decimals?.spread === spread) return;
    this.decimals = { ...DECIMALS, spread };
    for (const column of PANES[0].columns) this.lines.get(column).applyOptions(this.options("spread", column));
  }

  point(column, row) {
    const value = valueOf(column, row, this.thresholds.entry);
    const time = row.timestamp / 1000;
    return value === null || value === undefined ? { time } : { time, value };
  }
}

/** A column's value in a row; the band follows from mean, deviation and the z-score of the entry. */
export function valueOf(column, row, entry) {
  if (column !== "upper" && column !== "lower") return row[column];
  const { mean, std } = row;
  if (mean === null || mean === undefined || std === null || std === undefined) return null;
  return column === "upper" ? mean + entry * std : mean - entry * std;
}
