// The drawing of one symbol: candles, volume, indicator lines and panes, on lightweight-charts.

import { colourOf, lineOptions, written } from "./indicators.js";
import { faded } from "./palette.js";
import { TimeChart } from "./time_chart.js";
import { price } from "./words.js";

const seconds = (bar) => bar.timestamp / 1000;

/** Knows how to draw; what there is to draw, it is told. */
export class Plot extends TimeChart {
  constructor(library, host, palette) {
    super(library, host, palette);
    this.decimals = -1;
    this.indicators = new Map();
    this.candles = this.chart.addSeries(library.CandlestickSeries, this.candleOptions());
    this.volume = this.chart.addSeries(library.HistogramSeries, {
      priceFormat: { type: "volume" },
      priceScaleId: "volume",
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.setDecimals(2);
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: host.clientWidth < 500 ? 0.22 : 0.14, bottom: 0.22 } });
  }

  repaint(palette) {
    this.palette = palette;
    this.chart.applyOptions(this.frame());
    this.candles.applyOptions(this.candleOptions());
    for (const entry of this.indicators.values()) {
      for (const { part, series } of entry.lines) series.applyOptions(this.options(entry.indicator, part));
    }
  }

  candleOptions() {
    const { up, down } = this.palette;
    return { upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderVisible: false };
  }

  setDecimals(decimals) {
    if (decimals === this.decimals) return;
    this.decimals = decimals;
    this.candles.applyOptions({ priceFormat: this.priceFormat() });
    for (const entry of this.indicators.values()) {
      for (const { part, series } of entry.lines) series.applyOptions(this.options(entry.indicator, part));
    }
  }

  priceFormat() {
    return { type: "custom", minMove: 10 ** -this.decimals, formatter: (value) => price(value, this.decimals) };
  }

  /** Draw nothing: another timeframe's bars are on their way. */
  clear() {
    for (const series of [this.candles, this.volume]) this.setPoints(series, []);
    for (const { lines } of this.indicators.values()) for (const { series } of lines) this.setPoints(series, []);
    this.setDecimals(2);
  }

  /** Draw all bars anew, keeping the view: `before` bars were put in front of what was there. */
  setBars(bars, before = 0) {
    const view = this.followsLive() ? null : this.time.getVisibleLogicalRange();
    this.setPoints(this.candles, bars.map(candle));
    this.recolour(bars);
    if (view) this.time.setVisibleLogicalRange({ from: view.from + before, to: view.to + before });
  }

  /** Draw one bar: the newest, the next, or an older one that was corrected. */
  setBar(bar) {
    this.setPoint(this.candles, candle(bar));
    this.setPoint(this.volume, this.column(bar));
  }

  column(bar) {
    const colour = bar.close >= bar.open ? this.palette.up : this.palette.down;
    return { time: seconds(bar), value: bar.volume ?? 0, color: faded(colour, 0.35) };
  }

  recolour(bars) {
    this.setPoints(this.volume, bars.map((bar) => this.column(bar)));
  }

  /** Make the drawn indicators these; those that stay are not touched. Returns the names that are new. */
  setIndicators(indicators) {
    const wanted = new Map(indicators.map((indicator) => [indicator.name, indicator]));
    for (const [name, entry] of this.indicators) {
      if (wanted.has(name)) continue;
      for (const { series } of entry.lines) this.chart.removeSeries(series);
      this.indicators.delete(name);
    }
    const fresh = indicators.filter(({ name }) => !this.indicators.has(name));
    for (const indicator of fresh) this.addIndicator(indicator);
    this.sharePanes();
    return fresh.map(({ name }) => name);
  }

  addIndicator(indicator) {
    const pane = indicator.pane ? this.chart.panes().length : 0;
    const lines = indicator.parts.map(({ part, key }) => {
      const type = part === "histogram" ? this.library.HistogramSeries : this.library.LineSeries;
      const series = this.chart.addSeries(type, this.options(indicator, part), pane);
      return { part, key, series };
    });
    for (const level of indicator.look.guides ?? []) {
      lines[0].series.createPriceLine({ price: level, color: faded(this.palette.muted, 0.5), lineWidth: 1, lineStyle: 2, axisLabelVisible: false });
    }
    this.indicators.set(indicator.name, { indicator, lines });
  }

  options(indicator, part) {
    const format = indicator.pane
      ? { type: "custom", minMove: 10 ** -Math.max(this.decimals, 4), formatter: (value) => written(indicator, value, this.decimals) }
      : this.priceFormat();
    const range = indicator.look.range;
    const fixed = range && { autoscaleInfoProvider: () => ({ priceRange: { minValue: range[0], maxValue: range[1] } }) };
    if (part === "histogram") return { priceFormat: format, priceLineVisible: false, lastValueVisible: false };
    return { ...lineOptions(indicator, part, this.palette), priceFormat: format, ...fixed };
  }

  sharePanes() {
    const panes = this.chart.panes();
    panes.forEach((pane, index) => pane.setStretchFactor(index === 0 ? 1 : this.paneShare ?? 0.32));
  }

  /** Draw an indicator's columns: `values[key][i]` at `times[i]` milliseconds. */
  setIndicatorColumns(name, times, values) {
    for (const { part, key, series } of this.indicators.get(name)?.lines ?? []) {
      const column = values[key] ?? [];
      this.setPoints(series, times.map((time, i) => this.point(part, time, column[i])));
    }
  }

  setIndicatorValue(name, time, values) {
    for (const { part, key, series } of this.indicators.get(name)?.lines ?? []) {
      if (key in values) this.setPoint(series, this.point(part, time, values[key]));
    }
  }

  point(part, time, value) {
    if (value === null || value === undefined) return { time: time / 1000 };
    if (part !== "histogram") return { time: time / 1000, value };
    return { time: time / 1000, value, color: faded(value >= 0 ? this.palette.up : this.palette.down, 0.5) };
  }

  /** Every indicator with its pane and its values at a time, for the legend. */
  *readings(valueAt) {
    for (const { indicator, lines } of this.indicators.values()) {
      const pane = lines[0].series.getPane().paneIndex();
      const values = lines.map(({ part, key }) => ({
        colour: part === "histogram" ? this.palette.muted : colourOf(indicator, part, this.palette),
        text: written(indicator, valueAt(key), this.decimals),
      }));
      yield { indicator, pane, values };
    }
  }
}

function candle(bar) {
  return { time: seconds(bar), open: bar.open, high: bar.high, low: bar.low, close: bar.close };
}
