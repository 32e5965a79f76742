// What has fired, newest first and in real time; a click shows the chart at that moment, older ones come by the page.

import { badgesOf } from "./alert_bell.js";
import { AlertMoment } from "./alert_moment.js";
import { setSound, soundIsOn } from "./alert_sound.js";
import { sharedAlerts } from "./alert_store.js";
import { deliveryWords, subjectWords, timeWords } from "./alert_words.js";
import { drawNever, drawSoon } from "./frames.js";
import { arrange, element, mountable, say } from "./lifecycle.js";
import { paint, paletteAt, samePalette } from "./palette.js";
import { addressesOf } from "./rest.js";
import { age } from "./words.js";

const TICK_MS = 1000;
const SEEN_AFTER_MS = 1500;

class AlertFeed {
  constructor(host, data) {
    Object.assign(this, { host, rows: new Map(), filter: "", shown: null });
    this.addresses = addressesOf(data.api);
    this.store = sharedAlerts(this.addresses);
    this.redraw = () => this.write();
    this.build(data);
    this.release = this.store.listen({ changed: () => this.changed() });
    this.untrack = this.store.track();
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.since = performance.now();
  }

  build(data) {
    const filter = element("input", { type: "search", class: "ps-feed-filter", placeholder: "Filter: symbol, words, late…", "aria-label": "Filter what has fired" });
    filter.addEventListener("input", () => {
      this.filter = filter.value.trim().toLowerCase();
      this.write();
    });
    this.sound = element("button", { type: "button", class: "ps-pair-download", title: "A short sound for each alert; this browser remembers it" });
    this.sound.addEventListener("click", () => {
      setSound(!soundIsOn());
      this.writeSound();
    });
    this.count = element("span", { class: "ps-feed-count" });
    const bar = element("div", { class: "ps-feed-bar" }, filter, this.count, this.sound);
    this.body = element("ol", { class: "ps-feed-list" });
    this.empty = element("p", { class: "ps-alert-empty" });
    this.older = element("button", { type: "button", class: "ps-pair-download ps-feed-older", hidden: true }, "Show older ones");
    this.older.addEventListener("click", () => this.store.older());
    this.moment = new AlertMoment({ rest: this.addresses.rest, libraryAddress: data.library, kinds: data.kinds, onClose: () => this.open(null) });
    this.scroller = element("div", { class: "ps-feed-scroll", tabindex: "0", role: "region", "aria-label": "What has fired" }, this.body, this.empty, this.older);
    this.node = element("section", { class: "ps-feed" }, bar, element("div", { class: "ps-feed-both" }, this.scroller, this.moment.node));
    this.node.addEventListener("keydown", (event) => event.key === "Escape" && this.shown && this.open(null));
    this.host.append(this.node);
    this.writeSound();
  }

  update(data) {
    this.data = data;
    this.palette = paletteAt(this.host, data.palette);
    paint(this.host, this.palette);
    this.moment.kinds = data.kinds;
    if (this.painted && !samePalette(this.painted, this.palette) && this.shown) this.moment.show(this.store.byId.get(this.shown), this.palette);
    this.painted = this.palette;
    this.changed();
  }

  changed() {
    const wanted = this.store.opened;
    if (wanted && this.data && this.store.byId.has(wanted)) {
      this.store.opened = null;
      this.open(wanted, true);
    }
    drawSoon(this.redraw);
  }

  writeSound() {
    const on = soundIsOn();
    say(this.sound, on ? "♪ Sound on" : "♪ Sound off");
    this.sound.setAttribute("aria-pressed", String(on));
  }

  write() {
    if (!this.data) return;
    const chosen = this.store.list.filter((firing) => this.matches(firing));
    const ids = new Set(chosen.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.node.remove();
      this.rows.delete(id);
    }
    for (const firing of chosen) this.writeRow(this.rows.get(firing.id) ?? this.make(firing), firing);
    arrange(this.body, chosen.map(({ id }) => this.rows.get(id).node));
    const { list, loaded, problem, next } = this.store;
    say(this.count, this.filter ? `${chosen.length} of the ${list.length} newest` : "");
    this.older.hidden = !next;
    this.empty.hidden = chosen.length > 0;
    if (problem) say(this.empty, problem);
    else if (!loaded) say(this.empty, "Loading…");
    else if (list.length) say(this.empty, "None of these fits the filter.");
    else say(this.empty, "Nothing has fired yet. Create an alert with the form: what fires is told here, on every tab as a note in the corner, and to the targets that you name.");
    this.tick();
  }

  matches(firing) {
    if (!this.filter) return true;
    const text = [firing.message, firing.note, firing.symbol, firing.y, firing.x, firing.type, firing.late && "late", firing.storm && "storm", firing.test && "test"];
    return text.filter(Boolean).join(" ").toLowerCase().includes(this.filter);
  }

  make(firing) {
    const time = element("time", { class: "ps-num", datetime: new Date(firing.timestamp).toISOString(), title: `${new Date(firing.timestamp).toISOString()}${firing.late ? `, received ${new Date(firing.received).toISOString()}` : ""}` }, timeWords(firing.timestamp));
    const ago = element("span", { class: "ps-feed-ago" });
    const delivery = element("span", { class: "ps-feed-delivery" });
    const words = element("span", { class: "ps-feed-words" }, firing.message ?? "");
    const note = element("span", { class: "ps-feed-note" }, firing.note ?? "");
    const button = element("button", { type: "button", class: "ps-feed-open", title: "Show the chart at that moment", "aria-pressed": "false" }, element("span", { class: "ps-feed-head" }, time, ago, element("b", {}, subjectWords(firing)), ...badgesOf(firing), delivery), words, note);
    button.addEventListener("click", () => this.open(this.shown === firing.id ? null : firing.id));
    const node = element("li", { class: "ps-feed-item", "data-firing": firing.id, "data-alert": firing.alert_id }, button);
    note.hidden = !firing.note || (firing.message ?? "").includes(firing.note);
    const row = { node, button, ago, delivery, firing };
    this.rows.set(firing.id, row);
    return row;
  }

  writeRow(row, firing) {
    row.firing = firing;
    const { words, state, title } = deliveryWords(firing.deliveries);
    say(row.delivery, words);
    row.delivery.dataset.state = state;
    if (row.delivery.title !== title) row.delivery.title = title;
    const open = firing.id === this.shown;
    row.node.classList.toggle("ps-is-open", open);
    row.button.setAttribute("aria-pressed", String(open));
  }

  /** Show the chart of a firing, or none. */
  open(id, scroll = false) {
    this.shown = id;
    this.node.classList.toggle("ps-is-split", Boolean(id));
    this.moment.show(id ? this.store.byId.get(id) : null, this.palette);
    this.write();
    if (id && (scroll || matchMedia("(max-width: 640px)").matches)) this.node.scrollIntoView({ block: "start" });
  }

  /** Once a second: how long ago each was; what is on screen for a moment has been seen. */
  tick() {
    const now = Date.now();
    for (const { ago, firing } of this.rows.values()) say(ago, `${age(now - firing.timestamp)} ago`);
    if (document.visibilityState === "visible" && performance.now() - this.since > SEEN_AFTER_MS) this.store.see();
    if (this.data && !samePalette(paletteAt(this.host, this.data.palette), this.palette)) this.update(this.data);
  }

  destroy() {
    clearInterval(this.timer);
    drawNever(this.redraw);
    this.release();
    this.untrack();
    this.moment.destroy();
  }
}

export const mount = mountable((host, data) => new AlertFeed(host, data));
