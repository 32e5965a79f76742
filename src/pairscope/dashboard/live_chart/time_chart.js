// A chart over time, whatever is drawn on it: its frame in the theme's colours, its view, and how a person moves it.

/** Bars of empty room right of the newest. */
export const RIGHT_MARGIN = 4;

export class TimeChart {
  constructor(library, host, palette) {
    this.library = library;
    this.palette = palette;
    this.chart = library.createChart(host, { autoSize: true, ...this.frame() });
    this.ends = new WeakMap(); // series -> time of its newest point
  }

  destroy() {
    this.chart.remove();
  }

  get time() {
    return this.chart.timeScale();
  }

  frame() {
    const { muted, grid, border, font } = this.palette;
    const line = { color: muted, labelBackgroundColor: this.palette.tone === "dark" ? "#3A424D" : "#4A5360" };
    return {
      layout: {
        background: { type: "solid", color: "transparent" },
        textColor: muted,
        fontFamily: font,
        fontSize: 11,
        attributionLogo: true,
        panes: { separatorColor: border, separatorHoverColor: grid, enableResize: true },
      },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      crosshair: { mode: 0, vertLine: line, horzLine: line },
      timeScale: { timeVisible: true, borderColor: border, rightOffset: RIGHT_MARGIN, minBarSpacing: 1, shiftVisibleRangeOnNewBar: true },
      rightPriceScale: { borderColor: border, minimumWidth: 68 },
      localization: { locale: "en-GB" },
      handleScroll: { vertTouchDrag: false },
    };
  }

  /** Draw a series anew: its points from the oldest to the newest. */
  setPoints(series, points) {
    series.setData(points);
    this.ends.set(series, points.at(-1)?.time ?? -Infinity);
  }

  /** Draw one point, whatever its place: the newest, the next, an older one, or one in between that was not there. */
  setPoint(series, point) {
    if (point.time >= (this.ends.get(series) ?? -Infinity)) {
      series.update(point);
      this.ends.set(series, point.time);
    } else if (this.time.timeToIndex(point.time) !== null) series.update(point, true);
    else this.setPoints(series, [...series.data(), point].sort((a, b) => a.time - b.time));
  }

  /** Show seconds on the time axis where bars are shorter than a minute. */
  setBarLength(length) {
    this.chart.applyOptions({ timeScale: { secondsVisible: length < 60, timeVisible: length < 86400 } });
  }

  /** Whether the newest bar is in view, so that the view moves along with it. */
  followsLive() {
    return this.time.scrollPosition() >= -0.5;
  }

  goLive() {
    this.time.scrollToPosition(RIGHT_MARGIN, false); // at once: bars that arrive would stop a moving one
  }

  /** The view as numbers that outlive the chart. */
  view() {
    return { barSpacing: this.time.options().barSpacing, position: this.time.scrollPosition() };
  }

  zoom(factor) {
    const { barSpacing } = this.time.options();
    this.time.applyOptions({ barSpacing: Math.min(60, Math.max(this.time.options().minBarSpacing, barSpacing * factor)) });
  }

  viewText() {
    const { barSpacing, position } = this.view();
    return `${barSpacing.toFixed(2)} ${position.toFixed(1)}`;
  }

  setView({ barSpacing, position }) {
    this.time.applyOptions({ barSpacing });
    this.time.scrollToPosition(position, false);
  }

  /** Where each pane begins, in pixels from the chart's top. */
  paneTops() {
    const tops = [];
    let top = 0;
    for (const pane of this.chart.panes()) {
      tops.push(top);
      top += pane.getHeight() + 1;
    }
    return tops;
  }

  /** Move by key: arrows and pages along the time, plus and minus zoom, End to the newest. */
  key(event) {
    const steps = { ArrowLeft: -5, ArrowRight: 5, PageUp: -40, PageDown: 40 };
    if (event.key in steps) this.time.scrollToPosition(this.time.scrollPosition() + steps[event.key], false);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "End") this.goLive();
    else return;
    event.preventDefault();
  }
}
