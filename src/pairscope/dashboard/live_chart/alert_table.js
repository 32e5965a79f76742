// The alerts that stand: what each watches, where its value is and how far from firing, replaced in place every two seconds or less often.

import { conditionWords, conditionsOf, detailWords, distanceWords, nearness, subjectWords, timeWords, valueWords } from "./alert_words.js";
import { arrange, element, mountable, say } from "./lifecycle.js";
import { known } from "./pair_words.js";
import { paint, paletteAt, samePalette } from "./palette.js";
import { addressesOf, get } from "./rest.js";

const REFRESH_MS = 2000;
const LEISURE = 12; // many alerts take long to tell: the table then asks for a small part of the time only
const MOST_ROWS = 200;
const ASK_MS = 6000; // so long a deletion waits for its yes
const COLUMNS = ["Alert", "Now", "Until it fires", "Fired", "Status", ""];

class AlertTable {
  constructor(host, data, tell) {
    Object.assign(this, { host, tell, rows: new Map(), rules: [], filter: "", loaded: false });
    this.addresses = addressesOf(data.api);
    this.abort = new AbortController();
    this.build();
  }

  build() {
    this.filterBox = element("input", { type: "search", class: "ps-feed-filter", placeholder: "Filter: symbol, type, note…", "aria-label": "Filter the alerts" });
    this.filterBox.addEventListener("input", () => {
      this.filter = this.filterBox.value.trim().toLowerCase();
      this.write();
    });
    this.count = element("span", { class: "ps-feed-count" });
    this.bar = element("div", { class: "ps-feed-bar", hidden: true }, this.filterBox, this.count);
    const heads = COLUMNS.map((label) => element("th", { scope: "col" }, label || element("span", { class: "ps-unseen" }, "Actions")));
    this.body = element("tbody");
    this.table = element("table", { class: "ps-alert-table", "aria-label": "Active alerts" }, element("thead", {}, element("tr", {}, ...heads)), this.body);
    this.empty = element("p", { class: "ps-alert-empty", role: "status" }, "Loading…");
    this.problem = element("p", { class: "ps-alert-problem", role: "status", hidden: true });
    this.frame = element("div", { class: "ps-alerts", tabindex: "0", role: "region", "aria-label": "Active alerts" }, this.table, this.empty);
    this.host.append(this.bar, this.problem, this.frame);
  }

  update(data) {
    const fresh = !this.data || this.data.version !== data.version;
    this.data = data;
    this.palette = paletteAt(this.host, data.palette);
    paint(this.host, this.palette);
    this.hear(data.said);
    if (fresh) this.refresh();
  }

  /** What came of a button: said beside its alert, once. */
  hear(said) {
    if (!said || said.nonce === this.heard) return;
    this.heard = said.nonce;
    this.said = said;
    for (const row of this.rows.values()) this.busy(row, false);
  }

  async refresh() {
    clearTimeout(this.timer);
    const run = (this.run = (this.run ?? 0) + 1);
    const began = performance.now();
    try {
      const { alerts } = await get(this.addresses.rest, "/api/alerts", {}, { signal: this.abort.signal });
      if (run !== this.run) return;
      this.rules = alerts;
      this.loaded = true;
      this.fail("");
      this.write();
    } catch (error) {
      if (error.name === "AbortError" || run !== this.run) return;
      this.fail(this.loaded ? `These are the last values that came: ${error.message}.` : "");
      if (!this.loaded) say(this.empty, `The alerts cannot be read now: ${error.message}. Trying again…`);
    }
    if (!this.abort.signal.aborted) this.timer = setTimeout(() => this.refresh(), Math.max(REFRESH_MS, LEISURE * (performance.now() - began)));
  }

  fail(text) {
    this.problem.hidden = !text;
    say(this.problem, text);
  }

  write() {
    const fits = this.rules.filter((rule) => this.matches(rule));
    const order = { active: 0, paused: 1, done: 2 };
    fits.sort((a, b) => order[a.status] - order[b.status] || (b.created ?? 0) - (a.created ?? 0));
    const chosen = fits.slice(0, MOST_ROWS);
    const ids = new Set(chosen.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.node.remove();
      this.rows.delete(id);
    }
    for (const rule of chosen) this.writeRow(this.rows.get(rule.id) ?? this.make(rule.id), rule);
    arrange(this.body, chosen.map(({ id }) => this.rows.get(id).node));
    this.bar.hidden = this.rules.length < 8 && !this.filter;
    say(this.count, chosen.length < this.rules.length ? `${chosen.length} of ${this.rules.length}` : `${this.rules.length}`);
    this.table.hidden = !chosen.length;
    this.empty.hidden = Boolean(chosen.length) || !this.loaded;
    if (this.loaded) say(this.empty, this.rules.length ? "None of the alerts fits the filter." : "No alert stands yet. Choose what to watch in the form, and press “Create alert”.");
    if (!this.loaded) this.empty.hidden = false;
    if (!samePalette(paletteAt(this.host, this.data.palette), this.palette)) this.update(this.data);
  }

