// One symbol's volume: today against its usual, who bought and who sold, and at which prices.

import { decimalsOf } from "./bars.js";
import { element, say } from "./lifecycle.js";
import { get } from "./rest.js";
import { amount, baseOf, price, share } from "./words.js";

const REFRESH_MS = 20000;
const BINS = 20;
const SVG = "http://www.w3.org/2000/svg";

export class VolumePanel {
  constructor({ symbol, rest, priceNow }) {
    Object.assign(this, { symbol, rest, priceNow });
    this.abort = new AbortController();
    this.build();
    // Asked for only while it is on screen: nobody looks at eight panels at once.
    this.seen = new IntersectionObserver(([entry]) => this.show(entry.isIntersecting));
    this.seen.observe(this.node);
  }

  build() {
    const unit = baseOf(this.symbol);
    this.usual = element("p", { class: "ps-volume-usual" }, "Loading…");
    this.usualWhy = element("p", { class: "ps-volume-why" });
    this.hours = document.createElementNS(SVG, "svg");
    this.hours.setAttribute("class", "ps-hours");
    this.hours.setAttribute("role", "img");
    this.axis = element("div", { class: "ps-hours-axis", "aria-hidden": "true" }, ...["00", "06", "12", "18", "24"].map((hour) => element("span", {}, hour)));
    this.key = element(
      "div",
      { class: "ps-volume-key" },
      element("span", { class: "ps-key-today" }, "today"),
      element("span", { class: "ps-key-mean" }, "mean of the days before"),
      element("span", {}, `${unit} an hour, UTC`),
    );
    this.bought = element("span", { class: "ps-split-buy" });
    this.sold = element("span", { class: "ps-split-sell" });
    this.split = element("div", { class: "ps-split", role: "img", title: "By who took the price: buyers lifted the offer, sellers hit the bid" }, this.bought, this.sold);
    this.profile = element("div", { class: "ps-profile" });
    this.profileHead = element("p", { class: "ps-volume-why" }, "Volume by price, last 24 h");
    this.node = element(
      "article",
      { class: "ps-volume", "data-symbol": this.symbol },
      element("div", { class: "ps-volume-day" }, element("h3", {}, this.symbol), this.usual, this.usualWhy, this.hours, this.axis, this.key, this.split),
      element("div", { class: "ps-volume-profile" }, this.profileHead, this.profile),
    );
  }

  show(visible) {
    clearInterval(this.timer);
    if (!visible) return;
    this.timer = setInterval(() => this.refresh(), REFRESH_MS);
    this.refresh();
  }

  destroy() {
    this.seen.disconnect();
    clearInterval(this.timer);
    this.abort.abort();
  }

  async refresh() {
    const path = `/api/volume/${encodeURIComponent(this.symbol)}`;
    try {
      this.write(await get(this.rest, path, { bins: BINS }, { signal: this.abort.signal }));
    } catch (error) {
      if (error.name !== "AbortError" && !this.known) say(this.usual, `No volume figures: ${error.message}`);
    }
  }

  write(volume) {
    this.known = true;
    const unit = baseOf(this.symbol);
    const { today, mean, ratio, days, reason, hours } = volume.time_of_day;
    say(this.usual, ratio === null ? `${amount(today)} ${unit} since midnight` : `${ratio.toFixed(2)}× the usual for this time of day`);
    const against = `${amount(today)} ${unit} since 00:00 UTC; usual by now ${amount(mean)} ${unit}, mean of ${days} ${days === 1 ? "day" : "days"}`;
    say(this.usualWhy, ratio === null ? `Nothing to compare with yet: ${reason ?? "no earlier day is known"}.` : against);
    this.drawHours(hours ?? []);
    const buys = volume.volume > 0 ? volume.buy_volume / volume.volume : null;
    say(this.bought, buys === null ? "" : `▲ bought ${share(buys)}`);
    say(this.sold, buys === null ? "no trades in 24 h" : `sold ${share(1 - buys)} ▼`);
    this.bought.style.flexGrow = buys ?? 0;
    this.sold.style.flexGrow = buys === null ? 1 : 1 - buys;
    this.split.setAttribute("aria-label", `Last 24 hours: ${this.bought.textContent}, ${this.sold.textContent}`);
    this.drawProfile(volume.profile);
  }

  /** Two bars an hour: today's in front of the usual. */
  drawHours(hours) {
    const most = Math.max(...hours.flatMap(({ today, mean }) => [today ?? 0, mean ?? 0]), 0) || 1;
    const width = 24 * 10;
    this.hours.setAttribute("viewBox", `0 0 ${width} 60`);
    this.hours.setAttribute("preserveAspectRatio", "none");
    const bars = hours.flatMap(({ hour, today, mean }) => [
      column("ps-hour-mean", hour * 10 + 1, 8, (mean ?? 0) / most),
      column("ps-hour-today", hour * 10 + 2.5, 5, (today ?? 0) / most),
    ]);
    this.hours.replaceChildren(...bars);
    const told = hours.filter(({ today }) => today !== null).map(({ hour, today }) => `${hour} h ${amount(today)}`);
    this.hours.setAttribute("aria-label", `Volume by hour of the day, UTC. Today: ${told.join(", ") || "nothing yet"}`);
  }

  /** One row a price range, highest first: bought and sold side by side, the busiest marked. */
  drawProfile(bins) {
    const most = Math.max(...bins.map(({ volume }) => volume), 0) || 1;
    const decimals = Math.max(...bins.map(({ low, high }) => neededDecimals(low, high)), 0);
    const now = this.priceNow();
    const rows = [...bins].reverse().map(({ low, high, volume, buy_volume: bought }) => {
      const busiest = volume === most;
      const bar = element("span", { class: "ps-profile-bar", style: `width:${((volume / most) * 100).toFixed(1)}%` });
      const part = element("i", { style: `flex-grow:${volume ? bought / volume : 0}` });
      bar.append(part, element("b", { style: `flex-grow:${volume ? 1 - bought / volume : 1}` }));
      const label = element("span", { class: "ps-num ps-profile-price" }, price((low + high) / 2, decimals));
      const title = `${price(low, decimals)} to ${price(high, decimals)}: ${amount(volume)} ${baseOf(this.symbol)}, ${share(volume ? bought / volume : 0)} bought`;
      const here = element("span", { class: "ps-profile-now" }, now >= low && now < high ? "▸" : "");
      if (here.textContent) here.title = "The price is here now";
      return element("div", { class: `ps-profile-row${busiest ? " ps-busiest" : ""}`, title }, label, here, element("span", { class: "ps-profile-track" }, bar));
    });
    this.profile.replaceChildren(...rows);
    const top = bins.find(({ volume }) => volume === most);
    say(this.profileHead, top ? `Volume by price, last 24 h · most at ${price((top.low + top.high) / 2, decimals)}` : "Volume by price, last 24 h");
  }
}

// Enough decimals to tell one range from the next, not the ragged ones of a division.
function neededDecimals(low, high) {
  const step = high - low;
  if (!(step > 0)) return Math.min(8, decimalsOf(low));
  return Math.min(10, Math.max(0, 1 - Math.floor(Math.log10(step))));
}

function column(name, x, width, height) {
  const bar = document.createElementNS(SVG, "rect");
  bar.setAttribute("class", name);
  bar.setAttribute("x", x);
  bar.setAttribute("width", width);
  bar.setAttribute("y", (60 * (1 - height)).toFixed(2));
  bar.setAttribute("height", (60 * height).toFixed(2));
  return bar;
}
