// How the instance does: tiles in words for now, and a small chart of each measure over the last hour.

import { element, mountable, say } from "./lifecycle.js";
import { HourChart } from "./monitoring_chart.js";
import { GROUPS, TILES, WORDS, clock, standingOf, written } from "./monitoring_words.js";
import { known } from "./pair_words.js";
import { paint, paletteAt, samePalette } from "./palette.js";
import { addressesOf, get } from "./rest.js";

const THEME_MS = 1000;
const HOUR_MS = 3600000;
const LEAST_MS = 60000; // a chart of less would be one step wide
const FIRST_MS = 5000;

class Monitoring {
  constructor(host, data) {
    Object.assign(this, { host, times: [], columns: {}, answer: null, pointed: null, silent: 0 });
    this.base = addressesOf(data.api).rest;
    this.build();
    this.theme = setInterval(() => this.repaint(), THEME_MS);
    this.seen = () => document.hidden || this.hurry();
    document.addEventListener("visibilitychange", this.seen);
    this.poll();
  }

  build() {
    this.tiles = TILES.map((tile) => {
      const [word, number, words] = [element("span", { class: "ps-mon-word" }), element("b", { class: "ps-mon-number ps-num" }), element("p")];
      const node = element("section", { class: "ps-mon-tile", "data-tile": tile.title, "data-status": "unknown" }, element("header", {}, element("h3", {}, tile.title), word), number, words);
      return { tile, node, word, number, words };
    });
    this.note = element("p", { class: "ps-mon-note", role: "status" }, "Asking how Pairscope is doing…");
    this.charts = [];
    this.groups = GROUPS.map(({ title, charts }) => {
      const made = charts.map((chart) => new HourChart(chart, (time) => this.point(time)));
      this.charts.push(...made);
      const node = element("section", { class: "ps-mon-group", hidden: true }, element("h3", { class: "ps-heading" }, title), element("div", { class: "ps-mon-charts" }, ...made.map((chart) => chart.node)));
      return { node, made };
    });
    this.node = element("div", { class: "ps-mon", "aria-label": "Monitoring" }, element("div", { class: "ps-mon-tiles" }, ...this.tiles.map(({ node }) => node)), this.note, ...this.groups.map(({ node }) => node));
    this.host.append(this.node);
  }

  update(data) {
    this.data = data;
    this.palette = paletteAt(this.host, data.palette);
    paint(this.host, this.palette);
  }

  /** Ask for what is missing, and again a period later; nothing while nobody looks. */
  async poll() {
    clearTimeout(this.next);
    this.abort = new AbortController();
    try {
      const wish = this.times.length ? { since: this.times.at(-1) } : {};
      if (!document.hidden) this.adopt(await get(this.base, "/api/monitoring", wish, { signal: this.abort.signal }));
      this.problem = null;
    } catch (error) {
      if (this.ended) return;
      this.problem = error.message;
    }
    if (this.ended) return;
    this.write();
    this.next = setTimeout(() => this.poll(), (this.answer?.period_s ?? 0) * 1000 || FIRST_MS);
  }

  hurry() {
    clearTimeout(this.next);
    this.next = setTimeout(() => this.poll(), 0);
  }

  adopt(answer) {
    this.answer = answer;
    const [before, came] = [this.times.length, answer.timestamp.length];
    this.silent = came ? 0 : this.silent + 1;
    this.times.push(...answer.timestamp);
    for (const name of Object.keys(answer.columns)) {
      const column = (this.columns[name] ??= new Array(before).fill(null));
      column.push(...answer.columns[name]);
    }
    for (const column of Object.values(this.columns)) while (column.length < before + came) column.push(null);
    const old = this.times.findIndex((time) => time > this.times.at(-1) - HOUR_MS);
    if (old <= 0) return;
    for (const column of [this.times, ...Object.values(this.columns)]) column.splice(0, old);
    if (this.pointed !== null) this.pointed = this.pointed < old ? null : this.pointed - old;
  }

  write() {
    this.say();
    if (!this.answer) return;
    const { now, units, about, ranges, checks, period_s: period } = this.answer;
    const reading = {
      tell: (name) => written(now[name]?.value, units[name] ?? ""),
      now: (name) => now[name]?.value,
      sum: (name) => (this.columns[name] ?? []).reduce((sum, value) => sum + (value ?? 0), 0),
    };
    for (const { tile, node, word, number, words } of this.tiles) {
      const status = this.problem ? "unknown" : standingOf(tile, now, checks);
      node.dataset.status = status;
      say(word, WORDS[status]);
      say(number, tile.number(reading));
      const why = checks[tile.check]?.status !== "ok" && checks[tile.check]?.reason;
      say(words, why ? String(why) : tile.words(reading));
    }
    if (!this.times.length) return;
    const end = this.times.at(-1);
    const begin = Math.min(this.times[0], end - LEAST_MS);
    for (const chart of this.charts) {
      const { name } = chart;
      chart.write({ times: this.times, values: this.columns[name] ?? [], begin, end, periodMs: period * 1000, unit: units[name] ?? "", about: sentence(about[name], units[name]), ranges: ranges[name] });
    }
    for (const { node, made } of this.groups) node.hidden = made.every((chart) => chart.node.hidden);
    this.show();
  }

  say() {
    const last = this.times.at(-1);
    const since = last ? `; what you see is as of ${clock(last)}` : "";
    const minutes = last ? Math.round((last - this.times[0]) / 60000) : 0;
    let words = "";
    if (this.problem) words = `▲ The API does not say how it is doing (${this.problem})${since}.`;
    else if (this.silent > 3) words = `▲ No new sample came${since}.`;
    else if (this.answer && !last) words = "The first sample comes within five seconds; the charts fill up over the first hour.";
    else if (minutes < 59) words = minutes < 1 ? "The charts begin now and fill up over an hour; what was before this start is not kept." : `${minutes} of 60 minutes so far; the charts fill up.`;
    if (!this.answer && !this.problem) return;
    say(this.note, words);
    this.note.hidden = !words;
  }

  /** Point all charts at the sample nearest to a time. */
  point(time) {
    this.pointed = time === null ? null : nearest(this.times, time);
    this.show();
  }

  show() {
    for (const chart of this.charts) chart.show(this.pointed);
  }

  repaint() {
    if (this.data && !samePalette(paletteAt(this.host, this.data.palette), this.palette)) this.update(this.data);
  }

  destroy() {
    this.ended = true;
    this.abort?.abort();
    clearTimeout(this.next);
    clearInterval(this.theme);
    document.removeEventListener("visibilitychange", this.seen);
  }
}

/** The place of the time that is nearest; null where there is none. */
export function nearest(times, time) {
  if (!times.length) return null;
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low && time - times[low - 1] <= times[low] - time ? low - 1 : low;
}

function sentence(about, unit) {
  const shown = { status: "", bytes: "", "%": "" }[unit] ?? unit;
  return `${about ?? ""}${shown && known(shown.length) ? `, ${shown}` : ""}`;
}

export const mount = mountable((host, data) => new Monitoring(host, data));
