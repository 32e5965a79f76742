// Equity curves of several backtests over one time, each as a change since its beginning, told apart by more than colour.

import { atOrBefore } from "./backtest_plot.js";
import { loadLibrary } from "./library.js";
import { element, mountable, say } from "./lifecycle.js";
import { signed } from "./pair_words.js";
import { paint, paletteAt, samePalette } from "./palette.js";
import { TimeChart } from "./time_chart.js";
import { moment } from "./words.js";

const THEME_MS = 1000;
const STYLES = [0, 2, 1, 3]; // solid, dashed, dotted, long dashes
const STROKES = ["───", "╌╌╌", "┄┄┄", "━ ━"];

class CurvesPlot extends TimeChart {
  frame() {
    const frame = super.frame();
    return { ...frame, timeScale: { ...frame.timeScale, rightOffset: 1, minBarSpacing: 0.02, enableConflation: true } };
  }

  setCurves(curves) {
    for (const series of this.drawn ?? []) this.chart.removeSeries(series);
    this.drawn = curves.map(({ times, values }, i) => {
      const series = this.chart.addSeries(this.library.LineSeries, this.options(i));
      series.setData(times.map((time, k) => (values[k] === null ? { time: time / 1000 } : { time: time / 1000, value: values[k] })));
      return series;
    });
    this.time.fitContent();
  }

  colourOf(i) {
    return this.palette.lines[i % this.palette.lines.length];
  }

  options(i) {
    return { color: this.colourOf(i), lineStyle: STYLES[i % STYLES.length], lineWidth: 2, priceLineVisible: false, crosshairMarkerRadius: 3, priceFormat: { type: "custom", minMove: 0.0001, formatter: (value) => `${(value * 100).toFixed(2)} %` } };
  }

  repaint(palette) {
    this.palette = palette;
    this.chart.applyOptions(this.frame());
    (this.drawn ?? []).forEach((series, i) => series.applyOptions(this.options(i)));
  }
}

class BacktestCurves {
  constructor(host) {
    this.host = host;
    this.hovered = null;
    this.area = element("div", { class: "ps-chart-area" });
    this.notice = element("div", { class: "ps-notice", role: "status", hidden: true });
    this.legend = element("div", { class: "ps-legend ps-bt-names" });
    this.stage = element("div", { class: "ps-stage", tabindex: "0", role: "application", "aria-roledescription": "chart" }, this.area, this.legend, this.notice);
    this.node = element("section", { class: "ps-chart ps-bt-curves" }, this.stage);
    this.host.append(this.node);
    this.stage.addEventListener("keydown", (event) => this.plot?.key(event));
    this.timer = setInterval(() => this.tick(), THEME_MS);
  }

  update(data) {
    this.data = data;
    this.palette = paletteAt(this.host, data.palette);
    paint(this.host, this.palette);
    if (this.plot && !samePalette(this.palette, this.painted)) {
      this.plot.repaint(this.palette);
      this.name();
    }
    this.painted = this.palette;
    if (this.version === data.version) return;
    this.version = data.version;
    this.draw();
  }

  async draw() {
    if (!this.plot) {
      try {
        const library = await loadLibrary(this.data.library);
        if (this.ended || this.plot) return;
        this.plot = new CurvesPlot(library, this.area, this.palette);
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
    this.plot.setCurves(this.data.curves);
    this.name();
    this.node.dataset.version = this.version;
    const told = this.data.curves.map(({ name, values }) => `${name}: ${written(values.at(-1))}`);
    this.stage.setAttribute("aria-label", `${this.data.title}. ${told.join("; ")}. Arrow keys move, plus and minus zoom.`);
  }

  name() {
    this.values = this.data.curves.map(() => element("span", { class: "ps-num" }));
    this.when = element("span", { class: "ps-legend-time" });
    const lines = this.data.curves.map(({ name }, i) => {
      const stroke = element("i", { "aria-hidden": "true" }, STROKES[i % STROKES.length]);
      stroke.style.color = this.plot.colourOf(i);
      return element("span", { class: "ps-legend-line" }, stroke, name, this.values[i]);
    });
    this.legend.replaceChildren(...lines, this.when);
    this.write();
  }

  write() {
    this.data.curves.forEach(({ times, values }, i) => {
      const at = this.hovered === null ? times.length - 1 : atOrBefore(times, this.hovered);
      say(this.values[i], written(values[at]));
    });
    say(this.when, this.hovered === null ? "" : moment(this.hovered, 60));
  }

  tick() {
    if (this.data && !samePalette(paletteAt(this.host, this.data.palette), this.palette)) this.update(this.data);
  }

  destroy() {
    this.ended = true;
    clearInterval(this.timer);
    this.plot?.destroy();
  }
}

const written = (value) => (value === null || value === undefined ? "–" : `${signed(value * 100, 2)} %`);

export const mount = mountable((host) => new BacktestCurves(host));
