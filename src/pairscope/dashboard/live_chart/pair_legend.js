// The words on a pair's chart: each pane's name and its values, of the bar under the cursor or of the newest.

import { element, say } from "./lifecycle.js";
import { spreadDecimals } from "./pair_figures.js";
import { fixed, signed } from "./pair_words.js";
import { PANES, valueOf } from "./pair_plot.js";
import { baseOf } from "./words.js";

const NAMES = { beta_ols: "OLS", beta_kalman: "Kalman", beta_huber: "Huber", upper: "band", lower: "", mean: "mean" };

export class PairLegend {
  constructor(host) {
    this.panes = PANES.map((pane) => {
      const label = element("b", {}, pane.label);
      const values = pane.columns.map((column) => [column, element("span", { class: "ps-num" })]);
      const words = element("span", { class: "ps-pair-why" });
      const named = values.map(([column, node]) => element("span", { class: "ps-legend-line", "data-column": column }, NAMES[column] ? element("i", {}, NAMES[column]) : null, node));
      const time = element("span", { class: "ps-legend-time" });
      const node = element("div", { class: "ps-legend-pane ps-legend-lines", "data-pane": pane.name }, label, ...named, words, time);
      host.append(node);
      return { pane, label, values, words, time, node };
    });
  }

  setPair({ y, x, timeframe, lookback, window, price_space: space, entry }, hindsight) {
    const log = space === "log" ? "log " : "";
    const words = {
      spread: `${log}${baseOf(y)} − (α + β · ${log}${baseOf(x)}) · ${timeframe} · UTC${hindsight ? " · all under the newest α and β: hindsight" : ""}`,
      zscore: `over ${window} bars · entry ±${entry}${hindsight ? " · hindsight" : ""}`,
      hedge: `fitted on ${lookback} bars`,
      correlation: `of returns over ${window} bars`,
    };
    for (const { pane, words: node } of this.panes) say(node, words[pane.name]);
  }

  write(row, { plot, settings, time, hovered }) {
    const tops = plot.paneTops();
    const decimals = spreadDecimals(row);
    this.panes.forEach(({ pane, values, time: timeNode, node }, i) => {
      node.style.top = `${(tops[i] ?? 0) + 4}px`;
      for (const [column, place] of values) {
        const value = row ? valueOf(column, row, settings.entry) : null;
        say(place, written(column, value, decimals));
        if (column === "beta_huber") place.parentNode.hidden = value === null || value === undefined; // only where it makes the spread
        place.style.color = column === "mean" || column === "upper" || column === "lower" ? "" : plot.colourOf(column);
      }
      if (i === 0) say(timeNode, hovered ? time : "");
    });
  }
}

function written(column, value, decimals) {
  if (column === "zscore") return signed(value, 2);
  if (column === "correlation") return fixed(value, 3);
  if (column.startsWith("beta_")) return fixed(value, 4);
  return signed(value, decimals);
}
