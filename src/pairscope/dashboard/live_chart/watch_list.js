// The watch-list: a row a pair, its values replaced in place; a click opens the pair, a heading sorts.

import { sharedFeed } from "./feed.js";
import { drawNever, drawSoon } from "./frames.js";
import { arrange, element, mountable, say } from "./lifecycle.js";
import { spreadDecimals } from "./pair_figures.js";
import { fixed, known, legAge, sentinelWords, signed, standing } from "./pair_words.js";
import { paint, paletteAt, samePalette } from "./palette.js";
import { addressesOf, get } from "./rest.js";
import { baseOf } from "./words.js";

const REFRESH_MS = 20000;
const MOST_LIVE = 120; // rows that follow the stream; the others are refreshed with the list
const TICK_MS = 500;

const COLUMNS = [
  { name: "pair", label: "Pair", value: (row) => row.key },
  { name: "zscore", label: "z", title: "z-score: deviations from the mean", value: (row) => row.live?.spread?.zscore, size: true },
  { name: "spread", label: "Spread", value: (row) => row.live?.spread?.last },
  { name: "correlation", label: "Corr.", title: "Rolling correlation of returns", value: (row) => row.live?.correlation?.rolling },
  { name: "age", label: "Age", title: "Time since the last trade of the staler leg", value: (row) => row.live?.age_ms },
  { name: "sentinel", label: "Sentinel", title: "Does the spread still revert?", value: (row) => row.live?.sentinel?.status },
];

