// What an alert watches and what it told, in words: values in the unit of their type, conditions as a person says them.

import { decimalsOf } from "./bars.js";
import { fixed, known } from "./pair_words.js";
import { amount, baseOf, price, quoteOf } from "./words.js";

const CONDITIONS = {
  above: "above", below: "below", crosses_above: "crosses above", crosses_below: "crosses below",
  enters: "enters", leaves: "leaves", moves: "moves by", found: "found", lost: "lost",
};
const SENTINEL = ["quiet", "warning", "broken"];
const FREQUENCIES = { once: "once", once_per_bar: "at most once a bar", once_per_bar_close: "at bars' closes" };

/** The conditions of a rule, also where it has but one. */
export const conditionsOf = (rule) => (Array.isArray(rule.conditions) && rule.conditions.length ? rule.conditions : [rule]);

/** A value of the API's as it stands on screen, `kinds` as the page tells them. */
export function valueWords(kinds, { type, condition, symbol = "", threshold = null, baseline = null }, value) {
  if (!known(value)) return "–";
  if (baseline) return `${fixed(value, 2)} × the usual`;
  const kind = kinds[type] ?? { unit: "", scale: 1, decimals: 4 };
  if (condition === "moves") return `${fixed(value * 100, 2)} %`;
  if (type === "sentinel") return SENTINEL[Math.min(2, Math.max(0, Math.round(value)))];
  if (kind.unit === "quote") return `${price(value, priceDecimals(value, threshold))} ${quoteOf(symbol ?? "")}`.trim();
  if (kind.unit === "base") return `${amount(value)} ${baseOf(symbol ?? "")}`.trim();
  const text = fixed(value * kind.scale, kind.decimals);
  return kind.unit ? `${text} ${kind.unit}` : text;
}

/** What is watched: BTCUSDT, ETH on BTC, any pair. */
export function subjectWords({ symbol, y, x }) {
  if (symbol) return symbol;
  return y && x ? `${baseOf(y)} on ${baseOf(x)}` : "any pair";
}

/** What a condition says of its subject: "price above 67,000 USDT". */
export function conditionWords(kinds, condition) {
  const { type, condition: word, threshold, lower, upper } = condition;
  const label = (kinds[type]?.label ?? type).replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
  if (word === "found" || word === "lost") return `${label} ${CONDITIONS[word]}`;
  const level = (value) => (type === "sentinel" ? (value >= 1 ? "broken" : "warning") : valueWords(kinds, condition, value));
  const levels = [threshold, lower, upper].filter(known).map(level).join(" to ");
  return `${label} ${CONDITIONS[word] ?? word} ${levels}`;
}

/** Bars, cooldown and what else there is to a rule: "60 bars of 1m · once". */
export function detailWords(rule) {
  const bars = conditionsOf(rule).map(({ type, condition, window, timeframe }) => {
    const windowed = window && timeframe && (type !== "price" || condition === "moves") && !["funding", "staleness", "cointegration"].includes(type);
    return windowed ? `${window} ${window === 1 ? "bar" : "bars"} of ${timeframe}` : "";
  });
  const parts = [...new Set(bars.filter(Boolean)), FREQUENCIES[rule.frequency]];
  if (rule.notify?.length) parts.push(`to ${rule.notify.length} ${rule.notify.length === 1 ? "target" : "targets"}`);
  return parts.filter(Boolean).join(" · ");
}

const CROSSINGS = ["crosses_above", "crosses_below", "enters", "leaves"];

/** Whether a crossing lies on its far side, so that the value has to come back before it can fire. */
function mustComeBack({ condition, threshold }, value, holds) {
  if (!CROSSINGS.includes(condition)) return false;
  return holds || (condition === "crosses_above" && value > threshold) || (condition === "crosses_below" && value < threshold);
}

/** How near a value is to firing, from 0 (far away) to 1 (holds). */
export function nearness(condition, value, distance, holds) {
  const { type, threshold, lower, upper } = condition;
  if (known(value) && mustComeBack(condition, value, holds)) return 0;
  if (holds) return 1;
  if (!known(value) || !known(distance)) return null;
  const away = Math.abs(distance);
  // A price counts in per cent of itself: 2 % away is far. What has a scale of its own counts in its threshold.
  const whole = type === "price" ? Math.abs(value) * 0.02 : Math.max(...[threshold, lower, upper].filter(known).map(Math.abs), 1e-12);
  return Math.max(0, Math.min(1, 1 - away / whole));
}

/** How far until it fires: "120.50 USDT (0.18 %)"; of a crossing that lies beyond, how far it must come back. */
export function distanceWords(kinds, condition, value, distance, holds) {
  if (known(value) && mustComeBack(condition, value, holds)) return known(distance) ? `back ${farWords(kinds, condition, value, distance)} first` : "back first";
  return holds ? "holds" : known(distance) ? farWords(kinds, condition, value, distance) : "–";
}

function farWords(kinds, condition, value, distance) {
  const away = Math.abs(distance);
  if (condition.type === "sentinel") return `${fixed(away, 1)} steps`;
  if (condition.baseline) return `${fixed(away, 2)} ×`;
  const words = valueWords(kinds, condition, away);
  return condition.type === "price" && condition.condition !== "moves" && value ? `${words} (${fixed((away / value) * 100, 2)} %)` : words;
}

/** A time in UTC: the clock today, with its date before. */
export function timeWords(ms, now = Date.now()) {
  if (!known(ms)) return "–";
  const text = new Date(ms).toISOString();
  return text.slice(0, 10) === new Date(now).toISOString().slice(0, 10) ? text.slice(11, 19) : `${text.slice(5, 10)} ${text.slice(11, 19)}`;
}

/** Where a firing went: words and a state. */
export function deliveryWords(deliveries) {
  if (!Array.isArray(deliveries) || !deliveries.length) return { words: "", state: "none", title: "" };
  const count = (state) => deliveries.filter(({ status }) => status === state).length;
  const [delivered, waiting, lost] = [count("delivered"), count("waiting"), count("given_up")];
  const title = deliveries.map(({ target, status, attempts, error }) => `${target}: ${status.replace("_", " ")}${attempts > 1 ? ` after ${attempts} attempts` : ""}${error ? ` (${error})` : ""}`).join("\n");
  if (lost) return { words: `✗ ${lost} of ${deliveries.length} not delivered`, state: "bad", title };
  if (waiting) return { words: `… ${delivered} of ${deliveries.length} delivered`, state: "waiting", title };
  return { words: `✓ delivered${deliveries.length > 1 ? ` to ${deliveries.length}` : ""}`, state: "good", title };
}

function priceDecimals(value, threshold) {
  const whole = Math.max(decimalsOf(Number(value.toPrecision(9))), known(threshold) ? decimalsOf(threshold) : 0);
  return Math.min(10, Math.max(whole, Math.abs(value) >= 10 ? 2 : 0));
}
