// The scanner's table: a row a test, its values replaced in place at each screen; a click opens the pair, a heading sorts.

import { arrange, element, mountable, say } from "./lifecycle.js";
import { duration, figure, fixed, known, signed } from "./pair_words.js";
import { paint, paletteAt, samePalette } from "./palette.js";
import { sparkPath } from "./scanner_spark.js";
import { baseOf } from "./words.js";

const THEME_MS = 1000;
const SVG = "http://www.w3.org/2000/svg";

// `sorts` is the column's first direction: what a person looks for first.
const COLUMNS = [
  { name: "pair", label: "Pair", sorts: "ascending", value: (row) => row.key, title: "Y on X: Y's spread after its hedge by X" },
  { name: "zscore", label: "z-score", sorts: "descending", value: (row) => size(row.zscore), title: "Deviations of the spread from its mean over the lookback, with its way over the last bars" },
  { name: "qvalue", label: "q-value", sorts: "ascending", value: (row) => row.qvalue, title: "Smallest false discovery rate at which the pair is a discovery (◆)" },
  { name: "pvalue", label: "p", sorts: "ascending", value: (row) => row.pvalue, title: "p-value of this test alone, as if it were the only one" },
  { name: "half_life", label: "Half-life", sorts: "ascending", value: (row) => row.half_life, title: "Bars, and time, after which half of a deviation is expected to be gone" },
  { name: "beta", label: "Hedge", sorts: "descending", value: (row) => row.beta, title: "Hedge ratio: value of X sold for each unit of value of Y bought" },
  { name: "correlation", label: "Corr.", sorts: "descending", value: (row) => row.correlation, title: "Correlation of the two legs' returns" },
  { name: "spread_bps", label: "σ bps", sorts: "descending", value: (row) => row.spread_bps, title: "Deviation of the spread in basis points of Y's value" },
  { name: "edge_bps", label: "Edge bps", sorts: "descending", value: (row) => row.edge_bps, title: "" },
];

// A person who steps through the pairs comes back to the table as it was left.
const left = { order: { name: "qvalue", down: false }, top: 0 };

class ScannerTable {
  constructor(host, data, tell) {
    Object.assign(this, { host, tell, rows: new Map(), order: { ...left.order } });
    this.build();
    this.timer = setInterval(() => this.repaint(), THEME_MS);
  }

  build() {
    this.heads = Object.fromEntries(
      COLUMNS.map(({ name, label, title }) => {
        const button = element("button", { type: "button", title }, label);
        button.addEventListener("click", () => this.sortBy(name));
        return [name, element("th", { scope: "col", "data-column": name, "aria-sort": "none" }, button)];
      }),
    );
    this.body = element("tbody");
    const head = element("thead", {}, element("tr", {}, ...Object.values(this.heads)));
    const table = element("table", { class: "ps-scan-table", "aria-label": "Tests of the screen" }, head, this.body);
    this.frame = element("div", { class: "ps-scan", tabindex: "0", role: "region", "aria-label": "Tests of the screen" }, table);
    this.note = element("p", { class: "ps-scan-note" });
    this.host.append(this.frame, this.note);
    this.frame.addEventListener("scroll", () => (left.top = this.frame.scrollTop), { passive: true });
  }

  update(data) {
    const first = !this.data;
    this.data = data;
    this.palette = paletteAt(this.host, data.palette);
    paint(this.host, this.palette);
    const { cost_bps: cost, exit } = data;
    this.heads.edge_bps.firstChild.title = `What the way back from |z| to ${exit} leaves after a round trip of four fills at ${cost} bps: (|z| − ${exit}) · σ − 2 · (1 + |beta|) · ${cost}`;
    say(this.note, data.note);
    // Told every ten seconds, it is mostly the same screen.
    if (this.version !== data.version) this.adopt(data.rows.map((values) => named(data.columns, values)));
    this.version = data.version;
    for (const [key, { node, look }] of this.rows) {
      const chosen = key === data.looked;
      node.classList.toggle("ps-is-looked", chosen);
      if ((look.getAttribute("aria-pressed") === "true") !== chosen) look.setAttribute("aria-pressed", String(chosen));
    }
    if (first) this.frame.scrollTop = left.top;
  }

