// The words on a chart: symbol and bar under the cursor, indicators with their values, panes with their names.

import { element, say } from "./lifecycle.js";
import { amount, arrow, moment, price } from "./words.js";

/** Text over the drawing; it lets the pointer through. */
export class Legend {
  constructor(host, symbol) {
    this.host = host;
    this.symbol = element("span", { class: "ps-legend-symbol" }, symbol);
    this.frame = element("span", { class: "ps-legend-frame" });
    this.change = element("span", { class: "ps-legend-change" });
    this.fields = Object.fromEntries(["O", "H", "L", "C", "Vol"].map((name) => [name, element("span", { class: "ps-num" })]));
    const pairs = Object.entries(this.fields).map(([name, node]) =>
      element("span", { class: `ps-legend-field ps-field-${name.toLowerCase()}` }, element("i", {}, name), node),
    );
    this.gap = element("span", { class: "ps-legend-gap" });
    this.moment = element("span", { class: "ps-legend-time" });
    this.bar = element("div", { class: "ps-legend-bar" }, ...pairs, this.change, this.gap, this.moment);
    this.overlays = element("div", { class: "ps-legend-lines" });
    this.problem = element("div", { class: "ps-legend-problem", hidden: true });
    this.panes = [];
    this.node = element(
      "div",
      { class: "ps-legend" },
      element("div", { class: "ps-legend-head" }, this.symbol, this.frame),
      this.bar,
      this.overlays,
      this.problem,
    );
    host.append(this.node);
  }

  setTimeframe(timeframe) {
    this.timeframe = timeframe;
    this.setGaps(0);
  }

  /** Say how many of the bars in the chart lack trades. */
  setGaps(count) {
    const lacking = count ? ` · ⚠ ${count} ${count === 1 ? "bar lacks" : "bars lack"} trades` : "";
    say(this.frame, `${this.timeframe} · UTC${lacking}`);
  }

  /** Show a bar; `hovered` says that the cursor is on it, so that its time is told too. */
  setBar(bar, { decimals, length, hovered, palette }) {
    if (!bar) {
      for (const node of Object.values(this.fields)) say(node, "–");
      say(this.change, "");
      say(this.gap, "");
      say(this.moment, "");
      return;
    }
    const move = bar.close - bar.open;
    say(this.fields.O, price(bar.open, decimals));
    say(this.fields.H, price(bar.high, decimals));
    say(this.fields.L, price(bar.low, decimals));
    say(this.fields.C, price(bar.close, decimals));
    say(this.fields.Vol, amount(bar.volume));
    const percent = bar.open ? (move / bar.open) * 100 : 0;
    say(this.change, `${arrow(move)} ${percent > 0 ? "+" : ""}${percent.toFixed(Math.abs(percent) < 0.1 ? 3 : 2)} %`);
    this.bar.style.setProperty("--ps-bar", move > 0 ? palette.up : move < 0 ? palette.down : palette.muted);
    say(this.gap, bar.gap ? "⚠ trades are missing in it" : "");
    say(this.moment, hovered ? moment(bar.timestamp, length) : "");
  }

  /** Say why indicators cannot be drawn; null where they can. */
  setProblem(problem) {
    this.problem.hidden = problem === null;
    say(this.problem, problem === null ? "" : `Indicators: ${problem}`);
  }

  /** Show indicators: those on the price under the bar, the others at the top of their pane. */
  setReadings(readings, paneTops) {
    const all = [...readings];
    fill(this.overlays, all.filter(({ pane }) => pane === 0));
    const below = all.filter(({ pane }) => pane > 0);
    while (this.panes.length > below.length) this.panes.pop().remove();
    below.forEach((reading, i) => {
      const node = (this.panes[i] ??= this.host.appendChild(element("div", { class: "ps-legend-pane ps-legend-lines" })));
      fill(node, [reading]);
      node.style.top = `${(paneTops[reading.pane] ?? 0) + 4}px`;
    });
  }
}

function fill(parent, readings) {
  const shape = readings.map(({ indicator }) => indicator.label).join("|");
  if (parent.dataset.shape !== shape) {
    parent.dataset.shape = shape;
    parent.replaceChildren(...readings.map(({ indicator, values }) => reading(indicator, values)));
  }
  readings.forEach(({ values }, i) => {
    const nodes = parent.children[i].querySelectorAll(".ps-num");
    values.forEach(({ colour, text }, k) => {
      say(nodes[k], text);
      nodes[k].style.color = colour;
    });
  });
}

function reading(indicator, values) {
  const numbers = values.map(() => element("span", { class: "ps-num" }));
  return element("span", { class: "ps-legend-line" }, element("i", {}, indicator.label), ...numbers);
}