  matches(rule) {
    if (!this.filter) return true;
    return `${this.wordsOf(rule)} ${rule.note ?? ""} ${rule.status}`.toLowerCase().includes(this.filter);
  }

  wordsOf(rule) {
    return conditionsOf(rule).map((one) => `${subjectWords(one)} ${conditionWords(this.data.kinds, one)}`).join(` ${rule.join ?? "and"} `);
  }

  make(id) {
    const button = (name, sign, title) => {
      const made = element("button", { type: "button", class: "ps-alert-button", "data-action": name, "aria-label": title, title }, sign);
      made.addEventListener("click", () => this.press(row, name));
      return made;
    };
    const words = element("span", { class: "ps-alert-words" });
    const details = element("span", { class: "ps-alert-details" });
    const note = element("span", { class: "ps-alert-note" });
    const said = element("span", { class: "ps-alert-said", role: "status" });
    const now = element("td", { class: "ps-num", "data-column": "now" });
    const bar = element("i", { class: "ps-alert-bar" }, element("i"));
    const distance = element("span", { class: "ps-num" });
    const fired = element("td", { class: "ps-num", "data-column": "fired" }, element("b"), element("span"), element("span"));
    const badge = element("span", { class: "ps-alert-status" });
    const pause = button("paused", "❚❚", "Pause");
    const resume = button("resumed", "▶", "Resume");
    const actions = element("div", { class: "ps-alert-actions" }, pause, resume, button("edited", "✎", "Edit"), button("tried", "✉", "Send a test message"), button("ask", "✕", "Delete"));
    const yes = button("removed", "Delete", "Yes, delete it");
    const no = button("keep", "Keep", "No, keep it");
    const asking = element("div", { class: "ps-alert-asking", hidden: true }, yes, no);
    const node = element("tr", { "data-alert": id }, element("th", { scope: "row" }, words, details, note, said), now, element("td", { "data-column": "distance" }, bar, distance), fired, element("td", { "data-column": "status" }, badge), element("td", { "data-column": "actions" }, actions, asking));
    const row = { id, node, words, details, note, said, now, bar, distance, fired, badge, pause, resume, actions, asking, yes };
    this.rows.set(id, row);
    return row;
  }

  writeRow(row, rule) {
    row.rule = rule;
    const { kinds } = this.data;
    const parts = conditionsOf(rule);
    const values = rule.values ?? [];
    const away = rule.distance ?? [];
    say(row.words, this.wordsOf(rule));
    say(row.details, detailWords(rule));
    say(row.note, rule.note ?? "");
    row.note.hidden = !rule.note;
    const live = rule.status === "active";
    say(row.now, live ? parts.map((one, i) => valueWords(kinds, one, values[i])).join(" · ") : "–");
    const held = parts.map((_, i) => Boolean(rule.holds?.[i]));
    const far = parts.map((one, i) => distanceWords(kinds, one, values[i], away[i], held[i]));
    const near = parts.map((one, i) => nearness(one, values[i], away[i], held[i])).filter(known);
    const nearest = near.length ? (rule.join === "or" ? Math.max(...near) : Math.min(...near)) : null;
    say(row.distance, live ? [...new Set(far)].join(" · ") : "–");
    row.bar.hidden = !live || nearest === null;
    if (nearest !== null) row.bar.firstChild.style.width = `${Math.round(nearest * 100)}%`;
    row.bar.dataset.state = nearest >= 1 ? "holds" : nearest > 0.8 ? "near" : "";
    const [count, last, suppressed] = row.fired.children;
    say(count, String(rule.fired ?? 0));
    say(last, known(rule.last_fired) ? timeWords(rule.last_fired) : "");
    say(suppressed, rule.suppressed ? `+${rule.suppressed} in cooldown` : "");
    say(row.badge, { active: "● active", paused: "❚❚ paused", done: "✓ done" }[rule.status] ?? rule.status);
    row.badge.dataset.state = rule.status;
    row.badge.title = rule.reason ?? "";
    const why = rule.reason ?? "";
    const own = this.said?.id === rule.id ? this.said : null;
    say(row.said, own?.text || why);
    row.said.dataset.state = own?.bad ? "bad" : "";
    row.pause.hidden = rule.status !== "active";
    row.resume.hidden = rule.status !== "paused";
  }

  press(row, name) {
    if (name === "ask" || name === "keep") return this.asks(row, name === "ask");
    this.asks(row, false);
    if (name !== "edited") this.busy(row, true);
    if (name === "tried") say(row.said, "Sending a test message…");
    this.tell(name, row.id);
  }

  /** Ask once before an alert is deleted; whoever does not answer keeps it. */
  asks(row, open) {
    clearTimeout(row.asked);
    row.actions.hidden = open;
    row.asking.hidden = !open;
    if (!open) return;
    row.yes.focus();
    row.asked = setTimeout(() => this.asks(row, false), ASK_MS);
  }

  busy(row, on) {
    for (const button of row.node.querySelectorAll("button")) button.disabled = on;
  }

  destroy() {
    this.abort.abort();
    clearTimeout(this.timer);
  }
}

export const mount = mountable((host, data, tell) => new AlertTable(host, data, tell));
