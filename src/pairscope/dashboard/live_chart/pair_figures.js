// A pair's figures now: z-score, spread, hedge ratio, correlation, half-life, sentinel, and the age of the staler leg.

import { SECONDS } from "./bars.js";
import { element, say } from "./lifecycle.js";
import { duration, figure, fixed, known, legAge, sentinelWords, signed, standing } from "./pair_words.js";
import { baseOf, moment } from "./words.js";

const HEDGE_NAMES = { ols: "OLS", huber: "Huber", kalman: "Kalman" };

const CARDS = [
  ["zscore", "z-score", "Deviations of the spread from its mean over the window; beyond the entry the pair is rich or cheap"],
  ["spread", "Spread", "What is left of y once the hedge is taken off: log y − (alpha + beta · log x)"],
  ["hedge", "Hedge ratio", "Beta: value of x sold for each unit of value of y bought"],
  ["correlation", "Correlation", "Of the two legs' returns over the window"],
  ["halfLife", "Half-life", "Time after which an expected deviation has halved"],
  ["sentinel", "Sentinel", "Watches whether the spread still reverts: a break is not a wide spread"],
  ["age", "Staler leg", "Time since the last trade of the leg that traded longer ago"],
];

const HELP = Object.fromEntries(CARDS.map(([name, , help]) => [name, help]));

export class PairFigures {
  constructor() {
    this.cards = Object.fromEntries(
      CARDS.map(([name, label, help]) => {
        const value = element("dd", { class: "ps-pair-value ps-num" }, "–");
        const words = element("dd", { class: "ps-pair-words" }, "\u00a0");
        const node = element("div", { class: "ps-pair-figure", "data-figure": name, title: help }, element("dt", {}, label), value, words);
        return [name, { node, value, words }];
      }),
    );
    this.node = element("dl", { class: "ps-pair-figures" }, ...Object.values(this.cards).map(({ node }) => node));
  }

  put(name, value, words, state = "") {
    const card = this.cards[name];
    say(card.value, value);
    say(card.words, words || "\u00a0");
    if (card.node.dataset.state !== state) card.node.dataset.state = state;
  }

  /** Write what is known: the stream's values where they follow these settings, else those of the last answer. */
  write({ settings, report, live, followed }) {
    const moving = Boolean(followed && known(live?.timestamp)); // a leg that stopped has no values now: the last ones stay
    const now = moving ? live : report;
    if (!now) return;
    const { window, timeframe, method } = settings;
    const z = now.spread?.zscore;
    const { state, words } = standing(z, settings);
    this.put("zscore", signed(z, 2), words, state);
    const { last, mean } = now.spread ?? {};
    this.put("spread", signed(last, spreadDecimals(now.spread)), known(mean) ? `mean ${signed(mean, spreadDecimals(now.spread))}` : "");
    const hedge = now.hedge_ratio?.[method];
    const [low, high] = report?.hedge_ratio?.[method]?.interval ?? [];
    this.put("hedge", figure(hedge?.beta), known(low) && known(high) ? `${HEDGE_NAMES[method]}, ${figure(low)} to ${figure(high)}` : HEDGE_NAMES[method]);
    this.put("correlation", fixed(now.correlation?.rolling, 3), `last ${window} bars`);
    this.writeHalfLife(report, timeframe);
    const sentinel = moving ? live.sentinel : report?.sentinel;
    const since = known(sentinel?.tripped) ? `since ${moment(sentinel.tripped, SECONDS[timeframe]).slice(-5)} UTC` : "";
    const short = { "no verdict": "hardly reverted before", training: "too few bars before" }[sentinel?.status] ?? "";
    this.cards.sentinel.node.title = [HELP.sentinel, sentinel?.reason].filter(Boolean).join(": ");
    this.put("sentinel", sentinelWords(sentinel), since || short, sentinel?.status === "broken" ? "bad" : sentinel?.status === "warning" ? "warn" : "");
  }

  writeHalfLife(report, timeframe) {
    const bars = report?.spread?.half_life;
    const { low, high } = report?.spread?.half_life_interval ?? {};
    const short = (value) => duration(value, SECONDS[timeframe]);
    const range = known(low) ? `${short(low)} to ${known(high) ? short(high) : "∞"}` : "";
    this.put("halfLife", known(bars) ? short(bars) : "none", known(bars) ? range : "does not come back");
  }

  /** Several times a second: the legs grow older. */
  tick({ live, report, heardAt, settings }, now) {
    const ages = live?.ages_ms ?? { y: report?.legs?.y?.age_ms, x: report?.legs?.x?.age_ms };
    const both = [ages.y, ages.x].filter(known);
    if (!both.length) return;
    const older = ages.y === Math.max(...both) ? "y" : "x";
    const since = now - heardAt;
    const stale = Boolean(live?.stale);
    this.put("age", legAge(ages[older], since), `${stale ? "▲ stale: " : ""}${baseOf(settings[older])}`, stale ? "warn" : "");
  }
}

/** Decimals at which a spread is seen to move: three digits of its deviation. */
export function spreadDecimals(spread) {
  const scale = known(spread?.std) && spread.std > 0 ? spread.std : Math.abs(spread?.last ?? 0);
  if (!(scale > 0)) return 4;
  return Math.min(10, Math.max(1, 2 - Math.floor(Math.log10(scale))));
}