  adopt(told) {
    const keys = new Set(told.map(keyOf));
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      row.node.remove();
      this.rows.delete(key);
    }
    told.forEach((values, place) => {
      const key = keyOf(values);
      const row = this.rows.get(key) ?? this.make(key, values);
      Object.assign(row, values, { place });
      this.write(row);
    });
    this.sort();
  }

  make(key, { y, x }) {
    const open = element("button", { type: "button", class: "ps-scan-open", title: `Open ${y} against ${x}` }, element("b", {}, baseOf(y)), element("span", { class: "ps-scan-on" }, ` on ${baseOf(x)}`));
    const look = element("span", { role: "button", tabindex: "0", class: "ps-scan-look", "aria-pressed": "false", "aria-label": `Look closer at ${y} on ${x}`, title: "Look closer here" }, "⌕");
    const looked = (event) => {
      if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      this.tell("looked", key);
    };
    look.addEventListener("click", looked);
    look.addEventListener("keydown", looked);
    const cells = Object.fromEntries(COLUMNS.slice(1).map(({ name }) => [name, element("td", { class: "ps-num", "data-column": name })]));
    const line = document.createElementNS(SVG, "path");
    const zero = document.createElementNS(SVG, "path");
    const spark = document.createElementNS(SVG, "svg");
    for (const [name, value] of Object.entries({ viewBox: "0 0 100 24", preserveAspectRatio: "none", class: "ps-scan-spark", "aria-hidden": "true" })) spark.setAttribute(name, value);
    zero.setAttribute("class", "ps-scan-zero");
    zero.setAttribute("d", "M0 12H100");
    line.setAttribute("class", "ps-scan-line");
    spark.append(zero, line);
    const z = element("span", { class: "ps-scan-z" });
    cells.zscore.append(spark, z);
    const bars = element("span");
    const time = element("span", { class: "ps-scan-on" });
    cells.half_life.append(bars, " ", time);
    const node = element("tr", { "data-pair": key }, element("th", { scope: "row" }, look, open), ...Object.values(cells));
    node.addEventListener("click", () => this.tell("opened", key));
    const row = { key, node, look, cells, line, z, bars, time };
    this.rows.set(key, row);
    return row;
  }

  write(row) {
    const { cells, data } = { cells: row.cells, data: this.data };
    const { zscore, qvalue, pvalue, half_life: bars } = row;
    const path = sparkPath(row.zscores ?? []);
    if (row.line.getAttribute("d") !== path) row.line.setAttribute("d", path);
    say(row.z, `${known(zscore) && Math.abs(zscore) >= 2 ? (zscore > 0 ? "▲ " : "▼ ") : ""}${signed(zscore, 2)}`);
    state(cells.zscore, known(zscore) && Math.abs(zscore) >= 2 ? (zscore > 0 ? "rich" : "cheap") : "");
    say(cells.qvalue, `${row.discovery ? "◆ " : ""}${chance(qvalue)}`);
    cells.qvalue.title = row.discovery ? `A discovery at ${100 * data.fdr} %` : `No discovery at ${100 * data.fdr} %`;
    say(cells.pvalue, chance(pvalue));
    say(row.bars, known(bars) ? `${figure3(bars)} bars` : "");
    say(row.time, known(bars) ? duration(bars, data.bar_s) : "no way back");
    say(cells.beta, figure(row.beta));
    say(cells.correlation, fixed(row.correlation, 2));
    say(cells.spread_bps, figure3(row.spread_bps));
    say(cells.edge_bps, known(row.edge_bps) ? signed(row.edge_bps, 1) : "–");
    state(cells.edge_bps, known(row.edge_bps) && row.edge_bps > 0 ? "pays" : "");
    cells.edge_bps.title = known(row.cost_bps) ? `After ${fixed(row.cost_bps, 1)} bps for the round trip` : "";
    row.node.classList.toggle("ps-is-found", Boolean(row.discovery));
  }

  sortBy(name) {
    const column = COLUMNS.find((one) => one.name === name);
    const down = this.order.name === name ? !this.order.down : column.sorts === "descending";
    this.order = left.order = { name, down };
    this.sort();
    this.frame.scrollTop = 0;
  }

  /** Order the rows by a column; what is unknown comes last, equal ones stay in the order of the screen. */
  sort() {
    const { name, down } = this.order;
    for (const [column, head] of Object.entries(this.heads)) {
      const sorted = column === name ? (down ? "descending" : "ascending") : "none";
      if (head.getAttribute("aria-sort") !== sorted) head.setAttribute("aria-sort", sorted);
    }
    const { value } = COLUMNS.find((column) => column.name === name);
    const rank = new Map([...this.rows.values()].map((row) => [row, value(row)]));
    const missing = (one) => one === null || one === undefined;
    const rows = [...this.rows.values()].sort((a, b) => {
      const [one, two] = [rank.get(a), rank.get(b)];
      if (missing(one) || missing(two)) return missing(one) - missing(two) || a.place - b.place;
      return (one < two ? -1 : one > two ? 1 : 0) * (down ? -1 : 1) || a.place - b.place;
    });
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const { scrollTop, scrollLeft } = this.frame;
    arrange(this.body, rows.map(({ node }) => node));
    focused?.focus({ preventScroll: true });
    Object.assign(this.frame, { scrollTop, scrollLeft });
  }

  repaint() {
    if (this.data && !samePalette(paletteAt(this.host, this.data.palette), this.palette)) this.update(this.data);
  }

  destroy() {
    clearInterval(this.timer);
  }
}

const named = (columns, values) => Object.fromEntries(columns.map((name, i) => [name, values[i]]));
const keyOf = ({ y, x }) => `${y}:${x}`;
const size = (value) => (known(value) ? Math.abs(value) : null);

function state(cell, value) {
  if (cell.dataset.state !== value) cell.dataset.state = value;
}

/** A probability, a very small one as a bound. */
function chance(value) {
  if (!known(value)) return "–";
  return value < 0.0001 ? "< 0.0001" : fixed(value, 4);
}

/** A number in three significant digits. */
function figure3(value) {
  if (!known(value)) return "–";
  return value >= 100 ? fixed(value, 0) : value >= 10 ? fixed(value, 1) : fixed(value, 2);
}

export const mount = mountable((host, data, tell) => new ScannerTable(host, data, tell));
