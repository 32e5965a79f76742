// The header: what market this is, whether it is moving now, and how fast.

import { AlertBell } from "./alert_bell.js";
import { sharedFeed } from "./feed.js";
import { Freshness } from "./freshness.js";
import { element, mountable, say } from "./lifecycle.js";
import { paint, paletteAt } from "./palette.js";
import { addressesOf } from "./rest.js";
import { age, amount, rate } from "./words.js";

const SOURCES = {
  live: ["LIVE", "Binance USD-M futures, as they trade"],
  replay: ["REPLAY", "Recorded trades, played again"],
  synthetic: ["SYNTHETIC", "A generated market: not real prices"],
};

class Status {
  constructor(host, data, tell) {
    this.host = host;
    this.feed = sharedFeed(addressesOf(data.api).feed);
    this.bell = new AlertBell(addressesOf(data.api), () => tell("alerts", true));
    this.freshness = new Freshness(this.feed, data.stall_ms);
    this.build();
    this.timer = setInterval(() => this.tick(), 200);
  }

  build() {
    const figure = (name, help) => {
      const value = element("b", { class: "ps-num" }, "–");
      return [value, element("span", { class: `ps-status-figure ps-status-${name}`, title: help }, value)];
    };
    this.badge = element("span", { class: "ps-badge", role: "status" });
    this.words = element("span", { class: "ps-source" });
    const [tick, tickBox] = figure("tick", "Time since the last trade of any symbol");
    const [speed, speedBox] = figure("speed", "Trades a second, all symbols together");
    const [symbols, symbolsBox] = figure("symbols", "Symbols that are followed");
    const [link, linkBox] = figure("link", "This page's connection to the stream of updates");
    Object.assign(this, { tick_: tick, speed, symbols, link });
    tickBox.prepend("last trade ");
    speedBox.append(" trades/s");
    symbolsBox.append(" symbols");
    this.node = element(
      "header",
      { class: "ps-status" },
      element("h1", { class: "ps-name" }, "Pairscope"),
      this.badge,
      this.words,
      element("div", { class: "ps-status-figures" }, tickBox, speedBox, symbolsBox, linkBox, this.bell.node),
    );
    this.host.append(this.node, this.bell.toasts);
  }

  update(data) {
    this.data = data;
    paint(this.host, paletteAt(this.host, data.palette));
    this.tick();
  }

  tick() {
    const { stale, lost, stalled, silentMs, stats } = this.freshness.now();
    const source = stats?.source ?? this.data.source;
    const [word, meaning] = SOURCES[source] ?? ["CONNECTING", "Waiting for the API"];
    this.badge.dataset.state = stale ? "stale" : (SOURCES[source] ? source : "unknown");
    say(this.badge, stale ? "STALE" : word);
    const why = lost ? "connection lost, trying again" : stalled ? `no trade for ${age(silentMs)}` : meaning;
    say(this.words, stale && SOURCES[source] ? `${word.toLowerCase()} market: ${why}` : why);
    say(this.tick_, silentMs === null ? "–" : `${age(silentMs)} ago`);
    say(this.speed, rate(stats?.rates?.ticks_per_second));
    say(this.symbols, amount(stats?.symbols ?? this.data.symbol_count));
    say(this.link, { open: "connected", lost: "reconnecting…", connecting: "connecting…" }[this.feed.state]);
    this.link.dataset.state = this.feed.state;
  }

  destroy() {
    clearInterval(this.timer);
    this.bell.end();
    this.freshness.end();
  }
}

export const mount = mountable((host, data, tell) => new Status(host, data, tell));
