// The Price Monitor's live part: a card and a chart a symbol; a change of settings touches what it changes, no more.

import { Card } from "./card.js";
import { Chart } from "./chart.js";
import { sharedFeed } from "./feed.js";
import { Freshness } from "./freshness.js";
import { loadLibrary } from "./library.js";
import { arrange, element, mountable, say } from "./lifecycle.js";
import { paint, paletteAt, samePalette } from "./palette.js";
import { addressesOf } from "./rest.js";
import { VolumePanel } from "./volume.js";

class Board {
  constructor(host, data) {
    this.host = host;
    this.addresses = addressesOf(data.api);
    this.feed = sharedFeed(this.addresses.feed);
    this.freshness = new Freshness(this.feed, data.stall_ms);
    this.cards = new Map();
    this.charts = new Map();
    this.cardRow = element("div", { class: "ps-cards", role: "group", "aria-label": "Prices now" });
    this.chartGrid = element("div", { class: "ps-charts" });
    this.problem = element("div", { class: "ps-problem", role: "alert", hidden: true });
    this.panels = new Map();
    this.volumeGrid = element("div", { class: "ps-volumes" });
    this.volumeSection = element("section", { "aria-label": "Volume" }, element("h2", { class: "ps-heading" }, "Volume"), this.volumeGrid);
    host.append(this.cardRow, this.problem, this.chartGrid, this.volumeSection);
    this.timer = setInterval(() => this.tick(), 250);
    this.seconds = 0;
  }

  update(data) {
    this.data = data;
    this.palette = paletteAt(this.host, data.palette);
    paint(this.host, this.palette);
    this.setCards();
    this.setVolume();
    this.setCharts();
  }

  setCards() {
    const make = (symbol) => new Card({ symbol, feed: this.feed, rest: this.addresses.rest });
    reconcile(this.cards, this.data.symbols, make, this.cardRow);
  }

  setVolume() {
    this.volumeSection.hidden = !this.data.volume;
    const make = (symbol) => new VolumePanel({ symbol, rest: this.addresses.rest, priceNow: () => this.cards.get(symbol)?.shown });
    reconcile(this.panels, this.data.volume ? this.data.symbols : [], make, this.volumeGrid);
    this.volumeGrid.dataset.count = String(this.data.symbols.length);
  }

  async setCharts() {
    try {
      this.library ??= await loadLibrary(this.data.library);
      this.problem.hidden = true;
    } catch (error) {
      say(this.problem, error.message);
      this.problem.hidden = false;
      return;
    }
    if (this.ended) return;
    const { symbols, timeframe, indicators } = this.data;
    const make = (symbol) =>
      new Chart({ symbol, library: this.library, feed: this.feed, rest: this.addresses.rest, palette: this.palette });
    reconcile(this.charts, symbols, make, this.chartGrid);
    this.chartGrid.dataset.count = String(symbols.length);
    for (const chart of this.charts.values()) chart.configure({ timeframe, indicators, palette: this.palette });
  }

  /** Ages four times a second; the slower words, and a change of theme, once. */
  tick() {
    const state = this.freshness.now();
    for (const card of this.cards.values()) card.tick(state);
    this.seconds = (this.seconds + 1) % 4;
    if (this.seconds) return;
    for (const chart of this.charts.values()) chart.tick(state);
    const palette = paletteAt(this.host, this.data.palette);
    if (!samePalette(palette, this.palette)) this.update(this.data);
  }

  destroy() {
    this.ended = true;
    clearInterval(this.timer);
    this.freshness.end();
    for (const item of [...this.cards.values(), ...this.charts.values(), ...this.panels.values()]) item.destroy();
  }
}

/** Make what is new, end what is gone, order the rest; what stays is the same object and node. */
function reconcile(items, keys, make, parent) {
  for (const [key, item] of items) {
    if (keys.includes(key)) continue;
    item.destroy();
    item.node.remove();
    items.delete(key);
  }
  for (const key of keys) if (!items.has(key)) items.set(key, make(key));
  arrange(parent, keys.map((key) => items.get(key).node));
}

export const mount = mountable((host, data) => new Board(host, data));
