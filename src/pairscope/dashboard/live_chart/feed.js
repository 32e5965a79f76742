// One WebSocket a page to /ws/updates: topics counted by listener, reconnecting with backoff, holes reported.

import { ticketToSpend, ticketsNeeded } from "./access.js";

const SILENCE_MS = 6000; // `stats` comes at least every 2 s; three missing mean that the socket is dead
const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 10000;
const AGAIN_MS = 3000; // until a topic that was refused for now is asked for again
const TOPICS_A_MESSAGE = 40; // the server takes small messages only

/** States: `connecting` before the first message, `open`, `lost` until the next try succeeds. */
export class Feed {
  constructor(url) {
    this.url = url;
    this.state = "connecting";
    this.stateSince = performance.now();
    this.reconnects = 0;
    this.holes = 0;
    this.refused = [];
    this.lastMessageAt = 0;
    this.lastTradeAt = 0;
    this.topics = new Map();
    this.watchers = new Set();
    this.wanted = new Set();
    this.unwanted = new Set();
    this.attempt = 0;
    this.closed = false;
    this.watchdog = setInterval(() => this.watch(), 1000);
    this.hurry = () => this.state === "lost" && this.connect();
    window.addEventListener("online", this.hurry);
    this.release = this.subscribe("stats", { update: () => {} });
    this.connect();
  }

  /**
   * Listen to a topic: `update(data)` gets each value; `broken(why)` tells, before the next value, that some were
   * missed: a `hole` in the sequence, or a new `connection`. Returns the function that ends it. Of a topic without
   * holes everything after the number `since` is sent, also what comes while the connection is lost.
   */
  subscribe(topic, listener, since = null) {
    let entry = this.topics.get(topic);
    if (!entry) {
      entry = { listeners: new Set(), seq: null, broken: null, last: undefined, since };
      this.topics.set(topic, entry);
      this.ask(topic, true);
    }
    entry.listeners.add(listener);
    if (entry.last !== undefined) listener.update(entry.last);
    return () => {
      entry.listeners.delete(listener);
      if (entry.listeners.size || this.topics.get(topic) !== entry) return;
      this.topics.delete(topic);
      this.ask(topic, false);
    };
  }

  /** Hear of every change of state; returns the function that ends it. */
  onState(watcher) {
    this.watchers.add(watcher);
    watcher(this.state);
    return () => this.watchers.delete(watcher);
  }

  close() {
    this.closed = true;
    clearInterval(this.watchdog);
    clearTimeout(this.retry);
    window.removeEventListener("online", this.hurry);
    this.socket?.close();
  }

  async connect() {
    clearTimeout(this.retry);
    this.drop();
    const protocols = ticketsNeeded() ? ["pairscope.v1", `ticket.${await ticketToSpend()}`] : [];
    if (this.closed || this.socket) return;
    const socket = new WebSocket(this.url, protocols);
    this.socket = socket;
    this.openedAt = performance.now();
    socket.onopen = () => {
      this.lastMessageAt = performance.now();
      for (const entry of this.topics.values()) {
        entry.broken = entry.seq === null ? null : "connection";
        entry.seq = null;
      }
      this.send("subscribe", [...this.topics.keys()]);
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => this.socket === socket && this.lose();
  }

  drop() {
    if (!this.socket) return;
    this.socket.onclose = this.socket.onmessage = this.socket.onopen = null;
    this.socket.close();
    this.socket = null;
  }

  lose() {
    this.drop();
    if (this.closed) return;
    this.become("lost");
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.attempt);
    this.attempt += 1;
    this.retry = setTimeout(() => this.connect(), longest * (0.5 + Math.random() / 2));
  }

  watch() {
    const silent = performance.now() - Math.max(this.lastMessageAt, this.openedAt ?? 0);
    if (this.socket && silent > SILENCE_MS) this.lose();
  }

  become(state) {
    if (state === this.state) return;
    if (this.state === "lost" && state === "open") this.reconnects += 1;
    this.state = state;
    this.stateSince = performance.now();
    for (const watcher of this.watchers) watcher(state);
  }

  receive(text) {
    const message = JSON.parse(text);
    this.lastMessageAt = performance.now();
    if (message.error !== undefined) {
      this.refused = [...this.refused.slice(-19), message.error];
      if (message.retry) setTimeout(() => this.topics.has(message.topic) && this.ask(message.topic, true), AGAIN_MS);
      return;
    }
    this.attempt = 0;
    this.become("open");
    const entry = this.topics.get(message.topic);
    if (!entry) return;
    // The first value of a topic is where it stands, however long ago that was; what comes after it is news.
    const news = entry.seq !== null && /^(price|bar):/.test(message.topic);
    if (news) this.lastTradeAt = this.lastMessageAt;
    this.deliver(entry, message);
  }

  deliver(entry, { seq, data }) {
    if (entry.seq !== null && seq > entry.seq + 1) {
      this.holes += 1;
      entry.broken ??= "hole";
    }
    entry.seq = seq;
    if (entry.since !== null) entry.since = Math.max(entry.since, seq);
    entry.last = data;
    const broken = entry.broken;
    entry.broken = null;
    for (const listener of entry.listeners) {
      if (broken) listener.broken?.(broken);
      listener.update(data);
    }
  }

  ask(topic, wish) {
    const [into, outOf] = wish ? [this.wanted, this.unwanted] : [this.unwanted, this.wanted];
    outOf.delete(topic);
    into.add(topic);
    if (this.flushing) return;
    this.flushing = true;
    queueMicrotask(() => {
      this.flushing = false;
      this.send("subscribe", [...this.wanted]);
      this.send("unsubscribe", [...this.unwanted]);
      this.wanted.clear();
      this.unwanted.clear();
    });
  }

  send(op, topics) {
    if (this.socket?.readyState !== WebSocket.OPEN) return; // all topics are sent when it opens
    const since = (topic) => (op === "subscribe" ? (this.topics.get(topic)?.since ?? null) : null);
    for (const topic of topics.filter((name) => since(name) !== null)) {
      this.socket.send(JSON.stringify({ op, topics: [topic], since: since(topic) }));
    }
    topics = topics.filter((name) => since(name) === null);
    for (let i = 0; i < topics.length; i += TOPICS_A_MESSAGE) {
      this.socket.send(JSON.stringify({ op, topics: topics.slice(i, i + TOPICS_A_MESSAGE) }));
    }
  }
}

const feeds = new Map();

/** The page's one feed to this address. */
export function sharedFeed(url) {
  let feed = feeds.get(url);
  if (!feed) {
    feed = new Feed(url);
    feeds.set(url, feed);
  }
  return feed;
}
