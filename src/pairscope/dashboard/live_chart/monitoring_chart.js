// One measure over the last hour as a small chart, drawn in place; all charts of a page point at the same moment.

import { element, say } from "./lifecycle.js";
import { clock, judged, written } from "./monitoring_words.js";
import { known } from "./pair_words.js";
import { age } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 60;
const BREAK = 3; // periods without a sample that interrupt a line

function shape(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

export class HourChart {
  /** `point(at)` is called with the time that a person points at, null where they left. */
  constructor({ name, title, least, free }, point) {
    Object.assign(this, { name, least, free, point });
    this.value = element("b", { class: "ps-num" }, "–");
    this.about = element("p", { class: "ps-mon-about" });
    this.fill = shape("path", { class: "ps-mon-fill" });
    this.line = shape("path", { class: "ps-mon-line" });
    this.marked = { warning: shape("path", { class: "ps-mon-line ps-mon-warning" }), critical: shape("path", { class: "ps-mon-line ps-mon-critical" }) };
    this.limit = shape("path", { class: "ps-mon-limit" });
    this.cursor = shape("path", { class: "ps-mon-cursor" });
    this.plot = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.plot.append(this.fill, this.limit, this.line, this.marked.warning, this.marked.critical, this.cursor);
    this.most = element("span", { class: "ps-num" });
    this.from = element("span");
    this.at = element("span", { class: "ps-num" });
    this.stage = element("div", { class: "ps-mon-stage", tabindex: "0", role: "img" }, this.plot);
    this.node = element(
      "section",
      { class: "ps-mon-chart", "data-measure": name, hidden: true },
      element("header", {}, element("h4", {}, title), this.value),
      this.about,
      this.stage,
      element("footer", {}, this.from, this.most, this.at),
    );
    this.title = title;
    this.stage.addEventListener("pointermove", (event) => this.point(this.timeAt(event.clientX)));
    this.stage.addEventListener("pointerleave", () => this.point(null));
    this.stage.addEventListener("blur", () => this.point(null));
    this.stage.addEventListener("keydown", (event) => this.key(event));
  }

  timeAt(x) {
    const { left, width } = this.stage.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (x - left) / width));
    return this.begin + share * (this.end - this.begin);
  }

  key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.times?.length) return;
    event.preventDefault();
    const at = this.pointed ?? this.times.length;
    this.point(this.times[Math.min(this.times.length - 1, Math.max(0, at + by))]);
  }

  /** Draw what is known: `times` and `values` of one length, from `begin` to `end` on the clock. */
  write({ times, values, begin, end, periodMs, unit, about, ranges }) {
    Object.assign(this, { times, values, begin, end, unit, ranges });
    const seen = values.filter(known);
    this.node.hidden = seen.length === 0;
    if (!seen.length) return;
    const high = Math.max(...seen);
    const low = Math.min(...seen);
    const span = Math.max(high - (this.free ? low : Math.min(0, low)), this.least);
    const base = this.free ? (high + low - span) / 2 : Math.min(0, low);
    const x = (time) => (WIDTH * (time - begin)) / (end - begin);
    const y = (value) => HEIGHT - 2 - ((HEIGHT - 5) * (value - base)) / span;
    const place = (i) => `${x(times[i]).toFixed(1)} ${y(values[i]).toFixed(2)}`;
    const marked = { warning: "", critical: "" };
    let line = "";
    let fill = "";
    let first = null;
    const finish = (last) => {
      if (first !== null) fill += `${line.slice(first.path)}L${x(times[last]).toFixed(1)} ${HEIGHT}L${x(times[first.at]).toFixed(1)} ${HEIGHT}Z`;
      first = null;
    };
    values.forEach((value, i) => {
      if (first !== null && (!known(value) || times[i] - times[i - 1] > BREAK * periodMs)) finish(i - 1);
      if (!known(value)) return;
      const begins = first === null;
      if (begins) first = { at: i, path: line.length };
      line += `${begins ? "M" : "L"}${place(i)}`;
      const status = judged(value, ranges);
      if (status !== "ok") marked[status] += `M${place(begins ? i : i - 1)}L${place(i)}`;
    });
    finish(values.length - 1);
    set(this.line, "d", line);
    set(this.fill, "d", fill);
    for (const [status, path] of Object.entries(marked)) set(this.marked[status], "d", path);
    const edge = ranges?.healthy[1];
    const shown = known(edge) && edge > base && edge <= base + span;
    set(this.limit, "d", shown ? `M0 ${y(edge).toFixed(2)}H${WIDTH}` : "");
    say(this.about, about);
    say(this.from, `${age(end - begin)} ago`);
    const [least, most] = [written(low, unit), written(high, unit)];
    say(this.most, least === most ? `always ${least}` : `${least} to ${most}`);
    const summary = `${this.title}: now ${written(values.at(-1), unit)}; between ${least} and ${most} in the last ${age(end - begin)}. Arrow keys read it.`;
    set(this.stage, "aria-label", summary);
    this.show(this.pointed ?? null);
  }

  /** Show the value of one sample, the newest where there is none, and the moment that it is of. */
  show(i) {
    this.pointed = i;
    if (this.node.hidden) return;
    const at = i ?? this.times.length - 1;
    say(this.value, written(this.values[at], this.unit));
    this.node.dataset.status = judged(this.values[at], this.ranges);
    say(this.at, i === null ? "now" : clock(this.times[i]));
    const x = i === null ? 0 : ((WIDTH * (this.times[i] - this.begin)) / (this.end - this.begin)).toFixed(1);
    set(this.cursor, "d", i === null ? "" : `M${x} 0V${HEIGHT}`);
  }
}
