// A pair's numbers in words: how far the spread has strayed, what that makes y, how old the staler leg is.

import { age, baseOf } from "./words.js";

const MINUTE = 60;

export const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

/** A number with fixed decimals and a true minus sign; a dash where there is none. */
export function fixed(value, decimals) {
  if (!known(value)) return "–";
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

/** A number with its sign: +1.23, −0.40. */
export function signed(value, decimals) {
  const text = fixed(value, decimals);
  return known(value) && value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** A number in four significant digits, never with an exponent. */
export function figure(value) {
  if (!known(value)) return "–";
  if (value === 0) return "0";
  return fixed(value, Math.min(10, Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))))));
}

/** What a z-score makes of y: `rich`, `cheap` or `inside`, and the words for it. */
export function standing(z, { y, entry, exit }) {
  if (!known(z)) return { state: "unknown", words: "no value yet" };
  const name = baseOf(y);
  if (z >= entry) return { state: "rich", words: `▲ ${name} rich` };
  if (z <= -entry) return { state: "cheap", words: `▼ ${name} cheap` };
  if (Math.abs(z) <= exit) return { state: "inside", words: "■ at its mean" };
  return { state: "inside", words: `■ inside ±${entry}` };
}

/** A number of bars as a length of time: 42 min. */
export function duration(bars, barSeconds) {
  if (!known(bars)) return "–";
  const seconds = bars * barSeconds;
  const steps = [[120, "s", 1], [7200, "min", MINUTE], [172800, "h", 3600], [Infinity, "d", 86400]];
  const [, unit, length] = steps.find(([most]) => seconds < most);
  const amount = seconds / length;
  return `${amount >= 9.95 ? amount.toFixed(0) : amount.toFixed(1)} ${unit}`;
}

/** What the sentinel says: a word, and whether it has tripped. */
export function sentinelWords(sentinel) {
  const words = { ok: "● reverting", warning: "▲ weakening", broken: "▼ stopped reverting", training: "○ learning", "no verdict": "○ no verdict" };
  return words[sentinel?.status] ?? "–";
}

/** How old a value is that was told `sinceMs` ago. */
export function legAge(ageMs, sinceMs) {
  return known(ageMs) ? age(ageMs + Math.max(0, sinceMs)) : "–";
}
