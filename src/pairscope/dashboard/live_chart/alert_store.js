// What has fired, once a page: the newest over REST, what comes after them from the stream, none lost, none twice.

import { sharedFeed } from "./feed.js";
import { get, mayPass } from "./rest.js";

const PAGE = 50;
const MOST = 2000; // firings kept in the page
const RETRY_MS = 4000;
const TRACK_MS = 5000; // so often deliveries that are on their way are looked at
const SETTLE_MS = 1200;

/** Listeners have `changed()` and, if they want, `fresh(firings)` for what has just fired. */
export class AlertStore {
  constructor({ rest, feed }) {
    Object.assign(this, { rest, list: [], byId: new Map(), listeners: new Set(), next: null, loaded: false, problem: "", tracking: 0, opened: null });
    this.feed = sharedFeed(feed);
    this.seenKey = `pairscope.alerts.seen:${rest}`;
    this.load();
  }

  get newestSeq() {
    return this.list.reduce((most, { seq }) => Math.max(most, seq ?? 0), 0);
  }

  listen(listener) {
    this.listeners.add(listener);
    listener.changed();
    return () => this.listeners.delete(listener);
  }

  tell() {
    for (const listener of this.listeners) listener.changed();
  }

  async load() {
    try {
      this.adopt(await this.page(null));
      this.loaded = true;
      this.problem = "";
      this.first();
      this.feed.subscribe("alerts", { update: (firing) => this.receive(firing), broken: () => this.refresh() }, this.newestSeq);
    } catch (error) {
      this.problem = mayPass(error) ? "The alerts come as soon as the API answers." : `What has fired cannot be read: ${error.message}.`;
      setTimeout(() => this.load(), RETRY_MS);
    }
    this.tell();
  }

  page(cursor) {
    return get(this.rest, "/api/alerts/triggered", { limit: PAGE, cursor });
  }

  adopt({ alerts, next }) {
    if (!this.loaded) this.next = next;
    this.put(alerts);
  }

  /** Take firings in, each once; what came later says more (where it was delivered). Returns those that are new. */
  put(firings) {
    const fresh = firings.filter(({ id }) => !this.byId.has(id));
    for (const firing of firings) this.byId.set(firing.id, { ...this.byId.get(firing.id), ...firing });
    this.list = [...this.byId.values()].sort((a, b) => (b.seq ?? 0) - (a.seq ?? 0) || b.timestamp - a.timestamp);
    for (const { id } of this.list.splice(MOST)) this.byId.delete(id);
    return fresh;
  }

  receive(firing) {
    const fresh = this.put([firing]);
    if (fresh.length) for (const listener of this.listeners) listener.fresh?.(fresh);
    this.tell();
    if (this.tracking) this.refreshSoon(SETTLE_MS);
  }

  /** Read the newest again: deliveries have gone on, or the stream had a hole. */
  async refresh() {
    clearTimeout(this.timer);
    this.timer = null;
    try {
      const fresh = this.put((await this.page(null)).alerts);
      if (fresh.length) for (const listener of this.listeners) listener.fresh?.(fresh);
      this.tell();
    } catch (error) {
      if (!mayPass(error)) return;
    }
    const moving = this.list.slice(0, PAGE).some(({ deliveries }) => deliveries?.some(({ status }) => status === "waiting"));
    if (this.tracking && moving) this.refreshSoon(TRACK_MS);
  }

  refreshSoon(pause) {
    this.timer ??= setTimeout(() => this.refresh(), pause);
  }

  /** Follow deliveries for as long as somebody looks; returns the function that ends it. */
  track() {
    this.tracking += 1;
    if (this.loaded) this.refreshSoon(0);
    return () => (this.tracking -= 1);
  }

  async older() {
    if (!this.next || this.fetching) return;
    this.fetching = true;
    try {
      const { alerts, next } = await this.page(this.next);
      this.put(alerts);
      this.next = next;
    } finally {
      this.fetching = false;
      this.tell();
    }
  }

  // ── what was seen ─────────────────────────────────────────────────────────────────────────────────────────────

  /** At the first visit nothing is new; after another store was opened, numbers begin anew. */
  first() {
    const seen = read(this.seenKey);
    if (seen === null || seen > this.newestSeq) write(this.seenKey, this.newestSeq);
  }

  unseen() {
    if (!this.loaded) return 0;
    const seen = read(this.seenKey) ?? 0;
    return this.list.filter(({ seq, test }) => seq > seen && !test).length;
  }

  see() {
    if (!this.loaded || (read(this.seenKey) ?? 0) >= this.newestSeq) return;
    write(this.seenKey, this.newestSeq);
    this.tell();
  }

  /** Have a firing looked at: by the feed where it is drawn, else once it is. */
  open(id) {
    this.opened = id;
    this.tell();
  }
}

const memory = new Map();

/** A number that this browser remembers; where it may not, this page does. */
function read(key) {
  try {
    const text = localStorage.getItem(key);
    return text === null ? null : Number(text);
  } catch {
    return memory.get(key) ?? null;
  }
}

function write(key, value) {
  memory.set(key, value);
  try {
    localStorage.setItem(key, String(value));
  } catch {
    /* a private window: remembered until it is closed */
  }
}

const stores = new Map();

/** The page's one store of firings of this API. */
export function sharedAlerts(addresses) {
  if (!stores.has(addresses.rest)) stores.set(addresses.rest, new AlertStore(addresses));
  return stores.get(addresses.rest);
}