class WatchList {
  constructor(host, data, tell) {
    Object.assign(this, { host, tell, rows: new Map(), order: { name: null, down: true } });
    this.addresses = addressesOf(data.api);
    this.feed = sharedFeed(this.addresses.feed);
    this.abort = new AbortController();
    this.redraw = () => this.write();
    this.build();
    this.refresher = setInterval(() => this.refresh(), REFRESH_MS);
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  build() {
    this.heads = COLUMNS.map(({ name, label, title }) => {
      const button = element("button", { type: "button", title: title ?? `Sort by ${label.toLowerCase()}` }, label);
      button.addEventListener("click", () => this.sortBy(name));
      return element("th", { scope: "col", "data-column": name, "aria-sort": "none" }, button);
    });
    const remove = element("th", { scope: "col" }, element("span", { class: "ps-unseen" }, "Remove"));
    this.body = element("tbody");
    this.empty = element("p", { class: "ps-watch-empty", hidden: true });
    const table = element("table", { class: "ps-watch-table", "aria-label": "Watch-list" }, element("thead", {}, element("tr", {}, ...this.heads, remove)), this.body);
    this.table = table;
    this.node = element("div", { class: "ps-watch" }, table, this.empty);
    this.host.append(this.node);
  }

  update(data) {
    const version = JSON.stringify(data.pairs);
    this.data = data;
    this.palette = paletteAt(this.host, data.palette);
    paint(this.host, this.palette);
    if (version !== this.version) {
      this.version = version;
      this.adopt(data.pairs.map((pair) => ({ ...pair, live: this.rows.get(keyOf(pair))?.live ?? null })));
      this.refresh();
    }
    this.mark();
  }

  /** Ask for the list with its values: others may have changed it, and rows beyond the live ones move by this. */
  async refresh() {
    try {
      const { pairs } = await get(this.addresses.rest, "/api/watchlist", {}, { signal: this.abort.signal });
      this.adopt(pairs);
    } catch (error) {
      if (error.name !== "AbortError" && !this.rows.size) this.sayEmpty(`The watch-list could not be read: ${error.message}.`);
    }
  }

  adopt(pairs) {
    const keys = pairs.map(keyOf);
    for (const [key, row] of this.rows) {
      if (keys.includes(key)) continue;
      row.end?.();
      row.node.remove();
      this.rows.delete(key);
    }
    for (const pair of pairs) {
      const key = keyOf(pair);
      const row = this.rows.get(key) ?? this.make(key);
      Object.assign(row, { pair, live: pair.live ?? row.live, heardAt: pair.live ? performance.now() : row.heardAt });
      if (!row.end && [...this.rows.values()].filter(({ end }) => end).length < MOST_LIVE) {
        row.end = this.feed.subscribe(`pair:${key}`, { update: (message) => this.receive(row, message) });
      }
    }
    this.keys = keys;
    this.sayEmpty(keys.length ? "" : "No pair is watched yet. Choose two symbols and press “Watch this pair”.");
    this.sort();
    this.mark();
    this.write();
  }

  sayEmpty(text) {
    this.empty.hidden = !text;
    this.table.hidden = Boolean(text);
    say(this.empty, text);
  }

  make(key) {
    const [y, x] = key.split(":");
    const open = element("button", { type: "button", class: "ps-watch-open", title: `Open ${y} against ${x}` });
    const under = element("span", { class: "ps-watch-under" });
    open.append(element("b", {}, y), under);
    const cells = Object.fromEntries(COLUMNS.slice(1).map(({ name }) => [name, element("td", { class: "ps-num", "data-column": name })]));
    const remove = element("button", { type: "button", class: "ps-watch-remove", "aria-label": `Remove ${y} / ${x} from the watch-list`, title: "Remove" }, "✕");
    const node = element("tr", { "data-pair": key }, element("th", { scope: "row" }, open), ...Object.values(cells), element("td", {}, remove));
    const row = { key, y, x, node, cells, under, live: null, heardAt: 0 };
    node.addEventListener("click", () => this.tell("opened", key));
    remove.addEventListener("click", (event) => {
      event.stopPropagation();
      this.tell("removed", key);
    });
    this.rows.set(key, row);
    return row;
  }

  receive(row, message) {
    row.live = message;
    row.heardAt = performance.now();
    drawSoon(this.redraw);
  }

  write() {
    for (const row of this.rows.values()) {
      const { live, pair, cells } = row;
      const settings = { ...pair };
      const { state } = standing(live?.spread?.zscore, settings);
      say(row.under, `${row.x} · ${pair.timeframe}`);
      const arrow = state === "rich" ? "▲ " : state === "cheap" ? "▼ " : "";
      say(cells.zscore, `${arrow}${signed(live?.spread?.zscore, 2)}`);
      cells.zscore.dataset.state = state;
      cells.zscore.title = state === "rich" ? `${baseOf(row.y)} is rich` : state === "cheap" ? `${baseOf(row.y)} is cheap` : "inside the entry";
      say(cells.spread, signed(live?.spread?.last, Math.min(5, spreadDecimals(live?.spread))));
      say(cells.correlation, fixed(live?.correlation?.rolling, 2));
      say(cells.sentinel, sentinelWords(live?.sentinel));
      cells.sentinel.dataset.state = live?.sentinel?.status ?? "";
    }
    this.tick();
  }

  /** Ages grow between two messages. */
  tick() {
    const now = performance.now();
    for (const { live, cells, heardAt } of this.rows.values()) {
      say(cells.age, `${live?.stale ? "▲ " : ""}${legAge(live?.age_ms, now - heardAt)}`);
      cells.age.dataset.state = live?.stale ? "stale" : "";
    }
    if (this.data && !samePalette(paletteAt(this.host, this.data.palette), this.palette)) this.update(this.data);
  }

  mark() {
    for (const [key, { node }] of this.rows) {
      const open = key === this.data.opened;
      node.classList.toggle("ps-is-open", open);
      if (open) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
    }
  }

  sortBy(name) {
    this.order = { name, down: this.order.name === name ? !this.order.down : name !== "pair" };
    for (const head of this.heads) {
      const own = head.dataset.column === name;
      head.setAttribute("aria-sort", own ? (this.order.down ? "descending" : "ascending") : "none");
    }
    this.sort();
  }

  /** Order the rows: as the list has them, or by a column, |z| for the z-score; what is unknown comes last. */
  sort() {
    const { name, down } = this.order;
    let keys = [...(this.keys ?? [])];
    const column = COLUMNS.find((one) => one.name === name);
    if (column) {
      const rank = (key) => {
        const value = column.value(this.rows.get(key));
        return column.size && known(value) ? Math.abs(value) : value;
      };
      const missing = (value) => value === null || value === undefined;
      keys.sort((a, b) => {
        const [one, two] = [rank(a), rank(b)];
        if (missing(one) || missing(two)) return missing(one) - missing(two);
        return (one < two ? -1 : one > two ? 1 : 0) * (down ? -1 : 1);
      });
    }
    arrange(this.body, keys.map((key) => this.rows.get(key).node));
  }

  destroy() {
    clearInterval(this.refresher);
    clearInterval(this.timer);
    drawNever(this.redraw);
    this.abort.abort();
    for (const { end } of this.rows.values()) end?.();
  }
}

const keyOf = ({ y, x }) => `${y}:${x}`;

export const mount = mountable((host, data, tell) => new WatchList(host, data, tell));
