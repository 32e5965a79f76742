// The bell in the header, on every tab: how many alerts are new, and a toast for each that fires while one looks elsewhere.

import { ring } from "./alert_sound.js";
import { sharedAlerts } from "./alert_store.js";
import { timeWords } from "./alert_words.js";
import { element, say } from "./lifecycle.js";

const SHOWN_MS = 15000;
const MOST_TOASTS = 3;
const NARROW = "(max-width: 640px)"; // where one hides enough already

export class AlertBell {
  constructor(addresses, turn) {
    this.turn = turn;
    this.store = sharedAlerts(addresses);
    this.count = element("b", { class: "ps-num" }, "0");
    this.words = element("span", {}, " new alerts");
    this.node = element("button", { type: "button", class: "ps-bell", title: "Show what has fired" }, element("span", { class: "ps-bell-sign", "aria-hidden": "true" }, "◆ "), this.count, this.words);
    this.node.addEventListener("click", () => this.turn());
    this.toasts = element("div", { class: "ps-toasts", role: "log", "aria-live": "polite", "aria-label": "Alerts that have just fired" });
    this.more = element("button", { type: "button", class: "ps-toast ps-toast-more", hidden: true });
    this.more.addEventListener("click", () => this.openAll());
    this.toasts.append(this.more);
    this.hidden = 0;
    this.release = this.store.listen({ changed: () => this.write(), fresh: (firings) => this.announce(firings) });
  }

  end() {
    this.release();
    this.toasts.remove();
  }

  write() {
    const unseen = this.store.unseen();
    say(this.count, String(unseen));
    say(this.words, unseen === 1 ? " new alert" : " new alerts");
    this.node.dataset.loaded = String(this.store.loaded);
    this.node.dataset.state = unseen ? "new" : "none";
  }

  announce(firings) {
    ring();
    for (const firing of firings) this.toast(firing);
  }

  toast(firing) {
    const shown = this.toasts.querySelectorAll(".ps-toast:not(.ps-toast-more)").length;
    if (shown >= (matchMedia(NARROW).matches ? 1 : MOST_TOASTS)) {
      this.hidden += 1;
      say(this.more, `and ${this.hidden} more: show all`);
      this.more.hidden = false;
      return;
    }
    const badges = badgesOf(firing);
    const open = element("button", { type: "button", class: "ps-toast-open" }, element("span", { class: "ps-toast-head" }, element("b", {}, "Alert"), ...badges, element("span", { class: "ps-num" }, ` ${timeWords(firing.timestamp)} UTC`)), element("span", { class: "ps-toast-words" }, firing.message ?? ""));
    const close = element("button", { type: "button", class: "ps-toast-close", "aria-label": "Close", title: "Close" }, "✕");
    const node = element("div", { class: "ps-toast", "data-firing": firing.id }, open, close);
    const leave = () => {
      node.remove();
      this.fewer();
    };
    let timer = setTimeout(leave, SHOWN_MS);
    node.addEventListener("pointerenter", () => clearTimeout(timer));
    node.addEventListener("pointerleave", () => (timer = setTimeout(leave, SHOWN_MS / 2)));
    close.addEventListener("click", leave);
    open.addEventListener("click", () => {
      leave();
      this.store.open(firing.id);
      this.turn();
    });
    this.toasts.insertBefore(node, this.more);
  }

  fewer() {
    if (this.toasts.querySelector(".ps-toast:not(.ps-toast-more)")) return;
    this.hidden = 0;
    this.more.hidden = true;
  }

  openAll() {
    for (const node of this.toasts.querySelectorAll(".ps-toast:not(.ps-toast-more)")) node.remove();
    this.fewer();
    this.turn();
  }
}

/** What is unusual about a firing, as badges. */
export function badgesOf({ late, storm, test }) {
  const badge = (name, title) => element("span", { class: "ps-alert-badge", "data-badge": name.toLowerCase(), title }, name);
  return [
    late && badge("LATE", "Found in trades that came later, by back-fill"),
    storm && badge("STORM", "It fired 15 times within 3 minutes and is paused"),
    test && badge("TEST", "Sent to try the delivery out"),
  ].filter(Boolean);
}
